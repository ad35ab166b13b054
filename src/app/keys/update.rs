//! Changing a key's name, scopes, metadata, expiry or state.

use super::{ATTEMPTS, Expiry, Outcome, OwnedKey};
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{KeyManager, ManagePermit},
        ports::Store,
    },
    domain::{
        id::{KeyId, Scope},
        key::{KeyPatch, StatePatch, update},
    },
};
use std::collections::BTreeMap;

/// A request to change a key, its fields checked. Absent fields stay.
#[derive(Debug)]
pub struct UpdateKey {
    /// The key.
    pub key: KeyId,
    /// The new name.
    pub name: Option<String>,
    /// The new scopes.
    pub scopes: Option<Vec<Scope>>,
    /// Metadata to set.
    pub set_metadata: BTreeMap<String, String>,
    /// Metadata to remove.
    pub remove_metadata: Vec<String>,
    /// The new expiry; `Some(Default)`: never.
    pub expiry: Option<Expiry>,
    /// Suspend or resume.
    pub state: Option<StatePatch>,
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
        permit: ManagePermit<'_, KeyManager>,
        request: &UpdateKey,
    ) -> Result<OwnedKey, AppError> {
        let guard = permit.guard();
        let owner = self.owner_of(guard, request.key).await?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let (account, key) = self.read_for_change(&owner, request.key).await?;
            let now = self.house.clock.now();
            // A key that comes back from its expiry needs a place.
            let live = match guard.realm.keys.max_active_keys {
                Some(_) if request.expiry.is_some() && !key.counts(now) => {
                    self.live_keys(&owner, Some(&key.environment), usize::MAX).await?.0
                }
                _ => Vec::new(),
            };
            let patch = KeyPatch {
                name: request.name.clone(),
                scopes: request.scopes.clone(),
                set_metadata: request.set_metadata.clone(),
                remove_metadata: request.remove_metadata.clone(),
                expires_at: request.expiry.map(|expiry| expiry.resolve(now)),
                state: request.state,
            };
            let acting = permit.acting(&owner, Some(&account), now);
            let (change, key) = update(&acting, &live, &key, request.expected_version, patch)?;
            if let Outcome::Done(key) = Outcome::of(self.store.commit(&change).await, key)? {
                return Ok(OwnedKey::new(owner.account, key));
            }
        }
        Err(AppError::Contended)
    }
}
