//! Delivering news: for each account and subscriber in the order of the audit chain, one server at a time, accounts beside each
//! other. How far a subscriber was told stands in a memo that only its reader may move: so each event is told at least once.

use super::{AT_ONCE, LEASE, instant};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        ports::{Expected, MemoId, Memos, Shelf, Store},
    },
    domain::{
        id::{AccountId, AccountRef, RealmName},
        time::Timestamp,
        webhook::{EventKind, Letter, Webhook},
    },
};
use std::{collections::HashMap, time::Duration};
use tokio::task::JoinSet;

/// Notices that are read at a time.
const PAGE: usize = 500;
/// Events that are read at a time.
const STEP: usize = 100;
/// How long one visit to an account may go on before others have their turn.
const VISIT: Duration = Duration::from_secs(20);
/// How long a notice stays after its act may have been done: longer than any act may take.
const SETTLED: Duration = Duration::from_secs(330);
/// How soon an account is looked at again whose act may be under way.
const AGAIN: Duration = Duration::from_secs(10);
/// The same just after the notice.
const SOON: Duration = Duration::from_secs(1);

/// What a server remembers from one round to the next.
#[derive(Debug, Default)]
pub struct Rounds {
    owner: Option<[u8; 8]>,
    /// Accounts that were looked at: under which notice, and when to look again.
    looked: HashMap<AccountRef, (Vec<u8>, Timestamp)>,
}

impl Rounds {
    /// Looks at every account again with the next round: there may be other subscribers now, or other ways to them.
    pub fn look_again(&mut self) {
        self.looked.clear();
    }
}

/// How far a subscriber was told of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Cursor {
    /// The number of the last event that it was told, or that it does not want.
    told: u64,
    /// How often the next one failed.
    attempts: u32,
    /// When to try again.
    next: Timestamp,
    /// Until when it belongs to a server, and to which.
    leased: Timestamp,
    owner: [u8; 8],
}

impl Cursor {
    fn write(&self) -> Vec<u8> {
        let Self { told, attempts, next, leased, owner } = self;
        let (next, leased) = (next.as_micros().to_be_bytes(), leased.as_micros().to_be_bytes());
        [&told.to_be_bytes()[..], &attempts.to_be_bytes(), &next, &leased, owner].concat()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (told, rest) = bytes.split_first_chunk::<8>()?;
        let (attempts, rest) = rest.split_first_chunk::<4>()?;
        let (next, rest) = rest.split_first_chunk::<8>()?;
        let (leased, owner) = rest.split_first_chunk::<8>()?;
        Some(Self {
            told: u64::from_be_bytes(*told),
            attempts: u32::from_be_bytes(*attempts),
            next: instant(next),
            leased: instant(leased),
            owner: owner.try_into().ok()?,
        })
    }
}

/// A cursor that belongs to this server for now.
struct Held<'a> {
    realm: &'a RealmName,
    name: Vec<u8>,
    stored: Option<Vec<u8>>,
    cursor: Cursor,
}

impl<S: Store> App<S> {
    /// Goes once through what may be new in every realm with subscribers.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn deliver(&self, rounds: &mut Rounds) -> Result<(), AppError> {
        let owner = match rounds.owner {
            Some(owner) => owner,
            None => *rounds.owner.insert(self.nonce()?),
        };
        for guard in self.house.realms().filter(|guard| !guard.hooks.is_empty()) {
            let mut from = Vec::new();
            let mut waiting = 0_u64;
            loop {
                let first = MemoId { realm: &guard.realm.name, shelf: Shelf::Notices, name: &from };
                let page = self.store.list_memos(&first, PAGE).await?;
                let Some((last, _)) = page.last() else { break };
                waiting = waiting.saturating_add(page.len() as u64);
                from = [last.as_slice(), &[0]].concat();
                let is_last = page.len() < PAGE;
                self.deliver_page(guard, owner, rounds, page).await?;
                if is_last {
                    break;
                }
            }
            let [news, _] = &guard.meter.backlog;
            news.set(waiting);
        }
        Ok(())
    }

    async fn deliver_page(
        &self,
        guard: &Guarded,
        me: [u8; 8],
        rounds: &mut Rounds,
        page: Memos,
    ) -> Result<(), AppError> {
        let now = self.house.clock.now();
        let waiting = page.into_iter().filter_map(|(name, notice)| {
            let account = AccountId::new(std::str::from_utf8(&name).ok()?).ok()?;
            let owner = AccountRef { realm: guard.realm.name.clone(), account };
            let rests = rounds.looked.get(&owner).is_some_and(|(seen, again)| *seen == notice && *again > now);
            (!rests).then_some((owner, notice))
        });
        let mut waiting = waiting.collect::<Vec<_>>().into_iter();
        let mut working = JoinSet::new();
        let mut outcome = Ok(());
        loop {
            while working.len() < AT_ONCE
                && let Some((owner, notice)) = waiting.next()
            {
                let app = self.clone();
                working.spawn(async move {
                    let done = app.deliver_account(&owner, me, &notice).await;
                    (owner, notice, done)
                });
            }
            match working.join_next().await {
                None => return outcome,
                Some(Ok((owner, notice, Ok(Some(again))))) => drop(rounds.looked.insert(owner, (notice, again))),
                Some(Ok((owner, _, Ok(None)))) => drop(rounds.looked.remove(&owner)),
                Some(Ok((_, _, Err(error)))) => outcome = Err(error),
                Some(Err(_)) => outcome = Err(AppError::Bug("a delivery was not made to its end")),
            }
        }
    }

    /// Delivers what is new of one account to every subscriber; tells when to look again, or nothing when there is no need to.
    async fn deliver_account(
        &self,
        owner: &AccountRef,
        me: [u8; 8],
        notice: &[u8],
    ) -> Result<Option<Timestamp>, AppError> {
        let guard = self.house.realm(owner.realm.as_str())?;
        let length = self.store.read_account(owner).await?.map_or(0, |account| account.audit.length);
        let mut hooks = JoinSet::new();
        for hook in &guard.hooks {
            let (app, owner, hook) = (self.clone(), owner.clone(), hook.clone());
            hooks.spawn(async move { app.deliver_hook(&owner, &hook, length, me).await });
        }
        let mut again: Option<Timestamp> = None;
        while let Some(done) = hooks.join_next().await {
            let later = done.map_err(|_| AppError::Bug("a delivery was not made to its end"))??;
            again = [again, later].into_iter().flatten().min();
        }
        if again.is_some() {
            return Ok(again);
        }
        let now = self.house.clock.now();
        let age = now.since(instant(notice));
        if age < SETTLED {
            return Ok(Some(now.after(if age < AGAIN { SOON } else { AGAIN })));
        }
        let id = MemoId { realm: &owner.realm, shelf: Shelf::Notices, name: owner.account.as_str().as_bytes() };
        self.store.write_memo(&id, Expected::Is(notice), None).await?;
        Ok(None)
    }

    /// Tells one subscriber the news of one account in their order; tells when to go on, or nothing when it knows all.
    async fn deliver_hook(
        &self,
        owner: &AccountRef,
        hook: &Webhook,
        length: u64,
        me: [u8; 8],
    ) -> Result<Option<Timestamp>, AppError> {
        let name = [owner.account.as_str().as_bytes(), &[0], hook.name.as_bytes()].concat();
        let id = MemoId { realm: &owner.realm, shelf: Shelf::Cursors, name: &name };
        let stored = self.store.read_memo(&id).await?;
        let cursor = stored.as_deref().and_then(Cursor::read).unwrap_or_default();
        let now = self.house.clock.now();
        if cursor.told >= length {
            return Ok(None);
        }
        if cursor.leased > now && cursor.owner != me {
            return Ok(Some(cursor.leased));
        }
        if cursor.next > now {
            return Ok(Some(cursor.next));
        }
        let since = self.hook_since(&owner.realm, hook).await?;
        let mut held = Held { realm: &owner.realm, name, stored, cursor };
        loop {
            let lease = self.house.clock.now().after(LEASE.saturating_add(hook.timeout));
            let mine = Cursor { leased: lease, owner: me, ..held.cursor };
            if !self.advance(&mut held, mine).await? {
                return Ok(Some(now.after(AGAIN)));
            }
            let events = self.store.read_audit(owner, held.cursor.told.saturating_add(1), STEP).await?;
            let Some(last) = events.last().map(|event| event.sequence) else { break };
            for event in events.iter().filter(|event| hook.wants(EventKind::Act(event.act)) && event.at >= since) {
                let letter = Letter::of_act(&hook.name, owner, event);
                let told = Cursor { told: event.sequence, attempts: 0, next: Timestamp::default(), ..held.cursor };
                let next = match self.hand_over(&owner.realm, &letter).await {
                    Ok(()) => told,
                    Err(undelivered) => {
                        let attempts = held.cursor.attempts.saturating_add(1);
                        match hook.wait_after(attempts).filter(|_| !undelivered.for_good) {
                            Some(wait) => {
                                let next = self.house.clock.now().after(wait);
                                let told = event.sequence.saturating_sub(1).max(held.cursor.told);
                                let rests = Cursor { told, attempts, next, leased: Timestamp::default(), owner: me };
                                self.advance(&mut held, rests).await?;
                                return Ok(Some(next));
                            }
                            None => {
                                self.bury(&owner.realm, &letter, &undelivered.problem, attempts).await?;
                                told
                            }
                        }
                    }
                };
                let lease = self.house.clock.now().after(LEASE.saturating_add(hook.timeout));
                if !self.advance(&mut held, Cursor { leased: lease, ..next }).await? {
                    return Ok(Some(now.after(AGAIN)));
                }
                if self.house.clock.now().since(now) > VISIT {
                    let free = Cursor { leased: Timestamp::default(), ..held.cursor };
                    self.advance(&mut held, free).await?;
                    return Ok(Some(now));
                }
            }
            held.cursor.told = held.cursor.told.max(last);
        }
        let free = Cursor { leased: Timestamp::default(), ..held.cursor };
        self.advance(&mut held, free).await?;
        Ok(None)
    }

    /// Moves a cursor that is held. False when another server took it meanwhile: its lease was over.
    async fn advance(&self, held: &mut Held<'_>, cursor: Cursor) -> Result<bool, AppError> {
        let id = MemoId { realm: held.realm, shelf: Shelf::Cursors, name: &held.name };
        let value = cursor.write();
        let expected = held.stored.as_deref().map_or(Expected::Absent, Expected::Is);
        let done = self.store.write_memo(&id, expected, Some(&value)).await?;
        if done {
            held.cursor = cursor;
            held.stored = Some(value);
        }
        Ok(done)
    }

    /// Notes since when each subscriber is there: it is told nothing of before. Called before the first act is taken.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn begin_webhooks(&self) -> Result<(), AppError> {
        for guard in self.house.realms() {
            for hook in &guard.hooks {
                self.hook_since(&guard.realm.name, hook).await?;
            }
        }
        Ok(())
    }

    async fn hook_since(&self, realm: &RealmName, hook: &Webhook) -> Result<Timestamp, AppError> {
        // No account's name begins like this.
        let name = [&[0], hook.name.as_bytes()].concat();
        let id = MemoId { realm, shelf: Shelf::Cursors, name: &name };
        if let Some(since) = self.store.read_memo(&id).await? {
            return Ok(instant(&since));
        }
        let now = self.house.clock.now();
        self.store.write_memo(&id, Expected::Absent, Some(&now.as_micros().to_be_bytes())).await?;
        Ok(self.store.read_memo(&id).await?.map_or(now, |since| instant(&since)))
    }
}
