//! Entries of an account to stored messages and back. `None` on the way back: a value is not legal, or of another kind than
//! its place says.

use super::convert::key_id;
use crate::{
    domain::{
        entry::{Entry, EntryKind},
        id::MemberRole,
        member::Member,
        time::Timestamp,
    },
    proto::store_v1::{self as stored, entry::Of},
};

pub(super) fn to(entry: &Entry) -> stored::Entry {
    let of = match entry {
        Entry::Member(member) => Of::Member(stored::Member {
            roles: member.roles.iter().map(ToString::to_string).collect(),
            added_at_us: member.added_at.as_micros(),
            key_ids: member.keys.iter().flat_map(|key| *key.as_bytes()).collect(),
        }),
    };
    stored::Entry { of: Some(of) }
}

pub(super) fn from(kind: EntryKind, message: stored::Entry) -> Option<Entry> {
    match (kind, message.of?) {
        (EntryKind::Member, Of::Member(member)) => Some(Entry::Member(Member {
            roles: member.roles.iter().map(|role| MemberRole::new(role).ok()).collect::<Option<_>>()?,
            added_at: Timestamp::from_micros(member.added_at_us),
            keys: member.key_ids.chunks(16).map(key_id).collect::<Option<_>>()?,
        })),
    }
}
