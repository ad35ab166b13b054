//! What a store tells of itself to whoever shows it.

use super::{Backend, Cached, Held};
use crate::app::ports::meter::StoreMeter;
use std::sync::Arc;

/// How a store stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFigures {
    /// `embedded` or `redis`.
    pub kind: &'static str,
    /// What is remembered of it.
    pub held: [Held; 4],
    /// How often an account was remembered, and how often it was not.
    pub accounts_asked: [u64; 2],
    /// Counters in memory; nothing for a store that keeps them elsewhere.
    pub counters: Option<usize>,
    /// Of the connections to Redis, if that is the store.
    pub redis: Option<RedisFigures>,
}

/// How the connections to Redis stand, those of all workers together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RedisFigures {
    /// Commands, scripts and pipelines that were sent; each is one round trip.
    pub round_trips: u64,
    /// Connections that were made, the first ones included.
    pub connected: u64,
    /// Attempts to connect that failed.
    pub failed: u64,
    /// Connections that were given up.
    pub lost: u64,
}

impl Backend {
    /// The same; what the store is asked is measured.
    #[must_use]
    pub fn measured(self, meter: &Arc<StoreMeter>) -> Self {
        match self {
            Self::Embedded(store) => Self::Embedded(store.measured(Arc::clone(meter))),
            Self::Redis(store) => Self::Redis(store.measured(Arc::clone(meter))),
        }
    }

    /// The same; what the store is asked is told to whoever follows the call.
    #[must_use]
    pub fn followed(self) -> Self {
        match self {
            Self::Embedded(store) => Self::Embedded(store.followed("redb")),
            Self::Redis(store) => Self::Redis(store.followed("redis")),
        }
    }

    /// How it stands.
    #[must_use]
    pub fn figures(&self) -> StoreFigures {
        fn of<S: super::Store>(kind: &'static str, store: &Cached<S>) -> StoreFigures {
            let (held, accounts_asked) = (store.held(), store.accounts_asked());
            StoreFigures { kind, held, accounts_asked, counters: None, redis: None }
        }
        match self {
            Self::Embedded(store) => {
                let counters = Some(store.store().counters());
                StoreFigures { counters, ..of("embedded", store) }
            }
            Self::Redis(store) => StoreFigures { redis: Some(store.store().figures()), ..of("redis", store) },
        }
    }
}
