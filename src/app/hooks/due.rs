//! What is to be told at a time: an index by time, each entry judged against the key's record when its time has come. So
//! nobody has to look through all keys. Entries are written before the act that they follow from; one of an act that was not
//! done, or that another act overtook, tells nothing.

use super::{AT_ONCE, LEASE, instant};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        ports::{Expected, MemoId, Memos, Shelf, Store},
    },
    domain::{
        id::{AccountId, AccountRef, KeyId, RealmName},
        key::{KeyUse, UsesOf},
        time::Timestamp,
        webhook::{EventKind, Letter, Webhook},
    },
};
use std::collections::BTreeMap;
use tokio::task::JoinSet;

/// Entries that one round tells, at most.
const STEP: usize = 200;

/// One entry.
pub(super) struct Due {
    pub(super) at: Timestamp,
    pub(super) hook: String,
    pub(super) kind: DueKind,
    pub(super) account: AccountId,
    pub(super) key: KeyId,
}

/// What is told, or looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DueKind {
    /// The key expires soon.
    Expiring,
    /// The key rests soon.
    Resting,
    /// It was told that the key rests soon: does it?
    Rested,
    /// The key was used after it had lain idle.
    Awoken,
}

impl DueKind {
    const ALL: [Self; 4] = [Self::Expiring, Self::Resting, Self::Rested, Self::Awoken];

    const fn code(self) -> u8 {
        match self {
            Self::Expiring => b'e',
            Self::Resting => b'r',
            Self::Rested => b'd',
            Self::Awoken => b'a',
        }
    }
}

impl Due {
    fn name(&self) -> Vec<u8> {
        let (at, account) = (self.at.as_micros().to_be_bytes(), self.account.as_str().as_bytes());
        [&at[..], self.hook.as_bytes(), &[0, self.kind.code()], account, &[0], self.key.as_bytes()].concat()
    }

    fn read(name: &[u8]) -> Option<Self> {
        let (at, rest) = name.split_first_chunk::<8>()?;
        let (rest, key) = rest.split_last_chunk::<16>()?;
        let mut fields = rest.strip_suffix(&[0])?.splitn(2, |byte| *byte == 0);
        let hook = std::str::from_utf8(fields.next()?).ok()?.to_owned();
        let (code, account) = fields.next()?.split_first()?;
        Some(Self {
            at: instant(at),
            hook,
            kind: DueKind::ALL.into_iter().find(|kind| kind.code() == *code)?,
            account: AccountId::new(std::str::from_utf8(account).ok()?).ok()?,
            key: KeyId::from_bytes(*key),
        })
    }
}

/// What came of looking at an entry.
enum Fate {
    Gone,
    Later(DueKind, Timestamp),
    Tell(Letter, Option<(DueKind, Timestamp)>),
}

/// How often it failed, and the time that it is about.
fn value(attempts: u32, about: Timestamp) -> Vec<u8> {
    [&attempts.to_be_bytes()[..], &about.as_micros().to_be_bytes()].concat()
}

impl<S: Store> App<S> {
    /// Writes an entry that is about a time of its key.
    pub(super) async fn write_due(&self, realm: &RealmName, due: &Due, about: Timestamp) -> Result<(), AppError> {
        self.set_due(realm, due, &value(0, about)).await
    }

    /// Notes for subscribers that keys were used which had lain idle for longer than they want to be told of.
    pub(in crate::app) async fn note_awoken(&self, uses: &[(KeyUse, Timestamp)]) -> Result<(), AppError> {
        for (used, idle_since) in uses {
            let Ok(guard) = self.house.realm(used.owner.realm.as_str()) else { continue };
            for hook in guard.hooks.iter().filter(|hook| hook.wants(EventKind::Awoken)) {
                if used.last.at.since(*idle_since) < hook.idle_after {
                    continue;
                }
                // Another server may have let it through since: what is written tells.
                let wanted = [UsesOf { key: used.key, secrets: Vec::new() }];
                let before = self.store.read_uses(&used.owner, &wanted).await?;
                let before = before.first().and_then(|uses| uses.last).map_or(*idle_since, |last| last.at);
                if used.last.at.since(before.max(*idle_since)) < hook.idle_after {
                    continue;
                }
                let (at, account) = (used.last.at, used.owner.account.clone());
                let due = Due { at, hook: hook.name.clone(), kind: DueKind::Awoken, account, key: used.key };
                self.write_due(&used.owner.realm, &due, *idle_since).await?;
            }
        }
        Ok(())
    }

    /// Tells what is due in every realm with subscribers: of each account in the order of its times, accounts beside each other.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn tell_all_due(&self) -> Result<(), AppError> {
        let (mut waiting, mut outcome) = (Vec::new(), Ok(()));
        for guard in self.house.realms().filter(|guard| !guard.hooks.is_empty()) {
            match self.due(guard).await {
                Ok(due) => waiting.extend(due.into_values().map(|memos| (guard.realm.name.clone(), memos))),
                Err(error) => outcome = Err(error),
            }
        }
        let mut waiting = waiting.into_iter();
        let mut working = JoinSet::new();
        loop {
            while working.len() < AT_ONCE
                && let Some((realm, memos)) = waiting.next()
            {
                let app = self.clone();
                working.spawn(async move {
                    let guard = app.house.realm(realm.as_str())?;
                    for (name, value) in memos {
                        app.tell_one(guard, &name, &value).await?;
                    }
                    Ok(())
                });
            }
            match working.join_next().await {
                None => return outcome,
                Some(Ok(done)) => outcome = outcome.and(done),
                Some(Err(_)) => outcome = Err(AppError::Bug("a delivery was not made to its end")),
            }
        }
    }

    /// The earliest of what is due, by account.
    async fn due(&self, guard: &Guarded) -> Result<BTreeMap<Option<AccountId>, Memos>, AppError> {
        let first = MemoId { realm: &guard.realm.name, shelf: Shelf::Due, name: &[] };
        let mut memos = self.store.list_memos(&first, STEP).await?;
        let now = self.house.clock.now();
        memos.retain(|(name, _)| instant(name) <= now);
        let [_, backlog] = &guard.meter.backlog;
        backlog.set(memos.len() as u64);
        let mut due: BTreeMap<_, Memos> = BTreeMap::new();
        for (name, value) in memos {
            due.entry(Due::read(&name).map(|due| due.account)).or_default().push((name, value));
        }
        Ok(due)
    }

    async fn tell_one(&self, guard: &Guarded, name: &[u8], stored: &[u8]) -> Result<(), AppError> {
        let realm = &guard.realm.name;
        let id = MemoId { realm, shelf: Shelf::Due, name };
        let due = Due::read(name);
        let hook = due.as_ref().and_then(|due| guard.hooks.iter().find(|hook| hook.name == due.hook));
        let (Some(due), Some(hook)) = (due, hook) else {
            // Of a subscriber that is no more.
            self.store.write_memo(&id, Expected::Is(stored), None).await?;
            return Ok(());
        };
        let now = self.house.clock.now();
        // It is put where it is found again should this server end, and then taken: whoever takes it, tells it.
        let kept = Due {
            at: now.after(LEASE.saturating_add(hook.timeout)),
            hook: due.hook.clone(),
            account: due.account.clone(),
            ..due
        };
        self.set_due(realm, &kept, stored).await?;
        if !self.store.write_memo(&id, Expected::Is(stored), None).await? {
            return self.drop_due(realm, &kept).await;
        }
        let attempts = stored.first_chunk::<4>().copied().map_or(0, u32::from_be_bytes);
        let about = instant(stored.get(4..).unwrap_or_default());
        let next = match self.judge_due(guard, hook, &due, about, now).await? {
            Fate::Gone => None,
            Fate::Later(kind, at) => Some((kind, at, 0)),
            Fate::Tell(letter, then) => match self.hand_over(realm, &letter).await {
                Ok(()) => then.map(|(kind, at)| (kind, at, 0)),
                Err(undelivered) => {
                    let failed = attempts.saturating_add(1);
                    match hook.wait_after(failed).filter(|_| !undelivered.for_good) {
                        Some(wait) => Some((due.kind, self.house.clock.now().after(wait), failed)),
                        None => {
                            self.bury(realm, &letter, &undelivered.problem, failed).await?;
                            then.map(|(kind, at)| (kind, at, 0))
                        }
                    }
                }
            },
        };
        if let Some((kind, at, attempts)) = next {
            let next = Due { at, kind, hook: due.hook, account: due.account, key: due.key };
            self.set_due(realm, &next, &value(attempts, about)).await?;
        }
        self.drop_due(realm, &kept).await
    }

    async fn judge_due(
        &self,
        guard: &Guarded,
        hook: &Webhook,
        due: &Due,
        about: Timestamp,
        now: Timestamp,
    ) -> Result<Fate, AppError> {
        let owner = AccountRef { realm: guard.realm.name.clone(), account: due.account.clone() };
        let found = self.store.read_keys(&owner, &[due.key]).await?.into_iter().flatten().next();
        let Some(key) = found.filter(|key| key.revoked.is_none()) else { return Ok(Fate::Gone) };
        let letter = |kind, field, time| {
            Letter::of_time(&hook.name, &owner, (key.id, &key.environment), kind, (field, time), now)
        };
        let resting = async || {
            let uses = self.store.read_uses(&owner, &[UsesOf { key: key.id, secrets: Vec::new() }]).await?;
            let last = uses.first().and_then(|uses| uses.last).map(|last| last.at);
            Ok::<_, AppError>(key.rests_at(last, guard.realm.keys.suspend_unused_after))
        };
        Ok(match due.kind {
            // A later act that moved the expiry wrote an entry of its own.
            DueKind::Expiring if key.expires_at != Some(about) => Fate::Gone,
            DueKind::Expiring => Fate::Tell(letter(EventKind::Expiring, "expires_at", about), None),
            DueKind::Awoken => Fate::Tell(letter(EventKind::Awoken, "idle_since", about), None),
            DueKind::Resting | DueKind::Rested => match resting().await? {
                None => Fate::Gone,
                Some(end) if end.before(hook.resting_within) > now => {
                    Fate::Later(DueKind::Resting, end.before(hook.resting_within))
                }
                Some(end) if due.kind == DueKind::Resting => {
                    Fate::Tell(letter(EventKind::Resting, "suspends_at", end), Some((DueKind::Rested, end)))
                }
                Some(_) => Fate::Gone,
            },
        })
    }

    async fn set_due(&self, realm: &RealmName, due: &Due, value: &[u8]) -> Result<(), AppError> {
        let name = due.name();
        let id = MemoId { realm, shelf: Shelf::Due, name: &name };
        self.store.write_memo(&id, Expected::Anything, Some(value)).await?;
        Ok(())
    }

    async fn drop_due(&self, realm: &RealmName, due: &Due) -> Result<(), AppError> {
        let name = due.name();
        let id = MemoId { realm, shelf: Shelf::Due, name: &name };
        self.store.write_memo(&id, Expected::Anything, None).await?;
        Ok(())
    }
}
