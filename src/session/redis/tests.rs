//! The scripts against what a store promises ([`kit`]), while Redis is rolled back.
//!
//! They need a Redis: `MCP_TEST_STORE=redis://127.0.0.1:6379 cargo test --lib session::redis`. Without one they do nothing.

use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::session::kit::{Model, Positions, Walk};

struct Nobody;

impl Here for Nobody {
    fn is_in_use(&self, _: Uuid) -> bool {
        false
    }

    fn ended(&self, _: Uuid, _: Gone) {}
}

/// A Redis, with a prefix of the test's own.
#[expect(clippy::disallowed_methods, reason = "it says where a Redis is, and nothing of what is tested")]
fn place() -> Option<RedisAt> {
    let url = std::env::var("MCP_TEST_STORE").ok().filter(|store| store.starts_with("redis://"))?;
    Some(RedisAt { url, prefix: format!("test-{:016x}:", rand::random::<u64>()) })
}

fn store(at: &RedisAt) -> Redis {
    Redis::new(at.clone(), 1, 1000, Arc::new(Nobody))
}

/// What Redis had, and what was promised of it then.
struct Snapshot {
    values: Vec<Option<Vec<u8>>>,
    model: Model,
}

fn keys(at: &RedisAt, id: Uuid) -> [String; 2] {
    ["s", "q"].map(|kind| format!("{}{{{id}}}:{kind}", at.prefix))
}

async fn snapshot(at: &RedisAt, redis: &Redis, walk: &Walk) -> Snapshot {
    let mut values = Vec::new();
    for key in keys(at, walk.id) {
        values.push(redis.link.ask(redis::cmd("DUMP").arg(key)).await);
    }
    Snapshot { values, model: walk.model.clone() }
}

/// Redis forgets what has happened since the snapshot; all connections end.
async fn roll_back(at: &RedisAt, redis: &Redis, walk: &mut Walk, snapshot: &Snapshot) -> Redis {
    for (key, value) in keys(at, walk.id).into_iter().zip(&snapshot.values) {
        let _: i64 = redis.link.ask(redis::cmd("DEL").arg(&key)).await;
        if let Some(value) = value {
            let _: String = redis.link.ask(redis::cmd("RESTORE").arg(key).arg(0).arg(value)).await;
        }
    }
    let anew = store(at);
    walk.positions = Positions::Since(anew.link.since().await);
    walk.model = snapshot.model.clone();
    walk.log.push("rolled back".to_owned());
    anew
}

#[tokio::test]
async fn the_scripts_do_what_a_store_promises() {
    let Some(at) = place() else { return };
    for seed in 0..400 {
        let mut redis = store(&at);
        let positions = Positions::Since(redis.link.since().await);
        let mut walk = Walk::begin(&redis, positions, seed).await.unwrap();
        let mut kept = None;
        for step in 0..80 {
            walk.step(&redis).await.unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
            match (step % 40, &kept) {
                (13, _) => kept = Some(snapshot(&at, &redis, &walk).await),
                (27, Some(snapshot)) => redis = roll_back(&at, &redis, &mut walk, snapshot).await,
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn a_redis_that_cannot_be_reached_has_surely_changed_nothing() {
    let at = RedisAt { url: "redis://127.0.0.1:1".to_owned(), prefix: "test:".to_owned() };
    let why = store(&at).load(Uuid::nil()).await.unwrap_err();
    assert!(!why.reached && why.why.contains("refused"), "{why:?}");
}
