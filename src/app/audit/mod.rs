//! Reading the audit log: pages of it, what comes new, and signed statements about it. One use case a file. Nothing here
//! writes: events come to be with the changes that they tell of, and in no other way.

mod checkpoint;
mod follow;
mod list;

pub use checkpoint::Walk;
pub use follow::Position;
pub use list::{EventFilter, EventPage};

use super::{error::AppError, house::House, ports::StoreError};
use crate::domain::{audit::PublicKey, id::AccountRef};

impl House {
    /// The keys that verify checkpoints, each with the version of the server secret that it comes from; the newest first.
    #[must_use]
    pub fn audit_keys(&self) -> &[(u32, PublicKey)] {
        self.signer.public_keys()
    }
}

/// A chain that is not what keygate wrote, although each of its records is.
fn broken(owner: &AccountRef, sequence: u64) -> AppError {
    let AccountRef { realm, account } = owner;
    let what = format!("the audit chain of account `{account}` of realm `{realm}` is broken at event {sequence}");
    StoreError::Corrupt(what).into()
}
