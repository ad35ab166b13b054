//! What the use cases need of a store.

use super::Problem;
use crate::domain::{
    account::{Account, AccountSnapshot},
    audit::AuditEvent,
    commit::Change,
    entry::{Entry, EntryId, EntryKind},
    id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
    key::{Digest, IdempotencyRecord, KeyRecord, KeySnapshot, KeyUse, KeyUses, UsesOf},
    limit::{Charged, Plan},
    time::Ticks,
};
use std::{future::Future, sync::Arc, time::Duration};

/// A store of accounts, keys and counters. Two verbs change it, [`Store::commit`] and [`Store::charge`]; there is no third
/// way to write. Every store passes the same contract tests; a visible difference between two stores is a bug.
pub trait Store: Clone + Send + Sync + 'static {
    /// The key that a secret's digests lead to, working or not, with the mark that [`Store::charge`] confirms. It carries one
    /// of them at least. A key whose secret moves from one of the digests to another meanwhile is found all the same.
    fn find_key(&self, sought: &Sought<'_>) -> impl Future<Output = Result<Found, StoreError>> + Send;

    /// A key by its id, working or not, with when it was last used and the mark that [`Store::charge`] confirms.
    fn find_key_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> impl Future<Output = Result<Option<Arc<KeySnapshot>>, StoreError>> + Send;

    /// How long one decision may wait for the store, all its steps together; nothing for a store that is not waited for.
    fn patience(&self) -> Option<Duration> {
        None
    }

    /// The key that is remembered under a digest, if any is: told at once.
    fn recall(&self, _realm: &RealmName, _digest: &Digest) -> Option<Arc<KeySnapshot>> {
        None
    }

    /// Since when it is remembered that the digests lead nowhere, if it is: told at once.
    fn recall_nothing(&self, _sought: &Sought<'_>) -> Option<Ticks> {
        None
    }

    /// An account as it is, there or not, with the mark that [`Store::charge`] confirms.
    fn find_account(
        &self,
        owner: &AccountRef,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> impl Future<Output = Result<Arc<AccountSnapshot>, StoreError>> + Send;

    /// Checks a plan and charges all of it or nothing. Nothing is charged and the answer is [`Charged::Stale`] when the account
    /// of any fence changed since it was read: an answer that is not `Stale` confirms that what was read still holds. A plan
    /// without limits only confirms. Where there is no room for a counter, its limit is not counted if it may be passed over;
    /// else nothing is charged, and the error is [`StoreError::Full`].
    fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>)
    -> impl Future<Output = Result<Charged, StoreError>> + Send;

    /// Applies a change as a whole or not at all. Once it returns, no decision on this or any other node rests on what was
    /// before, except where a realm allows old data while the store is silent.
    fn commit(&self, change: &Change) -> impl Future<Output = Result<(), CommitError>> + Send;

    /// The account's record, if it exists.
    fn read_account(&self, owner: &AccountRef) -> impl Future<Output = Result<Option<Account>, StoreError>> + Send;

    /// Keys of an account by id, ended ones included, in the order of `ids`.
    fn read_keys(
        &self,
        owner: &AccountRef,
        ids: &[KeyId],
    ) -> impl Future<Output = Result<Vec<Option<KeyRecord>>, StoreError>> + Send;

    /// The account that a key of the realm belongs to.
    fn locate_key(
        &self,
        realm: &RealmName,
        key: KeyId,
    ) -> impl Future<Output = Result<Option<AccountId>, StoreError>> + Send;

    /// A page of keys, ordered by account and then by id. Costs the same however many keys there are.
    fn list_keys(&self, query: &KeyQuery) -> impl Future<Output = Result<KeyListing, StoreError>> + Send;

    /// Accounts of a realm in the order of their names, those behind `after`, at most `limit`. Costs the same however many there
    /// are. One that an interrupted act announced and never made may be among them: it has no record.
    fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<AccountId>, StoreError>> + Send;

    /// The act that was remembered under an idempotency key's slot, unless its time is over.
    fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> impl Future<Output = Result<Option<IdempotencyRecord>, StoreError>> + Send;

    /// An entry of an account, if there is one of that name.
    fn read_entry(
        &self,
        owner: &AccountRef,
        id: &EntryId,
    ) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// Entries of one kind in the order of their names. Costs the same however many there are.
    fn list_entries(
        &self,
        query: &EntryQuery<'_>,
    ) -> impl Future<Output = Result<Vec<(EntryName, Entry)>, StoreError>> + Send;

    /// Writes when keys were last used, and counts their uses. Not a change of any account: it grants and takes nothing, so it moves no version and
    /// is not audited. A key that ended in between is noted like any other: it was let through before.
    fn note_uses(&self, uses: &[KeyUse]) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// When keys of an account, and their secrets, were last used, in the order of `wanted`.
    fn read_uses(
        &self,
        owner: &AccountRef,
        wanted: &[UsesOf],
    ) -> impl Future<Output = Result<Vec<KeyUses>, StoreError>> + Send;

    /// Events of the account's audit chain, in order, from the one with the number `from` (the first has 1), at most `limit`.
    fn read_audit(
        &self,
        owner: &AccountRef,
        from: u64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<AuditEvent>, StoreError>> + Send;

    /// A memo, if there is one of that name.
    fn read_memo(&self, id: &MemoId<'_>) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;

    /// Memos of the shelf of `first`, from that name on, in the order of their names. Costs the same however many there are.
    fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> impl Future<Output = Result<Memos, StoreError>> + Send;

    /// Writes a memo, or removes it, if what stands there is as expected; tells whether it was. What is written is not empty.
    /// Not a change of any account: it grants and takes nothing.
    fn write_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Whether the store can decide right now.
    fn ping(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// What is wrong with the store, as far as it can be seen from here.
    fn examine(&self) -> impl Future<Output = Vec<Problem>> + Send {
        std::future::ready(Vec::new())
    }
}

/// Where a memo stands: what work in the background remembers between its steps, outside of accounts.
#[derive(Debug, Clone, Copy)]
pub struct MemoId<'a> {
    /// The realm.
    pub realm: &'a RealmName,
    /// Its shelf.
    pub shelf: Shelf,
    /// Its name, of any bytes.
    pub name: &'a [u8],
}

/// Memos, each with its name.
pub type Memos = Vec<(Vec<u8>, Vec<u8>)>;

/// Memos of one kind, in the order of their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shelf {
    /// Accounts that may have news for webhooks.
    Notices,
    /// How far each account's news were delivered.
    Cursors,
    /// What is to be told at a time, by time.
    Due,
    /// What could not be delivered, by time.
    Dead,
}

impl Shelf {
    /// Every shelf.
    pub const ALL: [Self; 4] = [Self::Notices, Self::Cursors, Self::Due, Self::Dead];

    /// The shelf of a stored code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|shelf| shelf.code() == code)
    }

    /// The shelf as stored.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Notices => 1,
            Self::Cursors => 2,
            Self::Due => 3,
            Self::Dead => 4,
        }
    }
}

/// What must stand under a memo's name for it to be written.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// Whatever.
    Anything,
    /// Nothing.
    Absent,
    /// This.
    Is(&'a [u8]),
}

/// The key of which secret is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// The realm.
    pub realm: &'a RealmName,
    /// Every digest that the secret may be stored under, the likeliest first.
    pub digests: &'a [Digest],
    /// Whether a remembered answer will do.
    pub freshness: Freshness,
    /// Whether to read as well when the key was last used.
    pub uses: bool,
    /// When it must be found; nothing: within the store's own time.
    pub due: Option<Ticks>,
}

/// Whether a remembered answer will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// It will: the charge confirms it.
    Remembered,
    /// It will not: ask the store itself.
    Fresh,
}

/// What a secret's digests lead to.
#[derive(Debug, Clone)]
pub enum Found {
    /// A key.
    Key(Arc<KeySnapshot>),
    /// No key, as of that reading of the clock.
    Nothing(Ticks),
}

/// What a charge confirms.
#[derive(Debug, Clone, Copy)]
pub struct Fence<'a> {
    /// The account that was read.
    pub owner: &'a AccountRef,
    /// The stamp of what was read: [`KeySnapshot::stamp`] or [`AccountSnapshot::stamp`].
    pub stamp: u128,
}

impl<'a> Fence<'a> {
    /// Of another account than the key's.
    #[must_use]
    pub fn of(read: &'a AccountSnapshot) -> Self {
        Self { owner: &read.owner, stamp: read.stamp }
    }
}

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct KeyQuery {
    /// The realm.
    pub realm: RealmName,
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only ended ones, or only others.
    pub ended: Option<bool>,
    /// Begin after this key.
    pub after: Option<(AccountId, KeyId)>,
    /// Read at most so many keys, at least 1.
    pub limit: usize,
}

/// Which entries of an account to list.
#[derive(Debug, Clone, Copy)]
pub struct EntryQuery<'a> {
    /// The account.
    pub owner: &'a AccountRef,
    /// The kind of entry.
    pub kind: EntryKind,
    /// Begin after this name.
    pub after: Option<&'a EntryName>,
    /// Read at most so many.
    pub limit: usize,
}

/// A page of keys.
#[derive(Debug, Clone, Default)]
pub struct KeyListing {
    /// The keys, each with its account.
    pub keys: Vec<(AccountId, KeyRecord)>,
    /// What [`KeyQuery::after`] of the next page must be: the last key of this one. Absent: there is no next page.
    pub next: Option<(AccountId, KeyId)>,
}

/// Why a store could not answer. None of these is ever a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, or not able to serve.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// No answer within the deadline.
    #[error("the store did not answer within {} ms", .0.as_millis())]
    Deadline(Duration),
    /// A change was applied, and not enough copies of the store say that they have it: should the store be lost now, it may be
    /// gone.
    #[error("whether a change will last is not known: {0}")]
    Unconfirmed(String),
    /// No room left for writing.
    #[error("the store is full: {0}")]
    Full(String),
    /// A record is not what keygate wrote, or comes from a newer version.
    #[error("the store holds a record that cannot be trusted: {0}")]
    Corrupt(String),
}

/// Why a change was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The account is not at the expected version.
    #[error("the account changed in between")]
    Conflict,
    /// Nothing is changed just now, by configuration.
    #[error("management is read-only just now: the server's settings say `read_only` under `[management]`")]
    ReadOnly,
    /// A new lookup's digest leads to a key already.
    #[error("the secret is stored already")]
    DigestTaken(Digest),
    /// The store could not answer; after a deadline, whether the change was applied is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}
