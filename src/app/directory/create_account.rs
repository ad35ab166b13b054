//! Making an account before its first key.

use super::{ATTEMPTS, NamedAccount, committed, owner};
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{KeyManager, ManagePermit},
        ports::Store,
    },
    domain::{
        directory::{self, DirectoryError},
        id::AccountId,
    },
};

/// A request to make an account, its fields checked.
#[derive(Debug)]
pub struct CreateAccount {
    /// The account.
    pub account: AccountId,
    /// The account right above it.
    pub parent: Option<AccountId>,
}

/// An account that is there now.
#[derive(Debug)]
pub struct AccountMade {
    /// The account.
    pub account: NamedAccount,
    /// It was there before, just as it was to be made.
    pub existed: bool,
}

impl<S: Store> App<S> {
    /// Makes an account. One that is there already, below the same parent, stays as it is.
    ///
    /// # Errors
    /// When the account exists below another parent, the parent does not exist, or the store cannot answer.
    pub async fn create_account(
        &self,
        permit: ManagePermit<'_, KeyManager>,
        request: &CreateAccount,
    ) -> Result<AccountMade, AppError> {
        let guard = permit.guard();
        let owner = owner(guard, &request.account);
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.store.read_account(&owner).await? {
                if record.parent() != request.parent.as_ref() {
                    return Err(DirectoryError::Exists.into());
                }
                let account = NamedAccount { id: request.account.clone(), record };
                return Ok(AccountMade { account, existed: true });
            }
            let parent = match &request.parent {
                None => None,
                Some(id) => {
                    let record = self.store.read_account(&super::owner(guard, id)).await?;
                    let problem = "must be an account of this realm";
                    Some((id, record.ok_or_else(|| AppError::invalid("parent_account_id", problem))?))
                }
            };
            let parent = parent.as_ref().map(|(id, record)| (*id, record));
            let change = directory::create(&owner, parent, permit.actor(), self.house.clock.now())?;
            if committed(self.commit(&change).await)? {
                let account = NamedAccount { id: request.account.clone(), record: change.account };
                return Ok(AccountMade { account, existed: false });
            }
        }
        Err(AppError::Contended)
    }
}
