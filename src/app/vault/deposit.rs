//! Depositing, listing and removing credentials. None of them ever tells one.

use super::{ATTEMPTS, Place};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        manager::{CredentialManager, ManagePermit, Reader},
        ports::{CommitError, EntryQuery, Store},
    },
    domain::{
        account::Account,
        directory::DirectoryError,
        entry::{Entry, EntryId, EntryKind},
        id::{AccountId, AccountRef, KekName},
        seal::{DataKey, KEY_BYTES, NONCE_BYTES, Part, WrappedKey},
        secret::ProviderCredential,
        time::Timestamp,
        vault::{self, Depositing, Slot, StoredCredential},
    },
};
use zeroize::Zeroizing;

/// Credentials of one account that are listed, at most: more than any realm has providers and environments.
const LISTED: usize = 1_000;

/// A credential to deposit, its fields checked.
pub struct PutCredential {
    /// Whose it is.
    pub account: AccountId,
    /// Where it belongs.
    pub slot: Slot,
    /// The credential.
    pub credential: ProviderCredential,
}

/// A credential to remove, its fields checked.
#[derive(Debug)]
pub struct RemoveCredential {
    /// Whose it is.
    pub account: AccountId,
    /// Where it belongs.
    pub slot: Slot,
}

/// What may be told of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialInfo {
    /// Where it belongs.
    pub slot: Slot,
    /// When one was first deposited here.
    pub created_at: Timestamp,
    /// When this one was.
    pub updated_at: Timestamp,
    /// Who did.
    pub updated_by: String,
    /// The key-encryption key that its data key hangs on.
    pub kek: KekName,
    /// Whether this server has that key.
    pub can_open: bool,
}

/// The bytes of one deposit.
type Sealed = ([u8; NONCE_BYTES], Vec<u8>, WrappedKey);

impl<S: Store> App<S> {
    /// Deposits a credential in the place of whatever is there. It holds from the moment that this returns.
    ///
    /// # Errors
    /// When there is no such account, it was offboarded, the key-encryption key or the store cannot be reached.
    pub async fn put_credential(
        &self,
        permit: ManagePermit<'_, CredentialManager>,
        request: &PutCredential,
    ) -> Result<CredentialInfo, AppError> {
        let PutCredential { account, slot, credential } = request;
        let owner = owner(permit.guard(), account);
        let id = entry(slot)?;
        // Not for nobody: an account that may have none is told so before a service is asked.
        self.depositor(&owner).await?;
        let sealed = self.seal_credential(&owner, slot, credential).await?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let record = self.depositor(&owner).await?;
            let before = self.stored(&owner, &id).await?;
            let now = self.house.clock.now();
            let depositing = Depositing { owner: &owner, account: &record, actor: permit.actor(), now };
            let change = vault::put(&depositing, slot, before.as_ref(), sealed.clone())?;
            if committed(self.commit(&change).await)? {
                self.house.vault.memory.forget(&Place { owner, slot: slot.clone() });
                let stored = change.entries.into_iter().find_map(|change| credential_of(change.entry?));
                let stored = stored.ok_or(AppError::Bug("a deposit wrote no credential"))?;
                return Ok(self.info(slot.clone(), stored));
            }
        }
        Err(AppError::Contended)
    }

    /// Every credential of an account, in the order of environment and provider; what they are is not told.
    ///
    /// # Errors
    /// When there is no such account, or the store cannot answer.
    pub async fn list_credentials(
        &self,
        permit: ManagePermit<'_, Reader>,
        account: &AccountId,
    ) -> Result<Vec<CredentialInfo>, AppError> {
        let owner = owner(permit.guard(), account);
        self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
        let listed = self.credentials(&owner).await?.into_iter();
        Ok(listed.map(|(slot, stored)| self.info(slot, stored)).collect())
    }

    /// Removes a credential. From the moment that this returns it is released no more.
    ///
    /// # Errors
    /// When there is no such account or credential, or the store cannot answer.
    pub async fn remove_credential(
        &self,
        permit: ManagePermit<'_, CredentialManager>,
        request: &RemoveCredential,
    ) -> Result<(), AppError> {
        let RemoveCredential { account, slot } = request;
        let owner = owner(permit.guard(), account);
        let id = entry(slot)?;
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let record = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?;
            self.stored(&owner, &id).await?.ok_or(AppError::UnknownCredential)?;
            let now = self.house.clock.now();
            let depositing = Depositing { owner: &owner, account: &record, actor: permit.actor(), now };
            let change = vault::remove(&depositing, slot)?;
            if committed(self.commit(&change).await)? {
                self.house.vault.memory.forget(&Place { owner, slot: slot.clone() });
                return Ok(());
            }
        }
        Err(AppError::Contended)
    }

    /// The account, if it may hold credentials.
    async fn depositor(&self, owner: &AccountRef) -> Result<Account, AppError> {
        let record = self.store.read_account(owner).await?.ok_or(AppError::UnknownAccount)?;
        match record.status {
            crate::domain::account::AccountStatus::Offboarded => Err(DirectoryError::Offboarded.into()),
            _ => Ok(record),
        }
    }

    async fn seal_credential(
        &self,
        owner: &AccountRef,
        slot: &Slot,
        credential: &ProviderCredential,
    ) -> Result<Sealed, AppError> {
        let ring = self.house.vault.ring()?;
        let (mut key, mut nonce) = (Zeroizing::new([0; KEY_BYTES]), [0; NONCE_BYTES]);
        self.house.entropy.fill(&mut *key)?;
        self.house.entropy.fill(&mut nonce)?;
        let (key, belonging) = (DataKey::new(key), slot.belonging(owner));
        let sealed = key.seal(&nonce, &belonging, credential);
        let sealed = sealed.ok_or(AppError::Bug("a credential cannot be sealed"))?;
        let bound = belonging.associated_data(Part::DataKey);
        Ok((nonce, sealed, ring.wrap(&*self.house.entropy, &bound, &key).await?))
    }

    async fn stored(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<StoredCredential>, AppError> {
        Ok(self.store.read_entry(owner, id).await?.and_then(credential_of))
    }

    pub(in crate::app) async fn credentials(
        &self,
        owner: &AccountRef,
    ) -> Result<Vec<(Slot, StoredCredential)>, AppError> {
        let query = EntryQuery { owner, kind: EntryKind::Credential, after: None, limit: LISTED };
        let listed = self.store.list_entries(&query).await?.into_iter();
        Ok(listed.filter_map(|(name, entry)| Some((Slot::of(&name)?, credential_of(entry)?))).collect())
    }

    fn info(&self, slot: Slot, stored: StoredCredential) -> CredentialInfo {
        let StoredCredential { created_at, updated_at, updated_by, key, .. } = stored;
        let can_open = self.house.vault.ring.as_ref().is_some_and(|ring| ring.holds(&key.kek));
        CredentialInfo { slot, created_at, updated_at, updated_by, kek: key.kek, can_open }
    }
}

fn credential_of(entry: Entry) -> Option<StoredCredential> {
    match entry {
        Entry::Credential(stored) => Some(stored),
        _ => None,
    }
}

fn entry(slot: &Slot) -> Result<EntryId, AppError> {
    slot.entry().map_err(|_| AppError::Bug("a credential's name is no entry's name"))
}

pub(super) fn owner(guard: &Guarded, account: &AccountId) -> AccountRef {
    AccountRef { realm: guard.realm.name.clone(), account: account.clone() }
}

/// Whether a change is in the store now, or has to be computed anew.
pub(super) fn committed(outcome: Result<(), CommitError>) -> Result<bool, AppError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(CommitError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
