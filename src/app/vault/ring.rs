//! The key-encryption keys of a server: one wraps, all of them open.

use super::VaultError;
use crate::{
    app::{
        error::AppError,
        ports::{Entropy, KeyService},
    },
    domain::{
        id::KekName,
        seal::{DataKey, KeyEncryptionKey, NONCE_BYTES, WrappedKey},
    },
};
use std::sync::Arc;

/// A key-encryption key.
pub enum Kek {
    /// One that keygate holds.
    Held(KeyEncryptionKey),
    /// One that a service holds and never gives away.
    Service(ServiceKey),
}

/// A key that a service holds.
pub struct ServiceKey {
    /// Whoever asks the service.
    pub service: Arc<dyn KeyService>,
    /// Which service and key that is: two that are asked alike have the same.
    pub identity: [u8; 32],
}

/// The key-encryption keys of a server, by their names.
pub struct KeyRing {
    primary: (KekName, Kek),
    others: Vec<(KekName, Kek)>,
}

impl KeyRing {
    /// New data keys are wrapped by `primary`; `others` only open.
    #[must_use]
    pub fn new(primary: (KekName, Kek), others: Vec<(KekName, Kek)>) -> Self {
        Self { primary, others }
    }

    /// The name of the key that wraps.
    #[must_use]
    pub fn primary(&self) -> &KekName {
        &self.primary.0
    }

    /// Whether both hold the same keys under the same names. Nobody can tell of keys that services hold: those are never the
    /// same.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same = |(name, kek): &(KekName, Kek), (other_name, other): &(KekName, Kek)| match (kek, other) {
            (Kek::Held(kek), Kek::Held(other)) => name == other_name && kek.is(other),
            (Kek::Service(key), Kek::Service(other)) => name == other_name && key.identity == other.identity,
            _ => false,
        };
        self.others.len() == other.others.len()
            && same(&self.primary, &other.primary)
            && self.others.iter().zip(&other.others).all(|(own, other)| same(own, other))
    }

    /// Whether there is a key of that name.
    #[must_use]
    pub fn holds(&self, name: &KekName) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &KekName) -> Option<&Kek> {
        std::iter::once(&self.primary).chain(&self.others).find(|(known, _)| known == name).map(|(_, kek)| kek)
    }

    /// Wraps a data key by the primary key.
    pub(super) async fn wrap(
        &self,
        entropy: &dyn Entropy,
        bound: &[u8],
        key: &DataKey,
    ) -> Result<WrappedKey, AppError> {
        let (name, kek) = &self.primary;
        let bytes = match kek {
            Kek::Held(kek) => {
                let mut nonce = [0; NONCE_BYTES];
                entropy.fill(&mut nonce)?;
                kek.wrap(&nonce, bound, key).ok_or(AppError::Bug("a data key cannot be wrapped"))?
            }
            Kek::Service(ServiceKey { service, .. }) => {
                let failed = |cause| VaultError::Service { kek: name.clone(), cause };
                service.wrap(bound, key).await.map_err(failed)?
            }
        };
        Ok(WrappedKey { kek: name.clone(), bytes })
    }

    /// Opens a wrapped data key, by whichever key wrapped it.
    pub(super) async fn open(&self, bound: &[u8], wrapped: &WrappedKey) -> Result<DataKey, VaultError> {
        let name = &wrapped.kek;
        match self.find(name).ok_or_else(|| VaultError::Lost(name.clone()))? {
            Kek::Held(kek) => kek.open(bound, &wrapped.bytes).ok_or_else(|| VaultError::Other(name.clone())),
            Kek::Service(ServiceKey { service, .. }) => {
                let failed = |cause| VaultError::Service { kek: name.clone(), cause };
                service.open(bound, &wrapped.bytes).await.map_err(failed)
            }
        }
    }
}
