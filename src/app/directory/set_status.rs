//! Suspending, deactivating, offboarding and activating accounts.

use super::{ATTEMPTS, NamedAccount, committed, owner};
use crate::{
    app::{
        error::AppError,
        house::App,
        keys::{OwnedKey, operators},
        manager::{ManagePermit, Revoker},
        ports::Store,
    },
    domain::{
        account::AccountStatus,
        commit::Change,
        directory::{self, DirectoryError},
        id::AccountId,
        key::{KeyRecord, Limits},
        vault::{self, Depositing, Slot},
    },
};

/// A request to move an account to another status, its fields checked.
#[derive(Debug)]
pub struct SetStatus {
    /// The account.
    pub account: AccountId,
    /// The status that it shall have.
    pub status: AccountStatus,
    /// Why; stands in the record of each key that ends.
    pub reason: String,
    /// The version that the act is based on.
    pub expected_version: Option<u64>,
    /// Only tell what would happen.
    pub preview: bool,
}

/// What became of an account, or would.
#[derive(Debug)]
pub struct StatusSet {
    /// The account after the act; of a preview as it is.
    pub account: NamedAccount,
    /// The keys that ended with it.
    pub ended: Vec<OwnedKey>,
    /// How many credentials of providers were removed with it.
    pub removed_credentials: usize,
    /// More keys remain than one act may end. None of them works; the next call ends them.
    pub more: bool,
}

impl<S: Store> App<S> {
    /// Moves an account to another status. Offboarding ends its keys and removes its providers' credentials, for ever.
    ///
    /// # Errors
    /// When there is no such account, it is that of the operators, it was offboarded, it changed in between, or the store cannot answer.
    pub async fn set_account_status(
        &self,
        permit: ManagePermit<'_, Revoker>,
        request: &SetStatus,
    ) -> Result<StatusSet, AppError> {
        let owner = owner(permit.guard(), &request.account);
        if owner == operators()? {
            return Err(DirectoryError::OfOperators.into());
        }
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            // Before its keys: what is made in between makes the commit conflict.
            let record = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            let (keys, more, slots) = match request.status {
                AccountStatus::Offboarded => {
                    let (keys, more) = self.live_keys(&owner, None, Limits::KEYS_PER_ACT).await?;
                    let credentials = self.credentials(&owner).await?.into_iter();
                    (keys, more, credentials.map(|(slot, _)| slot).collect())
                }
                _ => (Vec::new(), false, Vec::<Slot>::new()),
            };
            let acting = permit.acting(&owner, Some(&record), self.house.clock.now());
            let SetStatus { status, reason, expected_version, .. } = request;
            let change = directory::set_status(&acting, &record, *status, &keys, reason, *expected_version)?;
            let told = |record, ended: Vec<KeyRecord>| {
                let ended = ended.into_iter().map(|key| OwnedKey::new(owner.account.clone(), key)).collect();
                let account = NamedAccount { id: owner.account.clone(), record };
                StatusSet { account, ended, removed_credentials: slots.len(), more }
            };
            // One that was offboarded before may still hold some.
            let begin = || Change::begin(&owner, Some(&record), acting.actor, acting.now);
            let change = change.or_else(|| (!slots.is_empty()).then(begin));
            let Some(mut change) = change else { return Ok(told(record, Vec::new())) };
            let depositing = Depositing { owner: &owner, account: &record, actor: acting.actor, now: acting.now };
            vault::remove_all(&depositing, &mut change, &slots)?;
            self.keep_members(&mut change).await?;
            if request.preview {
                return Ok(told(record, change.end));
            }
            if committed(self.commit(&change).await)? {
                return Ok(told(change.account, change.end));
            }
        }
        Err(AppError::Contended)
    }
}
