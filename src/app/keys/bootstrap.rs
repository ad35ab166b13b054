//! The first operator key, without which nobody could make any other.

use super::{ATTEMPTS, Outcome};
use crate::{
    app::{
        error::AppError,
        house::{App, mint},
        ports::{CommitError, Found, Freshness, Sought, Store},
    },
    domain::{
        audit::Actor,
        id::{AccountId, AccountRef, Scope},
        key::{Acting, Creation, create},
        realm::Realms,
        secret::Secret,
    },
};
use std::collections::BTreeMap;

/// What came of making an operator key.
#[derive(Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// The given secret is an operator's key now, made here or by another server that was given it too.
    Made,
    /// There was an operator already, with another secret; nothing was changed.
    Present,
}

impl<S: Store> App<S> {
    /// Whether no operator key was ever made in this store.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn lacks_operator(&self) -> Result<bool, AppError> {
        Ok(self.store.read_account(&operators()?).await?.is_none())
    }

    /// A new secret of the form that operator keys have.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub fn new_operator_secret(&self) -> Result<Secret, AppError> {
        let guard = self.house.realm(Realms::BUILT_IN)?;
        Ok(self.house.new_secret(guard, 0)?.0)
    }

    /// Makes `secret` the key of an operator: the first one, or one more when `reissue` is set. Of several nodes that start
    /// at the same time, one makes the first.
    ///
    /// # Errors
    /// When the secret is not of the right form, others keep changing the account, or the store cannot answer.
    pub async fn make_operator(&self, secret: &Secret, reissue: bool) -> Result<Bootstrap, AppError> {
        let guard = self.house.realm(Realms::BUILT_IN)?;
        let wrong_form = AppError::invalid("operator key", "the key file does not hold an operator key");
        let form = guard.realm.recognize(secret.expose()).ok_or(wrong_form)?;
        let owner = operators()?;
        let minted = mint(guard, form.environment, form.prefix, secret.expose())?;
        let environment = guard.realm.environment_at(form.environment).ok_or(AppError::Bug("no such environment"))?;
        let scope = Scope::new("operator").map_err(|_| AppError::Bug("the operator scope is not legal"))?;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(&owner).await?;
            let digests = std::slice::from_ref(&minted.digest);
            let sought = Sought { realm: &owner.realm, digests, freshness: Freshness::Fresh, uses: false, due: None };
            let found = self.store.find_key(&sought).await?;
            if matches!(found, Found::Key(_)) {
                return Ok(Bootstrap::Made);
            }
            if account.is_some() && !reissue {
                return Ok(Bootstrap::Present);
            }
            let now = self.house.clock.now();
            let creation = Creation {
                id: self.house.new_key_id(now)?,
                environment: environment.clone(),
                name: "operator".to_owned(),
                scopes: vec![scope.clone()],
                metadata: BTreeMap::new(),
                expires_at: None,
                not_before: None,
                networks: Vec::new(),
                member: None,
            };
            let (owner, account, policy) = (&owner, account.as_ref(), &guard.realm.keys);
            let acting = Acting { owner, account, policy, actor: &Actor::System, now };
            let (change, _) = create(&acting, &[], creation, minted.clone())?;
            let committed = match self.commit(&change).await {
                // Another server that was given the same secret makes the key at this very moment.
                Err(CommitError::DigestTaken(_)) => Err(CommitError::Conflict),
                committed => committed,
            };
            if let Outcome::Done(()) = Outcome::of(committed, ())? {
                return Ok(Bootstrap::Made);
            }
        }
        Err(AppError::Contended)
    }
}

/// The account of the first operators.
pub fn operators() -> Result<AccountRef, AppError> {
    let realm = crate::domain::id::RealmName::new(Realms::BUILT_IN);
    let account = AccountId::new("operators");
    match (realm, account) {
        (Ok(realm), Ok(account)) => Ok(AccountRef { realm, account }),
        _ => Err(AppError::Bug("the operators' account is not legal")),
    }
}
