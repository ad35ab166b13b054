//! What may happen to a key, as pure functions: from what was read to the change that is committed.

mod create;
mod end;
mod rotate;
mod update;

pub use create::{Creation, ImportedKey, adopt, create};
pub use end::{end_all, end_all_with, revoke};
pub use rotate::{rekey, rotate};
pub use update::{KeyPatch, StatePatch, update};

use super::{Digest, DigestScheme, KeyRecord, KeySecret, Limits};
use crate::domain::{
    account::{Account, AccountStatus},
    audit::{Act, Actor},
    commit::Change,
    id::{AccountRef, KeyId},
    realm::KeyPolicy,
    time::{Timestamp, in_units},
};
use std::time::Duration;

/// Why an act is not possible, in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The key was ended.
    #[error("key `{0}` is revoked, and a revoked key cannot be changed or brought back: create a new one")]
    Revoked(KeyId),
    /// Somebody changed the key in between.
    #[error("key `{key}` is at version {current}, not {expected}: read it again")]
    Version {
        /// The key.
        key: KeyId,
        /// The version that it has.
        current: u64,
        /// The version that the act was based on.
        expected: u64,
    },
    /// The grace is longer than the realm allows.
    #[error("must be at most {} in this realm", in_units(*.0))]
    Grace(Duration),
    /// The expiry lies in the past.
    #[error("must lie in the future")]
    Expiry,
    /// The realm demands an expiry within a limit.
    #[error("must be at most {} away in this realm", in_units(*.0))]
    ExpiryTooFar(Duration),
    /// The key would end before it begins.
    #[error("must lie before the key's expiry")]
    Beginning,
    /// The realm allows only so many active keys.
    #[error(
        "this account has {0} active keys in this environment, which is the most that the realm allows: revoke one first"
    )]
    TooManyKeys(usize),
    /// Too many secrets of a key work at once.
    #[error(
        "{} secrets of this key work already: wait until one retires, or rotate with a grace of 0",
        Limits::WORKING_SECRETS
    )]
    TooManySecrets,
    /// The account's status forbids it.
    #[error("the account is not active")]
    AccountInactive,
    /// Too many scopes or entries of metadata after the change.
    #[error("must leave the key at most {} entries", Limits::METADATA)]
    TooMuchMetadata,
}

/// A secret that was just made, or taken over, with everything but its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Minted {
    /// What it is stored as.
    pub digest: Digest,
    /// How the digest comes from it.
    pub scheme: DigestScheme,
    /// The version of the server secret in the digest.
    pub secret_version: u32,
    /// What may be shown of it.
    pub hint: String,
}

/// Who acts when, on which account, under which rules.
#[derive(Debug, Clone, Copy)]
pub struct Acting<'a> {
    /// The account that is acted on.
    pub owner: &'a AccountRef,
    /// Its record; absent: it comes to exist with the act.
    pub account: Option<&'a Account>,
    /// The realm's rules.
    pub policy: &'a KeyPolicy,
    /// Who acts.
    pub actor: &'a Actor,
    /// When.
    pub now: Timestamp,
}

impl Acting<'_> {
    fn begin(&self) -> Change {
        Change::begin(self.owner, self.account, self.actor, self.now)
    }

    fn record(&self, change: &mut Change, act: Act, key: &KeyRecord, fields: &[&'static str]) {
        change.record(self.now, self.actor, act, key, fields);
    }
}

fn must_be_active(account: Option<&Account>) -> Result<(), LifecycleError> {
    match account {
        Some(account) if account.status != AccountStatus::Active => Err(LifecycleError::AccountInactive),
        _ => Ok(()),
    }
}

fn must_be_changeable(key: &KeyRecord, expected: Option<u64>) -> Result<(), LifecycleError> {
    if key.revoked.is_some() {
        return Err(LifecycleError::Revoked(key.id));
    }
    match expected {
        Some(expected) if expected != key.version => {
            Err(LifecycleError::Version { key: key.id, current: key.version, expected })
        }
        _ => Ok(()),
    }
}

/// When a new key ends: as wanted, or as the realm says.
///
/// # Errors
/// When that lies in the past, or further away than the realm allows.
pub fn expiry(
    policy: &KeyPolicy,
    wanted: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, LifecycleError> {
    match wanted {
        Some(at) => checked_expiry(policy, at, now).map(Some),
        None => Ok(policy.default_lifetime.or(policy.max_lifetime).map(|span| now.after(span))),
    }
}

fn checked_expiry(policy: &KeyPolicy, at: Timestamp, now: Timestamp) -> Result<Timestamp, LifecycleError> {
    match policy.max_lifetime {
        _ if at <= now => Err(LifecycleError::Expiry),
        Some(most) if at > now.after(most) => Err(LifecycleError::ExpiryTooFar(most)),
        _ => Ok(at),
    }
}

/// A key must begin to work before it ends.
///
/// # Errors
/// When it does not.
pub fn check_beginning(not_before: Option<Timestamp>, expires_at: Option<Timestamp>) -> Result<(), LifecycleError> {
    match not_before.zip(expires_at) {
        Some((begin, end)) if begin >= end => Err(LifecycleError::Beginning),
        _ => Ok(()),
    }
}

fn new_secret(number: u32, minted: &Minted, now: Timestamp) -> KeySecret {
    KeySecret {
        number,
        digest: minted.digest,
        scheme: minted.scheme,
        secret_version: minted.secret_version,
        hint: minted.hint.clone(),
        created_at: now,
        retires_at: None,
    }
}

fn touch(key: &mut KeyRecord, now: Timestamp) {
    key.version = key.version.saturating_add(1);
    key.updated_at = now;
}

#[cfg(test)]
mod tests;
