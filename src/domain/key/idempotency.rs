//! Recognizing a repeat: what is remembered of an act that came with an idempotency key.

use crate::domain::{id::KeyId, time::Timestamp};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Remembers an act for repeats under the same idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyRecord {
    /// A hash of the idempotency key and the kind of act.
    pub slot: [u8; 32],
    /// A hash of the whole request.
    pub fingerprint: [u8; 32],
    /// The keys that the act made.
    pub keys: Vec<KeyId>,
    /// When the record may be forgotten.
    pub expires_at: Timestamp,
}

/// A request that can be recognized when it comes again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeatable {
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
        if self.fingerprint == request.fingerprint { Repeat::Same(self.keys.clone()) } else { Repeat::Different }
    }
}

impl Repeatable {
    /// `act` names the kind of act, `fields` are everything that makes two requests differ, in a fixed order.
    #[must_use]
    pub fn new<'f>(act: &'f str, idempotency_key: &str, fields: impl IntoIterator<Item = &'f [u8]>) -> Self {
        Self {
            slot: hash([act.as_bytes(), idempotency_key.as_bytes()]),
            fingerprint: hash(std::iter::once(act.as_bytes()).chain(fields)),
        }
    }

    /// Where the act is remembered.
    #[must_use]
    pub fn slot(&self) -> &[u8; 32] {
        &self.slot
    }

    /// What is remembered of the act.
    #[must_use]
    pub fn record(&self, keys: Vec<KeyId>, now: Timestamp) -> IdempotencyRecord {
        let expires_at = now.after(IdempotencyRecord::LIFETIME);
        IdempotencyRecord { slot: self.slot, fingerprint: self.fingerprint, keys, expires_at }
    }
}

/// SHA-256 over fields with their lengths.
fn hash<'f>(fields: impl IntoIterator<Item = &'f [u8]>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for field in fields {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    }
    hasher.finalize().into()
}
