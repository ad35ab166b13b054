//! Sealing: AES-256-GCM under a data key that is used once, and the data key under a key-encryption key.
//!
//! Both carry what they belong to as associated data: a version and the part, then realm, account, environment and provider,
//! each preceded by its length as 8 bytes, big-endian. Bytes that were moved to another place open nowhere.

use super::{
    id::{AccountRef, Environment, KekName, ProviderName},
    secret::ProviderCredential,
};
use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use zeroize::Zeroizing;

/// The associated data of this form of sealing begins with it.
const VERSION: &[u8] = b"keygate vault 1";

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;
/// Bytes of a key, be it for data or for keys.
pub const KEY_BYTES: usize = 32;

/// A nonce of AES-GCM.
pub type Nonce = [u8; NONCE_BYTES];

/// Where a credential belongs: nobody else's request ever opens it.
#[derive(Debug, Clone, Copy)]
pub struct Belonging<'a> {
    /// The account that deposited it.
    pub owner: &'a AccountRef,
    /// The environment whose keys release it.
    pub environment: &'a Environment,
    /// Whom it is for.
    pub provider: &'a ProviderName,
}

/// What is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The credential itself.
    Credential,
    /// The key that it is sealed with.
    DataKey,
}

impl Belonging<'_> {
    /// What the sealing of a part is bound to.
    #[must_use]
    pub fn associated_data(&self, part: Part) -> Vec<u8> {
        let part: &[u8] = match part {
            Part::Credential => b"credential",
            Part::DataKey => b"data key",
        };
        let (realm, account) = (self.owner.realm.as_str(), self.owner.account.as_str());
        let names = [realm, account, self.environment.as_str(), self.provider.as_str()];
        let mut bound = Vec::with_capacity(256);
        for field in [VERSION, part].into_iter().chain(names.map(str::as_bytes)) {
            bound.extend_from_slice(&(field.len() as u64).to_be_bytes());
            bound.extend_from_slice(field);
        }
        bound
    }
}

/// Seals one credential, and nothing else ever. Wiped when dropped; cannot be printed.
pub struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// Takes random bytes for a key.
    #[must_use]
    pub fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(bytes)
    }

    /// The key of these bytes; nothing when they are too many or too few.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        exact(bytes).map(Self)
    }

    /// The key itself: for wrapping it.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals a credential. Nothing when the cipher refuses, which it does for none of legal length.
    #[must_use]
    pub fn seal(&self, nonce: &Nonce, belonging: &Belonging<'_>, credential: &ProviderCredential) -> Option<Vec<u8>> {
        let (msg, aad) = (credential.expose().as_bytes(), &belonging.associated_data(Part::Credential)[..]);
        cipher(&self.0).encrypt(&(*nonce).into(), Payload { msg, aad }).ok()
    }

    /// The credential, if it was sealed with this key for this very place.
    #[must_use]
    pub fn open(&self, nonce: &Nonce, belonging: &Belonging<'_>, sealed: &[u8]) -> Option<ProviderCredential> {
        let aad = &belonging.associated_data(Part::Credential)[..];
        let opened =
            cipher(&self.0).decrypt(&(*nonce).into(), Payload { msg: sealed, aad }).map(Zeroizing::new).ok()?;
        ProviderCredential::new(Zeroizing::new(std::str::from_utf8(&opened).ok()?.to_owned())).ok()
    }
}

/// A data key under a key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Which key-encryption key.
    pub kek: KekName,
    /// What it, or the service that holds it, made of the data key.
    pub bytes: Vec<u8>,
}

/// A key-encryption key that keygate holds itself. Wiped when dropped; cannot be printed.
pub struct KeyEncryptionKey(Zeroizing<[u8; KEY_BYTES]>);

impl KeyEncryptionKey {
    /// The key of these bytes; nothing when they are too many or too few.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        exact(bytes).map(Self)
    }

    /// A data key wrapped: the nonce, then what AES-256-GCM makes of it.
    #[must_use]
    pub fn wrap(&self, nonce: &Nonce, bound: &[u8], key: &DataKey) -> Option<Vec<u8>> {
        let wrapped = cipher(&self.0).encrypt(&(*nonce).into(), Payload { msg: key.expose(), aad: bound }).ok()?;
        Some([&nonce[..], &wrapped].concat())
    }

    /// The data key, if this key wrapped it and it was bound to that.
    #[must_use]
    pub fn open(&self, bound: &[u8], wrapped: &[u8]) -> Option<DataKey> {
        let (nonce, msg) = wrapped.split_first_chunk::<NONCE_BYTES>()?;
        let opened = cipher(&self.0).decrypt(&(*nonce).into(), Payload { msg, aad: bound }).map(Zeroizing::new).ok()?;
        DataKey::from_slice(&opened)
    }

    /// Whether the other one is the same key.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        subtle::ConstantTimeEq::ct_eq(&self.0[..], &other.0[..]).into()
    }
}

fn exact(bytes: &[u8]) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    <[u8; KEY_BYTES]>::try_from(bytes).ok().map(Zeroizing::new)
}

fn cipher(key: &[u8; KEY_BYTES]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

#[cfg(test)]
mod tests;
