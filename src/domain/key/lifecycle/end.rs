//! Ending keys, for ever.

use super::{Acting, LifecycleError, must_be_changeable, touch};
use crate::domain::{
    audit::Act,
    commit::Change,
    key::{KeyRecord, Revocation},
};

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

/// Adds the end of keys to a change of their account.
pub fn end_all(acting: &Acting<'_>, change: &mut Change, keys: &[KeyRecord], reason: &str) {
    keys.iter().filter(|key| key.revoked.is_none()).for_each(|key| end(acting, change, key, reason));
}

pub(super) fn end(acting: &Acting<'_>, change: &mut Change, key: &KeyRecord, reason: &str) {
    let mut ended = key.clone();
    touch(&mut ended, acting.now);
    ended.revoked = Some(Revocation { at: acting.now, reason: reason.to_owned(), by: acting.actor.text() });
    acting.record(change, Act::KeyRevoked, &ended, &[]);
    change.end.push(ended);
}
