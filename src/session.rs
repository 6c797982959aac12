//! Sessions: what is kept between requests. Independent of HTTP and of the tools.
//!
//! # Layout
//!
//! - [`Saved`]: one session is one value, plain data that serde reads and writes: `saved`, `record`, `history`, `pace`, `queue` with
//!   its `losses`, and `rest` for members of newer releases.
//! - [`Session`]: a session that lives in this process: that value, and what lives only here (`local`: `connections`,
//!   `calls`, `suspended`), under one mutex. [`Session::change`] is the one lock of a call, [`Working`] what a change sees.
//! - [`clients`]: what is remembered of clients beyond their sessions; [`streams`]: what is kept of GET streams.
//! - [`SessionManager`]: all of them: look-up, bounds (`limits`, `memory`; `holders`: who gives way), expiry (`idle`,
//!   `sweep`), and what is remembered of those that `ended`. [`SessionGuard`] is a request's time in a session, [`Stream`] a GET stream's.
//! - [`store`]: what a store outside the process has to do, and the [`Committer`] that changes sessions there, with what a
//!   process knows of them (`away`) and what waits until a change is kept ([`kept`]). `stored` is one session as a store
//!   keeps it, [`disk`] the store in a file. The suite in `contract` holds stores and the memory to the same promises.
//!
//! # Locks
//!
//! All are `std` locks around a few instructions, never held across an await. [`enter`] takes the manager's read lock for the
//! time of a hash look-up, and waits for the session without it; requests of different sessions meet nowhere else, but for
//! two pointer swaps in the order of idle sessions when a request ends. To end a session takes the manager's write lock, then
//! the session's. The order, where more than one is held: the manager, a session, then `idle`, `large` or `clients` of what all
//! share.

mod away;
mod calls;
pub mod clients;
mod committer;
mod connections;
#[cfg(test)]
mod contract;
pub mod disk;
mod ended;
mod fingerprint;
mod guard;
pub mod history;
mod holders;
mod idle;
mod instance;
pub mod kept;
pub mod kit;
mod last_look;
mod limits;
mod live;
mod local;
mod lock;
mod losses;
mod manager;
mod memory;
mod pace;
mod queue;
mod record;
pub mod redis;
mod rest;
mod running;
mod saved;
mod shared;
mod stats;
pub mod store;
mod stored;
mod stream;
pub mod streams;
mod suspended;
mod sweep;
mod ticks;
pub mod values;
mod working;

pub use crate::protocol::{ClientInfo, LogLevel};
pub use calls::{Busy, MAX_RUNNING};
pub use clients::{Client, Clients};
pub use committer::{Committer, StoreHealth, Uncommitted};
pub use connections::MAX_STREAMS;
pub use ended::{EndReason, REMEMBERED};
pub use guard::{Held, SessionGuard};
pub use instance::{Instance, Maker, Name as InstanceName, prefix, writer};
pub use limits::Limits;
pub use live::Session;
pub use manager::{Full, Missing, SessionManager, copy_of, enter, hold, is_in_use, read, write};
pub use memory::evict_for_memory;
pub use pace::TooFast;
pub use queue::{Message, Queue};
pub use record::{
    CustomData, CustomDataTooLarge, Identity, IdentitySource, Intrusions, MAX_CUSTOM_DATA, NewSession, Record,
    SeenFinding, State, Unbound, exact,
};
pub use rest::Rest;
pub use running::RunningCall;
pub use saved::{Format, Saved, Unreadable};
pub use stats::Stats;
pub use stream::{Event, Over, Stream};
pub use suspended::{MAX_SUSPENDED, suspended_in};
pub use sweep::{sweep, sweep_regularly};
pub use ticks::keep_alive_regularly;
pub use working::{Effect, Figures, NotKept, Replay, Working};
