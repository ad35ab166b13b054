//! The scripts and their typed calls: what goes in, what comes out, byte for byte. Must never know where records come from.

use super::{connection::Connection, keyspace};
use crate::{
    app::ports::{CommitError, Fence, MemoId, StoreError},
    domain::{
        id::{AccountRef, KeyId},
        key::Digest,
        limit::{Charged, Plan, Reading},
        time::Timestamp,
    },
};
use redis::{Cmd, RedisError, Script, Value, aio::MultiplexedConnection, cmd};
use smallvec::SmallVec;
use std::sync::LazyLock;

static ACCOUNT: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("lua/organizations.lua"), include_str!("lua/account.lua"))));
static CHARGE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/charge.lua")));
static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/commit.lua")));
static FIND: LazyLock<Script> =
    LazyLock::new(|| Script::new(concat!(include_str!("lua/organizations.lua"), include_str!("lua/find.lua"))));
static MEMO: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/memo.lua")));
static REPLACE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/replace.lua")));

/// Every script, to be loaded when a connection is made.
pub(super) fn all() -> [&'static Script; 6] {
    [&ACCOUNT, &CHARGE, &COMMIT, &FIND, &MEMO, &REPLACE]
}

/// What a script is called.
pub(super) fn name_of(script: &Script) -> &'static str {
    let names = ["account", "charge", "commit", "find", "memo", "replace"];
    let known = all().into_iter().zip(names);
    known.filter(|(known, _)| known.get_hash() == script.get_hash()).map(|(_, name)| name).next().unwrap_or("script")
}

/// The first word of the error with which `charge.lua` refuses a counter.
pub(super) const BROKEN_COUNTER: &str = "BROKENCOUNTER";

/// Integers before the first reading in the reply of `charge.lua`, and of each reading.
const REPLY_HEAD: usize = 2;
const READING: usize = 4;

/// A call of `charge.lua`.
pub(super) struct ChargeCall {
    command: Cmd,
    /// For each item of the plan, which counter of the call is its own.
    counters: Vec<usize>,
}

impl ChargeCall {
    pub(super) fn new(fences: &[Fence<'_>], plan: &Plan<'_>) -> Self {
        let items = plan.items();
        // The same counter named twice is charged once: the script must not write it twice from one reading.
        let mut counters: Vec<usize> = Vec::with_capacity(items.len());
        let mut distinct: Vec<usize> = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let name = plan.counter(item);
            let same = |other: &usize| items.get(*other).is_some_and(|other| plan.counter(other) == name);
            counters.push(distinct.iter().position(same).unwrap_or_else(|| {
                distinct.push(index);
                distinct.len().saturating_sub(1)
            }));
        }

        let mut command = cmd("EVALSHA");
        command.arg(CHARGE.get_hash()).arg(distinct.len().saturating_add(fences.len()));
        for fence in fences {
            command.arg(keyspace::account(fence.owner));
        }
        let mut limits = Vec::with_capacity(1_usize.saturating_add(distinct.len().saturating_mul(21)));
        limits.push(u8::from(plan.charges()));
        let account = plan.account_id().map(|account| account.as_str());
        for item in distinct.iter().filter_map(|index| items.get(*index)) {
            let home = account.filter(|_| item.of_account);
            command.arg(keyspace::counter(plan.realm(), home, plan.counter(item)));
            limits.extend_from_slice(&item.rule.shape.bucket_us().to_be_bytes());
            limits.extend_from_slice(&item.rule.limit.to_be_bytes());
            limits.extend_from_slice(&item.rule.shape.buckets().to_be_bytes());
            limits.push(u8::from(item.rule.shadow));
            limits.extend_from_slice(&item.cost.to_be_bytes());
        }
        let stamps: SmallVec<[u8; 2 * MARK]> = fences.iter().flat_map(|fence| fence.stamp.to_be_bytes()).collect();
        command.arg(&stamps[..]);
        command.arg(limits);
        Self { command, counters }
    }

    /// What the plan came to, and the server's time.
    pub(super) async fn run(&self, connection: &Connection) -> Result<(Charged, Timestamp), StoreError> {
        let reply = connection.script(&self.command, &CHARGE).await?;
        self.read(&reply).ok_or_else(|| connection.misunderstood("the reply of a charge"))
    }

    fn read(&self, reply: &Value) -> Option<(Charged, Timestamp)> {
        let Value::Array(numbers) = reply else { return None };
        let number = |index: usize| match numbers.get(index) {
            Some(Value::Int(number)) => Some(*number),
            _ => None,
        };
        let now = Timestamp::from_micros(u64::try_from(number(0)?).ok()?);
        if number(1)? == 0 {
            return Some((Charged::Stale, now));
        }
        let reading = |counter: &usize| {
            let first = counter.checked_mul(READING)?.checked_add(REPLY_HEAD)?;
            let field = |offset: usize| number(first.checked_add(offset)?);
            Some(Reading {
                admits: field(0)? == 1,
                used: u32::try_from(field(1)?).ok()?,
                reset_us: u64::try_from(field(2)?).ok()?,
                retry_us: u64::try_from(field(3)?).ok(),
                kept: true,
            })
        };
        let readings = self.counters.iter().map(reading).collect::<Option<_>>()?;
        Some((Charged::Decided(readings), now))
    }
}

/// A lookup, and what stands where it leads, every record still sealed.
pub(super) struct Way<'d> {
    pub(super) digest: &'d Digest,
    pub(super) lookup: Vec<u8>,
    pub(super) account: Option<Vec<u8>>,
    /// Those that the account is a member of, in its own order.
    pub(super) organizations: Vec<Option<Vec<u8>>>,
    /// Working or ended.
    pub(super) key: Option<Vec<u8>>,
    /// When the key was last used, if that was asked for.
    pub(super) last_use: Option<Vec<u8>>,
}

/// The lookups that there are of the digests, in their order. `uses`: when the keys were last used, too.
pub(super) async fn find<'d>(
    connection: &Connection,
    digests: &'d [Digest],
    uses: bool,
) -> Result<Vec<Way<'d>>, StoreError> {
    let mut command = cmd("EVALSHA");
    command.arg(FIND.get_hash()).arg(digests.len());
    for digest in digests {
        command.arg(keyspace::lookup(digest));
    }
    command.arg(u8::from(uses));
    let wrong = || connection.misunderstood("the reply of a search");
    let mut parts = Parts::of(connection.script(&command, &FIND).await?).ok_or_else(wrong)?;
    let mut lookups = Vec::with_capacity(1);
    for digest in digests {
        lookups.extend(parts.record().ok_or_else(wrong)?.map(|lookup| (digest, lookup)));
    }
    let mut way = |(digest, lookup)| {
        let (account, organizations) = (parts.record()?, parts.records()?);
        let (live, ended) = (parts.record()?, parts.record()?);
        let last_use = if uses { parts.record()? } else { None };
        Some(Way { digest, lookup, account, organizations, key: live.or(ended), last_use })
    };
    lookups.into_iter().map(|found| way(found).ok_or_else(wrong)).collect()
}

/// An account, every record still sealed.
pub(super) struct FoundAccount {
    pub(super) account: Option<Vec<u8>>,
    /// Those that it is a member of, in its own order.
    pub(super) organizations: Vec<Option<Vec<u8>>>,
    /// The key that was asked for, working or ended.
    pub(super) key: Option<Vec<u8>>,
    /// When that was last used.
    pub(super) last_use: Option<Vec<u8>>,
}

/// An account, and a key of it if one is named.
pub(super) async fn account(
    connection: &Connection,
    owner: &AccountRef,
    key: Option<KeyId>,
) -> Result<FoundAccount, StoreError> {
    let keys = keyspace::AccountKeys::new(owner);
    let mut command = cmd("EVALSHA");
    command.arg(ACCOUNT.get_hash()).arg(if key.is_some() { 4 } else { 1 }).arg(keys.record());
    if key.is_some() {
        command.arg(keys.live()).arg(keys.ended()).arg(keys.uses());
    }
    command.arg(owner.realm.as_str());
    if let Some(id) = key {
        command.arg(&id.as_bytes()[..]);
    }
    let wrong = || connection.misunderstood("the reply of a search for an account");
    let mut parts = Parts::of(connection.script(&command, &ACCOUNT).await?).ok_or_else(wrong)?;
    let mut found = || {
        let (account, organizations) = (parts.record()?, parts.records()?);
        let mut of_key = || if key.is_some() { parts.record() } else { Some(None) };
        let (live, ended, last_use) = (of_key()?, of_key()?, of_key()?);
        Some(FoundAccount { account, organizations, key: live.or(ended), last_use })
    };
    found().ok_or_else(wrong)
}

/// What a script that reads answers, one part after the other. Nothing: it answers something else.
struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    fn of(reply: Value) -> Option<Self> {
        match reply {
            Value::Array(parts) => Some(Self(parts.into_iter())),
            _ => None,
        }
    }

    fn record(&mut self) -> Option<Option<Vec<u8>>> {
        match self.0.next()? {
            Value::BulkString(bytes) => Some(Some(bytes)),
            Value::Nil => Some(None),
            _ => None,
        }
    }

    fn records(&mut self) -> Option<Vec<Option<Vec<u8>>>> {
        let mut parts = Self::of(self.0.next()?)?;
        (0..parts.0.len()).map(|_| parts.record()).collect()
    }
}

/// Bytes of the mark that stands before an account's record.
pub(super) const MARK: usize = 16;

/// An account's mark as it stands before its record; nothing when there is no account.
pub(super) fn stored_mark(mark: u128) -> Vec<u8> {
    if mark == 0 { Vec::new() } else { mark.to_be_bytes().to_vec() }
}

/// Replaces what stands under `lookup`, or removes it, if it is still what was `read`. Tells whether it was.
pub(super) async fn replace(
    connection: &Connection,
    lookup: &str,
    read: &[u8],
    new: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let mut command = cmd("EVALSHA");
    command.arg(REPLACE.get_hash()).arg(1).arg(lookup).arg(read).arg(new.unwrap_or_default());
    match connection.script(&command, &REPLACE).await? {
        Value::Int(done) => Ok(done == 1),
        _ => Err(connection.misunderstood("the reply of a replacement")),
    }
}

/// The same with something new, over a connection that is being made.
pub(super) async fn replace_raw(
    connection: &mut MultiplexedConnection,
    name: &str,
    read: &[u8],
    new: &[u8],
) -> Result<bool, RedisError> {
    let mut call = REPLACE.prepare_invoke();
    let done: u8 = call.key(name).arg(read).arg(new).invoke_async(connection).await?;
    Ok(done == 1)
}

/// Writes a memo, sealed, or removes it, if what stands there is what was read of it; tells whether it was.
pub(super) async fn memo(
    connection: &Connection,
    id: &MemoId<'_>,
    expected: Option<&[u8]>,
    sealed: &[u8],
) -> Result<bool, StoreError> {
    let mut command = cmd("EVALSHA");
    command.arg(MEMO.get_hash()).arg(2).arg(&keyspace::memos(id)).arg(id.name);
    command.arg(u8::from(expected.is_none())).arg(expected.unwrap_or_default()).arg(sealed);
    match connection.script(&command, &MEMO).await? {
        Value::Int(done) => Ok(done == 1),
        _ => Err(connection.misunderstood("the reply of a memo")),
    }
}

/// What `commit.lua` writes, every record sealed already.
pub(super) struct CommitCall<'a> {
    pub(super) owner: &'a AccountRef,
    pub(super) expected: u128,
    pub(super) mark: u128,
    pub(super) account: Vec<u8>,
    pub(super) ended: Vec<([u8; 16], Vec<u8>)>,
    pub(super) put: Vec<([u8; 16], Vec<u8>)>,
    pub(super) entries_removed: Vec<Vec<u8>>,
    pub(super) entries_put: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) events: Vec<Vec<u8>>,
    /// Names of what bars this act from its lookups.
    pub(super) bars: Vec<String>,
    /// Slot, record, and when it may be forgotten.
    pub(super) idempotency: Option<(&'a [u8; 32], Vec<u8>, Timestamp)>,
}

impl CommitCall<'_> {
    /// Applies it, or fails with [`CommitError::Conflict`].
    pub(super) async fn run(&self, connection: &Connection) -> Result<(), CommitError> {
        match connection.script(&self.command(), &COMMIT).await? {
            Value::Int(1) => Ok(()),
            Value::Int(0) => Err(CommitError::Conflict),
            _ => Err(connection.misunderstood("the reply of a commit").into()),
        }
    }

    fn command(&self) -> Cmd {
        let keys = keyspace::AccountKeys::new(self.owner);
        let mut command = cmd("EVALSHA");
        let keys_count = self.bars.len().saturating_add(8).saturating_add(usize::from(self.idempotency.is_some()));
        command.arg(COMMIT.get_hash()).arg(keys_count);
        command
            .arg(keys.record())
            .arg(keys.live())
            .arg(keys.ended())
            .arg(keys.live_ids())
            .arg(keys.ended_ids())
            .arg(keys.events())
            .arg(keys.entries())
            .arg(keys.entry_names())
            .arg(&self.bars);
        if let Some((slot, ..)) = &self.idempotency {
            command.arg(keys.idempotency(slot));
        }
        command.arg(stored_mark(self.expected));
        command.arg([&self.mark.to_be_bytes()[..], &self.account].concat()).arg(self.ended.len()).arg(self.put.len());
        match &self.idempotency {
            Some((_, record, expires_at)) => command.arg(record).arg(expires_at.as_micros().div_ceil(1_000)),
            None => command.arg("").arg(0),
        };
        command.arg(self.bars.len()).arg(self.entries_removed.len()).arg(self.entries_put.len());
        for (id, record) in self.ended.iter().chain(&self.put) {
            command.arg(&id[..]).arg(record);
        }
        command.arg(&self.entries_removed);
        for (field, record) in &self.entries_put {
            command.arg(field).arg(record);
        }
        for event in &self.events {
            command.arg(event);
        }
        command
    }
}
