//! What may happen to a key, as pure functions: from what was read to the change that is committed.

use super::{Digest, DigestScheme, KeyRecord, KeySecret, Limits, Revocation};
use crate::domain::{
    account::{Account, AccountStatus},
    audit::{Act, Actor},
    commit::{Change, NewLookup},
    id::{AccountRef, Environment, KeyId, Scope},
    realm::{KeyPolicy, WhenFull},
    time::Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

/// Why an act is not possible, in words for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The key was ended.
    #[error("key `{0}` is revoked, and a revoked key cannot be changed or brought back: create a new one")]
    Revoked(KeyId),
    /// Somebody changed the key in between.
    #[error("key `{key}` is at version {current}, not {expected}: read it again")]
    Version { key: KeyId, current: u64, expected: u64 },
    /// The grace is longer than the realm allows.
    #[error("grace must be at most {} seconds in this realm", .0.as_secs())]
    Grace(Duration),
    /// The expiry lies in the past.
    #[error("the expiry must lie in the future")]
    Expiry,
    /// The realm demands an expiry within a limit.
    #[error("the expiry must be at most {} seconds away in this realm", .0.as_secs())]
    ExpiryTooFar(Duration),
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
    #[error("a key has at most {} entries of metadata", Limits::METADATA)]
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

/// What a new key shall be.
#[derive(Debug, Clone)]
pub struct Creation {
    /// The new id.
    pub id: KeyId,
    /// Its environment.
    pub environment: Environment,
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// A key made elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedKey {
    /// What the key shall be.
    pub creation: Creation,
    /// Its secret.
    pub minted: Minted,
}

/// What an update changes; absent fields stay.
#[derive(Debug, Clone, Default)]
pub struct KeyPatch {
    /// The new name.
    pub name: Option<String>,
    /// The new scopes.
    pub scopes: Option<Vec<Scope>>,
    /// Metadata to set.
    pub set_metadata: BTreeMap<String, String>,
    /// Metadata to remove.
    pub remove_metadata: Vec<String>,
    /// The new expiry; inner `None`: never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Suspend or resume.
    pub state: Option<StatePatch>,
}

/// Suspend or resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatePatch {
    /// The key stops to work.
    Suspend,
    /// The key works again.
    Resume,
}

/// Makes a key. `active` holds the account's active keys of that environment where the realm limits their number.
///
/// # Errors
/// When the account is not active, the expiry is not legal, or there are too many keys.
pub fn create(
    owner: &AccountRef,
    account: Option<&Account>,
    policy: &KeyPolicy,
    active: &[KeyRecord],
    creation: Creation,
    minted: Minted,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Change, KeyRecord), LifecycleError> {
    must_be_active(account)?;
    let expires_at = expiry(policy, creation.expires_at, now)?;
    let mut change = Change::begin(owner, account, actor, now);
    if let Some(most) = policy.max_active_keys
        && active.len() >= most
    {
        match policy.when_full {
            WhenFull::Refuse => return Err(LifecycleError::TooManyKeys(most)),
            WhenFull::Replace => {
                // Oldest first, until the new one has a place.
                let surplus = active.len().saturating_sub(most).saturating_add(1);
                let mut by_age: Vec<&KeyRecord> = active.iter().collect();
                by_age.sort_by_key(|key| key.id);
                for key in by_age.into_iter().take(surplus) {
                    end(&mut change, key, "replaced by a new key", actor, now);
                }
            }
        }
    }
    let key = new_key(Creation { expires_at, ..creation }, minted, actor, now);
    put_new(&mut change, &key, Act::KeyCreated, actor, now);
    Ok((change, key))
}

/// Takes over keys of one account that were made elsewhere, all in one change.
///
/// # Errors
/// When the account is not active.
pub fn adopt(
    owner: &AccountRef,
    account: Option<&Account>,
    keys: Vec<ImportedKey>,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Change, Vec<KeyRecord>), LifecycleError> {
    must_be_active(account)?;
    let mut change = Change::begin(owner, account, actor, now);
    let keys: Vec<KeyRecord> =
        keys.into_iter().map(|imported| new_key(imported.creation, imported.minted, actor, now)).collect();
    for key in &keys {
        put_new(&mut change, key, Act::KeyImported, actor, now);
    }
    Ok((change, keys))
}

/// Changes a key's name, scopes, metadata, expiry or state.
///
/// # Errors
/// When the key was revoked or changed in between, or the new expiry is not legal.
pub fn update(
    owner: &AccountRef,
    account: &Account,
    policy: &KeyPolicy,
    key: &KeyRecord,
    expected_version: Option<u64>,
    patch: KeyPatch,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Change, KeyRecord), LifecycleError> {
    must_be_changeable(key, expected_version)?;
    let mut new = key.clone();
    let mut fields = Vec::new();
    if let Some(name) = patch.name {
        new.name = name;
        fields.push("name");
    }
    if let Some(scopes) = patch.scopes {
        new.scopes = scopes;
        fields.push("scopes");
    }
    if !patch.set_metadata.is_empty() || !patch.remove_metadata.is_empty() {
        patch.remove_metadata.iter().for_each(|name| drop(new.metadata.remove(name)));
        new.metadata.extend(patch.set_metadata);
        if new.metadata.len() > Limits::METADATA {
            return Err(LifecycleError::TooMuchMetadata);
        }
        fields.push("metadata");
    }
    if let Some(expires_at) = patch.expires_at {
        new.expires_at = match expires_at {
            Some(at) => checked_expiry(policy, at, now).map(Some)?,
            None => match policy.max_lifetime {
                Some(most) => return Err(LifecycleError::ExpiryTooFar(most)),
                None => None,
            },
        };
        fields.push("expires_at");
    }
    touch(&mut new, now);
    let mut change = Change::begin(owner, Some(account), actor, now);
    if !fields.is_empty() {
        change.record(now, actor, Act::KeyUpdated, &new, &fields);
    }
    match patch.state {
        Some(StatePatch::Suspend) if !new.suspended => {
            new.suspended = true;
            change.record(now, actor, Act::KeySuspended, &new, &[]);
        }
        Some(StatePatch::Resume) if new.suspended => {
            new.suspended = false;
            change.record(now, actor, Act::KeyResumed, &new, &[]);
        }
        _ => {}
    }
    if change.events.is_empty() {
        change.record(now, actor, Act::KeyUpdated, &new, &[]);
    }
    change.put.push(new.clone());
    Ok((change, new))
}

/// Gives a key a new secret under the same id. The old one works until `grace` is over; with a grace of zero, every older
/// secret ends now.
///
/// # Errors
/// When the key was revoked or changed in between, or the grace is too long.
pub fn rotate(
    owner: &AccountRef,
    account: &Account,
    policy: &KeyPolicy,
    key: &KeyRecord,
    expected_version: Option<u64>,
    grace: Option<Duration>,
    minted: Minted,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Change, KeyRecord), LifecycleError> {
    must_be_changeable(key, expected_version)?;
    must_be_active(Some(account))?;
    let grace = grace.unwrap_or(policy.default_grace);
    if grace > policy.max_grace {
        return Err(LifecycleError::Grace(policy.max_grace));
    }
    let mut change = Change::begin(owner, Some(account), actor, now);
    let mut new = key.clone();
    let end = now.after(grace);
    for secret in &mut new.secrets {
        if grace.is_zero() || secret.retires_at.is_none() {
            secret.retires_at = Some(secret.retires_at.map_or(end, |earlier| earlier.min(end)));
        }
    }
    if new.secrets.iter().filter(|secret| secret.works(now)).count() >= Limits::WORKING_SECRETS {
        return Err(LifecycleError::TooManySecrets);
    }
    new.secrets.insert(0, new_secret(&minted, now));
    for forgotten in new.secrets.split_off(new.secrets.len().min(Limits::SECRETS)) {
        change.forgotten.push(forgotten.digest);
    }
    touch(&mut new, now);
    change.record(now, actor, Act::KeyRotated, &new, &["secrets"]);
    change.lookups.push(lookup(&new, &minted));
    change.put.push(new.clone());
    Ok((change, new))
}

/// Ends keys of one account, for ever.
///
/// # Errors
/// When a key was revoked before, or changed in between.
pub fn revoke(
    owner: &AccountRef,
    account: &Account,
    keys: &[KeyRecord],
    expected_version: Option<u64>,
    reason: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<(Change, Vec<KeyRecord>), LifecycleError> {
    let mut change = Change::begin(owner, Some(account), actor, now);
    for key in keys {
        must_be_changeable(key, expected_version)?;
        end(&mut change, key, reason, actor, now);
    }
    let ended = change.end.clone();
    Ok((change, ended))
}

/// Replaces the digest of a secret by a native one of the newest server secret, when the key is used.
/// Nothing when the secret is not there any more.
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
    let secret = new.secrets.iter_mut().find(|secret| secret.digest.matches(old))?;
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
    change.forgotten.push(*old);
    change.put.push(new);
    Some(change)
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

fn expiry(policy: &KeyPolicy, wanted: Option<Timestamp>, now: Timestamp) -> Result<Option<Timestamp>, LifecycleError> {
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

fn new_key(creation: Creation, minted: Minted, actor: &Actor, now: Timestamp) -> KeyRecord {
    KeyRecord {
        id: creation.id,
        environment: creation.environment,
        name: creation.name,
        scopes: creation.scopes,
        metadata: creation.metadata,
        suspended: false,
        created_at: now,
        updated_at: now,
        expires_at: creation.expires_at,
        version: 1,
        secrets: vec![new_secret(&minted, now)],
        created_by: actor.text(),
        revoked: None,
    }
}

fn new_secret(minted: &Minted, now: Timestamp) -> KeySecret {
    KeySecret {
        digest: minted.digest,
        scheme: minted.scheme,
        secret_version: minted.secret_version,
        hint: minted.hint.clone(),
        created_at: now,
        retires_at: None,
    }
}

fn put_new(change: &mut Change, key: &KeyRecord, act: Act, actor: &Actor, now: Timestamp) {
    change.record(now, actor, act, key, &[]);
    change.lookups.extend(key.secrets.iter().map(|secret| NewLookup {
        digest: secret.digest,
        environment: key.environment.clone(),
        key: key.id,
    }));
    change.put.push(key.clone());
}

fn lookup(key: &KeyRecord, minted: &Minted) -> NewLookup {
    NewLookup { digest: minted.digest, environment: key.environment.clone(), key: key.id }
}

fn end(change: &mut Change, key: &KeyRecord, reason: &str, actor: &Actor, now: Timestamp) {
    let mut ended = key.clone();
    touch(&mut ended, now);
    ended.revoked = Some(Revocation { at: now, reason: reason.to_owned(), by: actor.text() });
    change.record(now, actor, Act::KeyRevoked, &ended, &[]);
    change.end.push(ended);
}

fn touch(key: &mut KeyRecord, now: Timestamp) {
    key.version = key.version.saturating_add(1);
    key.updated_at = now;
}
