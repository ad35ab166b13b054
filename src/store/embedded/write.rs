//! The one thread that writes. Changes that wait are applied in one transaction, so that they share one fsync; each is
//! checked against what it expects and succeeds or fails on its own. Nothing is answered before it is durable.

use super::{Core, open::SECRETS_ENTRY, tables};
use crate::{
    app::ports::{CommitError, Expected, MemoId, StoreError},
    domain::{
        commit::Change,
        entry::EntryChange,
        id::AccountRef,
        key::{Digest, IdempotencyRecord, KeyUse, SecretUse},
        time::Timestamp,
    },
    store::{
        marks::{self, Verdict},
        record::{Lookup, RecordCodec},
    },
};
use redb::{ReadableTable, Table, WriteTransaction};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};
use tokio::sync::oneshot;

/// Changes that may wait to be written; one more is refused.
pub const QUEUE: usize = 1_024;
/// Changes that share one transaction at most.
const GROUP: usize = 256;
/// Expired idempotency records that a transaction removes at most.
const PRUNED: usize = 64;

type Answer = Result<(), CommitError>;
type Job = (Work, oneshot::Sender<Answer>);

/// What is written: a change, when keys were used, or a memo.
enum Work {
    Change(Box<Change>),
    Uses(Vec<KeyUse>),
    Memo(MemoChange),
    /// Which versions of the server secret the file was sealed with.
    Marks(Vec<u8>),
}

/// A memo, sealed, that is written if what stands in its place is what was read of it.
struct MemoChange {
    place: Vec<u8>,
    /// What must stand there; inner `None`: nothing.
    expected: Option<Option<Vec<u8>>>,
    /// What stands there afterwards.
    sealed: Option<Vec<u8>>,
}

/// The queue and its thread; dropping it writes what waits and ends the thread.
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(core: Arc<Core>) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("keygate-store".to_owned()).spawn(move || run(&core, &jobs))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    pub(super) async fn commit(&self, change: &Change) -> Answer {
        self.write(Work::Change(Box::new(change.clone()))).await
    }

    pub(super) async fn note_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        match self.write(Work::Uses(uses.to_vec())).await {
            Err(CommitError::Store(error)) => Err(error),
            // Uses expect nothing, so they conflict with nothing.
            _ => Ok(()),
        }
    }

    pub(super) async fn write_memo(
        &self,
        core: &Core,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let place = tables::memo(id);
        let expected = match expected {
            Expected::Anything => None,
            Expected::Absent => Some(None),
            // It may be sealed with an older server secret: what is compared is what stands there.
            Expected::Is(value) => match core.sealed_memo(&place)? {
                Some(sealed) if core.codec.decode_memo(id, &sealed)? == value => Some(Some(sealed)),
                _ => return Ok(false),
            },
        };
        let sealed = value.map(|value| core.codec.encode_memo(id, &value.to_vec()));
        match self.write(Work::Memo(MemoChange { place, expected, sealed })).await {
            Ok(()) => Ok(true),
            Err(CommitError::Store(error)) => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// Writes down the current version of the server secret, before anything is sealed with it.
    pub(super) async fn mark(&self, core: &Core, codec: &RecordCodec) -> Result<(), StoreError> {
        match marks::judge(codec, core.marks()?.as_deref(), false) {
            Verdict::Known => Ok(()),
            Verdict::Note(noted) => match self.write(Work::Marks(noted)).await {
                Err(CommitError::Store(error)) => Err(error),
                // Marks expect nothing: one process writes them, one after the other.
                _ => Ok(()),
            },
            Verdict::Lost(versions) => Err(StoreError::Corrupt(marks::loss(&versions))),
            Verdict::Foreign => Err(StoreError::Corrupt("the file is marked with other server secrets".to_owned())),
        }
    }

    async fn write(&self, work: Work) -> Answer {
        let unavailable = |why: &str| CommitError::Store(StoreError::Unavailable(why.to_owned()));
        let (sender, answer) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(|| unavailable("it is closing"))?;
        queue.try_send((work, sender)).map_err(|error| match error {
            TrySendError::Full(_) => unavailable("too many changes wait to be written"),
            TrySendError::Disconnected(_) => unavailable("it is closing"),
        })?;
        answer.await.unwrap_or_else(|_| Err(unavailable("the writing thread ended")))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to wait for.
            let _ = thread.join();
        }
    }
}

fn run(core: &Core, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let group: Vec<Job> = std::iter::once(first).chain(jobs.try_iter().take(GROUP.saturating_sub(1))).collect();
        let answers = write(core, group.iter().map(|(work, _)| work)).unwrap_or_else(|error| {
            // The first tells the cause; later ones only that there was one.
            if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
                core.halted.get_or_init(|| error.to_string());
            }
            let error = StoreError::from(Trouble(error));
            group.iter().map(|_| Err(CommitError::Store(error.clone()))).collect()
        });
        // Also after a failure: then it is not known what reached the disk.
        for (work, _) in &group {
            if let Work::Change(change) = work {
                core.stamps.raise(&change.owner);
            }
        }
        for ((_, sender), answer) in group.into_iter().zip(answers) {
            // Whoever asked may have gone: the change stands all the same.
            let _ = sender.send(answer);
        }
    }
}

/// Writes everything in one transaction. An error means that nothing was.
fn write<'w>(core: &Core, group: impl Iterator<Item = &'w Work>) -> Result<Vec<Answer>, redb::Error> {
    let transaction = core.database.begin_write()?;
    let mut tables = Tables::open(&transaction)?;
    let mut answers = Vec::new();
    for work in group {
        answers.push(match work {
            Work::Change(change) => {
                let verdict = tables.check(&core.codec, change)?;
                if verdict.is_ok() {
                    tables.apply(&core.codec, change)?;
                }
                verdict
            }
            Work::Memo(change) => tables.memo(change)?,
            Work::Marks(marks) => {
                transaction.open_table(tables::META)?.insert(SECRETS_ENTRY, marks.as_slice())?;
                Ok(())
            }
            Work::Uses(uses) => {
                tables.note_uses(&core.codec, uses)?;
                Ok(())
            }
        });
    }
    tables.prune(core.clock.now())?;
    drop(tables);
    // The transaction's durability is redb's default, `Immediate`: it returns once the data is synced.
    transaction.commit()?;
    Ok(answers)
}

/// Every table, open for writing.
pub(super) struct Tables<'t> {
    lookups: Table<'t, &'static [u8; 32], &'static [u8]>,
    accounts: Table<'t, &'static [u8], &'static [u8]>,
    keys: Table<'t, &'static [u8], &'static [u8]>,
    history: Table<'t, &'static [u8], &'static [u8]>,
    pointers: Table<'t, &'static [u8], &'static [u8]>,
    audit: Table<'t, &'static [u8], &'static [u8]>,
    idempotency: Table<'t, &'static [u8], &'static [u8]>,
    expiries: Table<'t, &'static [u8], ()>,
    uses: Table<'t, &'static [u8], &'static [u8]>,
    entries: Table<'t, &'static [u8], &'static [u8]>,
    memos: Table<'t, &'static [u8], &'static [u8]>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            lookups: transaction.open_table(tables::LOOKUPS)?,
            accounts: transaction.open_table(tables::ACCOUNTS)?,
            keys: transaction.open_table(tables::KEYS)?,
            history: transaction.open_table(tables::HISTORY)?,
            pointers: transaction.open_table(tables::POINTERS)?,
            audit: transaction.open_table(tables::AUDIT)?,
            idempotency: transaction.open_table(tables::IDEMPOTENCY)?,
            expiries: transaction.open_table(tables::EXPIRIES)?,
            uses: transaction.open_table(tables::USES)?,
            entries: transaction.open_table(tables::ENTRIES)?,
            memos: transaction.open_table(tables::MEMOS)?,
        })
    }

    /// Whether the change may be applied. Writes nothing.
    fn check(&self, codec: &RecordCodec, change: &Change) -> Result<Answer, redb::Error> {
        let current = self.accounts.get(tables::account(&change.owner).as_slice())?;
        let mark = match current.map(|bytes| codec.decode_account(&change.owner, bytes.value())).transpose() {
            Ok(account) => account.map_or(0, |account| account.mark()),
            Err(error) => return Ok(Err(error.into())),
        };
        if mark != change.expected {
            return Ok(Err(CommitError::Conflict));
        }
        let mut seen = HashSet::new();
        for lookup in &change.lookups {
            let taken = if seen.insert(lookup.digest) { self.leads_to_a_key(codec, &lookup.digest)? } else { Ok(true) };
            match taken {
                Ok(false) => {}
                Ok(true) => return Ok(Err(CommitError::DigestTaken(lookup.digest))),
                Err(error) => return Ok(Err(error.into())),
            }
        }
        Ok(Ok(()))
    }

    /// A lookup whose key is gone, or no longer carries the digest, leads nowhere.
    fn leads_to_a_key(&self, codec: &RecordCodec, digest: &Digest) -> Result<Result<bool, StoreError>, redb::Error> {
        let Some(bytes) = self.lookups.get(digest.as_bytes())? else { return Ok(Ok(false)) };
        let Lookup { owner, key, .. } = match codec.decode_lookup(digest, bytes.value()) {
            Ok(lookup) => lookup,
            Err(error) => return Ok(Err(error)),
        };
        let place = tables::key(&owner, key);
        for table in [&self.keys, &self.history] {
            if let Some(bytes) = table.get(place.as_slice())? {
                let record = codec.decode_key(&owner, key, bytes.value());
                return Ok(record.map(|record| record.secret(digest).is_some()));
            }
        }
        Ok(Ok(false))
    }

    fn apply(&mut self, codec: &RecordCodec, change: &Change) -> Result<(), redb::Error> {
        let owner = &change.owner;
        let account = codec.encode_account(owner, &change.account);
        self.accounts.insert(tables::account(owner).as_slice(), account.as_slice())?;
        for key in &change.put {
            let record = codec.encode_key(owner, key.id, key);
            self.keys.insert(tables::key(owner, key.id).as_slice(), record.as_slice())?;
            let pointer = codec.encode_pointer(&owner.realm, key.id, &owner.account);
            self.pointers.insert(tables::pointer(&owner.realm, key.id).as_slice(), pointer.as_slice())?;
        }
        for key in &change.end {
            let place = tables::key(owner, key.id);
            self.keys.remove(place.as_slice())?;
            self.history.insert(place.as_slice(), codec.encode_key(owner, key.id, key).as_slice())?;
            // One that comes out of a backup was never among those that work here.
            let pointer = codec.encode_pointer(&owner.realm, key.id, &owner.account);
            self.pointers.insert(tables::pointer(&owner.realm, key.id).as_slice(), pointer.as_slice())?;
        }
        for digest in &change.forgotten {
            self.lookups.remove(digest.as_bytes())?;
        }
        for new in &change.lookups {
            let lookup = Lookup { owner: owner.clone(), environment: new.environment.clone(), key: new.key };
            self.lookups.insert(new.digest.as_bytes(), codec.encode_lookup(&new.digest, &lookup).as_slice())?;
        }
        for EntryChange { id, entry } in &change.entries {
            let place = tables::entry(owner, id.kind, id.name.as_str());
            match entry {
                Some(entry) => {
                    let record = codec.encode_entry(owner, id, entry);
                    self.entries.insert(place.as_slice(), record.as_slice())?;
                }
                None => drop(self.entries.remove(place.as_slice())?),
            }
        }
        for event in &change.events {
            let record = codec.encode_event(owner, event.sequence, event);
            self.audit.insert(tables::event(owner, event.sequence).as_slice(), record.as_slice())?;
        }
        change.idempotency.as_ref().map_or(Ok(()), |record| self.remember(codec, owner, record))
    }

    fn remember(
        &mut self,
        codec: &RecordCodec,
        owner: &AccountRef,
        record: &IdempotencyRecord,
    ) -> Result<(), redb::Error> {
        let place = tables::idempotency(owner, &record.slot);
        let expires_at = record.expires_at.as_micros().to_be_bytes();
        let value = [&expires_at[..], &codec.encode_idempotency(owner, &record.slot, record)].concat();
        self.idempotency.insert(place.as_slice(), value.as_slice())?;
        self.expiries.insert(tables::expiry(&expires_at, &place).as_slice(), ())?;
        Ok(())
    }

    fn memo(&mut self, change: &MemoChange) -> Result<Answer, redb::Error> {
        let place = change.place.as_slice();
        if let Some(expected) = &change.expected {
            let found = self.memos.get(place)?;
            if found.as_ref().map(|bytes| bytes.value()) != expected.as_deref() {
                return Ok(Err(CommitError::Conflict));
            }
        }
        match &change.sealed {
            Some(sealed) => drop(self.memos.insert(place, sealed.as_slice())?),
            None => drop(self.memos.remove(place)?),
        }
        Ok(Ok(()))
    }

    fn note_uses(&mut self, codec: &RecordCodec, uses: &[KeyUse]) -> Result<(), redb::Error> {
        for KeyUse { owner, key, secret, last, count } in uses {
            let record = codec.encode_use(owner, *key, last);
            self.uses.insert(tables::key(owner, *key).as_slice(), record.as_slice())?;
            let place = tables::secret(owner, *key, *secret);
            let before = self.uses.get(place.as_slice())?;
            // What cannot be read any more is counted anew.
            let before = before.and_then(|bytes| codec.decode_secret_use(owner, *key, *secret, bytes.value()).ok());
            let count = before.map_or(0, |before| before.count).saturating_add(*count);
            let record = codec.encode_secret_use(owner, *key, *secret, &SecretUse { last: *last, count });
            self.uses.insert(place.as_slice(), record.as_slice())?;
        }
        Ok(())
    }

    /// Removes idempotency records whose time is over, a few at a time.
    fn prune(&mut self, now: Timestamp) -> Result<(), redb::Error> {
        let end = now.as_micros().to_be_bytes();
        for _ in 0..PRUNED {
            let first = match self.expiries.first()? {
                Some((key, _)) if key.value() < &end[..] => key.value().to_vec(),
                _ => break,
            };
            self.expiries.remove(first.as_slice())?;
            let Some((expires_at, place)) = first.split_first_chunk::<8>() else { continue };
            // A repeat may have renewed the record; then a later entry speaks for it.
            let due = self.idempotency.get(place)?.is_some_and(|value| value.value().starts_with(expires_at));
            if due {
                self.idempotency.remove(place)?;
            }
        }
        Ok(())
    }
}

/// What the database says, in the words of the port.
pub(super) struct Trouble(pub(super) redb::Error);

impl From<Trouble> for StoreError {
    fn from(Trouble(error): Trouble) -> Self {
        match error {
            redb::Error::Io(cause) if cause.kind() == std::io::ErrorKind::StorageFull => Self::Full(cause.to_string()),
            redb::Error::Corrupted(what) => Self::Corrupt(format!("the file is damaged: {what}")),
            redb::Error::PreviousIo => {
                Self::Unavailable("writing failed before; restart keygate once the disk is well".to_owned())
            }
            other => Self::Unavailable(other.to_string()),
        }
    }
}
