//! What may happen to accounts, as pure functions: from what was read to the change that is committed.

use super::{
    account::{Account, AccountStatus},
    audit::{Act, Actor},
    commit::Change,
    id::{AccountId, AccountRef},
    key::{Acting, KeyRecord, end_all},
    time::Timestamp,
};

/// How many accounts may stand above one.
pub const MAX_DEPTH: usize = 8;
/// How many organizations an account may be a member of.
pub const MAX_ORGANIZATIONS: usize = 64;

/// Why an act is not possible, in words for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// It is there, and not as it was to be made.
    #[error("the account exists already, below another account than the one named, or none")]
    Exists,
    /// The parent is as deep as an account may be.
    #[error("at most {MAX_DEPTH} accounts may stand above one another: make it below another account")]
    TooDeep,
    /// It is in as many as an account may be.
    #[error("the account is a member of {MAX_ORGANIZATIONS} organizations, which is the most: let it leave one first")]
    TooManyOrganizations,
    /// It was offboarded.
    #[error("the account was offboarded, and that is for ever")]
    Offboarded,
    /// The organization to join was offboarded.
    #[error("the organization was offboarded, and that is for ever: nobody joins it")]
    OrganizationOffboarded,
    /// It holds the keys that manage.
    #[error(
        "the account of the first operators stays active: else nobody could undo it. Revoke single keys of it instead"
    )]
    OfOperators,
    /// Somebody changed the account in between.
    #[error("the account is at version {current}, not {expected}: read it again")]
    Version {
        /// The version that it has.
        current: u64,
        /// The version that the act was based on.
        expected: u64,
    },
}

/// Makes an account, below another one where a parent is given.
///
/// # Errors
/// When the parent is too deep or was offboarded.
pub fn create(
    owner: &AccountRef,
    parent: Option<(&AccountId, &Account)>,
    actor: &Actor,
    now: Timestamp,
) -> Result<Change, DirectoryError> {
    let above: Vec<AccountId> = match parent {
        None => Vec::new(),
        Some((_, account)) if account.status == AccountStatus::Offboarded => return Err(DirectoryError::Offboarded),
        Some((id, account)) => std::iter::once(id).chain(&account.above).cloned().collect(),
    };
    if above.len() > MAX_DEPTH {
        return Err(DirectoryError::TooDeep);
    }
    let mut change = Change::begin(owner, None, actor, now);
    change.account.above = above;
    Ok(change)
}

/// Moves an account to another status. Offboarding ends `keys` in the same act. Nothing when there is nothing to do.
///
/// # Errors
/// When the account was offboarded and is to be something else, or changed in between.
pub fn set_status(
    acting: &Acting<'_>,
    current: &Account,
    status: AccountStatus,
    keys: &[KeyRecord],
    reason: &str,
    expected_version: Option<u64>,
) -> Result<Option<Change>, DirectoryError> {
    must_be_at(current, expected_version)?;
    if current.status == AccountStatus::Offboarded && status != AccountStatus::Offboarded {
        return Err(DirectoryError::Offboarded);
    }
    if current.status == status && keys.is_empty() {
        return Ok(None);
    }
    let mut change = Change::begin(acting.owner, Some(current), acting.actor, acting.now);
    if current.status != status {
        change.account.status = status;
        change.record_account(acting.now, acting.actor, Act::of_status(status), None);
    }
    end_all(acting, &mut change, keys, reason);
    Ok(Some(change))
}

/// Makes an account a member of an organization. Nothing when it is one.
///
/// # Errors
/// When the account is in too many, was offboarded, or changed in between.
pub fn join(
    owner: &AccountRef,
    current: &Account,
    (organization, found): (&AccountId, &Account),
    actor: &Actor,
    now: Timestamp,
) -> Result<Option<Change>, DirectoryError> {
    if current.status == AccountStatus::Offboarded {
        return Err(DirectoryError::Offboarded);
    }
    if found.status == AccountStatus::Offboarded {
        return Err(DirectoryError::OrganizationOffboarded);
    }
    let Err(place) = current.organizations.binary_search(organization) else { return Ok(None) };
    if current.organizations.len() >= MAX_ORGANIZATIONS {
        return Err(DirectoryError::TooManyOrganizations);
    }
    let mut change = Change::begin(owner, Some(current), actor, now);
    change.account.organizations.insert(place, organization.clone());
    change.record_account(now, actor, Act::OrganizationJoined, Some(organization));
    Ok(Some(change))
}

/// Ends an account's membership of an organization. Nothing when it is no member.
#[must_use]
pub fn leave(
    owner: &AccountRef,
    current: &Account,
    organization: &AccountId,
    actor: &Actor,
    now: Timestamp,
) -> Option<Change> {
    let place = current.organizations.binary_search(organization).ok()?;
    let mut change = Change::begin(owner, Some(current), actor, now);
    change.account.organizations.remove(place);
    change.record_account(now, actor, Act::OrganizationLeft, Some(organization));
    Some(change)
}

pub(super) fn must_be_at(current: &Account, expected: Option<u64>) -> Result<(), DirectoryError> {
    match expected {
        Some(expected) if expected != current.version => {
            Err(DirectoryError::Version { current: current.version, expected })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
