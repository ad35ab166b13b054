//! When keys were last used: noted on the hot path, kept in a bounded queue, written in batches.

use super::{error::AppError, house::App, keys::OwnedKey, ports::Store, together::together};
use crate::domain::{
    id::{AccountId, AccountRef, RealmName},
    key::{KeySnapshot, KeyUse, LastUse, Noted, UsesOf},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// No subscriber is told of a shorter one.
const SHORTEST_IDLENESS: Duration = Duration::from_secs(3_600);

/// Keys that were used since the last batch. Full: later ones are noted at their next use.
#[derive(Default)]
pub struct UseQueue(Mutex<Vec<Arc<KeySnapshot>>>);

impl UseQueue {
    /// Keys that wait to be written, at most.
    const CAPACITY: usize = 100_000;
    /// Keys written in one batch, at most.
    const BATCH: usize = 1_000;

    /// Notes a use. Only the first use of a key since it was last written touches the queue.
    /// False when it found no room.
    pub(super) fn note(&self, key: &Arc<KeySnapshot>, secret: u32, last: LastUse) -> bool {
        if !key.pending_use.note(secret, last) {
            return true;
        }
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = queue.len() < Self::CAPACITY;
        if room {
            queue.push(Arc::clone(key));
        } else {
            let noted = key.pending_use.take();
            key.pending_use.not_written(noted.map_or(0, |noted| noted.count));
        }
        room
    }

    /// How many wait to be written.
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn take(&self) -> Vec<Arc<KeySnapshot>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Store> App<S> {
    /// Writes what was noted since the last call. What cannot be written is given up: it is told to nobody as a fact, and the
    /// key's next use is noted again.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn write_uses(&self) -> Result<(), AppError> {
        let used = self.house.uses.take();
        if used.is_empty() {
            return Ok(());
        }
        let Some(span) = self.house.following.work("write uses", &self.house.clock) else {
            return self.write_used(&used).await;
        };
        span.around(self.write_used(&used)).await
    }

    async fn write_used(&self, used: &[Arc<KeySnapshot>]) -> Result<(), AppError> {
        let mut outcome = Ok(());
        for batch in used.chunks(UseQueue::BATCH) {
            let taken: Vec<Option<Noted>> = batch.iter().map(|key| key.pending_use.take()).collect();
            let (mut uses, mut awoken) = (Vec::with_capacity(batch.len()), Vec::new());
            for (key, noted) in batch.iter().zip(&taken) {
                let Some(Noted { secret, last, count, before }) = *noted else { continue };
                let used = KeyUse { owner: key.owner.clone(), key: key.key.id, secret, last, count };
                // Before it is written: then nobody could tell any more.
                awoken.extend(
                    before
                        .filter(|before| last.at.since(*before) >= SHORTEST_IDLENESS)
                        .map(|before| (used.clone(), before)),
                );
                uses.push(used);
            }
            if outcome.is_ok()
                && !awoken.is_empty()
                && let Err(error) = self.note_awoken(&awoken).await
            {
                tracing::warn!(%error, "that keys are used again could not be noted");
            }
            // After a failure the store is not asked again: it would fail for each batch, and take its time.
            if outcome.is_ok() {
                outcome = self.store.note_uses(&uses).await;
            }
            if outcome.is_err() {
                let counts = taken.iter().map(|noted| noted.map_or(0, |noted| noted.count));
                batch.iter().zip(counts).for_each(|(key, count)| key.pending_use.not_written(count));
            }
            let meter = &self.house.meter;
            let told = if outcome.is_ok() { &meter.uses_written } else { &meter.uses_lost };
            told.many(uses.len() as u64);
        }
        Ok(outcome?)
    }

    /// Adds to keys when they, and their secrets, were last used.
    pub(super) async fn with_last_use(&self, realm: &RealmName, keys: &mut [OwnedKey]) -> Result<(), AppError> {
        let mut by_account: BTreeMap<AccountId, Vec<usize>> = BTreeMap::new();
        for (at, owned) in keys.iter().enumerate() {
            by_account.entry(owned.account.clone()).or_default().push(at);
        }
        let questions: Vec<_> = by_account
            .iter()
            .map(|(account, places)| {
                let wanted = places.iter().filter_map(|at| keys.get(*at)).map(|owned| UsesOf {
                    key: owned.key.id,
                    secrets: owned.key.secrets.iter().map(|secret| secret.number).collect(),
                });
                let wanted: Vec<UsesOf> = wanted.collect();
                let owner = AccountRef { realm: realm.clone(), account: account.clone() };
                let store = self.store.clone();
                async move { store.read_uses(&owner, &wanted).await }
            })
            .collect();
        let uses = together(questions).await?;
        for (at, found) in by_account.into_values().flatten().zip(uses.into_iter().flatten()) {
            if let Some(owned) = keys.get_mut(at) {
                owned.uses = found;
            }
        }
        Ok(())
    }
}
