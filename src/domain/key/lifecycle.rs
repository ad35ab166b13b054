//! What may happen to a key, as pure functions: from what was read to the change that is committed.

use super::{Digest, DigestScheme, KeyRecord, KeySecret, Limits, Revocation};
use crate::domain::{
    account::{Account, AccountStatus},
    audit::{Act, Actor},
    commit::{Change, NewLookup},
    id::{AccountRef, Environment, KeyId, Scope},
    realm::{KeyPolicy, WhenFull},
    time::{Timestamp, in_units},
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

/// Makes a key. `live` holds the account's keys of that environment that were not ended, where the realm limits their
/// number.
///
/// # Errors
/// When the account is not active, the expiry is not legal, or there are too many keys.
pub fn create(
    acting: &Acting<'_>,
    live: &[KeyRecord],
    creation: Creation,
    minted: Minted,
) -> Result<(Change, KeyRecord), LifecycleError> {
    must_be_active(acting.account)?;
    let expires_at = expiry(acting.policy, creation.expires_at, acting.now)?;
    let mut change = acting.begin();
    make_room(acting, &mut change, live.iter().collect(), 1, acting.policy.when_full)?;
    let key = new_key(acting, Creation { expires_at, ..creation }, &minted);
    put_new(acting, &mut change, &key, Act::KeyCreated);
    Ok((change, key))
}

/// Takes over keys of one account that were made elsewhere, all in one change. `live` holds the account's keys that were
/// not ended, where the realm limits their number; only expired ones give way to an import.
///
/// # Errors
/// When the account is not active, or there are too many keys.
pub fn adopt(
    acting: &Acting<'_>,
    live: &[KeyRecord],
    keys: Vec<ImportedKey>,
) -> Result<(Change, Vec<KeyRecord>), LifecycleError> {
    must_be_active(acting.account)?;
    let mut change = acting.begin();
    let mut wanted: BTreeMap<&Environment, usize> = BTreeMap::new();
    for imported in &keys {
        let here = wanted.entry(&imported.creation.environment).or_default();
        *here = here.saturating_add(1);
    }
    for (environment, wanted) in wanted {
        let here = live.iter().filter(|key| key.environment == *environment).collect();
        make_room(acting, &mut change, here, wanted, WhenFull::Refuse)?;
    }
    let keys: Vec<KeyRecord> =
        keys.into_iter().map(|imported| new_key(acting, imported.creation, &imported.minted)).collect();
    for key in &keys {
        put_new(acting, &mut change, key, Act::KeyImported);
    }
    Ok((change, keys))
}

/// Ends keys of an environment until `wanted` more have a place: expired ones first, which nobody can then bring back
/// beside the new one, and, where the realm says so, the oldest after them.
fn make_room(
    acting: &Acting<'_>,
    change: &mut Change,
    mut live: Vec<&KeyRecord>,
    wanted: usize,
    when_full: WhenFull,
) -> Result<(), LifecycleError> {
    let Some(most) = acting.policy.max_active_keys else { return Ok(()) };
    live.sort_by_key(|key| (key.counts(acting.now), key.id));
    let surplus = live.len().saturating_add(wanted).saturating_sub(most).min(Limits::KEYS_PER_ACT);
    let (giving, staying) = live.split_at(surplus.min(live.len()));
    let counted = |keys: &[&KeyRecord]| keys.iter().filter(|key| key.counts(acting.now)).count();
    let refused = when_full == WhenFull::Refuse && counted(giving) > 0;
    if refused || counted(staying).saturating_add(wanted) > most {
        return Err(LifecycleError::TooManyKeys(most));
    }
    for key in giving {
        end(acting, change, key, "replaced by a new key");
    }
    Ok(())
}

/// Changes a key's name, scopes, metadata, expiry or state. `live` holds the account's keys of that environment that were
/// not ended, where the realm limits their number and the key may come back from its expiry.
///
/// # Errors
/// When the key was revoked or changed in between, the new expiry is not legal, or there is no place for a key that comes
/// back.
pub fn update(
    acting: &Acting<'_>,
    live: &[KeyRecord],
    key: &KeyRecord,
    expected_version: Option<u64>,
    patch: KeyPatch,
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
            Some(at) => checked_expiry(acting.policy, at, acting.now).map(Some)?,
            None => match acting.policy.max_lifetime {
                Some(most) => return Err(LifecycleError::ExpiryTooFar(most)),
                None => None,
            },
        };
        fields.push("expires_at");
    }
    if let Some(most) = acting.policy.max_active_keys
        && new.counts(acting.now)
        && !key.counts(acting.now)
        && live.iter().filter(|other| other.id != key.id && other.counts(acting.now)).count() >= most
    {
        return Err(LifecycleError::TooManyKeys(most));
    }
    touch(&mut new, acting.now);
    let mut change = acting.begin();
    if !fields.is_empty() {
        acting.record(&mut change, Act::KeyUpdated, &new, &fields);
    }
    match patch.state {
        Some(StatePatch::Suspend) if !new.suspended => {
            new.suspended = true;
            acting.record(&mut change, Act::KeySuspended, &new, &[]);
        }
        Some(StatePatch::Resume) if new.suspended => {
            new.suspended = false;
            acting.record(&mut change, Act::KeyResumed, &new, &[]);
        }
        _ => {}
    }
    if change.events.is_empty() {
        acting.record(&mut change, Act::KeyUpdated, &new, &[]);
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
    new.secrets.insert(0, new_secret(minted, acting.now));
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

/// Ends keys of one account, for ever.
///
/// # Errors
/// When a key was revoked before, or changed in between.
pub fn revoke(
    acting: &Acting<'_>,
    keys: &[KeyRecord],
    expected_version: Option<u64>,
    reason: &str,
) -> Result<(Change, Vec<KeyRecord>), LifecycleError> {
    let mut change = acting.begin();
    for key in keys {
        must_be_changeable(key, expected_version)?;
        end(acting, &mut change, key, reason);
    }
    let ended = change.end.clone();
    Ok((change, ended))
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

fn new_key(acting: &Acting<'_>, creation: Creation, minted: &Minted) -> KeyRecord {
    KeyRecord {
        id: creation.id,
        environment: creation.environment,
        name: creation.name,
        scopes: creation.scopes,
        metadata: creation.metadata,
        suspended: false,
        created_at: acting.now,
        updated_at: acting.now,
        expires_at: creation.expires_at,
        version: 1,
        secrets: vec![new_secret(minted, acting.now)],
        created_by: acting.actor.text(),
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

fn put_new(acting: &Acting<'_>, change: &mut Change, key: &KeyRecord, act: Act) {
    acting.record(change, act, key, &[]);
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

fn end(acting: &Acting<'_>, change: &mut Change, key: &KeyRecord, reason: &str) {
    let mut ended = key.clone();
    touch(&mut ended, acting.now);
    ended.revoked = Some(Revocation { at: acting.now, reason: reason.to_owned(), by: acting.actor.text() });
    acting.record(change, Act::KeyRevoked, &ended, &[]);
    change.end.push(ended);
}

fn touch(key: &mut KeyRecord, now: Timestamp) {
    key.version = key.version.saturating_add(1);
    key.updated_at = now;
}

#[cfg(test)]
mod tests;
