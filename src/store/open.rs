//! Opening the store that the configuration names.

use super::{Backend, CacheSettings, Cached, embedded, embedded::Embedded, redis, redis::Redis};
use crate::{
    app::ports::{Clock, StoreError},
    domain::key::SecretRing,
};
use std::{path::PathBuf, sync::Arc};

/// Which store, and what is remembered of it.
#[derive(Clone)]
pub struct StoreOptions {
    /// Where it is.
    pub place: Where,
    /// What is remembered of it.
    pub cache: CacheSettings,
}

/// Where a store is.
#[derive(Clone)]
pub enum Where {
    /// In a directory.
    Directory {
        /// Which one.
        path: PathBuf,
        /// How many counters are kept in memory, at most.
        counters: usize,
    },
    /// In this Redis.
    Redis(Box<redis::RedisOptions>),
}

/// Why a store cannot be opened. Each is a sentence for whoever started the server.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The embedded one.
    #[error(transparent)]
    Embedded(#[from] embedded::OpenError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] redis::OpenError),
}

impl Backend {
    /// Opens a store.
    ///
    /// # Errors
    /// Says what is wrong and what to do.
    pub async fn open(options: &StoreOptions, ring: &SecretRing, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Ok(match &options.place {
            Where::Directory { path, counters } => {
                let store = Embedded::open(path, ring, Arc::clone(&clock), *counters)?;
                Self::Embedded(Cached::new(store, options.cache, clock))
            }
            Where::Redis(redis) => {
                let store = Redis::connect(redis::RedisOptions::clone(redis), ring, Arc::clone(&clock)).await?;
                Self::Redis(Cached::new(store, options.cache, clock))
            }
        })
    }

    /// The same store for another runtime: a connection belongs to the runtime that it was made on, what is remembered
    /// belongs to all.
    ///
    /// # Errors
    /// When a further connection cannot be made.
    pub async fn for_this_runtime(&self) -> Result<Self, OpenError> {
        Ok(match self {
            Self::Embedded(store) => Self::Embedded(store.clone()),
            Self::Redis(store) => Self::Redis(store.over(store.store().reconnect().await?)),
        })
    }

    /// The same store for acts of management, which do not hurry as decisions do.
    #[must_use]
    pub fn at_leisure(&self) -> Self {
        match self {
            Self::Embedded(store) => Self::Embedded(store.clone()),
            Self::Redis(store) => Self::Redis(store.over(store.store().at_leisure())),
        }
    }

    /// Seals and opens with another ring from now on, on every runtime. It has to hold every version that the one before it
    /// held.
    ///
    /// # Errors
    /// When the store cannot be told, or is sealed with a secret that the ring does not hold: then nothing changes.
    pub async fn take_ring(&self, ring: &SecretRing) -> Result<(), StoreError> {
        match self {
            Self::Embedded(store) => store.store().take_ring(ring).await,
            Self::Redis(store) => store.store().take_ring(ring).await,
        }
    }

    /// Where the store is, for people. Holds no password.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Embedded(_) => "embedded".to_owned(),
            Self::Redis(store) => format!("redis at {}", store.store().address()),
        }
    }
}
