//! The first operator key, without which nobody could make any other.

use super::Outcome;
use crate::{
    app::{
        error::AppError,
        house::{App, mint},
        ports::Store,
    },
    domain::{
        audit::Actor,
        id::{AccountId, AccountRef, Scope},
        key::{Creation, create},
        realm::Realms,
        secret::Secret,
    },
};
use std::collections::BTreeMap;

/// What came of making the first operator key.
#[derive(Debug, PartialEq, Eq)]
pub enum Bootstrap {
    /// The given secret is an operator's key now.
    Made,
    /// There was an operator already; nothing was changed.
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
    /// at the same time, one makes it.
    ///
    /// # Errors
    /// When the secret is not of the right form, or the store cannot answer.
    pub async fn make_operator(&self, secret: &Secret, reissue: bool) -> Result<Bootstrap, AppError> {
        let guard = self.house.realm(Realms::BUILT_IN)?;
        let wrong_form = AppError::invalid("operator key", "the key file does not hold an operator key");
        let form = guard.realm.recognize(secret.expose()).ok_or(wrong_form)?;
        let owner = operators()?;
        let account = self.store.read_account(&owner).await?;
        if account.is_some() && !reissue {
            return Ok(Bootstrap::Present);
        }
        let now = self.house.clock.now();
        let scope = Scope::new("operator").map_err(|_| AppError::Bug("the operator scope is not legal"))?;
        let creation = Creation {
            id: self.house.new_key_id(now)?,
            environment: guard
                .realm
                .environment_at(form.environment)
                .ok_or(AppError::Bug("no such environment"))?
                .clone(),
            name: "operator".to_owned(),
            scopes: vec![scope],
            metadata: BTreeMap::new(),
            expires_at: None,
        };
        let minted = mint(guard, form.environment, form.prefix, secret.expose())?;
        let policy = &guard.realm.keys;
        let (change, _) = create(&owner, account.as_ref(), policy, &[], creation, minted, &Actor::System, now)?;
        match Outcome::of(self.store.commit(&change).await, ())? {
            Outcome::Done(()) => Ok(Bootstrap::Made),
            Outcome::StartOver => Ok(Bootstrap::Present),
        }
    }
}

fn operators() -> Result<AccountRef, AppError> {
    let realm = crate::domain::id::RealmName::new(Realms::BUILT_IN);
    let account = AccountId::new("operators");
    match (realm, account) {
        (Ok(realm), Ok(account)) => Ok(AccountRef { realm, account }),
        _ => Err(AppError::Bug("the operators' account is not legal")),
    }
}
