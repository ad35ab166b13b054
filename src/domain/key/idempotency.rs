//! Recognizing a repeat: what is remembered of an act that came with an idempotency key. A request may hold secrets, so
//! everything that is remembered of it is keyed from the server secret: a copy of the store tells nothing of it.

use super::digest::HmacSha256;
use crate::domain::{id::KeyId, time::Timestamp};
use hmac::Mac;
use std::time::Duration;

/// Remembers an act for repeats under the same idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// A keyed hash of the idempotency key and the kind of act.
    pub slot: [u8; 32],
    /// A keyed hash of the whole request.
    pub fingerprint: [u8; 32],
    /// The keys that the act made.
    pub keys: Vec<KeyId>,
    /// When the record may be forgotten.
    pub expires_at: Timestamp,
}

/// Marks the requests of one realm, so that they are recognized when they come again.
pub struct RequestMarker {
    newest: HmacSha256,
    older: Vec<HmacSha256>,
}

/// A request that can be recognized when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repeatable {
    newest: Mark,
    /// By the older versions of the server secret: it may have been rotated since the request came first.
    older: Vec<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    slot: [u8; 32],
    fingerprint: [u8; 32],
}

/// Whether a request came before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repeat {
    /// It did, word for word.
    Same(Vec<KeyId>),
    /// Its idempotency key was used for another request.
    Different,
}

impl IdempotencyRecord {
    /// How long a repeat is recognized.
    pub const LIFETIME: Duration = Duration::from_secs(24 * 3_600);

    /// Compares a request with the remembered one.
    #[must_use]
    pub fn compare(&self, request: &Repeatable) -> Repeat {
        let own = Mark { slot: self.slot, fingerprint: self.fingerprint };
        if request.marks().any(|mark| *mark == own) { Repeat::Same(self.keys.clone()) } else { Repeat::Different }
    }
}

impl RequestMarker {
    pub(super) fn new(newest: HmacSha256, older: Vec<HmacSha256>) -> Self {
        Self { newest, older }
    }

    /// `act` names the kind of act, `request` is everything that makes two requests differ.
    #[must_use]
    pub fn mark(&self, act: &str, idempotency_key: &str, request: &[u8]) -> Repeatable {
        let mark = |state: &HmacSha256| Mark {
            slot: keyed_hash(state, [b"slot", act.as_bytes(), idempotency_key.as_bytes()]),
            fingerprint: keyed_hash(state, [b"request", act.as_bytes(), request]),
        };
        Repeatable { newest: mark(&self.newest), older: self.older.iter().map(mark).collect() }
    }
}

impl Repeatable {
    /// Where the act may be remembered, most likely first.
    pub fn slots(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.marks().map(|mark| &mark.slot)
    }

    /// What is remembered of the act.
    #[must_use]
    pub fn record(&self, keys: Vec<KeyId>, now: Timestamp) -> IdempotencyRecord {
        let Mark { slot, fingerprint } = self.newest;
        IdempotencyRecord { slot, fingerprint, keys, expires_at: now.after(IdempotencyRecord::LIFETIME) }
    }

    /// The keyed hash of the whole request, by the newest version of the server secret.
    #[must_use]
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.newest.fingerprint
    }

    /// The same by every version, the newest first.
    pub fn fingerprints(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.marks().map(|mark| &mark.fingerprint)
    }

    fn marks(&self) -> impl Iterator<Item = &Mark> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

/// HMAC-SHA256 over fields with their lengths.
fn keyed_hash(state: &HmacSha256, fields: [&[u8]; 3]) -> [u8; 32] {
    let mut mac = state.clone();
    for field in fields {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use crate::domain::{
        id::RealmName,
        key::{Repeat, RequestMarker, SecretRing, ServerSecret},
        time::Timestamp,
    };
    use zeroize::Zeroizing;

    fn marker(realm: &str, versions: &[(u32, u8)]) -> RequestMarker {
        let secrets = versions.iter().map(|(version, byte)| ServerSecret::new(*version, Zeroizing::new([*byte; 32])));
        SecretRing::new(secrets.collect()).unwrap().request_marker(&RealmName::new(realm).unwrap())
    }

    #[test]
    fn a_repeat_is_recognized_also_after_the_server_secret_was_rotated() {
        let first = marker("recurr", &[(1, 7)]).mark("import", "batch-7", b"rows");
        let record = first.record(Vec::new(), Timestamp::default());
        let rotated = marker("recurr", &[(1, 7), (2, 9)]);
        let again = rotated.mark("import", "batch-7", b"rows");
        assert!(again.slots().any(|slot| *slot == record.slot));
        assert_eq!(record.compare(&again), Repeat::Same(Vec::new()));
        assert_eq!(record.compare(&rotated.mark("import", "batch-7", b"other rows")), Repeat::Different);
    }

    #[test]
    fn without_the_server_secret_nobody_can_tell_what_was_asked() {
        let mark = |realm, secret| marker(realm, &[(1, secret)]).mark("import", "batch-7", b"rows");
        for other in [mark("recurr", 8), mark("recoup", 7)] {
            assert_ne!(mark("recurr", 7).newest.slot, other.newest.slot);
            assert_ne!(mark("recurr", 7).newest.fingerprint, other.newest.fingerprint);
        }
    }
}
