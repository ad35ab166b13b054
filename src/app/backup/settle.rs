//! Writing one account of a backup.
//!
//! An account that fits a page is written in one commit: it is there as a whole or not at all. A larger one takes several. Until
//! the last of them it is suspended and of a lower version than in the backup, so that none of its keys works before all of them
//! do, and a restore that was interrupted goes on: what is there is a beginning of its audit chain.

use super::{LeftOut, RestoreError, take::uses_of};
use crate::{
    app::ports::{
        CommitError, EntryQuery, Store, StoreError,
        backup::{HeldKey, Part},
    },
    domain::{
        account::{Account, AccountStatus},
        audit::{AuditEvent, Chain},
        commit::{Change, NewLookup},
        entry::{Entry, EntryChange, EntryId, EntryKind},
        id::{AccountRef, KeyId},
        key::{KeyRecord, KeyUse, LastUse},
    },
};
use std::collections::{BTreeSet, HashMap, HashSet};
use tokio::sync::mpsc;

/// Events, keys and entries that one commit writes: more than most acts write, less than makes others wait for long.
const TOGETHER: usize = 1_500;
/// Entries that are read at a time.
const PAGE: usize = 500;

/// What came of an account.
pub(super) enum Settled {
    /// It is as the backup has it, or newer; and how many keys were written.
    Done(Outcome, u64),
    /// It stays as it is.
    LeftOut(LeftOut),
}

/// What the store had of an account.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Written,
    /// An older state.
    Advanced,
    /// This very state.
    Same,
    /// A newer state.
    Newer,
}

/// One account on its way into a store.
pub(super) struct Settling<S> {
    store: S,
    owner: AccountRef,
    /// As the backup has it, once it was named.
    wanted: Option<Account>,
    /// As the store has it.
    stands: Option<Account>,
    /// What the store had before anything was written.
    outcome: Outcome,
    /// Whether what stands is known to be a beginning of what is wanted.
    follows: bool,
    /// Where the events end that the backup told so far.
    told: Chain,
    events: Vec<AuditEvent>,
    keys: Vec<HeldKey>,
    entries: Vec<(EntryId, Entry)>,
    /// Entries that the backup has.
    kept: BTreeSet<EntryId>,
    written: u64,
}

const PARTED: &str = "its audit chain in the store is another than in the backup";
const INCOMPLETE: &str = "its audit chain in the backup is not whole";
const TAKEN: &str = "one of its secrets leads to another key in the store";
const BUSY: &str = "it was changed in the store meanwhile; run the restore again";

/// Why an account is left out, or nothing more can be written.
enum Stop {
    LeaveOut(&'static str),
    Fail(StoreError),
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Fail(error)
    }
}

impl From<CommitError> for Stop {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict | CommitError::ReadOnly => Self::LeaveOut(BUSY),
            CommitError::DigestTaken(_) => Self::LeaveOut(TAKEN),
            CommitError::Store(error) => Self::Fail(error),
        }
    }
}

impl<S: Store> Settling<S> {
    pub(super) fn new(store: S, owner: AccountRef) -> Self {
        Self {
            store,
            owner,
            wanted: None,
            stands: None,
            outcome: Outcome::Same,
            follows: false,
            told: Chain::default(),
            events: Vec::new(),
            keys: Vec::new(),
            entries: Vec::new(),
            kept: BTreeSet::new(),
            written: 0,
        }
    }

    /// Writes what comes, until nothing more does.
    pub(super) async fn run(mut self, mut parts: mpsc::Receiver<Part>) -> Result<Settled, RestoreError> {
        let mut left_out = None;
        loop {
            let part = parts.recv().await;
            let ends = part.is_none();
            // What is left out is read to its end all the same.
            let done = match part {
                _ if left_out.is_some() => Ok(()),
                Some(part) => self.take(part).await,
                None => self.close().await,
            };
            match done {
                Ok(()) => {}
                Err(Stop::LeaveOut(why)) => left_out = Some(why),
                Err(Stop::Fail(error)) => return Err(error.into()),
            }
            if ends {
                break;
            }
        }
        Ok(match left_out {
            None => Settled::Done(self.outcome, self.written),
            Some(why) => Settled::LeftOut(LeftOut { owner: self.owner, why }),
        })
    }

    async fn take(&mut self, part: Part) -> Result<(), Stop> {
        match part {
            Part::Account(named) => self.begin(named.1).await?,
            Part::Event(event) => self.take_event(*event)?,
            Part::Key(key) => self.keys.push(*key),
            Part::Entry(entry) => {
                self.kept.insert(entry.0.clone());
                self.entries.push(*entry);
            }
            Part::Header(_) | Part::Memo(_) | Part::End(_) => {}
        }
        let waiting = self.events.len().saturating_add(self.keys.len()).saturating_add(self.entries.len());
        if waiting >= TOGETHER { self.write(false).await } else { Ok(()) }
    }

    /// Compares what is wanted with what stands. Named again, it is a later state of the same account.
    async fn begin(&mut self, wanted: Account) -> Result<(), Stop> {
        self.kept.clear();
        let stands = self.store.read_account(&self.owner).await?;
        let goes_on = self.wanted.is_some();
        let outcome = match &stands {
            None => Outcome::Written,
            Some(stands) if stands.mark() == wanted.mark() => Outcome::Same,
            Some(stands) if stands.version >= wanted.version => {
                if !self.stands_behind(&wanted).await? {
                    return Err(Stop::LeaveOut(PARTED));
                }
                Outcome::Newer
            }
            Some(stands) if stands.audit.length > wanted.audit.length => return Err(Stop::LeaveOut(PARTED)),
            Some(_) => Outcome::Advanced,
        };
        // Told to its end before: what is named again begins there.
        let ended = stands.as_ref().is_none_or(|stands| stands.audit == self.told || stands.audit.length == 0);
        self.follows = ended || (goes_on && self.follows);
        if !goes_on || self.outcome == Outcome::Same {
            self.outcome = outcome;
        }
        self.stands = stands;
        self.wanted = Some(wanted);
        Ok(())
    }

    /// Whether the end of the chain that is wanted stands in the store.
    async fn stands_behind(&self, wanted: &Account) -> Result<bool, StoreError> {
        if wanted.audit.length == 0 {
            return Ok(true);
        }
        let found = self.store.read_audit(&self.owner, wanted.audit.length, 1).await?;
        Ok(found.first().is_some_and(|event| event.sequence == wanted.audit.length && event.hash == wanted.audit.head))
    }

    fn take_event(&mut self, event: AuditEvent) -> Result<(), Stop> {
        self.told = self.told.next(&event).ok_or(Stop::LeaveOut(INCOMPLETE))?;
        let length = self.stands.as_ref().map_or(0, |stands| stands.audit.length);
        if event.sequence == length {
            self.follows = self.stands.as_ref().is_some_and(|stands| stands.audit == self.told);
        }
        if event.sequence >= length && !self.follows && self.writes() {
            return Err(Stop::LeaveOut(PARTED));
        }
        if event.sequence > length {
            self.events.push(event);
        }
        Ok(())
    }

    /// Whether the account is to be written at all.
    fn writes(&self) -> bool {
        let (Some(wanted), stands) = (&self.wanted, &self.stands) else { return false };
        stands.as_ref().is_none_or(|stands| stands.version < wanted.version)
    }

    async fn close(&mut self) -> Result<(), Stop> {
        if self.wanted.as_ref().is_some_and(|wanted| wanted.audit != self.told) {
            return Err(Stop::LeaveOut(INCOMPLETE));
        }
        self.write(true).await
    }

    /// Writes what waits. With the last of it the account becomes what it is in the backup.
    async fn write(&mut self, last: bool) -> Result<(), Stop> {
        let Some(wanted) = self.wanted.clone() else { return Ok(()) };
        let keys = latest(std::mem::take(&mut self.keys));
        let (events, entries) = (std::mem::take(&mut self.events), std::mem::take(&mut self.entries));
        if self.writes() {
            if !self.follows {
                return Err(Stop::LeaveOut(PARTED));
            }
            let audit = events.last().map(|event| Chain { length: event.sequence, head: event.hash });
            let audit = audit.or(self.stands.as_ref().map(|stands| stands.audit)).unwrap_or_default();
            let account = if last { wanted } else { on_the_way(wanted, self.stands.as_ref(), audit) };
            let mut change = Change {
                owner: self.owner.clone(),
                expected: self.stands.as_ref().map_or(0, Account::mark),
                account,
                put: Vec::new(),
                end: Vec::new(),
                lookups: Vec::new(),
                forgotten: Vec::new(),
                entries: entries.into_iter().map(|(id, entry)| EntryChange { id, entry: Some(entry) }).collect(),
                events,
                idempotency: None,
            };
            self.add_keys(&mut change, &keys).await?;
            if last && self.stands.is_some() {
                self.remove_entries(&mut change).await?;
            }
            self.store.commit(&change).await?;
            let count = change.put.len().saturating_add(change.end.len());
            self.written = self.written.saturating_add(count as u64);
            self.stands = Some(change.account);
        }
        self.note_uses(&keys).await?;
        Ok(())
    }

    /// Adds keys, those digests of theirs that lead nowhere yet, and those that must no longer lead to them.
    async fn add_keys(&self, change: &mut Change, keys: &[HeldKey]) -> Result<(), StoreError> {
        let ids: Vec<KeyId> = keys.iter().map(|held| held.key.id).collect();
        let found = if self.stands.is_some() { self.store.read_keys(&self.owner, &ids).await? } else { Vec::new() };
        let found: HashMap<KeyId, KeyRecord> = found.into_iter().flatten().map(|key| (key.id, key)).collect();
        for HeldKey { key, .. } in keys {
            let before = found.get(&key.id);
            if before.is_some_and(|before| before.revoked.is_some() && key.revoked.is_none()) {
                // What ended stays so.
                continue;
            }
            let carries = |key: &KeyRecord, digest| key.secret(digest).is_some();
            for secret in &key.secrets {
                if !before.is_some_and(|before| carries(before, &secret.digest)) {
                    let (digest, environment) = (secret.digest, key.environment.clone());
                    change.lookups.push(NewLookup { digest, environment, key: key.id });
                }
            }
            let secrets = before.iter().flat_map(|before| &before.secrets);
            let gone = secrets.filter(|secret| !carries(key, &secret.digest));
            change.forgotten.extend(gone.map(|secret| secret.digest));
            let list = if key.revoked.is_some() { &mut change.end } else { &mut change.put };
            list.push(key.clone());
        }
        Ok(())
    }

    /// Removes entries that the backup does not have.
    async fn remove_entries(&self, change: &mut Change) -> Result<(), StoreError> {
        for kind in EntryKind::ALL {
            let mut after = None;
            loop {
                let query = EntryQuery { owner: &self.owner, kind, after: after.as_ref(), limit: PAGE };
                let found = self.store.list_entries(&query).await?;
                let whole = found.len() == PAGE;
                let last = found.last().map(|(name, _)| name.clone());
                let ids = found.into_iter().map(|(name, _)| EntryId { kind, name });
                let gone = ids.filter(|id| !self.kept.contains(id));
                change.entries.extend(gone.map(|id| EntryChange { id, entry: None }));
                if !whole {
                    break;
                }
                after = last;
            }
        }
        Ok(())
    }

    /// Notes uses that the store does not know of. A count is brought up to the backup's, however often it is restored.
    async fn note_uses(&self, keys: &[HeldKey]) -> Result<(), StoreError> {
        let used: Vec<&HeldKey> = keys.iter().filter(|held| held.uses.last.is_some()).collect();
        if used.is_empty() {
            return Ok(());
        }
        let wanted: Vec<_> = used.iter().map(|held| uses_of(&held.key)).collect();
        let known = self.store.read_uses(&self.owner, &wanted).await?;
        let mut notes = Vec::new();
        for (held, known) in used.into_iter().zip(known) {
            let mut of_key: Vec<KeyUse> = Vec::new();
            let note = |secret, last: LastUse, count| {
                let (owner, key) = (self.owner.clone(), held.key.id);
                KeyUse { owner, key, secret, last, count }
            };
            for ((secret, told), known) in held.key.secrets.iter().zip(&held.uses.secrets).zip(&known.secrets) {
                let Some(told) = told else { continue };
                let count = told.count.saturating_sub(known.map_or(0, |known| known.count));
                let last = known.map(|known| known.last).filter(|known| known.at >= told.last.at).unwrap_or(told.last);
                if count > 0 || known.is_none_or(|known| known.last.at < told.last.at) {
                    of_key.push(note(secret.number, last, count));
                }
            }
            // The latest comes last: it is what the key itself remembers. It may be one with a secret that was forgotten since.
            of_key.sort_by_key(|note| note.last.at);
            let latest = held.uses.last.into_iter().chain(known.last).max_by_key(|last| last.at);
            if let Some(latest) = latest
                && of_key.last().map_or(known.last != Some(latest), |note| note.last.at < latest.at)
                && let Some(newest) = held.key.secrets.first()
            {
                of_key.push(note(newest.number, latest, 0));
            }
            notes.extend(of_key);
        }
        if notes.is_empty() { Ok(()) } else { self.store.note_uses(&notes).await }
    }
}

/// Of a key that was told twice, since it changed while it was read, what was told last.
fn latest(keys: Vec<HeldKey>) -> Vec<HeldKey> {
    let mut seen = HashSet::new();
    let mut kept: Vec<HeldKey> = keys.into_iter().rev().filter(|held| seen.insert(held.key.id)).collect();
    kept.reverse();
    kept
}

/// An account of which only a part is written: no key of it works, and it is older than what is wanted.
fn on_the_way(wanted: Account, stands: Option<&Account>, audit: Chain) -> Account {
    let status = if wanted.status == AccountStatus::Active { AccountStatus::Suspended } else { wanted.status };
    let version = stands.map_or(0, |stands| stands.version).saturating_add(1).min(wanted.version.saturating_sub(1));
    Account { status, version, audit, ..wanted }
}
