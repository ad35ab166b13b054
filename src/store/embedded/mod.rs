//! The store of one process: what must last in one file (redb), counters in memory.
//!
//! One data directory, one process. Reads go straight to the file's pages; changes go through one writing thread, which
//! answers once they are synced. Must never know of tonic, nor read a clock of its own.

mod counters;
mod open;
mod read;
mod room;
mod stamps;
mod tables;
#[cfg(test)]
mod tests;
mod write;

pub use open::{FILE_NAME, FORMAT, OpenError};
pub use write::QUEUE;

use super::record::RecordCodec;
use crate::{
    app::ports::{
        Clock, CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos,
        Problem, ProblemCode, Sought, Store, StoreError,
    },
    domain::{
        account::{Account, AccountSnapshot},
        audit::AuditEvent,
        commit::Change,
        entry::{Entry, EntryId},
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
        key::{IdempotencyRecord, KeyRecord, KeySnapshot, KeyUse, KeyUses, SecretRing, UsesOf},
        limit::{Charged, Plan},
        time::Ticks,
    },
};
use counters::Counters;
use stamps::Stamps;
use std::{
    path::Path,
    sync::{Arc, OnceLock},
};
use write::Writer;

/// The embedded store. Cheap to clone; the directory is free again once the last clone is dropped.
#[derive(Clone)]
pub struct Embedded {
    // The writer goes first: it ends its thread, and with it the thread's hold on the file.
    writer: Arc<Writer>,
    core: Arc<Core>,
}

/// What readers and the writing thread share.
struct Core {
    database: redb::Database,
    codec: RecordCodec,
    clock: Arc<dyn Clock>,
    stamps: Stamps,
    counters: Counters,
    /// Why nothing can be written any more: the database takes no change after one that failed, until it is opened again.
    halted: OnceLock<String>,
}

impl Embedded {
    /// Bytes of the file that are kept in memory.
    pub const CACHE_BYTES: usize = 64 << 20;

    /// Opens the store in `directory`, which is made when it is not there, with room for so many counters.
    ///
    /// # Errors
    /// Names the directory or file, what is wrong and what to do.
    pub fn open(
        directory: &Path,
        ring: &SecretRing,
        clock: Arc<dyn Clock>,
        counters: usize,
    ) -> Result<Self, OpenError> {
        let codec = RecordCodec::new(ring);
        let database = open::open(directory, &codec, Self::CACHE_BYTES)?;
        let counters = Counters::new(Arc::clone(&clock), counters);
        let core = Arc::new(Core { database, codec, clock, stamps: Stamps::new(), counters, halted: OnceLock::new() });
        let writer = Writer::start(Arc::clone(&core));
        let writer = writer.map_err(|cause| OpenError::Thread { directory: directory.to_owned(), cause })?;
        Ok(Self { writer: Arc::new(writer), core })
    }

    /// Seals and opens with another ring from now on. It has to hold every version that the file was ever sealed with.
    ///
    /// # Errors
    /// When it does not, or the file cannot be written: then nothing changes.
    pub async fn take_ring(&self, ring: &SecretRing) -> Result<(), StoreError> {
        self.writer.mark(&self.core, &RecordCodec::new(ring)).await?;
        self.core.codec.take_over(ring);
        Ok(())
    }

    /// How many counters are in memory.
    #[must_use]
    pub fn counters(&self) -> usize {
        self.core.counters.len()
    }
}

impl Store for Embedded {
    async fn find_key(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        self.core.find_key(sought)
    }

    async fn find_key_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
        _freshness: Freshness,
        _due: Option<Ticks>,
    ) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        self.core.find_key_by_id(owner, id)
    }

    async fn find_account(
        &self,
        owner: &AccountRef,
        _freshness: Freshness,
        _due: Option<Ticks>,
    ) -> Result<Arc<AccountSnapshot>, StoreError> {
        self.core.find_account(owner).map(Arc::new)
    }

    async fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>) -> Result<Charged, StoreError> {
        if fences.iter().any(|fence| self.core.stamps.current(fence.owner) != fence.stamp) {
            return Ok(Charged::Stale);
        }
        self.core.counters.charge(plan).map(Charged::Decided)
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        self.writer.commit(change).await
    }

    async fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        self.core.read_account(owner)
    }

    async fn read_keys(&self, owner: &AccountRef, ids: &[KeyId]) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        self.core.read_keys(owner, ids)
    }

    async fn locate_key(&self, realm: &RealmName, key: KeyId) -> Result<Option<AccountId>, StoreError> {
        self.core.locate_key(realm, key)
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        self.core.list_keys(query)
    }

    async fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.core.list_accounts(realm, after, limit)
    }

    async fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.core.read_idempotency(owner, slot)
    }

    async fn read_audit(&self, owner: &AccountRef, from: u64, limit: usize) -> Result<Vec<AuditEvent>, StoreError> {
        self.core.read_audit(owner, from, limit)
    }

    async fn note_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.writer.note_uses(uses).await
    }

    async fn read_uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        self.core.read_uses(owner, wanted)
    }

    async fn read_entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        self.core.read_entry(owner, id)
    }

    async fn list_entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        self.core.list_entries(query)
    }

    async fn read_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.core.read_memo(id)
    }

    async fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        self.core.list_memos(first, limit)
    }

    async fn write_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.writer.write_memo(&self.core, id, expected, value).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.core.ping()
    }

    async fn examine(&self) -> Vec<Problem> {
        let told = |cause| {
            let what = format!(
                "the embedded store could not be written: {cause}: no key is made, changed or ended, revoking neither"
            );
            Problem::slight(ProblemCode::Disk, what, "make room on its disk, then restart keygate")
        };
        self.core.halted.get().map(told).into_iter().collect()
    }
}
