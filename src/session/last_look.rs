//! A last look at sessions that have ended: what their findings are is told then, whichever way they end.

use std::sync::OnceLock;

use super::live::Session;

type Look = Box<dyn Fn(&Session) + Send + Sync>;

/// Who looks, if anybody does. Asked without a lock.
#[derive(Default)]
pub struct LastLook(OnceLock<Look>);

impl LastLook {
    /// Says who looks; the first one that is said stays.
    pub fn set(&self, look: impl Fn(&Session) + Send + Sync + 'static) {
        let _ = self.0.set(Box::new(look));
    }

    /// Has `session` looked at, unless it is a copy of one that may live on in its store.
    pub fn at(&self, session: &Session) {
        if let Some(look) = self.0.get().filter(|_| !session.is_away()) {
            look(session);
        }
    }
}
