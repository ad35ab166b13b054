//! Whether what was read of an account still holds, without a list of accounts.
//!
//! A fixed array of counters, each shared by the accounts that hash to it. A reader takes the stamp *before* it reads the
//! database; a commit raises the stamp *after* its transaction is durable and visible, and before it is acknowledged. So if
//! a charge that begins after an acknowledgement still finds the stamp that a reader took, the reader took it after the
//! raise, hence read after the transaction, hence saw it: a confirmed answer never rests on what was before an acknowledged
//! commit, however long it was remembered in between. Two accounts that share a counter cost each other a second reading,
//! nothing else. Stamps start anew with the process, and so does everything remembered under them.

use crate::domain::id::AccountRef;
use hashbrown::DefaultHashBuilder;
use std::{
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
};

/// 512 KiB; at 10,000 commits a second, one account's remembered keys are disturbed by others' every 6.5 seconds.
const STRIPES: usize = 1 << 16;

pub(super) struct Stamps {
    stripes: Box<[AtomicU64]>,
    hasher: DefaultHashBuilder,
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self { stripes: (0..STRIPES).map(|_| AtomicU64::new(0)).collect(), hasher: DefaultHashBuilder::default() }
    }

    /// The stamp to take before reading, or to compare when charging.
    pub(super) fn current(&self, owner: &AccountRef) -> u128 {
        self.stripe(owner).map_or(0, |stripe| stripe.load(Ordering::SeqCst).into())
    }

    /// Makes everything stale that was read of the account before.
    pub(super) fn raise(&self, owner: &AccountRef) {
        if let Some(stripe) = self.stripe(owner) {
            stripe.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn stripe(&self, owner: &AccountRef) -> Option<&AtomicU64> {
        let hash = self.hasher.hash_one((owner.realm.as_str(), owner.account.as_str()));
        self.stripes.get(hash.checked_rem(self.stripes.len() as u64)? as usize)
    }
}
