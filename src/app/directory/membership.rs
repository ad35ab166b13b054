//! Members of organizations.

use super::{ATTEMPTS, NamedAccount, committed, owner};
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{KeyManager, ManagePermit},
        ports::Store,
    },
    domain::{directory, id::AccountId},
};

/// An account and an organization, which is an account too.
#[derive(Debug)]
pub struct Membership {
    /// The member.
    pub account: AccountId,
    /// The organization.
    pub organization: AccountId,
}

impl<S: Store> App<S> {
    /// Makes an account a member of an organization. From the moment that this returns its keys reach what the organization's
    /// members reach. One that is a member already stays as it is.
    ///
    /// # Errors
    /// When one of the two does not exist or was offboarded, the account is in too many organizations, or the store cannot answer.
    pub async fn join_organization(
        &self,
        permit: ManagePermit<'_, KeyManager>,
        request: &Membership,
    ) -> Result<NamedAccount, AppError> {
        let Membership { account, organization } = request;
        let found = self.store.read_account(&owner(permit.guard(), organization)).await?;
        let found = found.ok_or_else(|| AppError::invalid("organization_id", "must be an account of this realm"))?;
        let owner = owner(permit.guard(), account);
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let record = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            let now = self.house.clock.now();
            let Some(change) = directory::join(&owner, &record, (organization, &found), permit.actor(), now)? else {
                return Ok(NamedAccount { id: account.clone(), record });
            };
            if committed(self.commit(&change).await)? {
                return Ok(NamedAccount { id: account.clone(), record: change.account });
            }
        }
        Err(AppError::Contended)
    }

    /// Ends an account's membership of an organization, at once. One that is no member stays as it is.
    ///
    /// # Errors
    /// When there is no such account, or the store cannot answer.
    pub async fn leave_organization(
        &self,
        permit: ManagePermit<'_, KeyManager>,
        request: &Membership,
    ) -> Result<NamedAccount, AppError> {
        let Membership { account, organization } = request;
        let owner = owner(permit.guard(), account);
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let record = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            let now = self.house.clock.now();
            let Some(change) = directory::leave(&owner, &record, organization, permit.actor(), now) else {
                return Ok(NamedAccount { id: account.clone(), record });
            };
            if committed(self.commit(&change).await)? {
                return Ok(NamedAccount { id: account.clone(), record: change.account });
            }
        }
        Err(AppError::Contended)
    }
}
