//! The acts on accounts. Like those on keys, every one reads, computes a change with pure code, and commits it as a whole;
//! when the account changed in between, it starts over.

mod create_account;
mod members;
mod membership;
mod set_status;

pub use create_account::{AccountMade, CreateAccount};
pub use members::{AddMember, MemberAdded, MemberPage, MemberRef, MemberRemoved, NamedMember, RemoveMember, SetRoles};
pub use membership::Membership;
pub use set_status::{SetStatus, StatusSet};

use super::{
    error::AppError,
    house::{App, Guarded},
    manager::{ManagePermit, Reader},
    ports::{CommitError, Store},
};
use crate::domain::{
    account::Account,
    id::{AccountId, AccountRef},
};

/// How often an act starts over when other nodes change the account at the same time.
const ATTEMPTS: usize = 16;

/// An account and its record.
#[derive(Debug, Clone)]
pub struct NamedAccount {
    /// Its id.
    pub id: AccountId,
    /// Its record.
    pub record: Account,
}

impl<S: Store> App<S> {
    /// An account.
    ///
    /// # Errors
    /// When there is none, or the store cannot answer.
    pub async fn get_account(
        &self,
        permit: ManagePermit<'_, Reader>,
        account: &AccountId,
    ) -> Result<NamedAccount, AppError> {
        let record = self.store.read_account(&owner(permit.guard(), account)).await?;
        record.map(|record| NamedAccount { id: account.clone(), record }).ok_or(AppError::UnknownAccount)
    }
}

fn owner(guard: &Guarded, account: &AccountId) -> AccountRef {
    AccountRef { realm: guard.realm.name.clone(), account: account.clone() }
}

/// Whether a change is in the store now, or has to be computed anew.
fn committed(outcome: Result<(), CommitError>) -> Result<bool, AppError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
