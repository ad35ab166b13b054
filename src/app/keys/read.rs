//! Seeing keys: one, or a page of them.

use super::OwnedKey;
use crate::{
    app::{
        error::AppError,
        house::App,
        key_permit::KeyPermit,
        manager::Reader,
        ports::{KeyQuery, Store},
    },
    domain::{
        id::{AccountId, Environment, KeyId, MemberId},
        key::KeyState,
    },
};

/// Which keys to list.
#[derive(Debug, Clone)]
pub struct KeyFilter {
    /// Only this account's.
    pub account: Option<AccountId>,
    /// Only this environment's.
    pub environment: Option<Environment>,
    /// Only those in this state.
    pub state: Option<KeyState>,
    /// Only those that were issued in the name of this member.
    pub member: Option<MemberId>,
    /// Begin after this key.
    pub after: Option<(AccountId, KeyId)>,
    /// At most so many.
    pub page_size: usize,
}

/// A page of keys.
#[derive(Debug)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<OwnedKey>,
    /// Where the next page begins.
    pub next: Option<(AccountId, KeyId)>,
}

/// How many keys of the store one page may cost, however few of them the filter lets through.
const READ_AT_MOST: usize = 2_000;
/// How many keys are read at a time where a filter may let few of them through.
const READ_AT_LEAST: usize = 100;

impl<S: Store> App<S> {
    /// One key, also an ended one.
    ///
    /// # Errors
    /// When there is no such key, or the store cannot answer.
    pub async fn get_key(&self, permit: KeyPermit<'_, Reader>, key: KeyId) -> Result<OwnedKey, AppError> {
        let guard = permit.guard();
        let owner = self.owner_of(&permit, key).await?;
        let found = self.store.read_keys(&owner, &[key]).await?;
        let found = found.into_iter().flatten().next().filter(|found| permit.sees(found));
        let key = found.ok_or(AppError::UnknownKey(key))?;
        let mut keys = [OwnedKey::new(owner.account, key)];
        self.with_last_use(&guard.realm.name, &mut keys).await?;
        let [key] = keys;
        Ok(key)
    }

    /// A page of keys. Costs the same however many keys there are: where a filter lets few through, the page is short and
    /// has a successor.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn list_keys(&self, permit: KeyPermit<'_, Reader>, filter: &KeyFilter) -> Result<KeyPage, AppError> {
        let guard = permit.guard();
        let now = self.house.clock.now();
        if filter.account.as_ref().is_some_and(|account| !permit.covers(account)) {
            return Err(AppError::OthersAccount);
        }
        let account = permit.owner().map(|owner| owner.account.clone()).or_else(|| filter.account.clone());
        let mut query = KeyQuery {
            realm: guard.realm.name.clone(),
            account,
            ended: filter.state.map(|state| state == KeyState::Revoked),
            after: filter.after.clone(),
            limit: filter.page_size,
        };
        let policy = &guard.realm.keys;
        // Whether a key rests shows only with its last use.
        let by_use = policy.suspend_unused_after.is_some()
            && matches!(filter.state, Some(KeyState::Active | KeyState::Suspended));
        let lets_through = |owned: &OwnedKey| {
            permit.sees(&owned.key)
                && filter.environment.as_ref().is_none_or(|environment| owned.key.environment == *environment)
                && filter.state.is_none_or(|state| owned.state(policy, now) == state)
                && filter.member.as_ref().is_none_or(|member| owned.key.member.as_ref() == Some(member))
        };
        let mut keys: Vec<OwnedKey> = Vec::new();
        let mut read: usize = 0;
        let next = loop {
            let missing = filter.page_size.saturating_sub(keys.len());
            query.limit =
                if filter.is_sparse() || permit.owner().is_some() { missing.max(READ_AT_LEAST) } else { missing };
            let page = self.store.list_keys(&query).await?;
            read = read.saturating_add(query.limit);
            let mut found: Vec<OwnedKey> =
                page.keys.into_iter().map(|(account, key)| OwnedKey::new(account, key)).collect();
            if by_use {
                self.with_last_use(&guard.realm.name, &mut found).await?;
            }
            let mut found = found.into_iter().filter(lets_through);
            keys.extend(found.by_ref().take(missing));
            if found.next().is_some() {
                // More were read than the page has room for: the next one reads them again.
                break keys.last().map(|last| (last.account.clone(), last.key.id));
            }
            match page.next {
                Some(next) if keys.len() < filter.page_size && read < READ_AT_MOST => query.after = Some(next),
                next => break next,
            }
        };
        if !by_use {
            self.with_last_use(&guard.realm.name, &mut keys).await?;
        }
        Ok(KeyPage { keys, next })
    }
}

impl KeyFilter {
    /// Whether the store may read keys that the filter then leaves out.
    fn is_sparse(&self) -> bool {
        self.environment.is_some() || self.state.is_some() || self.member.is_some()
    }
}
