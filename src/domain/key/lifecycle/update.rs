//! Changing what a key is called, what it may do, and until when.

use super::{Acting, LifecycleError, check_beginning, checked_expiry, must_be_changeable, touch};
use crate::domain::{
    audit::Act,
    commit::Change,
    id::Scope,
    key::{KeyRecord, Limits},
    network::Network,
    time::Timestamp,
};
use std::collections::BTreeMap;

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
    /// When the key begins to work; inner `None`: at once.
    pub not_before: Option<Option<Timestamp>>,
    /// The networks that it may be used from.
    pub networks: Option<Vec<Network>>,
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

/// Changes a key's name, scopes, metadata, times, networks or state. A key that is resumed counts as used now. `live` holds the account's keys of that environment that were
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
        new.scopes = scopes.into();
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
    if let Some(not_before) = patch.not_before {
        new.not_before = not_before;
        fields.push("not_before");
    }
    if patch.expires_at.is_some() || patch.not_before.is_some() {
        check_beginning(new.not_before, new.expires_at)?;
    }
    if let Some(networks) = patch.networks {
        new.networks = networks.into();
        fields.push("allowed_networks");
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
        // One that nobody used for too long rests without being marked.
        Some(StatePatch::Resume) if new.suspended || acting.policy.suspend_unused_after.is_some() => {
            new.suspended = false;
            new.resumed_at = Some(acting.now);
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
