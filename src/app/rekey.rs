//! After the answer: a secret that is stored under a hash made elsewhere, or under an older server secret, is stored under
//! keygate's own newest digest as soon as it was used.

use super::{
    error::AppError,
    house::App,
    ports::{CommitError, Store},
};
use crate::domain::{
    id::{AccountRef, KeyId},
    key::{Digest, Minted, rekey},
};

/// What is left to do after an answer.
#[derive(Debug)]
pub struct Rekey {
    /// The key's account.
    pub(super) owner: AccountRef,
    /// The key.
    pub(super) key: KeyId,
    /// What its secret is stored as.
    pub(super) old: Digest,
    /// What it shall be stored as.
    pub(super) minted: Minted,
}

impl Rekey {
    /// The key.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }
}

impl<S: Store> App<S> {
    /// Stores the secret under its new digest. Does nothing when somebody else did already; whoever comes second loses
    /// nothing, since the next use tries again.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn rekey(&self, work: &Rekey) -> Result<(), AppError> {
        let _turn = self.house.act_on(&work.owner).await;
        let Some(account) = self.store.read_account(&work.owner).await? else { return Ok(()) };
        let keys = self.store.read_keys(&work.owner, &[work.key]).await?;
        let Some(key) = keys.into_iter().flatten().find(|key| key.revoked.is_none()) else { return Ok(()) };
        let now = self.house.clock.now();
        let Some(change) = rekey(&work.owner, &account, &key, &work.old, &work.minted, now) else { return Ok(()) };
        match self.commit(&change).await {
            Ok(()) | Err(CommitError::Conflict | CommitError::ReadOnly) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
