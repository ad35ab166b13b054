//! Remembers what digests lead to, over any store. Knows nothing of how that store reads or writes.
//!
//! Why a remembered key can never be confirmed wrongly: an entry is the snapshot that the store gave, with the stamp that
//! the store took before it read. The cache changes neither. However late an entry is put in, and whatever commit it raced
//! with, `charge` compares its stamp with the store's own: what was read before an acknowledged commit carries a stamp from
//! before it and comes back as `Stale`, upon which the caller asks again with [`Freshness::Fresh`]. Dropping entries after a
//! local commit only saves that second round.
//!
//! A remembered miss has no charge that confirms it, so it carries a generation instead: taken before the store is asked,
//! raised after every local commit that adds digests, whatever its outcome. A miss that was read before such a commit is of
//! an older generation once the commit returns, so nothing hides a key that this node acknowledged. What was never
//! acknowledged here (a commit whose caller went away, a commit of another node) shows after the miss's lifetime at the
//! latest.

mod asked;
mod memory;
mod room;

pub use room::{CacheSettings, Held};

use crate::{
    app::ports::{
        Clock, CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos,
        Problem, Sought, Store, StoreError,
        meter::{Command, Count, StoreMeter},
    },
    domain::{
        account::{Account, AccountSnapshot},
        audit::AuditEvent,
        commit::Change,
        entry::{Entry, EntryId},
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
        key::{Digest, IdempotencyRecord, KeyRecord, KeySnapshot, KeyUse, KeyUses, UsesOf},
        limit::{Charged, Plan},
        time::Ticks,
    },
};
use memory::{Forget, Memory};
use std::{sync::Arc, time::Duration};

/// A store with a memory for keys. Cheap to clone; clones share the memory.
#[derive(Clone)]
pub struct Cached<S> {
    store: S,
    memory: Arc<Memory>,
    meter: Option<Arc<StoreMeter>>,
    /// What the store is called where calls are followed; absent: none is.
    followed: Option<&'static str>,
}

impl<S: Store> Cached<S> {
    /// A memory over `store`.
    #[must_use]
    pub fn new(store: S, settings: CacheSettings, clock: Arc<dyn Clock>) -> Self {
        Self { store, memory: Arc::new(Memory::new(settings, clock)), meter: None, followed: None }
    }

    /// The same memory over another way to the same store.
    #[must_use]
    pub fn over(&self, store: S) -> Self {
        Self { store, memory: Arc::clone(&self.memory), meter: self.meter.clone(), followed: self.followed }
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The same; what the store underneath is asked is measured.
    #[must_use]
    pub fn measured(self, meter: Arc<StoreMeter>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// The same; what the store underneath is asked is told to whoever follows the call. `system` is what it is called.
    #[must_use]
    pub fn followed(self, system: &'static str) -> Self {
        Self { followed: Some(system), ..self }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.memory.keys()
    }

    /// How much is remembered of what.
    #[must_use]
    pub fn held(&self) -> [Held; 4] {
        self.memory.held()
    }

    /// How often an account was remembered, and how often it was not.
    #[must_use]
    pub fn accounts_asked(&self) -> [u64; 2] {
        self.memory.accounts_asked.each_ref().map(Count::get)
    }
}

impl<S: Store> Store for Cached<S> {
    async fn find_key(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        if sought.freshness == Freshness::Remembered
            && let Some(found) = self.memory.recall(sought)
        {
            return Ok(found);
        }
        let generation = self.memory.generation();
        let found = self.timed(Command::FindKey, self.store.find_key(sought)).await?;
        self.memory.remember(sought, &found, generation);
        Ok(found)
    }

    fn patience(&self) -> Option<Duration> {
        self.store.patience()
    }

    fn recall(&self, realm: &RealmName, digest: &Digest) -> Option<Arc<KeySnapshot>> {
        self.memory.key(realm, digest)
    }

    fn recall_nothing(&self, sought: &Sought<'_>) -> Option<Ticks> {
        self.memory.recall_nothing(sought)
    }

    async fn find_key_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        if freshness == Freshness::Remembered
            && let Some(key) = self.memory.by_id.get(&id).filter(|key| key.owner == *owner)
        {
            return Ok(Some(key));
        }
        let found = self.timed(Command::FindKeyById, self.store.find_key_by_id(owner, id, freshness, due)).await?;
        match &found {
            Some(key) => self.memory.by_id.insert(id, Arc::clone(key)),
            None => drop(self.memory.by_id.remove(&id)),
        }
        Ok(found)
    }

    async fn find_account(
        &self,
        owner: &AccountRef,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Arc<AccountSnapshot>, StoreError> {
        if freshness == Freshness::Remembered
            && let Some(account) = self.memory.accounts.get(owner)
        {
            let [remembered, _] = &self.memory.accounts_asked;
            remembered.one();
            return Ok(account);
        }
        let [_, asked] = &self.memory.accounts_asked;
        asked.one();
        let found = self.timed(Command::FindAccount, self.store.find_account(owner, freshness, due)).await?;
        self.memory.accounts.insert(owner.clone(), Arc::clone(&found));
        Ok(found)
    }

    async fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>) -> Result<Charged, StoreError> {
        self.timed(Command::Charge, self.store.charge(fences, plan)).await
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        let _forget = Forget { memory: &self.memory, change };
        self.timed(Command::Commit, self.store.commit(change)).await
    }

    async fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        self.timed(Command::Read, self.store.read_account(owner)).await
    }

    async fn read_keys(&self, owner: &AccountRef, ids: &[KeyId]) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        self.timed(Command::Read, self.store.read_keys(owner, ids)).await
    }

    async fn locate_key(&self, realm: &RealmName, key: KeyId) -> Result<Option<AccountId>, StoreError> {
        self.timed(Command::Read, self.store.locate_key(realm, key)).await
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        self.timed(Command::List, self.store.list_keys(query)).await
    }

    async fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.timed(Command::List, self.store.list_accounts(realm, after, limit)).await
    }

    async fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.timed(Command::Read, self.store.read_idempotency(owner, slot)).await
    }

    async fn read_audit(&self, owner: &AccountRef, from: u64, limit: usize) -> Result<Vec<AuditEvent>, StoreError> {
        self.timed(Command::ReadAudit, self.store.read_audit(owner, from, limit)).await
    }

    async fn read_entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        self.timed(Command::Read, self.store.read_entry(owner, id)).await
    }

    async fn list_entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        self.timed(Command::List, self.store.list_entries(query)).await
    }

    async fn note_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.timed(Command::NoteUses, self.store.note_uses(uses)).await
    }

    async fn read_uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        self.timed(Command::ReadUses, self.store.read_uses(owner, wanted)).await
    }

    async fn read_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed(Command::Memo, self.store.read_memo(id)).await
    }

    async fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        self.timed(Command::Memo, self.store.list_memos(first, limit)).await
    }

    async fn write_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.timed(Command::Memo, self.store.write_memo(id, expected, value)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.timed(Command::Ping, self.store.ping()).await
    }

    async fn examine(&self) -> Vec<Problem> {
        self.store.examine().await
    }
}
