//! Changing a key's name, scopes, metadata, expiry or state.

use super::{ATTEMPTS, Expiry, Outcome, OwnedKey};
use crate::{
    app::{error::AppError, house::App, key_permit::KeyPermit, manager::KeyManager, ports::Store},
    domain::{
        id::KeyId,
        key::{KeyPatch, update},
    },
};

/// A request to change a key, its fields checked.
#[derive(Debug)]
pub struct UpdateKey {
    /// The key.
    pub key: KeyId,
    /// What changes, but for the expiry.
    pub patch: KeyPatch,
    /// The new expiry; absent: it stays; `Default`: never.
    pub expiry: Option<Expiry>,
    /// The version that the change is based on.
    pub expected_version: Option<u64>,
}

impl<S: Store> App<S> {
    /// Changes a key.
    ///
    /// # Errors
    /// When there is no such key, it was revoked or changed in between, or the store cannot answer.
    pub async fn update_key(
        &self,
        permit: KeyPermit<'_, KeyManager>,
        request: &UpdateKey,
    ) -> Result<OwnedKey, AppError> {
        let guard = permit.guard();
        let owner = self.owner_of(&permit, request.key).await?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let (account, key) = self.read_for_change(&permit, &owner, request.key).await?;
            permit.not_wider(&key)?;
            let now = self.house.clock.now();
            // A key that comes back from its expiry needs a place.
            let live = match guard.realm.keys.max_active_keys {
                Some(_) if request.expiry.is_some() && !key.counts(now) => {
                    self.live_keys(&owner, Some(&key.environment), usize::MAX).await?.0
                }
                _ => Vec::new(),
            };
            let expires_at = request.expiry.map(|expiry| expiry.resolve(now));
            let patch = KeyPatch { expires_at, ..request.patch.clone() };
            let acting = permit.acting(&owner, Some(&account), now);
            let (change, key) = update(&acting, &live, &key, request.expected_version, patch)?;
            permit.may_give(&key.scopes)?;
            if request.expiry.is_some() && permit.may_end(key.expires_at, None)? != key.expires_at {
                return Err(AppError::invalid("expires_at", "must not lie after the end of the key that acts"));
            }
            if let Outcome::Done(key) = Outcome::of(self.commit(&change).await, key)? {
                return Ok(OwnedKey::new(owner.account, key));
            }
        }
        Err(AppError::Contended)
    }
}
