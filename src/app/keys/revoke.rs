//! Ending keys, for ever.

use super::{ATTEMPTS, Outcome, OwnedKey};
use crate::{
    app::{error::AppError, house::App, key_permit::KeyPermit, manager::Revoker, ports::Store},
    domain::{
        id::{AccountId, AccountRef, Environment, KeyId},
        key::{KeyRecord, Limits, revoke},
    },
};

/// A request to end a key, its fields checked.
#[derive(Debug)]
pub struct RevokeKey {
    /// The key.
    pub key: KeyId,
    /// Why.
    pub reason: String,
    /// The version that the act is based on.
    pub expected_version: Option<u64>,
}

/// A request to end all keys of an account, its fields checked.
#[derive(Debug)]
pub struct RevokeAccount {
    /// The account.
    pub account: AccountId,
    /// Only those of this environment.
    pub environment: Option<Environment>,
    /// Why.
    pub reason: String,
}

/// The keys that an act ended.
#[derive(Debug)]
pub struct Revoked {
    /// The keys.
    pub keys: Vec<OwnedKey>,
    /// More remain than one act may end.
    pub more: bool,
}

impl<S: Store> App<S> {
    /// Ends a key. One that was ended before stays as it is, and is not among the answer's keys.
    ///
    /// # Errors
    /// When there is no such key, it changed in between, or the store cannot answer.
    pub async fn revoke_key(&self, permit: KeyPermit<'_, Revoker>, request: &RevokeKey) -> Result<Revoked, AppError> {
        let owner = self.owner_of(&permit, request.key).await?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let (account, key) = self.read_for_change(&permit, &owner, request.key).await?;
            if key.revoked.is_some() {
                // Whoever revokes wants the key to be dead. It is.
                return Ok(Revoked { keys: Vec::new(), more: false });
            }
            let now = self.house.clock.now();
            let acting = permit.acting(&owner, Some(&account), now);
            let (mut change, ended) = revoke(&acting, &[key], request.expected_version, &request.reason)?;
            self.keep_members(&mut change).await?;
            if let Outcome::Done(ended) = Outcome::of(self.commit(&change).await, ended)? {
                return Ok(Revoked { keys: owned(&owner, ended), more: false });
            }
        }
        Err(AppError::Contended)
    }

    /// Ends all keys of an account in one act.
    ///
    /// # Errors
    /// When there is no such account, or the store cannot answer.
    pub async fn revoke_account(
        &self,
        permit: KeyPermit<'_, Revoker>,
        request: &RevokeAccount,
    ) -> Result<Revoked, AppError> {
        let guard = permit.guard();
        if !permit.covers(&request.account) {
            return Err(AppError::OthersAccount);
        }
        // An owner sees one environment, and so ends the keys of one.
        let environment = permit.owner().map(|owner| &owner.environment).or(request.environment.as_ref());
        if environment.zip(request.environment.as_ref()).is_some_and(|(only, named)| only != named) {
            return Ok(Revoked { keys: Vec::new(), more: false });
        }
        let owner = AccountRef { realm: guard.realm.name.clone(), account: request.account.clone() };
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            let (keys, more) = self.live_keys(&owner, environment, Limits::KEYS_PER_ACT).await?;
            if keys.is_empty() {
                return Ok(Revoked { keys: Vec::new(), more });
            }
            let now = self.house.clock.now();
            let acting = permit.acting(&owner, Some(&account), now);
            let (mut change, ended) = revoke(&acting, &keys, None, &request.reason)?;
            self.keep_members(&mut change).await?;
            if let Outcome::Done(ended) = Outcome::of(self.commit(&change).await, ended)? {
                return Ok(Revoked { keys: owned(&owner, ended), more });
            }
        }
        Err(AppError::Contended)
    }
}

fn owned(owner: &AccountRef, keys: Vec<KeyRecord>) -> Vec<OwnedKey> {
    keys.into_iter().map(|key| OwnedKey::new(owner.account.clone(), key)).collect()
}
