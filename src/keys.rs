//! The file of `MCP_EXPECT_JWKS`: read at start, and again when it changes. Only who looks at a token asks for it.

use std::fs::{self, File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::config::{Config, ConfigError};
use crate::diagnosis::jwks::{KeySet, MAX_JWKS_BYTES};

/// The keys of the file.
#[derive(Debug, Default)]
pub struct Keys {
    /// `None`: no file is set.
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The last good ones.
    keys: Option<Arc<KeySet>>,
    /// What the file was like when it was last read: a replaced one has another time or size. `None`: it was not there.
    seen: Option<Seen>,
    /// Whether it was looked at.
    is_read: bool,
}

/// By what a changed file is known without reading it.
type Seen = (Option<SystemTime>, u64);

impl Keys {
    /// The keys of the file that `config` names, not yet read.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { path: config.expect.jwks.clone(), state: Mutex::default() }
    }

    /// The keys as the file has them now; the last good ones, with the reason, where it has none. `None` where no file is
    /// set, or none was ever good.
    #[must_use]
    pub fn current(&self, now: Timestamp) -> Option<Arc<KeySet>> {
        let path = self.path.as_deref()?;
        let seen = fs::metadata(path).ok().map(|file| seen(&file));
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.is_read || state.seen != seen {
            (state.is_read, state.seen) = (true, seen);
            match load(path, now) {
                Ok(keys) => {
                    tracing::info!("MCP_EXPECT_JWKS: read {}", path.display());
                    state.keys = Some(Arc::new(keys));
                }
                Err(why) => {
                    tracing::warn!("MCP_EXPECT_JWKS: {} {why}; the keys read before stay in use", path.display());
                    if let Some(keys) = &mut state.keys {
                        Arc::make_mut(keys).origin.outdated = Some(format!("it {why}"));
                    }
                }
            }
        }
        state.keys.clone()
    }
}

/// Whether the file that `config` names can be used: asked before anything is bound.
///
/// # Errors
/// A line that says why not.
pub fn check(config: &Config, now: Timestamp) -> Result<(), ConfigError> {
    let Some(path) = config.expect.jwks.as_deref() else { return Ok(()) };
    match load(path, now) {
        Ok(_) => Ok(()),
        Err(why) => {
            Err(ConfigError { mistakes: vec![format!("MCP_EXPECT_JWKS: {:?} {why}", path.display().to_string())] })
        }
    }
}

fn seen(file: &Metadata) -> Seen {
    (file.modified().ok(), file.len())
}

/// Reads the file: no more than a set may have, and nothing that could make its reader wait.
fn load(path: &Path, now: Timestamp) -> Result<KeySet, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let file = fs::metadata(path).map_err(unreadable)?;
    if !file.is_file() {
        return Err("is no file".to_owned());
    }
    let mut text = String::new();
    let limit = MAX_JWKS_BYTES as u64 + 1;
    File::open(path).map_err(unreadable)?.take(limit).read_to_string(&mut text).map_err(unreadable)?;
    KeySet::parse(&text, &path.display().to_string(), Some(now))
}
