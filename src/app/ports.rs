//! What the use cases need from outside.

use crate::domain::{
    account::{Account, AccountSnapshot},
    audit::AuditEvent,
    commit::Change,
    embed::EmbedToken,
    entry::{Entry, EntryId, EntryKind},
    id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
    key::{Digest, IdempotencyRecord, KeyRecord, KeySnapshot, KeyUse, KeyUses, UsesOf},
    limit::{Charged, Plan},
    onboarding,
    seal::DataKey,
    secret::{Secret, SecretRef},
    time::{Ticks, Timestamp},
    token::{Token, TokenFlaw},
    webhook::Letter,
};
use std::{future::Future, pin::Pin, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// A store of accounts, keys and counters. Two verbs change it, [`Store::commit`] and [`Store::charge`]; there is no third
/// way to write. Every store passes the same contract tests; a visible difference between two stores is a bug.
pub trait Store: Clone + Send + Sync + 'static {
    /// The key that a secret's digests lead to, working or not, with the mark that [`Store::charge`] confirms. It carries one
    /// of them at least. A key whose secret moves from one of the digests to another meanwhile is found all the same.
    fn find_key(&self, sought: &Sought<'_>) -> impl Future<Output = Result<Found, StoreError>> + Send;

    /// A key by its id, working or not, with the mark that [`Store::charge`] confirms.
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

/// Takes messages to those who subscribed.
pub trait Courier: Send + Sync + 'static {
    /// Delivers a message to the subscriber that it names.
    fn send<'a>(&'a self, realm: &'a RealmName, letter: &'a Letter, now: Timestamp) -> Delivery<'a>;
}

/// A delivery under way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Result<(), Undelivered>> + Send + 'a>>;

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// In words.
    pub problem: String,
    /// The subscriber will never take it.
    pub for_good: bool,
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
    /// A new lookup's digest leads to a key already.
    #[error("the secret is stored already")]
    DigestTaken(Digest),
    /// The store could not answer; after a deadline, whether the change was applied is not known.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Judges access tokens of third parties.
pub trait Tokens: Send + Sync + 'static {
    /// What a token says that was found good before, and still is.
    fn recall(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> Option<GoodToken>;

    /// Judges a token: form, issuer, key, signature, audience, times.
    fn verify(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> TokenVerdict;

    /// An embed token of that realm as a text, signed; nothing when the realm has none.
    fn sign(&self, realm: &RealmName, id: &[u8; 16], embed: &EmbedToken) -> Option<Zeroizing<String>>;

    /// The public keys of the realm's embed tokens as a JWK set; nothing when the realm has none.
    fn key_set(&self, realm: &RealmName) -> Option<String>;
}

/// A token that was found good.
#[derive(Debug, Clone)]
pub enum GoodToken {
    /// One of a third party.
    OfIssuer(Arc<Token>),
    /// An embed token of the realm itself.
    Embed(Arc<EmbedToken>),
}

/// What came of judging a token.
pub enum TokenVerdict {
    /// It is good.
    Good(GoodToken),
    /// It is not; told with what it says where its signature is good.
    Flawed(TokenFlaw, Option<Arc<Token>>),
    /// The keys of this issuer are not known, so nobody can tell.
    Unavailable(Arc<str>),
    /// Newer keys of this issuer are on their way: wait for that, a bounded time, and judge again.
    Wait(Arc<str>, Pin<Box<dyn Future<Output = ()> + Send>>),
}

/// Reads clocks.
pub trait Clock: Send + Sync + 'static {
    /// The time of day, for deadlines. Never goes back.
    fn now(&self) -> Timestamp;

    /// A clock that only moves forward evenly, for windows and ages.
    fn ticks(&self) -> Ticks;

    /// Both of one instant, for whoever needs both.
    fn reading(&self) -> (Timestamp, Ticks) {
        (self.now(), self.ticks())
    }

    /// The store told its own time of day: from now on that is the time.
    fn observe(&self, store_time: Timestamp);
}

/// Makes random bytes.
pub trait Entropy: Send + Sync + 'static {
    /// Fills a buffer with bytes that nobody can guess.
    ///
    /// # Errors
    /// When the operating system gives none.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system gives no random bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct EntropyError(pub String);

/// A service that holds a key-encryption key and never gives it away. `bound` is what the wrapping is bound to: opening takes the
/// same.
pub trait KeyService: Send + Sync + 'static {
    /// Wraps a data key.
    fn wrap<'a>(&'a self, bound: &'a [u8], key: &'a DataKey) -> KeyServiceAnswer<'a, Vec<u8>>;

    /// Opens what it wrapped.
    fn open<'a>(&'a self, bound: &'a [u8], wrapped: &'a [u8]) -> KeyServiceAnswer<'a, DataKey>;
}

/// What a key service will answer. Boxed: it is asked seldom, over a network.
pub type KeyServiceAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, KeyServiceError>> + Send + 'a>>;

/// Why a key service did not answer, for the log. Holds nothing that it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct KeyServiceError(pub String);

/// Brings one-time codes to whoever signed up.
pub trait Messenger: Send + Sync + 'static {
    /// Brings one, and returns when whoever sends it on has taken it.
    fn deliver<'p>(
        &'p self,
        parcel: Parcel<'p>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'p>>;
}

/// A one-time code on its way.
pub struct Parcel<'a> {
    /// The realm.
    pub realm: &'a RealmName,
    /// How it goes.
    pub delivery: &'a onboarding::Delivery,
    /// Tells this parcel from every other.
    pub id: String,
    /// Where it goes.
    pub address: &'a str,
    /// What the key will be called.
    pub name: &'a str,
    /// The code.
    pub code: &'a Secret,
    /// When it is sent.
    pub now: Timestamp,
    /// When it stops to work.
    pub expires_at: Timestamp,
}

/// A code could not be brought.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DeliveryError(pub String);

/// Brings nothing: for servers without onboarding.
#[derive(Debug)]
pub struct NoMessenger;

impl Messenger for NoMessenger {
    fn deliver<'p>(
        &'p self,
        _parcel: Parcel<'p>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'p>> {
        Box::pin(async { Err(DeliveryError("this server brings no codes".to_owned())) })
    }
}
