//! Giving a key a new secret under the same id.

use super::{ATTEMPTS, Created, Outcome, OwnedKey};
use crate::{
    app::{error::AppError, house::App, key_permit::KeyPermit, manager::KeyManager, ports::Store},
    domain::{
        id::KeyId,
        key::{Repeatable, rotate},
    },
};
use std::time::Duration;

/// A request to rotate a key, its fields checked.
#[derive(Debug)]
pub struct RotateKey {
    /// The key.
    pub key: KeyId,
    /// How long the old secret goes on working; absent: the realm's default.
    pub grace: Option<Duration>,
    /// The version that the act is based on.
    pub expected_version: Option<u64>,
    /// Recognizes a repeat.
    pub repeatable: Option<Repeatable>,
}

impl<S: Store> App<S> {
    /// Rotates a key.
    ///
    /// # Errors
    /// When there is no such key, it was revoked or changed in between, the grace is too long, or the store cannot answer.
    pub async fn rotate_key(
        &self,
        permit: KeyPermit<'_, KeyManager>,
        request: &RotateKey,
    ) -> Result<Created, AppError> {
        let guard = permit.guard();
        let owner = self.owner_of(&permit, request.key).await?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let (account, key) = self.read_for_change(&permit, &owner, request.key).await?;
            permit.not_wider(&key)?;
            if let Some(made) = self.repeated(&owner, request.repeatable.as_ref()).await? {
                return self.created_before(&permit, owner, made).await;
            }
            let environment = guard.realm.environment(key.environment.as_str()).map(|(index, _)| index);
            let environment = environment.ok_or_else(|| {
                AppError::invalid("rotate.key_id", "names a key of an environment that the realm no longer has")
            })?;
            let (secret, minted) = self.house.new_secret(guard, environment)?;
            let now = self.house.clock.now();
            let acting = permit.acting(&owner, Some(&account), now);
            let (mut change, key) = rotate(&acting, &key, request.expected_version, request.grace, &minted)?;
            change.idempotency = request.repeatable.as_ref().map(|repeatable| repeatable.record(vec![key.id], now));
            if let Outcome::Done(key) = Outcome::of(self.commit(&change).await, key)? {
                let owned = OwnedKey::new(owner.account, key);
                return Ok(Created { owned, secret: Some(secret), replaced: Vec::new() });
            }
        }
        Err(AppError::Contended)
    }
}
