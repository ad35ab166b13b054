//! Everything that a store holds, as parts of a backup, and back into a store. What is read is never a plaintext: digests, sealed
//! credentials, records. Nothing here stops anybody from being served.

mod restore;
mod settle;
mod take;

pub use restore::{Restored, Restorer};
pub use take::BackupWalk;

use super::ports::StoreError;
use crate::domain::id::{AccountRef, RealmName};

/// Why nothing more is restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The store is somebody's.
    #[error(
        "the store holds accounts of realm `{0}` already; `--merge` writes what it lacks and leaves the rest: it is also how a \
         restore that was interrupted goes on"
    )]
    NotEmpty(RealmName),
    /// The store could not answer. What was written so far stays.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A defect of keygate.
    #[error("internal error: a defect of keygate: {0}")]
    Bug(&'static str),
}

/// An account that was not written, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The account.
    pub owner: AccountRef,
    /// Why.
    pub why: &'static str,
}
