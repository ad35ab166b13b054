//! Making keys, and taking over those that were made elsewhere.

use super::{Acting, LifecycleError, Minted, check_beginning, end::end, expiry, must_be_active, new_secret};
use crate::domain::{
    audit::{About, Act},
    commit::{Change, NewLookup},
    id::{Environment, KeyId, MemberId, Scope},
    key::{KeyRecord, Limits},
    network::Network,
    realm::WhenFull,
    time::Timestamp,
};
use smallvec::smallvec;
use std::collections::BTreeMap;

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
    /// When it begins to work.
    pub not_before: Option<Timestamp>,
    /// Where it may be used from; none: from anywhere.
    pub networks: Vec<Network>,
    /// The member in whose name it is issued.
    pub member: Option<MemberId>,
}

/// A key made elsewhere.
#[derive(Debug, Clone)]
pub struct ImportedKey {
    /// What the key shall be.
    pub creation: Creation,
    /// Its secret.
    pub minted: Minted,
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
    check_beginning(creation.not_before, expires_at)?;
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

fn new_key(acting: &Acting<'_>, creation: Creation, minted: &Minted) -> KeyRecord {
    KeyRecord {
        id: creation.id,
        environment: creation.environment,
        name: creation.name,
        scopes: creation.scopes.into(),
        metadata: creation.metadata,
        suspended: false,
        created_at: acting.now,
        updated_at: acting.now,
        expires_at: creation.expires_at,
        not_before: creation.not_before,
        networks: creation.networks.into(),
        resumed_at: None,
        version: 1,
        secrets: smallvec![new_secret(1, minted, acting.now)],
        created_by: acting.actor.text(),
        revoked: None,
        member: creation.member,
    }
}

fn put_new(acting: &Acting<'_>, change: &mut Change, key: &KeyRecord, act: Act) {
    let about = About { key: Some((key.id, &key.environment)), member: key.member.as_ref(), ..About::default() };
    change.record_key(acting.now, acting.actor, act, about);
    change.lookups.extend(key.secrets.iter().map(|secret| NewLookup {
        digest: secret.digest,
        environment: key.environment.clone(),
        key: key.id,
    }));
    change.put.push(key.clone());
}
