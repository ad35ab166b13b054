//! Accounts, keys and counters in Redis 6.2 or newer, or Valkey, shared by any number of servers.
//!
//! Every act is one script on the account's keys, and so is every decision; the server's own clock counts the windows.
//! Redis is not trusted: every record is sealed to its place, so whoever writes to it can delete, never forge. Counters
//! and indexes carry no seal: they can be spoilt, and what they lead to is still checked.
//!
//! The lookup of a digest stands outside the account and is written before it. One that leads to no key, or to a key that
//! does not carry the digest, leads nowhere: an act that was interrupted leaves nothing else behind.

mod check;
mod connection;
mod entries;
mod keyspace;
mod list;
mod memos;
mod read;
mod scripts;
mod write;

use super::record::RecordCodec;
use crate::{
    app::ports::{
        Clock, CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos, Sought,
        Store, StoreError,
    },
    domain::{
        account::{Account, AccountSnapshot},
        audit::AuditEvent,
        commit::Change,
        entry::{Entry, EntryId},
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
        key::{IdempotencyRecord, KeyRecord, KeySnapshot, KeyUse, KeyUses, SecretRing, UsesOf},
        limit::{Charged, Plan},
        time::{Ticks, Timestamp},
    },
};
use check::Greeter;
use connection::Connection;
use redis::{Value, cmd};
use std::{fmt, future::Future, sync::Arc, time::Duration};

/// Which Redis, and on which terms.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user:password@]host[:port][/database]` or `unix:///path`. May hold a password: never printed.
    pub url: String,
    /// For one decision, all its steps together.
    pub deadline: Duration,
    /// For connecting and checking the server.
    pub connect_timeout: Duration,
    /// Rest on a server without an append-only file: a crash of it may lose keys and bring revoked ones back.
    pub allow_no_persistence: bool,
    /// Rest on a server that evicts: it may forget keys and counters at any time.
    pub allow_eviction: bool,
}

impl RedisOptions {
    /// The time of one decision, when nothing else is said.
    pub const DEADLINE: Duration = Duration::from_millis(50);
    /// The least time that acts of management and listings get.
    pub const MANAGEMENT_DEADLINE: Duration = Duration::from_secs(1);
    /// The time to connect that is given when nothing else is said.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

    /// Strict terms and usual times.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            deadline: Self::DEADLINE,
            connect_timeout: Self::CONNECT_TIMEOUT,
            allow_no_persistence: false,
            allow_eviction: false,
        }
    }
}

/// Why a store in Redis cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The address is not one.
    #[error(
        "the address of Redis must be `redis://[user:password@]host[:port][/database]` or `unix:///path`; TLS is not supported"
    )]
    Address,
    /// Nobody answers there, or not in time.
    #[error("{0}; see that Redis runs there and lets this machine in, or name another address")]
    Unreachable(StoreError),
    /// Somebody answers whom keygate must not rest on.
    #[error("Redis at `{address}` cannot be used: {}", .faults.join("; "))]
    Unfit {
        /// Host and port.
        address: String,
        /// Everything that is wrong, each with its remedy.
        faults: Vec<String>,
    },
}

/// The store. Clones share one connection, which belongs to the runtime that it was opened on.
#[derive(Clone)]
pub struct Redis {
    connection: Connection,
    codec: RecordCodec,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    terms: Arc<Terms>,
}

/// What a further connection is made with.
struct Terms {
    options: RedisOptions,
    codec: RecordCodec,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl Redis {
    /// Connects and checks that the server can be rested on, and that it was used with this server secret. Later the
    /// connection mends itself, with the same checks.
    ///
    /// # Errors
    /// When the server cannot be reached or must not be rested on; the text says what is wrong and how to mend it.
    pub async fn connect(options: RedisOptions, ring: &SecretRing, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        Self::with(Arc::new(Terms { options, codec: RecordCodec::new(ring) }), clock).await
    }

    /// Seals and opens with another ring from now on, over every connection. It has to hold every version that the one before
    /// it held.
    pub fn take_ring(&self, ring: &SecretRing) {
        self.terms.codec.take_over(ring);
    }

    /// The same store over a connection of its own, which belongs to the runtime that this is called on.
    ///
    /// # Errors
    /// As [`Redis::connect`].
    pub async fn reconnect(&self) -> Result<Self, OpenError> {
        Self::with(Arc::clone(&self.terms), Arc::clone(&self.clock)).await
    }

    async fn with(terms: Arc<Terms>, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let Terms { options, codec } = &*terms;
        let greeter = Greeter::new(options, codec.clone());
        let connection = Connection::open(options, greeter, Arc::clone(&clock)).await?;
        let (codec, deadline) = (codec.clone(), options.deadline);
        let store = Self { connection, codec, clock, deadline, terms };
        store.ping().await.map_err(OpenError::Unreachable)?;
        Ok(store)
    }

    /// Host and port, without user and password.
    #[must_use]
    pub fn address(&self) -> &str {
        self.connection.address()
    }

    /// The time that acts of management and listings get.
    fn leisure(&self) -> Duration {
        self.deadline.max(RedisOptions::MANAGEMENT_DEADLINE)
    }

    /// Runs a step of a decision in what is left of its time; a step alone gets all of it.
    async fn by<T>(
        &self,
        due: Option<Ticks>,
        step: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let left = due.map_or(self.deadline, |due| due.since(self.clock.ticks()));
        let late = StoreError::Deadline(self.deadline);
        if left.is_zero() {
            // What has not begun is not charged.
            return Err(late);
        }
        let outcome = self.connection.within(left, step).await;
        outcome.map_err(|error| if matches!(error, StoreError::Deadline(_)) { late } else { error })
    }

    /// The bytes of a reply, if it is one.
    fn bytes(&self, value: Option<Value>) -> Result<Option<Vec<u8>>, StoreError> {
        match value {
            Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
            Some(Value::Nil) => Ok(None),
            _ => Err(self.connection.misunderstood("a record")),
        }
    }

    /// The account's record and the mark that stands before it, which the scripts compare.
    fn account(&self, owner: &AccountRef, stored: &[u8]) -> Result<Account, StoreError> {
        let (mark, record) = stored.split_first_chunk::<{ scripts::MARK }>().unwrap_or((&[0; scripts::MARK], stored));
        let account = self.codec.decode_account(owner, record)?;
        if account.mark() != u128::from_be_bytes(*mark) {
            let AccountRef { realm, account } = owner;
            return Err(StoreError::Corrupt(format!(
                "account `{account}` of realm `{realm}` has another mark before its record than follows from it"
            )));
        }
        Ok(account)
    }
}

impl Store for Redis {
    fn patience(&self) -> Option<Duration> {
        Some(self.deadline)
    }

    async fn find_key(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        self.by(sought.due, self.find(sought)).await
    }

    async fn find_key_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
        _freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        self.by(due, self.find_by_id(owner, id)).await
    }

    async fn find_account(
        &self,
        owner: &AccountRef,
        _freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Arc<AccountSnapshot>, StoreError> {
        let read_at = self.clock.ticks();
        let account = self.by(due, self.account_record(owner)).await?;
        let stamp = account.as_ref().map_or(0, Account::mark);
        Ok(Arc::new(AccountSnapshot::new(owner.clone(), account, read_at, stamp)))
    }

    async fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>) -> Result<Charged, StoreError> {
        let call = scripts::ChargeCall::new(fences, plan);
        let (charged, now) = self.by(plan.due(), call.run(&self.connection)).await?;
        self.clock.observe(now);
        Ok(charged)
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        self.connection.within(self.leisure(), self.write(change)).await
    }

    async fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        self.connection.within(self.deadline, self.account_record(owner)).await
    }

    async fn read_keys(&self, owner: &AccountRef, ids: &[KeyId]) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        self.connection.within(self.leisure(), self.key_records(owner, ids)).await
    }

    async fn locate_key(&self, realm: &RealmName, key: KeyId) -> Result<Option<AccountId>, StoreError> {
        self.connection.within(self.leisure(), self.locate(realm, key)).await
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        self.connection.within(self.leisure(), self.list(query)).await
    }

    async fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.connection.within(self.leisure(), self.accounts(realm, after, limit)).await
    }

    async fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.connection.within(self.leisure(), self.idempotency(owner, slot)).await
    }

    async fn read_audit(&self, owner: &AccountRef, from: u64, limit: usize) -> Result<Vec<AuditEvent>, StoreError> {
        self.connection.within(self.leisure(), self.events(owner, from, limit)).await
    }

    async fn read_entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        self.connection.within(self.leisure(), self.entry(owner, id)).await
    }

    async fn list_entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        self.connection.within(self.leisure(), self.entries(query)).await
    }

    async fn note_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.connection.within(self.leisure(), self.write_uses(uses)).await
    }

    async fn read_uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        self.connection.within(self.leisure(), self.uses(owner, wanted)).await
    }

    async fn read_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.connection.within(self.leisure(), self.memo(id)).await
    }

    async fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        self.connection.within(self.leisure(), self.memos(first, limit)).await
    }

    async fn write_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.connection.within(self.leisure(), self.set_memo(id, expected, value)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let command = cmd("TIME");
        let reply = self.connection.within(self.deadline, self.connection.query(&command)).await?;
        let now = server_time(&reply).ok_or_else(|| self.connection.misunderstood("the time"))?;
        self.clock.observe(now);
        Ok(())
    }
}

fn server_time(reply: &Value) -> Option<Timestamp> {
    let Value::Array(parts) = reply else { return None };
    let number = |index: usize| match parts.get(index) {
        Some(Value::BulkString(text)) => std::str::from_utf8(text).ok()?.parse::<u64>().ok(),
        _ => None,
    };
    let (seconds, micros) = (number(0)?, number(1)?);
    Some(Timestamp::from_micros(seconds.checked_mul(1_000_000)?.checked_add(micros)?))
}
