//! The vault: providers' credentials, deposited write-only and released to allowed requests alone. Sealing and opening are
//! here; what they are bound to, and the cipher, are the domain's.

mod deposit;
mod memory;
mod release;
mod rewrap;
mod ring;

pub use deposit::{CredentialInfo, PutCredential, RemoveCredential};
pub use rewrap::{Lost, RewrapPage, Rewrapped};
pub use ring::{Kek, KeyRing, ServiceKey};

use super::{error::AppError, ports::KeyServiceError};
use crate::domain::{
    id::{AccountRef, KekName},
    time::Ticks,
    vault::{DepositError, Slot},
};
use memory::Memory;
use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};
use tokio::sync::{Mutex, MutexGuard};

/// How often an act starts over when other nodes change the account at the same time.
const ATTEMPTS: usize = 16;

/// Which credential of which account.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    owner: AccountRef,
    slot: Slot,
}

/// Why a credential cannot be sealed or opened. None of these is ever a denial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// The server has no key-encryption key.
    #[error("this server has no key-encryption key: `[vault]` in its settings names none")]
    Off,
    /// The server does not have the one that is needed.
    #[error(
        "a credential needs the key-encryption key `{0}`, which is not among this server's: give it back to `[vault]`"
    )]
    Lost(KekName),
    /// The key of that name is another one than that which wrapped the data key.
    #[error("the key-encryption key `{0}` does not open what stands under its name: it is another key than it was")]
    Other(KekName),
    /// The service that holds the key did not do it.
    #[error("the key service of the key-encryption key `{kek}` failed: {cause}")]
    Service {
        /// The key.
        kek: KekName,
        /// What happened.
        cause: KeyServiceError,
    },
}

/// What every worker shares of the vault.
pub struct Vault {
    ring: Option<KeyRing>,
    memory: Memory,
    /// One at a time opens a credential; the others find it in memory.
    turns: Vec<Mutex<()>>,
    hasher: RandomState,
}

impl Vault {
    /// So many credentials are opened at the same time, at most.
    const TURNS: usize = 256;

    /// A vault that seals and opens nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::with(None, Duration::ZERO)
    }

    /// A vault with these keys. What it opened is kept for `remember`, and wiped after.
    #[must_use]
    pub fn new(ring: KeyRing, remember: Duration) -> Self {
        Self::with(Some(ring), remember)
    }

    fn with(ring: Option<KeyRing>, remember: Duration) -> Self {
        let turns = (0..Self::TURNS).map(|_| Mutex::new(())).collect();
        Self { ring, memory: Memory::new(remember), turns, hasher: RandomState::new() }
    }

    /// Whether that one seals and opens with the same and remembers as long: then this one may go on in its place, with what it
    /// remembers.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let same_keys = match (&self.ring, &other.ring) {
            (Some(own), Some(other)) => own.is(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        same_keys && self.memory.lifetime() == other.memory.lifetime()
    }

    /// Wipes all that is in memory.
    pub fn forget(&self) {
        self.memory.sweep(Ticks::from_micros(u64::MAX));
    }

    /// Wipes what has been in memory for too long; tells how much is left.
    pub fn sweep(&self, now: Ticks) -> usize {
        self.memory.sweep(now)
    }

    /// How many opened credentials, and places without one, are in memory.
    #[must_use]
    pub fn held(&self) -> usize {
        self.memory.len()
    }

    /// Whether there is anything to seal and open with.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.ring.is_some()
    }

    fn ring(&self) -> Result<&KeyRing, VaultError> {
        self.ring.as_ref().ok_or(VaultError::Off)
    }

    async fn turn(&self, place: &Place) -> Option<MutexGuard<'_, ()>> {
        let slot = (self.hasher.hash_one(place) as usize).checked_rem(self.turns.len())?;
        Some(self.turns.get(slot)?.lock().await)
    }
}

impl From<DepositError> for AppError {
    fn from(error: DepositError) -> Self {
        match error {
            DepositError::Account(error) => error.into(),
            DepositError::Name(_) => Self::Bug("a credential's name is no entry's name"),
        }
    }
}
