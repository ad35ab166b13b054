//! Gathers what is shown from the rooms that know it.

use super::{Health, process};
use crate::{
    app::{
        house::House,
        meter::{Meter, StoreMeter},
    },
    grpc::InWork,
    metrics::{self, Cache, Format, Issuer, Now, Redis, Scene},
    server::{clock::SystemClock, places::Places, tls},
    store::{Held, StoreFigures},
    tokens::{IssuerState, Issuers},
};
use std::sync::Arc;
use tokio::sync::watch;

/// What the server takes on.
pub(in crate::server) struct Load {
    /// The calls in work on each worker.
    pub(in crate::server) calls: Vec<InWork>,
    /// So many in work on all workers, at most.
    pub(in crate::server) calls_most: usize,
    /// The acts in work.
    pub(in crate::server) acts: InWork,
    /// So many in work, at most.
    pub(in crate::server) acts_most: usize,
    /// The streams of the audit log.
    pub(in crate::server) audit: InWork,
    /// The places for connections.
    pub(in crate::server) places: Arc<Places>,
    /// Counters in memory, at most.
    pub(in crate::server) counters: usize,
}

/// Everything that is asked for what is shown.
pub(in crate::server) struct Figures {
    pub(in crate::server) meter: Arc<Meter>,
    pub(in crate::server) store: Box<dyn Fn() -> StoreFigures + Send + Sync>,
    pub(in crate::server) store_meter: Arc<StoreMeter>,
    pub(in crate::server) house: watch::Receiver<Arc<House>>,
    pub(in crate::server) issuers: watch::Receiver<Arc<Issuers>>,
    pub(in crate::server) load: Load,
    pub(in crate::server) clock: Arc<SystemClock>,
    pub(in crate::server) certificates: Arc<tls::Present>,
}

impl Figures {
    /// The page.
    pub(super) fn show(&self, health: &Health, format: Format) -> String {
        let scene = Scene { meter: &self.meter, store_meter: &self.store_meter, now: self.now(health) };
        metrics::show(&scene, format)
    }

    /// How the issuers stand.
    pub(super) fn issuers(&self) -> Vec<IssuerState> {
        self.issuers.borrow().states()
    }

    fn now(&self, health: &Health) -> Now {
        let (house, load, store) = (Arc::clone(&self.house.borrow()), &self.load, (self.store)());
        let (tokens, tokens_room) = self.issuers.borrow().remembered();
        // A token is remembered by its hash, with what it says.
        let tokens = Cache {
            name: "tokens",
            entries: tokens as u64,
            room: tokens_room,
            bytes: (tokens as u64).saturating_mul(500),
            asked: None,
        };
        let cache = |held: &Held| Cache {
            name: held.of,
            entries: held.entries as u64,
            room: held.room,
            bytes: held.bytes,
            asked: (held.of == "accounts").then_some(store.accounts_asked),
        };
        let issuer = |state: IssuerState| Issuer {
            realm: state.realm,
            issuer: state.issuer,
            keys: state.keys as u64,
            age: state.age,
            usable: state.usable,
            fetches: state.fetches,
        };
        Now {
            version: env!("CARGO_PKG_VERSION"),
            store_kind: store.kind,
            store_up: health.store_answers(),
            store_problems: health.store_problems(),
            ready: health.is_ready(),
            caches: store.held.iter().map(cache).chain([tokens]).collect(),
            counters: store.counters.map(|counters| (counters as u64, load.counters as u64)),
            redis: store.redis.map(|redis| Redis {
                round_trips: redis.round_trips,
                connected: redis.connected,
                failed: redis.failed,
                lost: redis.lost,
            }),
            secrets: house.secrets.clone(),
            issuers: self.issuers().into_iter().map(issuer).collect(),
            calls: (load.calls.iter().map(|calls| calls.count() as u64).sum(), load.calls_most as u64),
            acts: (load.acts.count() as u64, load.acts_most as u64),
            connections: load.places.taken(),
            audit_streams: load.audit.count() as u64,
            uses_waiting: house.uses_waiting() as u64,
            credentials_held: house.vault.held() as u64,
            clock_ahead: self.clock.ahead(),
            certificates_end: self.certificates.ends().to_vec(),
            process: process::read(self.clock.began().as_micros() as f64 / 1_000_000.0),
        }
    }
}
