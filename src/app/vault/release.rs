//! Opening a credential for a request that may pass.

use super::{Place, Vault, VaultError, memory::Held};
use crate::{
    app::{
        error::AppError,
        house::App,
        ports::{Store, StoreError},
    },
    domain::{
        entry::Entry,
        id::{AccountRef, Environment},
        realm::Provider,
        seal::Part,
        secret::ReleasedValue,
        vault::{Slot, StoredCredential},
    },
};
use std::sync::Arc;

impl<S: Store> App<S> {
    /// The value of the provider's header for requests of that account in that environment; nothing where no credential was
    /// deposited. Tells also whether it took longer than a look into memory.
    ///
    /// What is told is of the account's state with that stamp, or a later one. The charge confirms the stamp.
    pub(in crate::app) async fn provider_header(
        &self,
        owner: &AccountRef,
        environment: &Environment,
        provider: &Provider,
        stamp: u128,
    ) -> Result<(Option<Arc<ReleasedValue>>, bool), AppError> {
        let vault = &self.house.vault;
        let slot = Slot { environment: environment.clone(), provider: provider.name.clone() };
        let place = Place { owner: owner.clone(), slot };
        if let Some(held) = vault.memory.recall(&place, stamp, self.house.clock.ticks()) {
            return Ok((held.told()?, false));
        }
        let _turn = vault.turn(&place).await;
        if let Some(held) = vault.memory.recall(&place, stamp, self.house.clock.ticks()) {
            return Ok((held.told()?, true));
        }
        let held = self.look_up(vault, &place, provider).await?;
        vault.memory.keep(place, stamp, held.clone(), self.house.clock.ticks());
        Ok((held.told()?, true))
    }

    async fn look_up(&self, vault: &Vault, place: &Place, provider: &Provider) -> Result<Held, AppError> {
        let id = place.slot.entry().map_err(|_| AppError::Bug("a credential's name is no entry's name"))?;
        let reading = self.store.read_entry(&place.owner, &id);
        let entry = match self.store.patience() {
            None => reading.await?,
            Some(patience) => {
                tokio::time::timeout(patience, reading).await.map_err(|_| StoreError::Deadline(patience))??
            }
        };
        match entry {
            None => Ok(Held::Nothing),
            Some(Entry::Credential(stored)) => match open(vault, place, provider, &stored).await {
                Ok(value) => Ok(Held::Value(Arc::new(value))),
                Err(AppError::Vault(error)) => Ok(Held::Failed(error)),
                Err(error) => Err(error),
            },
            Some(_) => Err(AppError::Bug("a credential's entry is of another kind")),
        }
    }
}

async fn open(
    vault: &Vault,
    place: &Place,
    provider: &Provider,
    stored: &StoredCredential,
) -> Result<ReleasedValue, AppError> {
    let belonging = place.slot.belonging(&place.owner);
    let key = vault.ring()?.open(&belonging.associated_data(Part::DataKey), &stored.key).await?;
    let credential = key.open(&stored.nonce, &belonging, &stored.sealed).ok_or_else(|| {
        let Place { owner, slot } = place;
        StoreError::Corrupt(format!(
            "the credential for `{}` in `{}` of account `{}` of realm `{}` was not sealed for this place",
            slot.provider, slot.environment, owner.account, owner.realm
        ))
    })?;
    Ok(ReleasedValue::new(&provider.before, &credential, &provider.after))
}

impl Held {
    fn told(self) -> Result<Option<Arc<ReleasedValue>>, VaultError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Value(value) => Ok(Some(value)),
            Self::Failed(error) => Err(error),
        }
    }
}
