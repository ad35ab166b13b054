//! Signed statements of how far the chains of a realm reach, and a seal over them.

use super::broken;
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{ManagePermit, Reader},
        ports::{Store, StoreError},
        together::together,
    },
    domain::{
        audit::{Checkpoint, Seal, Sealing, Signed},
        id::{AccountId, AccountRef, RealmName},
    },
};

/// Accounts that one step looks at.
const STEP: usize = 64;

/// A walk over the accounts of a realm, or to one of them.
pub struct Walk {
    realm: RealmName,
    only: Option<AccountId>,
    /// The account that was looked at last.
    last: Option<AccountId>,
    /// Whether there may be more accounts.
    more: bool,
    sealing: Sealing,
}

impl<S: Store> App<S> {
    /// Begins a walk over all accounts of the permit's realm, or to one of them.
    #[must_use]
    pub fn begin_checkpoints(&self, permit: &ManagePermit<'_, Reader>, only: Option<AccountId>) -> Walk {
        let realm = permit.guard().realm.name.clone();
        Walk { realm, only, last: None, more: true, sealing: Sealing::default() }
    }

    /// The checkpoints of the next accounts, in the order of their names. Nothing when there are no more.
    ///
    /// # Errors
    /// When there is no such account, a chain is not what keygate wrote, or the store cannot answer.
    pub async fn next_checkpoints(&self, walk: &mut Walk) -> Result<Option<Vec<Signed<Checkpoint>>>, AppError> {
        if !walk.more {
            return Ok(None);
        }
        let accounts = match &walk.only {
            Some(account) => vec![account.clone()],
            None => self.store.list_accounts(&walk.realm, walk.last.as_ref(), STEP).await?,
        };
        walk.more = walk.only.is_none() && accounts.len() == STEP;
        walk.last = accounts.last().cloned();
        let owners: Vec<AccountRef> =
            accounts.into_iter().map(|account| AccountRef { realm: walk.realm.clone(), account }).collect();
        let asked = owners.into_iter().map(|owner| {
            let store = self.store.clone();
            async move {
                let Some(account) = store.read_account(&owner).await? else {
                    return Ok::<_, StoreError>((owner, None));
                };
                let last = store.read_audit(&owner, account.audit.length, 1).await?;
                Ok((owner, Some((account.audit, last))))
            }
        });
        let mut signed = Vec::new();
        for (owner, found) in together(asked).await? {
            let Some((chain, last)) = found else {
                if walk.only.is_some() {
                    return Err(AppError::UnknownAccount);
                }
                // Announced, and never made.
                continue;
            };
            // What is signed must be there: events may have been removed from the store without anybody's leave.
            let stands = last.first().is_some_and(|event| event.sequence == chain.length && event.hash == chain.head);
            if !stands {
                return Err(broken(&owner, chain.length));
            }
            let checkpoint = Checkpoint { owner, chain, at: self.house.clock.now() };
            walk.sealing.take(&checkpoint);
            signed.push(self.house.signer.sign(checkpoint));
        }
        Ok(Some(signed))
    }

    /// Seals what the walk has seen.
    #[must_use]
    pub fn seal(&self, walk: Walk) -> Signed<Seal> {
        let Walk { realm, only, sealing, .. } = walk;
        let (accounts, digest) = sealing.finish();
        self.house.signer.sign(Seal { realm, account: only, accounts, digest, at: self.house.clock.now() })
    }
}
