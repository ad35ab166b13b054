//! Listing keys by their indexes: the cost depends on the page, never on how many keys there are.

use super::{Redis, keyspace};
use crate::{
    app::ports::{KeyListing, KeyQuery, StoreError},
    domain::id::{AccountId, AccountRef, KeyId, RealmName},
};
use redis::{Value, pipe};

/// Accounts of a realm whose indexes are read in one round trip, and how often that is done for one page. A page that
/// finds too few keys in so many accounts is short, and the next one goes on from there.
const ACCOUNTS_AT_ONCE: usize = 32;
const ROUNDS: usize = 8;
/// Sorts behind every key of an account: a place to go on from when an account is done.
const BEHIND_EVERY_KEY: [u8; 16] = [255; 16];

/// Ids of one account that match a query, in order, one more than the page has room for if there are more.
type Ids = Vec<KeyId>;

impl Redis {
    pub(super) async fn list(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        match &query.account {
            Some(account) => {
                let after = query.after.as_ref();
                if after.is_some_and(|(last, _)| last > account) {
                    return Ok(KeyListing::default());
                }
                let after = after.filter(|(last, _)| last == account).map(|(_, key)| *key);
                let mut page = Page::new(query);
                let ids = self.ids(query, std::slice::from_ref(account), after, page.room()).await?;
                for ids in ids {
                    page.take(account, ids);
                }
                self.fill(query, page).await
            }
            None => self.list_realm(query).await,
        }
    }

    async fn list_realm(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        let mut page = Page::new(query);
        // The account that the last page ended in may have more keys; then those behind it.
        let mut behind = None;
        if let Some((account, key)) = &query.after {
            let ids = self.ids(query, std::slice::from_ref(account), Some(*key), page.room()).await?;
            ids.into_iter().for_each(|ids| page.take(account, ids));
            behind = Some(account.clone());
        }
        for _ in 0..ROUNDS {
            if page.next.is_some() {
                return self.fill(query, page).await;
            }
            let accounts = self.accounts(&query.realm, behind.as_ref(), ACCOUNTS_AT_ONCE).await?;
            let ids = self.ids(query, &accounts, None, page.room()).await?;
            for (account, ids) in accounts.iter().zip(ids) {
                page.take(account, ids);
            }
            if accounts.len() < ACCOUNTS_AT_ONCE {
                return self.fill(query, page).await;
            }
            behind = accounts.last().cloned();
        }
        page.next = page.next.or(behind.map(|account| (account, KeyId::from_bytes(BEHIND_EVERY_KEY))));
        self.fill(query, page).await
    }

    /// Accounts of a realm in order, those that no act made after all included.
    pub(super) async fn accounts(
        &self,
        realm: &RealmName,
        behind: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let start = behind.map_or_else(|| "-".to_owned(), |account| format!("({account}"));
        let mut commands = pipe();
        let command = commands.cmd("ZRANGEBYLEX").arg(keyspace::accounts(realm)).arg(start).arg("+");
        command.arg("LIMIT").arg(0).arg(limit);
        let reply = self.connection.pipeline(&commands).await?.into_iter().next();
        let account = |member: Vec<u8>| {
            let legal = std::str::from_utf8(&member).ok().and_then(|text| AccountId::new(text).ok());
            legal.ok_or_else(|| {
                StoreError::Corrupt(format!("the index of accounts of realm `{realm}` holds a name that is not legal"))
            })
        };
        self.members(reply)?.into_iter().map(account).collect()
    }

    /// For each account the ids that match, at most `room` and one more.
    async fn ids(
        &self,
        query: &KeyQuery,
        accounts: &[AccountId],
        after: Option<KeyId>,
        room: usize,
    ) -> Result<Vec<Ids>, StoreError> {
        if accounts.is_empty() {
            return Ok(Vec::new());
        }
        let start = after.map_or_else(|| b"-".to_vec(), |key| [b"(", &key.as_bytes()[..]].concat());
        let mut commands = pipe();
        for account in accounts {
            let keys = keyspace::AccountKeys::new(&AccountRef { realm: query.realm.clone(), account: account.clone() });
            for (index, left_out) in [(keys.live_ids(), Some(true)), (keys.ended_ids(), Some(false))] {
                if query.ended != left_out {
                    let command = commands.cmd("ZRANGEBYLEX").arg(index).arg(&start).arg("+");
                    command.arg("LIMIT").arg(0).arg(room.saturating_add(1));
                }
            }
        }
        let mut replies = self.connection.pipeline(&commands).await?.into_iter();
        let indexes = if query.ended.is_none() { 2 } else { 1 };
        let ids_of = |_: &AccountId| {
            let mut ids = Vec::new();
            for _ in 0..indexes {
                for member in self.members(replies.next())? {
                    // What is no id was not written by keygate and leads to nothing.
                    ids.extend(member.try_into().ok().map(KeyId::from_bytes));
                }
            }
            ids.sort_unstable();
            ids.dedup();
            Ok(ids)
        };
        accounts.iter().map(ids_of).collect()
    }

    /// Reads the keys of a page.
    async fn fill(&self, query: &KeyQuery, page: Page) -> Result<KeyListing, StoreError> {
        let mut keys = Vec::with_capacity(page.found.len());
        let owner = |account| AccountRef { realm: query.realm.clone(), account };
        let wanted: Vec<_> = page.by_account().into_iter().map(|(account, ids)| (owner(account), ids)).collect();
        for ((owner, _), records) in wanted.iter().zip(self.key_records_of(&wanted).await?) {
            let records = records.into_iter().flatten();
            // A key may have ended since its id was read.
            let matching = records.filter(|key| query.ended.is_none_or(|ended| ended == key.revoked.is_some()));
            keys.extend(matching.map(|key| (owner.account.clone(), key)));
        }
        Ok(KeyListing { keys, next: page.next })
    }

    pub(super) fn members(&self, reply: Option<Value>) -> Result<Vec<Vec<u8>>, StoreError> {
        let wrong = || self.connection.misunderstood("a list of ids");
        let Some(Value::Array(members)) = reply else { return Err(wrong()) };
        members.into_iter().map(|member| self.bytes(Some(member))?.ok_or_else(wrong)).collect()
    }
}

/// Ids found for a page.
struct Page {
    limit: usize,
    found: Vec<(AccountId, KeyId)>,
    next: Option<(AccountId, KeyId)>,
}

impl Page {
    fn new(query: &KeyQuery) -> Self {
        Self { limit: query.limit.max(1), found: Vec::new(), next: None }
    }

    fn room(&self) -> usize {
        self.limit.saturating_sub(self.found.len())
    }

    /// Takes ids while there is room. The first that finds none sets where the next page begins.
    fn take(&mut self, account: &AccountId, ids: Ids) {
        for id in ids {
            if self.next.is_some() {
                return;
            }
            if self.room() == 0 {
                self.next = self.found.last().cloned();
                return;
            }
            self.found.push((account.clone(), id));
        }
    }

    fn by_account(&self) -> Vec<(AccountId, Ids)> {
        let same = |a: &(AccountId, KeyId), b: &(AccountId, KeyId)| a.0 == b.0;
        let groups = self.found.chunk_by(same);
        groups.filter_map(|group| Some((group.first()?.0.clone(), group.iter().map(|(_, id)| *id).collect()))).collect()
    }
}
