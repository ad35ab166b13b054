//! Moving data keys to the primary key-encryption key, account by account. The credentials themselves are never opened, and what
//! they are sealed as stays as it is.

use super::{
    ATTEMPTS, VaultError,
    deposit::{committed, owner},
};
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{CredentialManager, ManagePermit},
        ports::Store,
    },
    domain::{
        id::{AccountId, AccountRef, KekName},
        seal::Part,
        vault::{self, Depositing, Slot, StoredCredential},
    },
};
use std::{collections::BTreeMap, time::Duration};

/// After so long a page ends where it is: the next one goes on from there.
const PAGE_TIME: Duration = Duration::from_secs(3);

/// Which accounts to go through.
#[derive(Debug)]
pub struct RewrapPage {
    /// Begin after this account.
    pub after: Option<AccountId>,
    /// Go through so many, at most.
    pub accounts: usize,
    /// Also what the primary key wrapped: for a service that gave that key a new version.
    pub all: bool,
}

/// What became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The key that they hang on now.
    pub primary: KekName,
    /// How many accounts were gone through.
    pub accounts: u64,
    /// How many data keys were wrapped anew.
    pub rewrapped: u64,
    /// How many hung on the primary key already.
    pub kept: u64,
    /// The keys that some still hang on, and that this server does not have.
    pub lost: Vec<Lost>,
    /// What [`RewrapPage::after`] of the next page must be. Absent: there is no next page.
    pub next: Option<AccountId>,
}

/// A key-encryption key that credentials hang on and that does not open them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub kek: KekName,
    /// How many credentials hang on it.
    pub credentials: u64,
}

/// What became of one account.
#[derive(Default)]
struct Counted {
    rewrapped: u64,
    kept: u64,
    lost: BTreeMap<KekName, u64>,
}

impl<S: Store> App<S> {
    /// Goes through some accounts of the realm and wraps their data keys by the primary key. May be repeated and broken off
    /// at any time.
    ///
    /// # Errors
    /// When a key service or the store cannot answer: what was done before is done.
    pub async fn rewrap_credentials(
        &self,
        permit: ManagePermit<'_, CredentialManager>,
        page: &RewrapPage,
    ) -> Result<Rewrapped, AppError> {
        let primary = self.house.vault.ring()?.primary().clone();
        let (begun, realm) = (self.house.clock.ticks(), &permit.guard().realm.name);
        let accounts = self.store.list_accounts(realm, page.after.as_ref(), page.accounts).await?;
        let whole = accounts.len() < page.accounts;
        let mut done = Rewrapped { primary, accounts: 0, rewrapped: 0, kept: 0, lost: Vec::new(), next: None };
        let mut lost: BTreeMap<KekName, u64> = BTreeMap::new();
        let mut accounts = accounts.into_iter().peekable();
        while let Some(account) = accounts.next() {
            let counted = self.rewrap_account(&permit, &owner(permit.guard(), &account), page.all).await?;
            done.accounts = done.accounts.saturating_add(1);
            done.rewrapped = done.rewrapped.saturating_add(counted.rewrapped);
            done.kept = done.kept.saturating_add(counted.kept);
            for (kek, credentials) in counted.lost {
                let sum = lost.entry(kek).or_default();
                *sum = sum.saturating_add(credentials);
            }
            let late = self.house.clock.ticks().since(begun) >= PAGE_TIME;
            if accounts.peek().is_none() {
                done.next = (!whole).then_some(account);
            } else if late {
                done.next = Some(account);
                break;
            }
        }
        done.lost = lost.into_iter().map(|(kek, credentials)| Lost { kek, credentials }).collect();
        Ok(done)
    }

    async fn rewrap_account(
        &self,
        permit: &ManagePermit<'_, CredentialManager>,
        owner: &AccountRef,
        all: bool,
    ) -> Result<Counted, AppError> {
        let _turn = self.house.act_on(owner).await;
        for _ in 0..ATTEMPTS {
            // One that was announced and never made holds nothing.
            let Some(record) = self.store.read_account(owner).await? else { return Ok(Counted::default()) };
            let (mut counted, mut wrapped) = (Counted::default(), Vec::new());
            for (slot, stored) in self.credentials(owner).await? {
                self.rewrap_one(owner, slot, stored, all, &mut counted, &mut wrapped).await?;
            }
            if wrapped.is_empty() {
                return Ok(counted);
            }
            let now = self.house.clock.now();
            let depositing = Depositing { owner, account: &record, actor: permit.actor(), now };
            let change = vault::rewrap(&depositing, wrapped)?;
            if committed(self.commit(&change).await)? {
                return Ok(counted);
            }
        }
        Err(AppError::Contended)
    }

    async fn rewrap_one(
        &self,
        owner: &AccountRef,
        slot: Slot,
        stored: StoredCredential,
        all: bool,
        counted: &mut Counted,
        wrapped: &mut Vec<(Slot, StoredCredential, crate::domain::seal::WrappedKey)>,
    ) -> Result<(), AppError> {
        let ring = self.house.vault.ring()?;
        if stored.key.kek == *ring.primary() && !all {
            counted.kept = counted.kept.saturating_add(1);
            return Ok(());
        }
        let bound = slot.belonging(owner).associated_data(Part::DataKey);
        let key = match ring.open(&bound, &stored.key).await {
            Ok(key) => key,
            Err(VaultError::Lost(kek) | VaultError::Other(kek)) => {
                let sum = counted.lost.entry(kek).or_default();
                *sum = sum.saturating_add(1);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        let new = ring.wrap(&*self.house.entropy, &bound, &key).await?;
        counted.rewrapped = counted.rewrapped.saturating_add(1);
        wrapped.push((slot, stored, new));
        Ok(())
    }
}
