//! Changes that replicas have before they are acknowledged (`WAIT`): what was acknowledged is then not lost with the primary.
//!
//! A change and the waiting for it go over one connection, to one server: only there does `WAIT` speak of that change.

use super::{Redis, RedisOptions, connection::Connection, keyspace};
use crate::{
    app::ports::{CommitError, StoreError},
    domain::commit::Change,
};
use redis::{Value, cmd};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// The replicas that must have a change.
pub(super) struct Replicas {
    /// Changes go over this one: whoever waits holds back all that comes behind.
    connection: Connection,
    needed: u32,
    patience: Duration,
    /// For a change with all its steps.
    whole: Duration,
    /// Whether a change may have been applied that not enough replicas told to have.
    doubt: AtomicBool,
}

impl Replicas {
    pub(super) fn new(connection: Connection, options: &RedisOptions) -> Self {
        let (needed, patience) = (options.wait_replicas, options.wait_timeout);
        let leisure = options.deadline.max(RedisOptions::MANAGEMENT_DEADLINE);
        let whole = leisure.saturating_add(patience).saturating_add(patience);
        Self { connection, needed, patience, whole, doubt: AtomicBool::new(false) }
    }

    /// Applies a change, and acknowledges it when the replicas have it. Where too few are there beforehand, nothing is changed.
    pub(super) async fn commit(&self, store: &Redis, change: &Change) -> Result<(), CommitError> {
        let act = async {
            let here = self.connection.pinned().await?;
            // Most often they have all there is: the act before waited for that.
            let there = count(&here, self.needed, self.patience).await?;
            if there < u64::from(self.needed) {
                return Err(StoreError::Unavailable(format!(
                    "nothing was changed: {there} of the {} replicas of Redis at `{}` that must have a change are up to date",
                    self.needed,
                    here.place()
                ))
                .into());
            }
            // Before it is sent: nobody may wait for the end of this.
            let doubted = self.doubt.swap(true, Ordering::Relaxed);
            let written = Redis { connection: here.clone(), ..store.clone() }.write(change).await;
            if matches!(written, Err(CommitError::Conflict | CommitError::DigestTaken(_))) {
                self.doubt.store(doubted, Ordering::Relaxed);
            }
            written?;
            self.wait(&here).await.map_err(CommitError::Store)
        };
        self.connection.within(self.whole, act).await
    }

    /// Waits until the replicas have what was changed before, where that is in doubt. Whoever begins an act here has changed
    /// nothing yet.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        if !self.doubt.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.confirm().await.map_err(|error| match error {
            StoreError::Unconfirmed(why) => StoreError::Unavailable(format!(
                "nothing was changed: replicas still lack what was changed before: {why}"
            )),
            error => error,
        })
    }

    /// Waits until the replicas have everything that was changed before, by whomever.
    pub(super) async fn confirm(&self) -> Result<(), StoreError> {
        let confirming = async {
            let here = self.connection.pinned().await?;
            // Changes reach replicas in their order, so they have what was before when they have this.
            here.query(cmd("SET").arg(keyspace::BARRIER).arg(1)).await?;
            self.wait(&here).await
        };
        self.connection.within(self.whole, confirming).await
    }

    async fn wait(&self, here: &Connection) -> Result<(), StoreError> {
        let unconfirmed = |why: String| StoreError::Unconfirmed(format!("Redis at `{}`: {why}", here.place()));
        let counted = count(here, self.needed, self.patience).await.map_err(|error| unconfirmed(error.to_string()))?;
        if counted < u64::from(self.needed) {
            let (needed, waited) = (self.needed, self.patience.as_millis());
            return Err(unconfirmed(format!("{counted} of {needed} replicas acknowledged it within {waited} ms")));
        }
        self.doubt.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// How many replicas have all that was written over this connection, once so many have it or the time is over.
async fn count(here: &Connection, needed: u32, patience: Duration) -> Result<u64, StoreError> {
    let mut command = cmd("WAIT");
    command.arg(needed).arg(patience.as_millis().max(1).to_string());
    match here.query(&command).await? {
        Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
        _ => Err(here.misunderstood("the number of replicas")),
    }
}
