//! Who may act for whom, with which scopes. The answer is a permit: a value that only this file can make, so that nothing
//! unauthorized can be charged or let through by mistake.

use super::{
    account::AccountStatus,
    deny::DenyReason,
    id::{AccountId, Environment, Scope},
    key::{Digest, KeySnapshot, KeyState},
    realm::Realm,
    time::Timestamp,
};

/// What a request wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The account acted on; absent: the key's own.
    pub account: Option<&'a AccountId>,
    /// The organization acted within.
    pub organization: Option<&'a AccountId>,
    /// The pinned environment.
    pub environment: Option<&'a Environment>,
    /// Scopes that the operation needs.
    pub operation_scopes: &'a [Scope],
    /// Scopes that the request asks for beside them.
    pub required_scopes: &'a [Scope],
}

/// Proof that a key may do what was wanted.
#[derive(Debug, Clone, Copy)]
pub struct Permit<'a> {
    key: &'a KeySnapshot,
    target: &'a AccountId,
}

impl<'a> Permit<'a> {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a KeySnapshot {
        self.key
    }

    /// The account acted on.
    #[must_use]
    pub fn target(&self) -> &'a AccountId {
        self.target
    }
}

/// Judges whether the key that was found under `digest` may do what is wanted.
///
/// # Errors
/// The true reason of the denial.
pub fn judge<'a>(
    realm: &Realm,
    key: &'a KeySnapshot,
    digest: &Digest,
    wanted: &Wanted<'a>,
    now: Timestamp,
) -> Result<Permit<'a>, DenyReason> {
    usable(key, digest, now)?;
    if wanted.environment.is_some_and(|pinned| *pinned != key.key.environment) {
        return Err(DenyReason::WrongEnvironment);
    }
    match key.account.status {
        AccountStatus::Active => {}
        AccountStatus::Suspended => return Err(DenyReason::SuspendedAccount),
        AccountStatus::Deactivated | AccountStatus::Offboarded => return Err(DenyReason::DeactivatedAccount),
    }
    let target = reach(key, wanted)?;
    let mut needed = wanted.operation_scopes.iter().chain(wanted.required_scopes);
    if !needed.all(|scope| realm.scopes.grant(&key.key.scopes, scope)) {
        return Err(DenyReason::InsufficientScope);
    }
    Ok(Permit { key, target })
}

/// Whether the key itself works.
fn usable(key: &KeySnapshot, digest: &Digest, now: Timestamp) -> Result<(), DenyReason> {
    match key.key.state(now) {
        KeyState::Revoked => return Err(DenyReason::RevokedKey),
        KeyState::Expired => return Err(DenyReason::ExpiredKey),
        KeyState::Suspended | KeyState::Active => {}
    }
    // The digest led here, so it was this key's once; whether it still is decides its own record.
    if !key.key.secret(digest).is_some_and(|secret| secret.works(now)) {
        return Err(DenyReason::RetiredSecret);
    }
    if key.key.suspended { Err(DenyReason::SuspendedKey) } else { Ok(()) }
}

/// The account that the request acts on, if the key reaches it: its own, and no other.
fn reach<'a>(key: &'a KeySnapshot, wanted: &Wanted<'a>) -> Result<&'a AccountId, DenyReason> {
    let own = &key.owner.account;
    let elsewhere = |wanted: Option<&'a AccountId>| wanted.is_some_and(|account| account != own);
    if elsewhere(wanted.account) || elsewhere(wanted.organization) {
        return Err(DenyReason::ForbiddenAccount);
    }
    Ok(own)
}
