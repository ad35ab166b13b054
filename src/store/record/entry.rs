//! Entries of an account to stored messages and back. `None` on the way back: a value is not legal, or of another kind than
//! its place says.

use super::convert::{actor_from, actor_to, key_id};
use crate::{
    domain::{
        entry::{Entry, EntryKind},
        id::{KekName, MemberRole},
        member::Member,
        onboarding::Signup,
        seal::WrappedKey,
        time::Timestamp,
        vault::StoredCredential,
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
        Entry::Credential(credential) => Of::Credential(stored::SealedCredential {
            nonce: credential.nonce.to_vec(),
            sealed: credential.sealed.clone(),
            kek: credential.key.kek.to_string(),
            wrapped_key: credential.key.bytes.clone(),
            created_at_us: credential.created_at.as_micros(),
            updated_at_us: credential.updated_at.as_micros(),
            updated_by: Some(actor_to(&credential.updated_by)),
        }),
        Entry::Signup(signup) => Of::Signup(stored::Signup {
            random: signup.random.to_vec(),
            code: signup.code.to_vec(),
            address: signup.address.clone(),
            name: signup.name.clone(),
            expires_at_us: signup.expires_at.as_micros(),
            attempts: signup.attempts,
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
        (EntryKind::Credential, Of::Credential(credential)) => Some(Entry::Credential(StoredCredential {
            nonce: credential.nonce.try_into().ok()?,
            sealed: credential.sealed,
            key: WrappedKey { kek: KekName::new(&credential.kek).ok()?, bytes: credential.wrapped_key },
            created_at: Timestamp::from_micros(credential.created_at_us),
            updated_at: Timestamp::from_micros(credential.updated_at_us),
            updated_by: actor_from(credential.updated_by)?,
        })),
        (EntryKind::Signup, Of::Signup(signup)) => Some(Entry::Signup(Signup {
            random: signup.random.try_into().ok()?,
            code: signup.code.try_into().ok()?,
            address: signup.address,
            name: signup.name,
            expires_at: Timestamp::from_micros(signup.expires_at_us),
            attempts: signup.attempts,
        })),
        (EntryKind::Member | EntryKind::Credential | EntryKind::Signup, _) => None,
    }
}
