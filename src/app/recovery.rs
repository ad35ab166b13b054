//! A store that went back in time: Redis that was restored from an older dump, a copy of a file that was put back, replicas that
//! had not heard of the last acts. It is noticed by what the server wrote down of its own acts, and what those took away is taken
//! away again, as acts of keygate itself, before anybody is let through by it.

use super::{
    error::AppError,
    house::App,
    keys::operators,
    ports::{CommitError, Store, StoreError, journal::Mark},
    together::together,
};
use crate::domain::{
    account::{Account, AccountStatus},
    audit::{About, Act, Actor},
    commit::Change,
    id::{AccountRef, KeyId},
    key::{Acting, KeyRecord, Limits, end_all},
    time::Timestamp,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// How often an act starts over when other servers change the account at the same time.
const ATTEMPTS: usize = 16;
/// Accounts that are looked at together.
const STEP: usize = 256;
/// What stands in the record of a key that ended again.
const REASON: &str = "ended before the store went back in time";

/// What is known of one account.
#[derive(Debug, Clone)]
struct Known {
    latest: Mark,
    status: Option<AccountStatus>,
    ended: BTreeSet<KeyId>,
    holds: BTreeMap<KeyId, bool>,
    retirements: BTreeMap<(KeyId, u32), Timestamp>,
}

/// What marks come to, one account after the other: those of the latest acts first.
fn ledger(marks: Vec<Mark>) -> Vec<Known> {
    let mut known: HashMap<AccountRef, (usize, Known)> = HashMap::new();
    for (at, mark) in marks.into_iter().enumerate() {
        let (place, entry) = known.entry(mark.owner.clone()).or_insert_with(|| {
            let (ended, holds, retirements) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
            (at, Known { latest: mark.clone(), status: None, ended, holds, retirements })
        });
        *place = at;
        if mark.settled {
            (entry.status, entry.holds, entry.retirements) = (None, BTreeMap::new(), BTreeMap::new());
        }
        entry.status = mark.status.or(entry.status);
        entry.ended.extend(&mark.ended);
        entry.holds.extend(mark.holds.iter().copied());
        entry.retirements.extend(mark.retirements.iter().map(|(key, secret, at)| ((*key, *secret), *at)));
        entry.latest = mark;
    }
    let mut all: Vec<(usize, Known)> = known.into_values().collect();
    all.sort_by_key(|(place, _)| std::cmp::Reverse(*place));
    all.into_iter().map(|(_, known)| known).collect()
}

/// The marks that come to the same, without those that others made needless. What was taken away before `since` is forgotten, and so
/// are accounts that nothing happened to since.
#[must_use]
pub fn compacted(marks: Vec<Mark>, since: Timestamp) -> Vec<Mark> {
    let recent = marks.into_iter().filter(|mark| mark.at >= since).collect();
    let whole = |known: Known| Mark {
        settled: true,
        status: known.status,
        ended: known.ended.into_iter().collect(),
        holds: known.holds.into_iter().collect(),
        retirements: known.retirements.into_iter().map(|((key, secret), at)| (key, secret, at)).collect(),
        ..known.latest
    };
    // The latest stand last again.
    ledger(recent).into_iter().rev().map(whole).collect()
}

/// What was found of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Setback {
    /// Accounts that are behind what was written down of them.
    pub accounts: u64,
    /// Keys that ended again, or stopped to work again otherwise.
    pub keys: u64,
    /// One of the accounts.
    pub example: Option<AccountRef>,
}

impl Setback {
    fn of(owner: &AccountRef, keys: usize) -> Self {
        Self { accounts: 1, keys: keys as u64, example: Some(owner.clone()) }
    }

    /// Both.
    pub fn add(&mut self, other: Self) {
        self.accounts = self.accounts.saturating_add(other.accounts);
        self.keys = self.keys.saturating_add(other.keys);
        self.example = self.example.take().or(other.example);
    }
}

/// Whether an account stands where it was, or further on the same way.
async fn stands<S: Store>(store: &S, mark: &Mark) -> Result<bool, StoreError> {
    if mark.version == 0 {
        return Ok(true);
    }
    let Some(account) = store.read_account(&mark.owner).await? else { return Ok(false) };
    if account.version < mark.version || account.audit.length < mark.audit.length {
        return Ok(false);
    }
    if account.audit == mark.audit || mark.audit.length == 0 {
        return Ok(true);
    }
    let found = store.read_audit(&mark.owner, mark.audit.length, 1).await?;
    Ok(found.first().is_some_and(|event| event.hash == mark.audit.head))
}

/// The same. Of a record that cannot be trusted nobody is let through: it is told whenever it is read, and keeps no server from
/// starting.
async fn stands_or_is_spoilt<S: Store>(store: &S, mark: &Mark) -> Result<bool, StoreError> {
    match stands(store, mark).await {
        Err(StoreError::Corrupt(_)) => Ok(true),
        found => found,
    }
}

/// How many accounts are behind what was written down of them; changes nothing.
///
/// # Errors
/// When the store cannot answer.
pub async fn look<S: Store>(store: &S, marks: Vec<Mark>) -> Result<Setback, AppError> {
    let mut found = Setback::default();
    for some in ledger(marks).chunks(STEP) {
        for mark in behind(store, some.to_vec()).await? {
            found.add(Setback::of(&mark.latest.owner, 0));
        }
    }
    Ok(found)
}

async fn behind<S: Store>(store: &S, some: Vec<Known>) -> Result<Vec<Known>, AppError> {
    let asked = some.into_iter().map(|known| {
        let store = store.clone();
        async move { Ok((!stands_or_is_spoilt(&store, &known.latest).await?).then_some(known)) }
    });
    Ok(together(asked).await?.into_iter().flatten().collect())
}

impl<S: Store> App<S> {
    /// Whether the account of the latest act of this server is where it was: where the store went back, it is not.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn store_stands(&self) -> Result<bool, AppError> {
        let newest = self.house.journal.as_ref().and_then(|journal| journal.newest());
        match newest {
            Some(mark) => Ok(stands_or_is_spoilt(&self.store, &mark).await?),
            None => Ok(true),
        }
    }

    /// Looks at every account that this server wrote down, and takes away again what had been taken away from those that went back.
    /// `only_if_latest`: only if one of the accounts is among them that it wrote down last, as it is when the whole store went back.
    ///
    /// # Errors
    /// When the journal cannot be read, or the store cannot answer. What was done so far stands; the next time goes on.
    pub async fn recover(&self, only_if_latest: bool) -> Result<Setback, AppError> {
        let Some(journal) = self.house.journal.clone() else { return Ok(Setback::default()) };
        let recalled = tokio::task::spawn_blocking(move || journal.recall()).await;
        let marks = recalled.map_err(|_| AppError::Bug("the journal was not read to its end"))?;
        let marks =
            marks.map_err(|problem| StoreError::Unavailable(format!("the journal cannot be read: {problem}")))?;
        let mut found = Setback::default();
        for some in ledger(marks).chunks(STEP) {
            for known in behind(&self.store, some.to_vec()).await? {
                let keys = match self.take_away_again(&known).await {
                    Err(AppError::Store(StoreError::Corrupt(what))) => {
                        let AccountRef { realm, account } = &known.latest.owner;
                        let (realm, account) = (realm.as_str(), account.as_str());
                        tracing::error!(
                            realm,
                            account,
                            what,
                            "what had been ended in an account cannot be ended again"
                        );
                        0
                    }
                    done => done?,
                };
                let one = Setback::of(&known.latest.owner, keys);
                self.house.meter.gone_back.one();
                self.house.meter.ended_again.many(one.keys);
                found.add(one);
            }
            if only_if_latest && found.accounts == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Gives how many keys stopped to work again.
    async fn take_away_again(&self, known: &Known) -> Result<usize, AppError> {
        let owner = &known.latest.owner;
        let turn = self.house.act_on(owner).await;
        let mut stopped = 0_usize;
        let mut attempts = 0;
        let account = loop {
            let Some(account) = self.store.read_account(owner).await? else { break None };
            let Some((change, keys)) = self.again(known, &account).await? else { break Some(account) };
            match self.commit_regardless(&change).await {
                Ok(()) => stopped = stopped.saturating_add(keys),
                Err(CommitError::Conflict) if attempts < ATTEMPTS => attempts = attempts.saturating_add(1),
                Err(CommitError::Conflict) => return Err(AppError::Contended),
                Err(error) => return Err(error.into()),
            }
        };
        drop(turn);
        if let Some(journal) = &self.house.journal {
            journal.note(self.settled(known, account.as_ref()).await?).await;
        }
        Ok(stopped)
    }

    /// From here on an account stands where it stands now, and what was taken away is known for the next time. But the numbers of
    /// secrets that it lost are given again, to others.
    async fn settled(&self, known: &Known, account: Option<&Account>) -> Result<Mark, AppError> {
        let owner = &known.latest.owner;
        let ids: BTreeSet<KeyId> = known.retirements.keys().map(|(key, _)| *key).collect();
        let ids: Vec<KeyId> = ids.into_iter().collect();
        let mut next = BTreeMap::new();
        for some in ids.chunks(Limits::KEYS_PER_ACT) {
            let keys = self.store.read_keys(owner, some).await?;
            next.extend(keys.into_iter().flatten().map(|key| (key.id, key.next_secret())));
        }
        let stands = |(key, number): &(KeyId, u32)| next.get(key).is_some_and(|next| number < next);
        let retired = known.retirements.iter().filter(|(place, _)| stands(place));
        Ok(Mark {
            status: known.status,
            holds: known.holds.iter().map(|(key, suspended)| (*key, *suspended)).collect(),
            retirements: retired.map(|((key, number), at)| (*key, *number, *at)).collect(),
            ..Mark::seen(owner, account, self.house.clock.now())
        })
    }

    /// What is to be taken away again in one act, and from how many keys; nothing when all of it is.
    async fn again(&self, known: &Known, account: &Account) -> Result<Option<(Change, usize)>, AppError> {
        let owner = &known.latest.owner;
        // Nobody is let through by a realm that is not served.
        let Ok(guard) = self.house.realm(owner.realm.as_str()) else { return Ok(None) };
        let (now, actor) = (self.house.clock.now(), Actor::System);
        let acting = Acting { owner, account: Some(account), policy: &guard.realm.keys, actor: &actor, now };
        let mut change = Change::begin(owner, Some(account), &actor, now);
        let began = change.events.len();

        let of_operators = operators().is_ok_and(|operators| operators == *owner);
        let status = known.status.filter(|status| !of_operators && severity(*status) > severity(account.status));
        if let Some(status) = status {
            change.account.status = status;
            change.record_account(now, &actor, Act::of_status(status), None);
        }
        let ids: Vec<KeyId> = known.ended.iter().copied().collect();
        let mut ended = Vec::new();
        for some in ids.chunks(Limits::KEYS_PER_ACT) {
            let keys = self.store.read_keys(owner, some).await?;
            ended.extend(keys.into_iter().flatten().filter(|key| key.revoked.is_none()));
        }
        if change.account.status == AccountStatus::Offboarded {
            ended.extend(self.live_keys(owner, None, Limits::KEYS_PER_ACT).await?.0);
            ended.sort_by_key(|key| key.id);
            ended.dedup_by_key(|key| key.id);
        }
        ended.truncate(Limits::KEYS_PER_ACT);
        end_all(&acting, &mut change, &ended, REASON);
        let changed = self.held_again(known, &ended, &mut change, now).await?;
        let keys = change.end.len().saturating_add(changed);
        self.keep_members(&mut change).await?;
        Ok((change.events.len() > began).then_some((change, keys)))
    }

    /// Adds keys that were suspended, or whose secrets were rotated away.
    async fn held_again(
        &self,
        known: &Known,
        ended: &[KeyRecord],
        change: &mut Change,
        now: Timestamp,
    ) -> Result<usize, AppError> {
        let held = known.holds.iter().filter(|(_, suspended)| **suspended).map(|(key, _)| *key);
        let ids: BTreeSet<KeyId> = held.chain(known.retirements.keys().map(|(key, _)| *key)).collect();
        let ids: Vec<KeyId> = ids.into_iter().filter(|id| !ended.iter().any(|key| key.id == *id)).collect();
        let mut count = 0_usize;
        for some in ids.chunks(Limits::KEYS_PER_ACT) {
            for key in self.store.read_keys(&change.owner, some).await?.into_iter().flatten() {
                if key.revoked.is_some() || change.put.len() >= Limits::KEYS_PER_ACT {
                    continue;
                }
                let mut new = key.clone();
                if known.holds.get(&key.id) == Some(&true) {
                    new.suspended = true;
                }
                for secret in &mut new.secrets {
                    if let Some(end) = known.retirements.get(&(key.id, secret.number)) {
                        secret.retires_at = Some(secret.retires_at.map_or(*end, |earlier| earlier.min(*end)));
                    }
                }
                let about = |fields| About { key: Some((key.id, &key.environment)), fields, ..About::default() };
                if new.suspended != key.suspended {
                    change.record_key(now, &Actor::System, Act::KeySuspended, about(&[]));
                }
                if new.secrets != key.secrets {
                    change.record_key(now, &Actor::System, Act::KeyRotated, about(&["secrets"]));
                }
                if new != key {
                    (new.version, new.updated_at) = (key.version.saturating_add(1), now);
                    change.put.push(new);
                    count = count.saturating_add(1);
                }
            }
        }
        Ok(count)
    }
}

/// How little works in an account.
fn severity(status: AccountStatus) -> u32 {
    status.code()
}
