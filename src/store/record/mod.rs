//! Records as a store holds them: `version byte 1 | 16-byte MAC | protobuf message`.
//!
//! The MAC covers the version, the message and the record's place: its kind, realm, account and id. Whoever can write to
//! the store can delete a record, and put back an older one into the very place that it came from, but can neither forge
//! one nor move one. Must never know where records are kept, nor tell their contents in an error.

mod backup;
mod convert;
mod entry;
mod journal;
mod place;

use crate::{
    app::ports::{MemoId, StoreError},
    domain::{
        account::Account,
        audit::AuditEvent,
        entry::{Entry, EntryId},
        id::{AccountId, AccountRef, Environment, KeyId, RealmName},
        key::{Digest, IdempotencyRecord, KeyRecord, LastUse, RecordMac, SecretRing, SecretState, SecretUse},
    },
    proto::store_v1 as stored,
};
pub use backup::{BackupFlaw, BackupFormat, BackupReader};
pub use journal::JournalFormat;
use parking_lot::RwLock;
use place::Place;
use prost::Message;
use std::{fmt, sync::Arc};

/// What a digest leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The account that owns the key.
    pub owner: AccountRef,
    /// The key's environment.
    pub environment: Environment,
    /// The key.
    pub key: KeyId,
}

/// Turns domain records into stored bytes and back. Cheap to clone; clones share the server secret, in whose place another
/// ring may come at any time. Every `decode_…` fails with [`StoreError::Corrupt`], which names the kind and the place, when
/// the bytes were not written by keygate for this very place, are cut short, or come from a newer version.
#[derive(Clone)]
pub struct RecordCodec {
    // Written when the secret is rotated: reading it is never waited for, and costs little beside the MAC itself.
    ring: Arc<RwLock<RingSeal>>,
}

/// What a store knows of the server secret.
struct RingSeal {
    mac: RecordMac,
    fingerprint: [u8; 16],
    states: Vec<SecretState>,
}

impl fmt::Debug for RecordCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordCodec")
    }
}

/// The only version of stored records so far.
const VERSION: u8 = 1;
const HEADER: usize = 1 + RecordMac::LENGTH;

macro_rules! codec {
    ($(#[$doc:meta])* $encode:ident, $decode:ident, ($($arg:ident: $type:ty),*), $place:expr, $message:ty, $domain:ty, $to:path, $from:expr) => {
        $(#[$doc])*
        #[must_use]
        pub fn $encode(&self, $($arg: $type,)* record: &$domain) -> Vec<u8> {
            self.seal(&$place, &$to(record))
        }

        /// The reverse, after checking the seal.
        ///
        /// # Errors
        /// [`StoreError::Corrupt`] when the bytes cannot be trusted.
        pub fn $decode(&self, $($arg: $type,)* bytes: &[u8]) -> Result<$domain, StoreError> {
            let place = $place;
            let message: $message = self.open(&place, bytes)?;
            $from(message).ok_or_else(|| place.corrupt("holds a value that is not legal"))
        }
    };
}

impl RecordCodec {
    /// A codec that seals with the newest server secret and opens with any version of it.
    #[must_use]
    pub fn new(ring: &SecretRing) -> Self {
        Self { ring: Arc::new(RwLock::new(RingSeal::of(ring))) }
    }

    /// From now on this ring seals and opens, also for every clone.
    pub fn take_over(&self, ring: &SecretRing) {
        *self.ring.write() = RingSeal::of(ring);
    }

    /// What may be told of the versions of the server secret.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretState> {
        self.ring.read().states.clone()
    }

    /// A value that tells whether two rings share their newest secret, and its seal.
    #[must_use]
    pub fn ring_mark(&self, place: &[&[u8]]) -> ([u8; 16], [u8; RecordMac::LENGTH]) {
        let ring = self.ring.read();
        (ring.fingerprint, ring.mac.seal(place, &ring.fingerprint))
    }

    /// Whether that was sealed with any version of this server's secret.
    #[must_use]
    pub fn knows_mark(&self, place: &[&[u8]], fingerprint: &[u8], seal: &[u8]) -> bool {
        self.ring.read().mac.opens(place, fingerprint, seal)
    }

    codec!(
        /// The account's own record.
        encode_account, decode_account, (owner: &AccountRef), Place::Account(owner),
        stored::Account, Account, convert::account_to, convert::account_from
    );

    codec!(
        /// A key's record, working or ended.
        encode_key, decode_key, (owner: &AccountRef, id: KeyId), Place::Key(owner, id),
        stored::Key, KeyRecord, convert::key_to, |message| convert::key_from(id, message)
    );

    codec!(
        /// What a digest leads to.
        encode_lookup, decode_lookup, (digest: &Digest), Place::Lookup(digest),
        stored::Lookup, Lookup, convert::lookup_to, convert::lookup_from
    );

    codec!(
        /// The account that a key belongs to.
        encode_pointer, decode_pointer, (realm: &RealmName, id: KeyId), Place::Pointer(realm, id),
        stored::Pointer, AccountId, convert::pointer_to, convert::pointer_from
    );

    codec!(
        /// An event of the account's audit chain.
        encode_event, decode_event, (owner: &AccountRef, sequence: u64), Place::Event(owner, sequence),
        stored::AuditEvent, AuditEvent, convert::event_to, |message| convert::event_from(sequence, message)
    );

    codec!(
        /// An act that is remembered under its idempotency key.
        encode_idempotency, decode_idempotency, (owner: &AccountRef, slot: &[u8; 32]), Place::Idempotency(owner, slot),
        stored::Idempotency, IdempotencyRecord, convert::idempotency_to, |message| convert::idempotency_from(*slot, message)
    );

    codec!(
        /// When a key was last used.
        encode_use, decode_use, (owner: &AccountRef, id: KeyId), Place::Use(owner, id),
        stored::Use, LastUse, convert::use_to, convert::use_from
    );

    codec!(
        /// When a secret of a key was last used, and how often.
        encode_secret_use, decode_secret_use, (owner: &AccountRef, id: KeyId, number: u32),
        Place::SecretUse(owner, id, number), stored::Use, SecretUse, convert::secret_use_to, convert::secret_use_from
    );

    codec!(
        /// An entry of the account.
        encode_entry, decode_entry, (owner: &AccountRef, id: &EntryId), Place::Entry(owner, id),
        stored::Entry, Entry, entry::to, |message| entry::from(id.kind, message)
    );

    codec!(
        /// A memo.
        encode_memo, decode_memo, (id: &MemoId<'_>), Place::Memo(id), stored::Memo, Vec<u8>, convert::memo_to, convert::memo_from
    );

    /// A record that says nothing and proves that a store belongs to this server's secret.
    #[must_use]
    pub fn encode_witness(&self) -> Vec<u8> {
        self.seal(&Place::Witness, &())
    }

    /// Whether the witness was sealed with any version of this server's secret.
    #[must_use]
    pub fn knows_witness(&self, bytes: &[u8]) -> bool {
        self.open::<()>(&Place::Witness, bytes).is_ok()
    }

    fn seal(&self, place: &Place<'_>, message: &impl Message) -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes.reserve_exact(message.encoded_len());
        // A vector grows as needed: encoding into one cannot run out of room.
        let _ = message.encode(&mut bytes);
        if let Some((header, body)) = bytes.split_at_mut_checked(HEADER) {
            let mac = place.with_fields(VERSION, |fields| self.ring.read().mac.seal(fields, body));
            let sealed = std::iter::once(VERSION).chain(mac);
            header.iter_mut().zip(sealed).for_each(|(slot, byte)| *slot = byte);
        }
        bytes
    }

    fn open<M: Message + Default>(&self, place: &Place<'_>, bytes: &[u8]) -> Result<M, StoreError> {
        let (version, rest) = bytes.split_first().ok_or_else(|| place.corrupt("is empty"))?;
        if *version != VERSION {
            return Err(place.corrupt("has a version that this keygate does not know"));
        }
        let (mac, body) = rest.split_at_checked(RecordMac::LENGTH).ok_or_else(|| place.corrupt("is cut short"))?;
        if !place.with_fields(*version, |fields| self.ring.read().mac.opens(fields, body, mac)) {
            return Err(place.corrupt("is not sealed by this server's secret for this place"));
        }
        M::decode(body).map_err(|_| place.corrupt("is not a legal message"))
    }
}

impl RingSeal {
    fn of(ring: &SecretRing) -> Self {
        Self { mac: ring.record_mac(), fingerprint: ring.fingerprint(), states: ring.states() }
    }
}

#[cfg(test)]
mod tests;
