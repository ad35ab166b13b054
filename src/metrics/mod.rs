//! Shows what is counted to Prometheus: as its text format, and as OpenMetrics for whoever asks for that. May use what `app`
//! counts and the domain's names. Must never know how anything is counted, nor who asks.
//!
//! Every name stands in `docs/metrics.md`; a test compares that with what a server shows.

mod decisions;
mod page;
mod secrets;
mod server;
mod store;
mod work;

pub use page::Format;

use crate::{
    app::meter::{Meter, StoreMeter},
    domain::{id::RealmName, key::SecretState},
};
use page::Page;
use std::{sync::Arc, time::Duration};

/// Everything that is shown.
pub struct Scene<'a> {
    /// What is counted.
    pub meter: &'a Meter,
    /// What the store was asked.
    pub store_meter: &'a StoreMeter,
    /// What stands for now.
    pub now: Now,
}

/// What was found when somebody asked.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// The version of keygate.
    pub version: &'static str,
    /// The kind of store.
    pub store_kind: &'static str,
    /// Whether it answered last.
    pub store_up: bool,
    /// What may be wrong with it, by code, and whether it is.
    pub store_problems: Vec<(&'static str, bool)>,
    /// Whether the server takes requests on.
    pub ready: bool,
    /// What is remembered.
    pub caches: Vec<Cache>,
    /// Counters in memory, and the room for them.
    pub counters: Option<(u64, u64)>,
    /// Connections to Redis, if that is the store.
    pub redis: Option<Redis>,
    /// The versions of the server secret, the newest first.
    pub secrets: Vec<SecretState>,
    /// Issuers of tokens.
    pub issuers: Vec<Issuer>,
    /// Calls in work that decide, and those that may be.
    pub calls: (u64, u64),
    /// Acts of management in work, and those that may be.
    pub acts: (u64, u64),
    /// Connections that are open, and those that may be.
    pub connections: (u64, u64),
    /// Streams of the audit log that are open.
    pub audit_streams: u64,
    /// Notes of uses that wait to be written.
    pub uses_waiting: u64,
    /// Opened credentials in memory.
    pub credentials_held: u64,
    /// How far the time of day is ahead of this machine's clock.
    pub clock_ahead: Duration,
    /// When the certificate of each listener ends, in seconds since 1970; 0 where no TLS is spoken.
    pub certificates_end: Vec<(&'static str, u64)>,
    /// What the operating system says of the process.
    pub process: Option<Process>,
}

/// A memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cache {
    /// Of what.
    pub name: &'static str,
    /// How many.
    pub entries: u64,
    /// How many there is room for.
    pub room: u64,
    /// About how many bytes they take.
    pub bytes: u64,
    /// How often something was remembered, and how often not, where that is counted for all realms together.
    pub asked: Option<[u64; 2]>,
}

/// The connections to Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Redis {
    /// Round trips.
    pub round_trips: u64,
    /// Connections that were made.
    pub connected: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Connections that were given up.
    pub lost: u64,
}

/// An issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The realm.
    pub realm: RealmName,
    /// The issuer.
    pub issuer: Arc<str>,
    /// How many keys.
    pub keys: u64,
    /// How long ago they were fetched.
    pub age: Option<Duration>,
    /// Whether its tokens can be judged.
    pub usable: bool,
    /// Fetches that went well, and that failed.
    pub fetches: [u64; 2],
}

/// What the operating system says of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Virtual memory, in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many there may be.
    pub max_fds: u64,
    /// Threads.
    pub threads: u64,
    /// When it started, in seconds since 1970.
    pub started: f64,
}

/// Everything, as text in that format.
#[must_use]
pub fn show(scene: &Scene<'_>, format: Format) -> String {
    let mut page = Page::new(format);
    server::write(&mut page, scene);
    decisions::write(&mut page, scene.meter);
    store::write(&mut page, scene);
    work::write(&mut page, scene);
    secrets::write(&mut page, scene);
    page.finish()
}
