//! What of a session lives only in this process.

use super::calls::Calls;
use super::connections::Connections;
use super::suspended::SuspendedStreams;

/// What of a session lives only in this process.
#[derive(Default)]
pub struct Local {
    /// Connections that its messages go out on.
    pub connections: Connections,
    /// Calls at work.
    pub calls: Calls,
    /// Streams of calls that wait for their client. Boxed: hardly any session has one.
    pub suspended: Option<Box<SuspendedStreams>>,
}
