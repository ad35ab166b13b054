//! Making a key.

use super::{ATTEMPTS, Outcome, OwnedKey};
use crate::{
    app::{error::AppError, house::App, key_permit::KeyPermit, manager::KeyManager, ports::Store},
    domain::{
        id::{AccountId, AccountRef, KeyId, MemberId, Scope},
        key::{Creation, Repeatable, create, expiry},
        network::Network,
        secret::Secret,
        time::Timestamp,
    },
};
use std::{collections::BTreeMap, time::Duration};

/// When a key ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// As the realm says.
    Default,
    /// Then.
    At(Timestamp),
    /// So long from now.
    In(Duration),
}

impl Expiry {
    pub(super) fn resolve(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Default => None,
            Self::At(at) => Some(at),
            Self::In(span) => Some(now.after(span)),
        }
    }
}

/// A request to make a key, its fields checked.
#[derive(Debug)]
pub struct CreateKey {
    /// The account that will own it.
    pub account: AccountId,
    /// Index of its environment in the realm.
    pub environment: usize,
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it ends.
    pub expiry: Expiry,
    /// When it begins to work.
    pub not_before: Option<Timestamp>,
    /// Where it may be used from; none: from anywhere.
    pub networks: Vec<Network>,
    /// The member in whose name it is issued.
    pub member: Option<MemberId>,
    /// Recognizes a repeat.
    pub repeatable: Option<Repeatable>,
}

/// A key and, once, its secret.
pub struct Created {
    /// The key.
    pub owned: OwnedKey,
    /// The secret; absent when this answers a repeat.
    pub secret: Option<Secret>,
    /// Keys that ended to make room.
    pub replaced: Vec<KeyId>,
}

impl<S: Store> App<S> {
    /// Makes a key.
    ///
    /// # Errors
    /// When the realm's policy forbids it, or the store cannot answer.
    pub async fn create_key(
        &self,
        permit: KeyPermit<'_, KeyManager>,
        request: &CreateKey,
    ) -> Result<Created, AppError> {
        let guard = permit.guard();
        if !permit.covers(&request.account) {
            return Err(AppError::OthersAccount);
        }
        permit.may_give(&request.scopes)?;
        let owner = AccountRef { realm: guard.realm.name.clone(), account: request.account.clone() };
        let (secret, minted) = self.house.new_secret(guard, request.environment)?;
        let environment =
            guard.realm.environment_at(request.environment).ok_or(AppError::Bug("no such environment"))?;
        let id = self.house.new_key_id(self.house.clock.now())?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(&owner).await?;
            if let Some(made) = self.repeated(&owner, request.repeatable.as_ref()).await? {
                return self.created_before(&permit, owner, made).await;
            }
            self.must_issue(guard, &owner, request.member.as_ref()).await?;
            let now = self.house.clock.now();
            let live = match guard.realm.keys.max_active_keys {
                Some(_) => self.live_keys(&owner, Some(environment), usize::MAX).await?.0,
                None => Vec::new(),
            };
            let creation = Creation {
                id,
                environment: environment.clone(),
                name: request.name.clone(),
                scopes: request.scopes.clone(),
                metadata: request.metadata.clone(),
                expires_at: permit.may_end(request.expiry.resolve(now), expiry(&guard.realm.keys, None, now)?)?,
                not_before: request.not_before,
                networks: request.networks.clone(),
                member: request.member.clone(),
            };
            let acting = permit.acting(&owner, account.as_ref(), now);
            let (mut change, key) = create(&acting, &live, creation, minted.clone())?;
            self.keep_members(&mut change).await?;
            change.idempotency = request.repeatable.as_ref().map(|repeatable| repeatable.record(vec![id], now));
            let replaced: Vec<KeyId> = change.end.iter().map(|key| key.id).collect();
            if let Outcome::Done(key) = Outcome::of(self.commit(&change).await, key)? {
                let owned = OwnedKey::new(owner.account, key);
                return Ok(Created { owned, secret: Some(secret), replaced });
            }
        }
        Err(AppError::Contended)
    }

    /// The answer to a repeat: the key as it is now, without its secret.
    pub(super) async fn created_before<R>(
        &self,
        permit: &KeyPermit<'_, R>,
        owner: AccountRef,
        made: Vec<KeyId>,
    ) -> Result<Created, AppError> {
        let id = made.first().copied().ok_or(AppError::Bug("a remembered act made no key"))?;
        let (_, key) = self.read_for_change(permit, &owner, id).await?;
        Ok(Created { owned: OwnedKey::new(owner.account, key), secret: None, replaced: Vec::new() })
    }
}
