//! When a key was last let through. Noted in memory on the hot path, written in batches: a decision never waits for it.

use crate::domain::{
    id::{AccountRef, KeyId},
    time::Timestamp,
};
use std::{net::IpAddr, sync::Mutex};

/// The latest use of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// From where, if whoever asked told it.
    pub address: Option<IpAddr>,
}

/// A use that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's account.
    pub owner: AccountRef,
    /// The key.
    pub key: KeyId,
    /// Its latest use.
    pub last: LastUse,
}

/// The latest use that was not written yet.
#[derive(Debug, Default)]
pub struct PendingUse(Mutex<Option<LastUse>>);

impl PendingUse {
    /// Notes a use, and tells whether it is the first since the last [`PendingUse::take`]: then somebody must see to it that
    /// it is written.
    pub fn note(&self, last: LastUse) -> bool {
        // A poisoned lock would only mean that some thread stopped while it held one plain value.
        let mut pending = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        pending.replace(last).is_none()
    }

    /// Takes what is to be written.
    pub fn take(&self) -> Option<LastUse> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }
}
