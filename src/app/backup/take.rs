//! Reading a store for a backup: account by account, each as of one instant, while others read and write.
//!
//! An account that fits a page is read whole, and again if it changed meanwhile. A larger one is passed on page by page; if it
//! changed meanwhile, it is named again with what changed since, which its audit chain tells.

use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{ManagePermit, Reader},
        ports::{
            EntryQuery, KeyQuery, MemoId, Shelf, Store, StoreError,
            backup::{Header, HeldKey, HeldMemo, Part, Scribe, Totals},
        },
        together::together,
    },
    domain::{
        account::Account,
        audit::Chain,
        entry::{EntryId, EntryKind},
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
        key::{KeyRecord, UsesOf},
    },
};
use std::{collections::VecDeque, mem};

/// Accounts that are read at the same time.
const ACCOUNTS: usize = 64;
/// Events, keys or entries that are read at a time.
const PAGE: usize = 500;
/// How often an account that changes while it is read is read again.
const ATTEMPTS: usize = 16;
/// How often what changed in a large account is read.
const ROUNDS: usize = 64;

/// How far a backup has come.
pub struct BackupWalk {
    scribe: Box<dyn Scribe>,
    header: Option<Header>,
    /// Realms whose accounts are to come, and then their memos.
    realms: VecDeque<RealmName>,
    shelves: VecDeque<(RealmName, Shelf)>,
    /// The account that was reached last.
    last: Option<AccountId>,
    /// Accounts that take more than a page.
    large: VecDeque<AccountRef>,
    open: Option<Large>,
    /// The memo that was read last.
    memo: Option<Vec<u8>>,
    totals: Totals,
    ended: bool,
}

impl BackupWalk {
    /// How much was read so far.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals
    }
}

/// A large account that is being read.
struct Large {
    owner: AccountRef,
    account: Account,
    step: Step,
    rounds: usize,
}

/// What is read of it next.
enum Step {
    Events(u64),
    Keys(Option<KeyId>),
    Entries(EntryKind, Option<EntryName>),
    Close,
}

/// An account as it was read, if it fits a page.
enum Small {
    Whole(Vec<Part>),
    Large,
    Missing,
}

impl<S: Store> App<S> {
    /// Begins a backup of all realms. The permit is one for the realm of operators.
    ///
    /// # Errors
    /// When this server makes none.
    pub fn begin_backup(&self, _permit: &ManagePermit<'_, Reader>) -> Result<BackupWalk, AppError> {
        let archive = self.house.archive.as_ref().ok_or(AppError::Bug("nobody knows what a backup looks like"))?;
        let realms: Vec<RealmName> = self.house.realms().map(|guard| guard.realm.name.clone()).collect();
        let shelves = realms.iter().flat_map(|realm| Shelf::ALL.map(|shelf| (realm.clone(), shelf)));
        Ok(BackupWalk {
            scribe: archive.begin(),
            shelves: shelves.collect(),
            header: Some(Header { at: self.house.clock.now(), realms: realms.clone() }),
            realms: realms.into(),
            last: None,
            large: VecDeque::new(),
            open: None,
            memo: None,
            totals: Totals::default(),
            ended: false,
        })
    }

    /// The next bytes of the file, a bounded number of them; nothing when it is whole. There may be none of them and more to come.
    ///
    /// # Errors
    /// When an account changes all the time, or the store cannot answer.
    pub async fn next_of_backup(&self, walk: &mut BackupWalk) -> Result<Option<Vec<u8>>, AppError> {
        if walk.ended {
            return Ok(None);
        }
        let parts = self.next_parts(walk).await?;
        let mut bytes = Vec::new();
        for part in parts {
            match &part {
                Part::Key(_) => walk.totals.keys = walk.totals.keys.saturating_add(1),
                Part::End(_) => walk.ended = true,
                _ => {}
            }
            bytes.extend(walk.scribe.write(&part));
        }
        Ok(Some(bytes))
    }

    async fn next_parts(&self, walk: &mut BackupWalk) -> Result<Vec<Part>, AppError> {
        if let Some(header) = walk.header.take() {
            return Ok(vec![Part::Header(header)]);
        }
        if let Some(mut large) = walk.open.take() {
            let (parts, more) = self.read_on(&mut large).await?;
            walk.open = more.then_some(large);
            return Ok(parts);
        }
        if let Some(owner) = walk.large.pop_front() {
            let Some(account) = self.store.read_account(&owner).await? else { return Ok(Vec::new()) };
            walk.totals.accounts = walk.totals.accounts.saturating_add(1);
            let named = Part::Account(Box::new((owner.clone(), account.clone())));
            walk.open = Some(Large { owner, account, step: Step::Events(1), rounds: 0 });
            return Ok(vec![named]);
        }
        if let Some(realm) = walk.realms.front().cloned() {
            return self.read_small(walk, &realm).await;
        }
        if let Some((realm, shelf)) = walk.shelves.front().cloned() {
            return self.read_shelf(walk, realm, shelf).await;
        }
        Ok(vec![Part::End(walk.totals)])
    }

    /// The next accounts of a realm, those that fit a page.
    async fn read_small(&self, walk: &mut BackupWalk, realm: &RealmName) -> Result<Vec<Part>, AppError> {
        let accounts = self.store.list_accounts(realm, walk.last.as_ref(), ACCOUNTS).await?;
        walk.last = accounts.last().cloned();
        if accounts.len() < ACCOUNTS {
            walk.realms.pop_front();
            walk.last = None;
        }
        let owners: Vec<AccountRef> =
            accounts.into_iter().map(|account| AccountRef { realm: realm.clone(), account }).collect();
        let asked = owners.into_iter().map(|owner| {
            let store = self.store.clone();
            async move { Ok((read_whole(&store, &owner).await?, owner)) }
        });
        let mut found = Vec::new();
        for (small, owner) in together(asked).await? {
            match small {
                Small::Whole(parts) => {
                    walk.totals.accounts = walk.totals.accounts.saturating_add(1);
                    found.extend(parts);
                }
                Small::Large => walk.large.push_back(owner),
                // Announced, and never made.
                Small::Missing => {}
            }
        }
        Ok(found)
    }

    async fn read_shelf(&self, walk: &mut BackupWalk, realm: RealmName, shelf: Shelf) -> Result<Vec<Part>, AppError> {
        let start = walk.memo.take();
        // What follows a name at once is the name and a zero.
        let name = start.map(|name| [&name[..], &[0]].concat()).unwrap_or_default();
        let memos = self.store.list_memos(&MemoId { realm: &realm, shelf, name: &name }, PAGE).await?;
        if memos.len() < PAGE {
            walk.shelves.pop_front();
        } else {
            walk.memo = memos.last().map(|(name, _)| name.clone());
        }
        let part = |(name, value)| Part::Memo(HeldMemo { realm: realm.clone(), shelf, name, value });
        Ok(memos.into_iter().map(part).collect())
    }

    /// The next page of a large account, and whether there is more of it.
    async fn read_on(&self, large: &mut Large) -> Result<(Vec<Part>, bool), AppError> {
        let Large { owner, account, step, rounds } = large;
        let store = &self.store;
        match mem::replace(step, Step::Close) {
            Step::Events(from) => {
                let events = read_events(store, owner, from, account.audit.length).await?;
                let next = from.saturating_add(events.len() as u64);
                if events.is_empty() && from <= account.audit.length {
                    return Err(broken(owner, from).into());
                }
                *step = if next > account.audit.length { Step::Keys(None) } else { Step::Events(next) };
                Ok((events, true))
            }
            Step::Keys(after) => {
                let (keys, next) = read_keys(store, owner, after).await?;
                *step = next.map_or(Step::Entries(EntryKind::Member, None), |next| Step::Keys(Some(next)));
                Ok((held(store, owner, keys).await?, true))
            }
            Step::Entries(kind, after) => {
                let entries = read_entries(store, owner, kind, after.as_ref()).await?;
                *step = match (last_name(&entries), following(kind)) {
                    (Some(last), _) => Step::Entries(kind, Some(last)),
                    (None, Some(kind)) => Step::Entries(kind, None),
                    (None, None) => Step::Close,
                };
                Ok((entries, true))
            }
            Step::Close => {
                let now = store.read_account(owner).await?.ok_or(AppError::Contended)?;
                if now.mark() == account.mark() {
                    return Ok((Vec::new(), false));
                }
                *rounds = rounds.saturating_add(1);
                if *rounds > ROUNDS || now.audit.length < account.audit.length {
                    return Err(AppError::Contended);
                }
                // In one go, so that little time is left for further changes.
                let parts = read_changes(store, owner, account, &now).await?;
                *account = now;
                Ok((parts, true))
            }
        }
    }
}

/// What changed in an account from one state of it to a later one.
async fn read_changes<S: Store>(
    store: &S,
    owner: &AccountRef,
    before: &Account,
    now: &Account,
) -> Result<Vec<Part>, StoreError> {
    let mut parts = vec![Part::Account(Box::new((owner.clone(), now.clone())))];
    let mut ids = Vec::new();
    let mut from = before.audit.length.saturating_add(1);
    while from <= now.audit.length {
        let events = read_events(store, owner, from, now.audit.length).await?;
        if events.is_empty() {
            return Err(broken(owner, from));
        }
        from = from.saturating_add(events.len() as u64);
        ids.extend(events.iter().filter_map(|part| match part {
            Part::Event(event) => event.key,
            _ => None,
        }));
        parts.extend(events);
    }
    ids.sort_unstable();
    ids.dedup();
    for ids in ids.chunks(PAGE) {
        let keys = store.read_keys(owner, ids).await?;
        parts.extend(held(store, owner, keys.into_iter().flatten().collect()).await?);
    }
    for kind in EntryKind::ALL {
        let mut after = None;
        loop {
            let entries = read_entries(store, owner, kind, after.as_ref()).await?;
            after = last_name(&entries);
            parts.extend(entries);
            if after.is_none() {
                break;
            }
        }
    }
    Ok(parts)
}

/// The name that the next page of entries begins behind; nothing: there is none.
fn last_name(page: &[Part]) -> Option<EntryName> {
    match page.last() {
        Some(Part::Entry(entry)) if page.len() == PAGE => Some(entry.0.name.clone()),
        _ => None,
    }
}

/// The kind behind another.
fn following(kind: EntryKind) -> Option<EntryKind> {
    EntryKind::ALL.into_iter().skip_while(|other| *other != kind).nth(1)
}

/// A whole account, if it fits a page, as of one instant.
async fn read_whole<S: Store>(store: &S, owner: &AccountRef) -> Result<Small, StoreError> {
    let mut before = store.read_account(owner).await?;
    for _ in 0..ATTEMPTS {
        let Some(account) = before else { return Ok(Small::Missing) };
        let chain = account.audit;
        if chain.length >= PAGE as u64 {
            return Ok(Small::Large);
        }
        let mark = account.mark();
        let mut parts = vec![Part::Account(Box::new((owner.clone(), account)))];
        parts.extend(read_events(store, owner, 1, chain.length).await?);
        let (keys, more) = read_keys(store, owner, None).await?;
        if more.is_some() {
            return Ok(Small::Large);
        }
        parts.extend(held(store, owner, keys).await?);
        for kind in EntryKind::ALL {
            let entries = read_entries(store, owner, kind, None).await?;
            if entries.len() == PAGE {
                return Ok(Small::Large);
            }
            parts.extend(entries);
        }
        let after = store.read_account(owner).await?;
        if after.as_ref().is_some_and(|after| after.mark() == mark) {
            must_stand(owner, chain, &parts)?;
            return Ok(Small::Whole(parts));
        }
        before = after;
    }
    // It does not rest: then it is read like a large one, of which only what changed is read again.
    Ok(Small::Large)
}

/// Fails unless the events are the chain that the account's record tells of.
fn must_stand(owner: &AccountRef, chain: Chain, parts: &[Part]) -> Result<(), StoreError> {
    let events = parts.iter().filter_map(|part| match part {
        Part::Event(event) => Some(event.as_ref()),
        _ => None,
    });
    let found = Chain::verify(events).map_err(|at| broken(owner, at))?;
    if found == chain { Ok(()) } else { Err(broken(owner, found.length.saturating_add(1))) }
}

fn broken(owner: &AccountRef, at: u64) -> StoreError {
    let AccountRef { realm, account } = owner;
    StoreError::Corrupt(format!("the audit chain of account `{account}` of realm `{realm}` is broken at event {at}"))
}

async fn read_events<S: Store>(store: &S, owner: &AccountRef, from: u64, to: u64) -> Result<Vec<Part>, StoreError> {
    let events = store.read_audit(owner, from, PAGE).await?;
    Ok(events.into_iter().filter(|event| event.sequence <= to).map(|event| Part::Event(Box::new(event))).collect())
}

/// A page of keys, and where the next one begins.
async fn read_keys<S: Store>(
    store: &S,
    owner: &AccountRef,
    after: Option<KeyId>,
) -> Result<(Vec<KeyRecord>, Option<KeyId>), StoreError> {
    let query = KeyQuery {
        realm: owner.realm.clone(),
        account: Some(owner.account.clone()),
        ended: None,
        after: after.map(|after| (owner.account.clone(), after)),
        limit: PAGE,
    };
    let page = store.list_keys(&query).await?;
    Ok((page.keys.into_iter().map(|(_, key)| key).collect(), page.next.map(|(_, key)| key)))
}

/// Keys with their uses.
async fn held<S: Store>(store: &S, owner: &AccountRef, keys: Vec<KeyRecord>) -> Result<Vec<Part>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let wanted: Vec<UsesOf> = keys.iter().map(uses_of).collect();
    let uses = store.read_uses(owner, &wanted).await?;
    Ok(keys.into_iter().zip(uses).map(|(key, uses)| Part::Key(Box::new(HeldKey { key, uses }))).collect())
}

pub(super) fn uses_of(key: &KeyRecord) -> UsesOf {
    UsesOf { key: key.id, secrets: key.secrets.iter().map(|secret| secret.number).collect() }
}

async fn read_entries<S: Store>(
    store: &S,
    owner: &AccountRef,
    kind: EntryKind,
    after: Option<&EntryName>,
) -> Result<Vec<Part>, StoreError> {
    let entries = store.list_entries(&EntryQuery { owner, kind, after, limit: PAGE }).await?;
    let part = |(name, entry)| Part::Entry(Box::new((EntryId { kind, name }, entry)));
    Ok(entries.into_iter().map(part).collect())
}
