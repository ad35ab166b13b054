//! Seeing keys: one, or a page of them.

use super::OwnedKey;
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{ManagePermit, Reader},
        ports::{KeyQuery, Store},
    },
    domain::{
        id::{AccountId, Environment, KeyId, MemberId},
        key::{KeyRecord, KeyState},
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
    pub async fn get_key(&self, permit: ManagePermit<'_, Reader>, key: KeyId) -> Result<OwnedKey, AppError> {
        let guard = permit.guard();
        let owner = self.owner_of(guard, key).await?;
        let found = self.store.read_keys(&owner, &[key]).await?;
        let key = found.into_iter().flatten().next().ok_or(AppError::UnknownKey(key))?;
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
    pub async fn list_keys(&self, permit: ManagePermit<'_, Reader>, filter: &KeyFilter) -> Result<KeyPage, AppError> {
        let guard = permit.guard();
        let now = self.house.clock.now();
        let mut query = KeyQuery {
            realm: guard.realm.name.clone(),
            account: filter.account.clone(),
            ended: filter.state.map(|state| state == KeyState::Revoked),
            after: filter.after.clone(),
            limit: filter.page_size,
        };
        let lets_through = |key: &KeyRecord| {
            filter.environment.as_ref().is_none_or(|environment| key.environment == *environment)
                && filter.state.is_none_or(|state| key.state(now) == state)
                && filter.member.as_ref().is_none_or(|member| key.member.as_ref() == Some(member))
        };
        let mut keys: Vec<OwnedKey> = Vec::new();
        let mut read: usize = 0;
        let next = loop {
            let missing = filter.page_size.saturating_sub(keys.len());
            query.limit = if filter.is_sparse() { missing.max(READ_AT_LEAST) } else { missing };
            let page = self.store.list_keys(&query).await?;
            read = read.saturating_add(query.limit);
            let mut found = page.keys.into_iter().filter(|(_, key)| lets_through(key));
            keys.extend(found.by_ref().take(missing).map(|(account, key)| OwnedKey::new(account, key)));
            if found.next().is_some() {
                // More were read than the page has room for: the next one reads them again.
                break keys.last().map(|last| (last.account.clone(), last.key.id));
            }
            match page.next {
                Some(next) if keys.len() < filter.page_size && read < READ_AT_MOST => query.after = Some(next),
                next => break next,
            }
        };
        self.with_last_use(&guard.realm.name, &mut keys).await?;
        Ok(KeyPage { keys, next })
    }
}

impl KeyFilter {
    /// Whether the store may read keys that the filter then leaves out.
    fn is_sparse(&self) -> bool {
        self.environment.is_some() || self.state.is_some() || self.member.is_some()
    }
}
