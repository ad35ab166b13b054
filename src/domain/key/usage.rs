//! When a key was last let through. Noted in memory on the hot path, written in batches: a decision never waits for it.

use crate::domain::{
    id::{AccountRef, KeyId},
    time::Timestamp,
};
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

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

/// The latest use of a remembered key, and whether somebody must write it.
#[derive(Debug, Default)]
pub struct PendingUse(Mutex<Uses>);

#[derive(Debug, Default)]
struct Uses {
    pending: Option<LastUse>,
    taken: Option<LastUse>,
}

impl PendingUse {
    /// A key in steady use is written again after this time. The first use after a pause, or from another address, is
    /// written at once: that is what somebody looks for.
    pub const RESOLUTION: Duration = Duration::from_secs(60);

    /// Notes a use, and tells whether somebody must see to it that it is written.
    pub fn note(&self, last: LastUse) -> bool {
        // A poisoned lock would only mean that some thread stopped while it held one plain value.
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if uses.pending.is_some() {
            uses.pending = Some(last);
            return false;
        }
        let known = |taken: LastUse| taken.address == last.address && last.at.since(taken.at) < Self::RESOLUTION;
        if uses.taken.is_some_and(known) {
            return false;
        }
        uses.pending = Some(last);
        true
    }

    /// What was taken could not be written: the next use is noted again, however soon it comes.
    pub fn not_written(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).taken = None;
    }

    /// Takes what is to be written.
    pub fn take(&self) -> Option<LastUse> {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = uses.pending.take()?;
        uses.taken = Some(taken);
        Some(taken)
    }
}
