//! Where accounts, keys and counters are kept: one contract, several stores.
//!
//! May use the ports of `app` and the domain. Must never know the API, nor read a clock of its own.

mod cached;
pub mod embedded;
mod figures;
mod marks;
mod open;
pub mod record;
pub mod redis;

pub use cached::{CacheSettings, Cached, Held};
pub use figures::{RedisFigures, StoreFigures};
pub use open::{OpenError, StoreOptions, Where};

use crate::{
    app::ports::{
        CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos, Problem,
        Sought, Store, StoreError,
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
use embedded::Embedded;
use redis::Redis;
use std::{sync::Arc, time::Duration};

/// The store that the configuration names. A closed list: whoever asks it pays a branch, no boxed future.
#[derive(Clone)]
pub enum Backend {
    /// One process, one directory.
    Embedded(Cached<Embedded>),
    /// Any number of processes, one Redis.
    Redis(Cached<Redis>),
}

/// Passes a call on to the store that there is.
macro_rules! delegate {
    ($self:ident, $store:ident => $call:expr) => {
        match $self {
            Self::Embedded($store) => $call.await,
            // Apart, since what waits for a network is larger than all else of a decision, and every decision carries room for it.
            Self::Redis($store) => Box::pin($call).await,
        }
    };
}

impl Store for Backend {
    async fn find_key(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        delegate!(self, store => store.find_key(sought))
    }

    async fn find_key_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        delegate!(self, store => store.find_key_by_id(owner, id, freshness, due))
    }

    fn patience(&self) -> Option<Duration> {
        match self {
            Self::Embedded(store) => store.patience(),
            Self::Redis(store) => store.patience(),
        }
    }

    fn recall(&self, realm: &RealmName, digest: &Digest) -> Option<Arc<KeySnapshot>> {
        match self {
            Self::Embedded(store) => store.recall(realm, digest),
            Self::Redis(store) => store.recall(realm, digest),
        }
    }

    fn recall_nothing(&self, sought: &Sought<'_>) -> Option<Ticks> {
        match self {
            Self::Embedded(store) => store.recall_nothing(sought),
            Self::Redis(store) => store.recall_nothing(sought),
        }
    }

    async fn find_account(
        &self,
        owner: &AccountRef,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Arc<AccountSnapshot>, StoreError> {
        delegate!(self, store => store.find_account(owner, freshness, due))
    }

    async fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>) -> Result<Charged, StoreError> {
        delegate!(self, store => store.charge(fences, plan))
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        delegate!(self, store => store.commit(change))
    }

    async fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        delegate!(self, store => store.read_account(owner))
    }

    async fn read_keys(&self, owner: &AccountRef, ids: &[KeyId]) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        delegate!(self, store => store.read_keys(owner, ids))
    }

    async fn locate_key(&self, realm: &RealmName, key: KeyId) -> Result<Option<AccountId>, StoreError> {
        delegate!(self, store => store.locate_key(realm, key))
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        delegate!(self, store => store.list_keys(query))
    }

    async fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        delegate!(self, store => store.list_accounts(realm, after, limit))
    }

    async fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        delegate!(self, store => store.read_idempotency(owner, slot))
    }

    async fn read_audit(&self, owner: &AccountRef, from: u64, limit: usize) -> Result<Vec<AuditEvent>, StoreError> {
        delegate!(self, store => store.read_audit(owner, from, limit))
    }

    async fn read_entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        delegate!(self, store => store.read_entry(owner, id))
    }

    async fn list_entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        delegate!(self, store => store.list_entries(query))
    }

    async fn note_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        delegate!(self, store => store.note_uses(uses))
    }

    async fn read_uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        delegate!(self, store => store.read_uses(owner, wanted))
    }

    async fn read_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        delegate!(self, store => store.read_memo(id))
    }

    async fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        delegate!(self, store => store.list_memos(first, limit))
    }

    async fn write_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        delegate!(self, store => store.write_memo(id, expected, value))
    }

    async fn ping(&self) -> Result<(), StoreError> {
        delegate!(self, store => store.ping())
    }

    async fn examine(&self) -> Vec<Problem> {
        delegate!(self, store => store.examine())
    }
}
