//! Giving a key another secret, or the same one another digest.

use super::{Acting, LifecycleError, Minted, must_be_active, must_be_changeable, new_secret, touch};
use crate::domain::{
    account::Account,
    audit::{Act, Actor},
    commit::{Change, NewLookup},
    id::AccountRef,
    key::{Digest, DigestScheme, KeyRecord, KeySecret, Limits},
    time::Timestamp,
};
use std::time::Duration;

/// Gives a key a new secret under the same id. The old one works until `grace` is over; with a grace of zero, every older
/// secret ends now.
///
/// # Errors
/// When the key was revoked or changed in between, or the grace is too long.
pub fn rotate(
    acting: &Acting<'_>,
    key: &KeyRecord,
    expected_version: Option<u64>,
    grace: Option<Duration>,
    minted: &Minted,
) -> Result<(Change, KeyRecord), LifecycleError> {
    must_be_changeable(key, expected_version)?;
    must_be_active(acting.account)?;
    let grace = grace.unwrap_or(acting.policy.default_grace);
    if grace > acting.policy.max_grace {
        return Err(LifecycleError::Grace(acting.policy.max_grace));
    }
    let mut change = acting.begin();
    let mut new = key.clone();
    let end = acting.now.after(grace);
    for secret in &mut new.secrets {
        if grace.is_zero() || secret.retires_at.is_none() {
            secret.retires_at = Some(secret.retires_at.map_or(end, |earlier| earlier.min(end)));
        }
    }
    if new.secrets.iter().filter(|secret| secret.works(acting.now)).count() >= Limits::WORKING_SECRETS {
        return Err(LifecycleError::TooManySecrets);
    }
    new.secrets.insert(0, new_secret(key.next_secret(), minted, acting.now));
    while new.secrets.len() > Limits::SECRETS {
        // The oldest that no longer works: a secret whose grace still runs is never forgotten.
        let Some(at) = new.secrets.iter().rposition(|secret| !secret.works(acting.now)) else { break };
        change.forgotten.push(new.secrets.remove(at).digest);
    }
    touch(&mut new, acting.now);
    acting.record(&mut change, Act::KeyRotated, &new, &["secrets"]);
    change.lookups.push(lookup(&new, minted));
    change.put.push(new.clone());
    Ok((change, new))
}

/// Stores a secret under a native digest of the newest server secret, when the key is used. An imported digest stays with
/// the key as one that no longer works, so that a repeated import finds it; an older native one is forgotten.
/// Nothing when the secret is not there any more, or was re-keyed before.
#[must_use]
pub fn rekey(
    owner: &AccountRef,
    account: &Account,
    key: &KeyRecord,
    old: &Digest,
    minted: &Minted,
    now: Timestamp,
) -> Option<Change> {
    let mut new = key.clone();
    let secret = new.secrets.iter_mut().find(|secret| secret.digest.matches(old) && secret.works(now))?;
    let former = secret.clone();
    secret.digest = minted.digest;
    secret.scheme = minted.scheme;
    secret.secret_version = minted.secret_version;
    if !minted.hint.is_empty() {
        secret.hint.clone_from(&minted.hint);
    }
    let actor = Actor::System;
    let mut change = Change::begin(owner, Some(account), &actor, now);
    change.record(now, &actor, Act::KeyRekeyed, &new, &["secrets"]);
    change.lookups.push(lookup(&new, minted));
    match former.scheme {
        DigestScheme::Imported(..) => new.secrets.push(KeySecret { retires_at: Some(now), ..former }),
        DigestScheme::Native => change.forgotten.push(*old),
    }
    change.put.push(new);
    Some(change)
}

fn lookup(key: &KeyRecord, minted: &Minted) -> NewLookup {
    NewLookup { digest: minted.digest, environment: key.environment.clone(), key: key.id }
}
