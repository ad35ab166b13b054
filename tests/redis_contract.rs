//! The contract of every store, held by the one in Redis, on a real server and in real time.

#![allow(clippy::disallowed_methods, reason = "waiting for a server takes a real clock")]

mod support;

#[path = "store_contract/accounts.rs"]
mod accounts;
#[path = "store_contract/entries.rs"]
mod entries;
#[path = "store_contract/fixtures.rs"]
mod fixtures;
#[path = "store_contract/keys.rs"]
mod keys;
#[path = "store_contract/limits.rs"]
mod limits;
#[path = "store_contract/memos.rs"]
mod memos;
#[path = "store_contract/records.rs"]
mod records;
#[path = "store_contract/world.rs"]
mod world;

use keygate::{
    app::ports::Clock,
    domain::time::{Ticks, Timestamp},
    store::redis::{Redis, RedisOptions},
};
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use support::redis::RedisServer;

contract!(redis, crate::InRedis);

struct InRedis {
    store: Redis,
    clock: Arc<WallClock>,
    /// Stopped when the case is over.
    _server: RedisServer,
}

impl world::World for InRedis {
    type Store = Redis;

    async fn open() -> Self {
        let server = RedisServer::start();
        let clock = Arc::new(WallClock(Instant::now()));
        let ring = fixtures::ring(&[(1, 1)]);
        // The machine that runs the tests has other things to do.
        let patient = Duration::from_secs(5);
        let options = RedisOptions { deadline: patient, connect_timeout: patient, ..RedisOptions::new(&server.url()) };
        let store = Redis::connect(options, &ring, clock.clone()).await.unwrap();
        Self { store, clock, _server: server }
    }

    fn store(&self) -> &Redis {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }
}

struct WallClock(Instant);

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap())
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap())
    }

    fn observe(&self, _: Timestamp) {}
}
