//! Redis as platforms run it: behind TLS, with passwords that change, with sentinels and replicas, and in trouble.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for a server takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod checked;
mod outage;
mod readiness;
mod rotation;
mod sentinel;
mod shipped;
mod tls;

use keygate::{
    app::ports::Clock,
    domain::{
        key::{SecretRing, ServerSecret},
        time::{Ticks, Timestamp},
    },
    store::redis::{OpenError, Redis, RedisOptions},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use support::redis::RedisServer;

/// How long anything may take that is done at once: far longer than a busy machine needs.
const SOON: Duration = Duration::from_secs(30);

struct WallClock(Instant);

impl Clock for WallClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(u64::try_from(self.0.elapsed().as_micros()).unwrap())
    }

    fn observe(&self, _: Timestamp) {}
}

/// Opens a store, or tells why not.
async fn open(options: RedisOptions) -> Result<Redis, OpenError> {
    let ring = SecretRing::new(vec![ServerSecret::new(1, [7; 32].into())]).unwrap();
    Redis::connect(options, &ring, Arc::new(WallClock(Instant::now()))).await
}

/// The usual terms, and more time than usual.
fn options(url: &str) -> RedisOptions {
    let patient = Duration::from_secs(5);
    RedisOptions { deadline: patient, connect_timeout: patient, ..RedisOptions::new(url) }
}

/// Why a store cannot be opened. Holds no password.
async fn refusal(options: RedisOptions) -> String {
    let text = open(options).await.expect_err("it must not open").to_string();
    assert!(!text.contains("password-of-the-tests") && !text.contains("hunter2"), "{text}");
    text
}

/// The address without its password.
fn without_password(server: &RedisServer) -> String {
    format!("redis://keygate@127.0.0.1:{}", server.port())
}

/// Waits until it is so.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !so().await {
        assert!(began.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    began.elapsed()
}
