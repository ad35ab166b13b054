//! What may happen to the credentials that accounts deposit for providers, as pure functions: from what was read to the change
//! that is committed. What is stored is sealed; nothing here ever opens it.

use super::{
    account::{Account, AccountStatus},
    audit::{Act, Actor},
    commit::Change,
    directory::DirectoryError,
    entry::{Entry, EntryChange, EntryId, EntryKind},
    id::{AccountRef, EntryName, Environment, InvalidId, ProviderName},
    seal::{Belonging, Nonce, WrappedKey},
    time::Timestamp,
};

/// Which of an account's credentials.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The environment whose keys release it.
    pub environment: Environment,
    /// Whom it is for.
    pub provider: ProviderName,
}

impl Slot {
    /// What its sealing is bound to.
    #[must_use]
    pub fn belonging<'a>(&'a self, owner: &'a AccountRef) -> Belonging<'a> {
        Belonging { owner, environment: &self.environment, provider: &self.provider }
    }

    /// Where it stands among the account's entries.
    ///
    /// # Errors
    /// Never for legal names: both are short and hold no slash.
    pub fn entry(&self) -> Result<EntryId, InvalidId> {
        let name = EntryName::new(&format!("{}/{}", self.environment, self.provider))?;
        Ok(EntryId { kind: EntryKind::Credential, name })
    }

    /// The slot of an entry's name.
    #[must_use]
    pub fn of(name: &EntryName) -> Option<Self> {
        let (environment, provider) = name.as_str().split_once('/')?;
        Some(Self { environment: Environment::new(environment).ok()?, provider: ProviderName::new(provider).ok()? })
    }
}

/// A credential as it is stored: sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCredential {
    /// The nonce that it was sealed with.
    pub nonce: Nonce,
    /// What the data key made of it.
    pub sealed: Vec<u8>,
    /// The data key.
    pub key: WrappedKey,
    /// When one was first deposited here.
    pub created_at: Timestamp,
    /// When this one was.
    pub updated_at: Timestamp,
    /// Who did: see [`Actor::text`].
    pub updated_by: String,
}

/// Who acts when, on which account.
#[derive(Debug, Clone, Copy)]
pub struct Depositing<'a> {
    /// The account that is acted on.
    pub owner: &'a AccountRef,
    /// Its record.
    pub account: &'a Account,
    /// Who acts.
    pub actor: &'a Actor,
    /// When.
    pub now: Timestamp,
}

impl Depositing<'_> {
    fn change(&self) -> Change {
        Change::begin(self.owner, Some(self.account), self.actor, self.now)
    }

    fn write(
        &self,
        change: &mut Change,
        slot: &Slot,
        stored: Option<StoredCredential>,
        act: Act,
    ) -> Result<(), InvalidId> {
        change.entries.push(EntryChange { id: slot.entry()?, entry: stored.map(Entry::Credential) });
        change.record_credential(self.now, self.actor, act, &slot.environment, &slot.provider);
        Ok(())
    }
}

/// Why an act is not possible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DepositError {
    /// The account's state forbids it.
    #[error(transparent)]
    Account(#[from] DirectoryError),
    /// A name that no entry can have.
    #[error("must be {0}")]
    Name(#[from] InvalidId),
}

/// Deposits a credential in the place of whatever is there.
///
/// # Errors
/// When the account was offboarded.
pub fn put(
    depositing: &Depositing<'_>,
    slot: &Slot,
    before: Option<&StoredCredential>,
    (nonce, sealed, key): (Nonce, Vec<u8>, WrappedKey),
) -> Result<Change, DepositError> {
    if depositing.account.status == AccountStatus::Offboarded {
        return Err(DirectoryError::Offboarded.into());
    }
    let now = depositing.now;
    let stored = StoredCredential {
        nonce,
        sealed,
        key,
        created_at: before.map_or(now, |before| before.created_at),
        updated_at: now,
        updated_by: depositing.actor.text(),
    };
    let mut change = depositing.change();
    depositing.write(&mut change, slot, Some(stored), Act::CredentialStored)?;
    Ok(change)
}

/// Removes a credential.
///
/// # Errors
/// Never for legal names.
pub fn remove(depositing: &Depositing<'_>, slot: &Slot) -> Result<Change, DepositError> {
    let mut change = depositing.change();
    depositing.write(&mut change, slot, None, Act::CredentialRemoved)?;
    Ok(change)
}

/// Adds the removal of credentials to a change of their account.
///
/// # Errors
/// Never for legal names.
pub fn remove_all(depositing: &Depositing<'_>, change: &mut Change, slots: &[Slot]) -> Result<(), DepositError> {
    slots.iter().try_for_each(|slot| Ok(depositing.write(change, slot, None, Act::CredentialRemoved)?))
}

/// Puts other wrapped data keys in the place of those that are there. The credentials themselves stay as they are.
///
/// # Errors
/// Never for legal names.
pub fn rewrap(
    depositing: &Depositing<'_>,
    wrapped: impl IntoIterator<Item = (Slot, StoredCredential, WrappedKey)>,
) -> Result<Change, DepositError> {
    let mut change = depositing.change();
    for (slot, stored, key) in wrapped {
        depositing.write(&mut change, &slot, Some(StoredCredential { key, ..stored }), Act::CredentialRewrapped)?;
    }
    Ok(change)
}
