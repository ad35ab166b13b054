//! When a key was last let through, and with which of its secrets. Noted in memory on the hot path, written in batches: a
//! decision never waits for it.

use crate::domain::{
    id::{AccountRef, KeyId},
    time::Timestamp,
};
use std::{
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The latest use of a key, or of one of its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// From where, if whoever asked told it.
    pub address: Option<IpAddr>,
}

/// Uses of a key with one of its secrets that are to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// The key's account.
    pub owner: AccountRef,
    /// The key.
    pub key: KeyId,
    /// The number of the secret.
    pub secret: u32,
    /// The latest of them.
    pub last: LastUse,
    /// How many there were since the last writing.
    pub count: u64,
}

/// Which uses are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsesOf {
    /// Of this key.
    pub key: KeyId,
    /// With the secrets of these numbers.
    pub secrets: Vec<u32>,
}

/// What is known of the uses of a key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyUses {
    /// The latest with any secret.
    pub last: Option<LastUse>,
    /// Those with each secret that was asked for, in that order; absent: never.
    pub secrets: Vec<Option<SecretUse>>,
}

/// The uses of one secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretUse {
    /// The latest.
    pub last: LastUse,
    /// How many were counted: no more than there were.
    pub count: u64,
}

/// Uses that were taken to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted {
    /// The number of the secret.
    pub secret: u32,
    /// The latest.
    pub last: LastUse,
    /// How many.
    pub count: u64,
    /// The latest use that was known before the first of these.
    pub before: Option<Timestamp>,
}

/// The latest use of a remembered key, and whether somebody must write it.
#[derive(Debug, Default)]
pub struct PendingUse(Mutex<Uses>);

#[derive(Debug, Default)]
struct Uses {
    /// The latest use that is known, with whichever secret: as it was read, or since.
    latest: Option<Timestamp>,
    /// How many were not written yet.
    count: u64,
    /// The latest use that was known before the first that is pending.
    before: Option<Timestamp>,
    pending: Option<(u32, LastUse)>,
    taken: Option<(u32, LastUse)>,
}

impl PendingUse {
    /// A key in steady use is written again after this time. The first use after a pause, with another secret, or from
    /// another address, is written at once: that is what somebody looks for.
    pub const RESOLUTION: Duration = Duration::from_secs(60);

    /// Of a key that was last used then.
    #[must_use]
    pub fn since(latest: Option<Timestamp>) -> Self {
        Self(Mutex::new(Uses { latest, ..Uses::default() }))
    }

    /// The latest use that is known here.
    pub fn latest(&self) -> Option<Timestamp> {
        self.with(|uses| uses.latest)
    }

    /// Notes a use, and tells whether somebody must see to it that it is written.
    pub fn note(&self, secret: u32, last: LastUse) -> bool {
        self.with(|uses| {
            let before = uses.latest;
            uses.latest = uses.latest.max(Some(last.at));
            uses.count = uses.count.saturating_add(1);
            if uses.pending.is_some() {
                uses.pending = Some((secret, last));
                return false;
            }
            let known = |(by, taken): (u32, LastUse)| {
                by == secret && taken.address == last.address && last.at.since(taken.at) < Self::RESOLUTION
            };
            if uses.taken.is_some_and(known) {
                return false;
            }
            uses.before = before;
            uses.pending = Some((secret, last));
            true
        })
    }

    /// What was taken could not be written: it is counted again, and the next use is noted, however soon it comes.
    pub fn not_written(&self, count: u64) {
        self.with(|uses| {
            uses.taken = None;
            uses.count = uses.count.saturating_add(count);
        });
    }

    /// Takes what is to be written.
    pub fn take(&self) -> Option<Noted> {
        self.with(|uses| {
            let (secret, last) = uses.pending.take()?;
            uses.taken = Some((secret, last));
            Some(Noted { secret, last, count: std::mem::take(&mut uses.count), before: uses.before })
        })
    }

    fn with<R>(&self, then: impl FnOnce(&mut Uses) -> R) -> R {
        // A poisoned lock would only mean that some thread stopped while it held plain values.
        then(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> LastUse {
        LastUse { at: Timestamp::from_micros(second * 1_000_000), address: None }
    }

    #[test]
    fn steady_use_is_written_once_a_minute_and_counted_throughout() {
        let uses = PendingUse::since(None);
        assert!(uses.note(1, at(0)));
        assert_eq!(uses.take(), Some(Noted { secret: 1, last: at(0), count: 1, before: None }));
        assert!((1..60).all(|second| !uses.note(1, at(second))));
        assert!(uses.take().is_none());
        assert!(uses.note(1, at(60)));
        assert_eq!(uses.take(), Some(Noted { secret: 1, last: at(60), count: 60, before: Some(at(59).at) }));
        assert_eq!(uses.latest(), Some(at(60).at));
    }

    #[test]
    fn another_secret_is_written_at_once_and_what_failed_is_counted_again() {
        let uses = PendingUse::since(Some(at(9).at));
        assert!(uses.note(1, at(0)));
        assert_eq!(uses.latest(), Some(at(9).at));
        let taken = uses.take().unwrap();
        uses.not_written(taken.count);
        assert!(uses.note(1, at(1)));
        assert_eq!(uses.take().map(|noted| noted.count), Some(2));
        assert!(uses.note(2, at(1)));
    }
}
