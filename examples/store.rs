//! A server with a store of one's own: two methods over whatever keeps values (here a map), checked by the kit.
//!
//! ```bash
//! cargo run --example store            # checks the store, and serves on http://127.0.0.1:3000/mcp
//! ```

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcp_echo_stateful::app::App;
use mcp_echo_stateful::clock::Clock;
use mcp_echo_stateful::config::Config;
use mcp_echo_stateful::session::kit;
use mcp_echo_stateful::session::store::Down;
use mcp_echo_stateful::session::values::{Asked, Put, Tag, Tagged, Values, Whole};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A value: its version, itself, and when its time is up.
type Row = (u64, Vec<u8>, Instant);

/// The store. A database has one table for it: `id, version, value, expires_at`, and `UPDATE ... WHERE version = expected`.
#[derive(Default)]
struct Table(Mutex<HashMap<Uuid, Row>>);

impl Table {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<Uuid, Row>) -> T) -> Result<T, Down> {
        // A database says here that it does not answer, and whether what was asked for may have been done all the same.
        Ok(act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn present(rows: &HashMap<Uuid, Row>, id: Uuid) -> Option<&Row> {
    rows.get(&id).filter(|(_, _, until)| *until > Instant::now())
}

impl Values for Table {
    fn get(&self, id: Uuid) -> Asked<'_, Option<Tagged>> {
        let found = self.with(|rows| present(rows, id).map(|(version, value, _)| (value.clone(), version.to_string())));
        Box::pin(async { found })
    }

    fn put(&self, id: Uuid, value: Vec<u8>, expected: Option<Tag>, ttl: Duration) -> Asked<'_, Put> {
        let put = self.with(|rows| {
            let version = present(rows, id).map(|(version, ..)| *version);
            if version.map(|version| version.to_string()) != expected {
                return Put::Stale;
            }
            let version = version.unwrap_or_default() + 1;
            rows.insert(id, (version, value, Instant::now() + ttl));
            Put::Kept(version.to_string())
        });
        Box::pin(async { put })
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let table = Table::default();
    kit::values(&table).await.map_err(io::Error::other)?;
    let store = Whole::new(table, Arc::new(Clock::new()));
    for seed in 0..50 {
        kit::sessions(&store, kit::Positions::Time, seed).await.map_err(io::Error::other)?;
    }
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    App::new(Config::default()).with_store(Arc::new(store)).serve(listener, CancellationToken::new()).await
}
