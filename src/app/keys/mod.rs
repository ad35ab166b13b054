//! The acts on keys. Every one reads, computes a change with pure code, and commits it as a whole; when the account changed
//! in between, it starts over.

mod bootstrap;
mod create;
mod import;
mod issuers;
mod read;
mod revoke;
mod rotate;
mod update;

pub use bootstrap::{Bootstrap, operators};
pub use create::{CreateKey, Created, Expiry};
pub use import::{ImportKeys, ImportRow, ImportedSecret, Verdict};
pub use read::{KeyFilter, KeyPage};
pub use revoke::{RevokeAccount, RevokeKey, Revoked};
pub use rotate::RotateKey;
pub use update::UpdateKey;

use super::{
    error::AppError,
    house::App,
    key_permit::KeyPermit,
    ports::{CommitError, KeyQuery, Store},
};
use crate::domain::{
    account::Account,
    id::{AccountId, AccountRef, Environment, KeyId},
    key::{KeyRecord, KeyState, KeyUses, Limits, Repeat, Repeatable},
    realm::KeyPolicy,
    time::Timestamp,
};

/// How often an act starts over when other nodes change the account at the same time.
const ATTEMPTS: usize = 16;

/// A key and the account that owns it.
#[derive(Debug, Clone)]
pub struct OwnedKey {
    /// The account.
    pub account: AccountId,
    /// The key.
    pub key: KeyRecord,
    /// When it was last used, where that was read.
    pub uses: KeyUses,
}

impl OwnedKey {
    pub(super) fn new(account: AccountId, key: KeyRecord) -> Self {
        Self { account, key, uses: KeyUses::default() }
    }

    /// When the key will rest as one that nobody uses; nothing: never.
    #[must_use]
    pub fn rests_at(&self, policy: &KeyPolicy) -> Option<Timestamp> {
        self.key.rests_at(self.uses.last.map(|last| last.at), policy.suspend_unused_after)
    }

    /// Whether the key works, as far as its uses were read.
    #[must_use]
    pub fn state(&self, policy: &KeyPolicy, now: Timestamp) -> KeyState {
        self.key.state_after(now, self.uses.last.map(|last| last.at), policy.suspend_unused_after)
    }
}

/// Whether a commit went through.
enum Outcome<T> {
    Done(T),
    StartOver,
}

impl<T> Outcome<T> {
    fn of(committed: Result<(), CommitError>, value: T) -> Result<Self, AppError> {
        match committed {
            Ok(()) => Ok(Self::Done(value)),
            Err(CommitError::Conflict) => Ok(Self::StartOver),
            Err(error) => Err(error.into()),
        }
    }
}

impl<S: Store> App<S> {
    /// The account that a key of the realm belongs to.
    async fn owner_of<R>(&self, permit: &KeyPermit<'_, R>, key: KeyId) -> Result<AccountRef, AppError> {
        let realm = permit.guard().realm.name.clone();
        let account = self.store.locate_key(&realm, key).await?.filter(|account| permit.covers(account));
        let account = account.ok_or(AppError::UnknownKey(key))?;
        Ok(AccountRef { realm, account })
    }

    /// A key and its account's record, as of one version of the account: the account is read first, so that a change in
    /// between makes the commit conflict.
    async fn read_for_change<R>(
        &self,
        permit: &KeyPermit<'_, R>,
        owner: &AccountRef,
        key: KeyId,
    ) -> Result<(Account, KeyRecord), AppError> {
        let account = self.store.read_account(owner).await?.ok_or(AppError::UnknownKey(key))?;
        let keys = self.store.read_keys(owner, &[key]).await?;
        let found = keys.into_iter().flatten().next().filter(|found| permit.sees(found));
        let key = found.ok_or(AppError::UnknownKey(key))?;
        Ok((account, key))
    }

    /// The keys that the same request made before, if it comes again.
    pub(super) async fn repeated(
        &self,
        owner: &AccountRef,
        repeatable: Option<&Repeatable>,
    ) -> Result<Option<Vec<KeyId>>, AppError> {
        let Some(repeatable) = repeatable else { return Ok(None) };
        for slot in repeatable.slots() {
            let Some(record) = self.store.read_idempotency(owner, slot).await? else { continue };
            return match record.compare(repeatable) {
                Repeat::Same(keys) => Ok(Some(keys)),
                Repeat::Different => {
                    let problem = "was used for a different request within the last 24 hours";
                    Err(AppError::invalid("idempotency_key", problem))
                }
            };
        }
        Ok(None)
    }

    /// Keys of an account that were not ended, `most` of them at most; and whether there are more.
    pub(super) async fn live_keys(
        &self,
        owner: &AccountRef,
        environment: Option<&Environment>,
        most: usize,
    ) -> Result<(Vec<KeyRecord>, bool), AppError> {
        let mut query = KeyQuery {
            realm: owner.realm.clone(),
            account: Some(owner.account.clone()),
            ended: Some(false),
            after: None,
            limit: Limits::KEYS_PER_ACT,
        };
        let mut found = Vec::new();
        loop {
            let page = self.store.list_keys(&query).await?;
            let wanted = page.keys.into_iter().map(|(_, key)| key);
            found.extend(wanted.filter(|key| environment.is_none_or(|environment| key.environment == *environment)));
            match page.next {
                Some(next) if found.len() < most => query.after = Some(next),
                next => {
                    let more = next.is_some() || found.len() > most;
                    found.truncate(most);
                    return Ok((found, more));
                }
            }
        }
    }
}
