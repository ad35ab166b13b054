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
mod diagnose;
mod dialer;
mod entries;
mod examine;
mod followed;
mod keyspace;
mod list;
mod memos;
mod options;
mod permissions;
mod read;
mod replicas;
mod scripts;
mod sentinels;
mod target;
mod write;

pub use options::{OpenError, RedisOptions, SentinelOptions, TlsFiles};

use super::{figures::RedisFigures, record::RecordCodec};
use crate::{
    app::ports::{
        Clock, CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos,
        Problem, Sought, Store, StoreError,
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
use connection::{Connection, Counts};
use dialer::Dialer;
use redis::{Value, cmd};
use replicas::Replicas;
use std::{fmt, future::Future, sync::Arc, time::Duration};

/// The store. Clones share one connection, which belongs to the runtime that it was opened on.
#[derive(Clone)]
pub struct Redis {
    connection: Connection,
    codec: RecordCodec,
    clock: Arc<dyn Clock>,
    /// For one decision.
    deadline: Duration,
    /// The replicas that must have a change before it is acknowledged, if any must.
    replicas: Option<Arc<Replicas>>,
    terms: Arc<Terms>,
}

/// What a further connection is made with.
struct Terms {
    dialer: Arc<Dialer>,
    options: RedisOptions,
    codec: RecordCodec,
    counts: Arc<Counts>,
}

impl Terms {
    async fn connection(&self, clock: Arc<dyn Clock>) -> Result<Connection, OpenError> {
        let greeter = Greeter::new(&self.options, self.codec.clone());
        Connection::open(&self.options, Arc::clone(&self.dialer), greeter, clock, Arc::clone(&self.counts)).await
    }
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
        let dialer = Arc::new(Dialer::new(&options)?);
        let counts = Arc::new(Counts::new());
        let terms = Arc::new(Terms { dialer, options, codec: RecordCodec::new(ring), counts });
        let store = Self::with(Arc::clone(&terms), Arc::clone(&clock), None).await?;
        if terms.options.wait_replicas == 0 {
            return Ok(store);
        }
        // Apart, since whoever waits for replicas holds back all that comes behind on the same connection.
        let replicas = Replicas::new(terms.connection(clock).await?, &terms.options);
        Ok(Self { replicas: Some(Arc::new(replicas)), ..store })
    }

    /// Seals and opens with another ring from now on, over every connection. It has to hold every version that the one before
    /// it held. From now on no server without its newest version connects here.
    ///
    /// # Errors
    /// When the server does not answer, or carries the mark of a secret that the ring does not hold: then nothing changes.
    pub async fn take_ring(&self, ring: &SecretRing) -> Result<(), StoreError> {
        let codec = RecordCodec::new(ring);
        self.connection.within(self.leisure(), check::mark(&self.connection, &codec)).await?;
        self.terms.codec.take_over(ring);
        Ok(())
    }

    /// The same store over a connection of its own, which belongs to the runtime that this is called on.
    ///
    /// # Errors
    /// As [`Redis::connect`].
    pub async fn reconnect(&self) -> Result<Self, OpenError> {
        Self::with(Arc::clone(&self.terms), Arc::clone(&self.clock), self.replicas.clone()).await
    }

    async fn with(
        terms: Arc<Terms>,
        clock: Arc<dyn Clock>,
        replicas: Option<Arc<Replicas>>,
    ) -> Result<Self, OpenError> {
        let connection = terms.connection(Arc::clone(&clock)).await?;
        let (codec, deadline) = (terms.codec.clone(), terms.options.deadline);
        let store = Self { connection, codec, clock, deadline, replicas, terms };
        store.ping().await.map_err(OpenError::Unreachable)?;
        Ok(store)
    }

    /// The same store for acts of management, which do not hurry as decisions do: every step of one gets the time that the
    /// act itself gets.
    #[must_use]
    pub fn at_leisure(&self) -> Self {
        Self { deadline: self.leisure(), ..self.clone() }
    }

    /// Where it is, without user and password.
    #[must_use]
    pub fn address(&self) -> &str {
        self.connection.place()
    }

    /// How its connections stand, those of all workers together.
    #[must_use]
    pub fn figures(&self) -> RedisFigures {
        self.terms.counts.read()
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
        self.by(due, self.find_owner(owner)).await.map(Arc::new)
    }

    async fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>) -> Result<Charged, StoreError> {
        let call = scripts::ChargeCall::new(fences, plan);
        let (charged, now) = self.by(plan.due(), call.run(&self.connection)).await?;
        self.clock.observe(now);
        Ok(charged)
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        match &self.replicas {
            None => self.connection.within(self.leisure(), self.write(change)).await,
            Some(replicas) => replicas.commit(self, change).await,
        }
    }

    async fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        if let Some(replicas) = &self.replicas {
            replicas.settle().await?;
        }
        self.connection.within(self.leisure(), self.account_record(owner)).await
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
        let found = self.connection.within(self.leisure(), self.idempotency(owner, slot)).await?;
        if let (Some(_), Some(replicas)) = (&found, &self.replicas) {
            // Whoever asks again is told that it was done: then it must be as safe as when it is done.
            replicas.confirm().await?;
        }
        Ok(found)
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
        let deadline = self.terms.options.deadline;
        let reply = self.connection.within(deadline, self.connection.query(&command)).await?;
        let now = server_time(&reply).ok_or_else(|| self.connection.misunderstood("the time"))?;
        self.clock.observe(now);
        Ok(())
    }

    async fn examine(&self) -> Vec<Problem> {
        self.look_over().await
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
