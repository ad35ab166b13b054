//! Ending keys, for ever.

use super::{Acting, LifecycleError, must_be_changeable, touch};
use crate::domain::{
    audit::{About, Act},
    commit::Change,
    id::MemberId,
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
    end_all_with(acting, change, keys, reason, None);
}

/// The same because a member goes, of which the events tell.
pub fn end_all_with(
    acting: &Acting<'_>,
    change: &mut Change,
    keys: &[KeyRecord],
    reason: &str,
    member: Option<&MemberId>,
) {
    keys.iter().filter(|key| key.revoked.is_none()).for_each(|key| end_with(acting, change, key, reason, member));
}

pub(super) fn end(acting: &Acting<'_>, change: &mut Change, key: &KeyRecord, reason: &str) {
    end_with(acting, change, key, reason, None);
}

fn end_with(acting: &Acting<'_>, change: &mut Change, key: &KeyRecord, reason: &str, member: Option<&MemberId>) {
    let mut ended = key.clone();
    touch(&mut ended, acting.now);
    ended.revoked = Some(Revocation { at: acting.now, reason: reason.to_owned(), by: acting.actor.text() });
    let about = About { key: Some((ended.id, &ended.environment)), member, ..About::default() };
    change.record_key(acting.now, acting.actor, Act::KeyRevoked, about);
    change.end.push(ended);
}
