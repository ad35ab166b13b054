//! The versions of the server secret: which of them makes digests and seals, which are only looked for, and which are retired.
//! What a ring does follows from its versions and from the instant that it is asked for; it reads no clock.

use super::{
    RequestMarker,
    digest::{EnvironmentDigester, HmacSha256, RealmDigester, RecordMac, keyed, truncate},
};
use crate::domain::{audit::Signer, id::RealmName, realm::Realm, time::Timestamp};
use hmac::Mac;
use std::{cmp::Reverse, sync::Arc};
use zeroize::Zeroizing;

/// One version of the server secret: 32 random bytes that never leave the process.
pub struct ServerSecret {
    version: u32,
    bytes: Zeroizing<[u8; 32]>,
    used_from: Option<Timestamp>,
    retires_at: Option<Timestamp>,
}

/// Names one version of the server secret: two that have the same are the same. Tells nothing of the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretMark {
    /// The version.
    pub version: u32,
    /// A value that follows from the secret alone.
    pub fingerprint: [u8; 16],
}

/// What a version of the server secret is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretPhase {
    /// Known, so that what others make with it is found, and not used to make anything yet.
    Pending,
    /// Makes new digests and seals.
    Current,
    /// What was made with it still holds.
    Older,
    /// No key is found under it any more. Records that it sealed are still read.
    Retired,
}

impl SecretPhase {
    /// Every phase, in the order in which a version goes through them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Current, Self::Older, Self::Retired];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Current => "current",
            Self::Older => "older",
            Self::Retired => "retired",
        }
    }
}

/// What may be told of a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretState {
    /// Which one.
    pub mark: SecretMark,
    /// What it is there for.
    pub phase: SecretPhase,
    /// Since when it makes digests and seals; absent: it always did.
    pub used_from: Option<Timestamp>,
    /// When keys under it stop to be found; absent: never.
    pub retires_at: Option<Timestamp>,
}

impl ServerSecret {
    /// The secret of that version, used at once and never retired.
    #[must_use]
    pub fn new(version: u32, bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { version, bytes, used_from: None, retires_at: None }
    }

    /// The same, with the instant from which it makes digests and seals, and the one at which it is retired.
    #[must_use]
    pub fn between(self, used_from: Option<Timestamp>, retires_at: Option<Timestamp>) -> Self {
        Self { used_from, retires_at, ..self }
    }

    /// What names it.
    #[must_use]
    pub fn mark(&self) -> SecretMark {
        SecretMark { version: self.version, fingerprint: truncate(self.derive("version-fingerprint", &[])) }
    }

    /// Derives a key for one purpose.
    fn derive(&self, purpose: &str, labels: &[&str]) -> HmacSha256 {
        keyed(&self.derive_bytes(purpose, labels)[..])
    }

    /// The same, as bytes. The labels are joined with their lengths, so that no two lists of labels meet.
    fn derive_bytes(&self, purpose: &str, labels: &[&str]) -> Zeroizing<[u8; 32]> {
        let mut mac = keyed(&*self.bytes);
        for label in std::iter::once(&purpose).chain(labels) {
            mac.update(&(label.len() as u64).to_be_bytes());
            mac.update(label.as_bytes());
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    fn began(&self, now: Timestamp) -> bool {
        self.used_from.is_none_or(|from| from <= now)
    }

    fn is_retired(&self, now: Timestamp) -> bool {
        self.retires_at.is_some_and(|end| end <= now)
    }
}

/// The versions of the server secret, as of an instant. There is always one that is current.
pub struct SecretRing {
    current: Arc<ServerSecret>,
    /// The others under which keys are found, the likeliest first: older ones from the newest on, then those to come.
    others: Vec<Arc<ServerSecret>>,
    /// Those under which none is found any more, the newest first.
    retired: Vec<Arc<ServerSecret>>,
    as_of: Timestamp,
}

impl SecretRing {
    /// A ring of these versions, before any of their times has come; [`SecretRing::at`] gives the one of a later instant.
    /// Nothing when there is no version, or when two share a number.
    #[must_use]
    pub fn new(versions: Vec<ServerSecret>) -> Option<Self> {
        Self::of(versions.into_iter().map(Arc::new).collect(), Timestamp::default())
    }

    /// The same versions, as of that instant: the current one is the newest whose time has come and is not over. Where there is
    /// none, the newest whose time has come, else the oldest: a server never stands without.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Self {
        let same = Self {
            current: Arc::clone(&self.current),
            others: self.others.clone(),
            retired: self.retired.clone(),
            as_of: now,
        };
        Self::of(self.all().map(Arc::clone).collect(), now).unwrap_or(same)
    }

    fn of(mut versions: Vec<Arc<ServerSecret>>, now: Timestamp) -> Option<Self> {
        versions.sort_by_key(|secret| Reverse(secret.version));
        let distinct = versions.windows(2).all(|pair| matches!(pair, [a, b] if a.version != b.version));
        let in_use = versions.iter().position(|secret| secret.began(now) && !secret.is_retired(now));
        let began = || versions.iter().position(|secret| secret.began(now));
        let chosen = in_use.or_else(began).or_else(|| versions.len().checked_sub(1)).filter(|_| distinct)?;
        let current = versions.remove(chosen);
        let (retired, mut others): (Vec<_>, Vec<_>) = versions.into_iter().partition(|secret| secret.is_retired(now));
        others.sort_by_key(|secret| (secret.version > current.version, Reverse(secret.version)));
        Some(Self { current, others, retired, as_of: now })
    }

    fn all(&self) -> impl Iterator<Item = &Arc<ServerSecret>> {
        std::iter::once(&self.current).chain(&self.others).chain(&self.retired)
    }

    /// The next instant at which another version is current, or one retires.
    #[must_use]
    pub fn next_change(&self) -> Option<Timestamp> {
        let times = self.all().flat_map(|secret| [secret.used_from, secret.retires_at]);
        times.flatten().filter(|time| *time > self.as_of).min()
    }

    /// The version that new digests and records are keyed with.
    #[must_use]
    pub fn newest_version(&self) -> u32 {
        self.current.version
    }

    /// What may be told of the versions, the newest first.
    #[must_use]
    pub fn states(&self) -> Vec<SecretState> {
        let phase = |secret: &Arc<ServerSecret>| {
            if Arc::ptr_eq(secret, &self.current) {
                SecretPhase::Current
            } else if self.retired.iter().any(|retired| Arc::ptr_eq(retired, secret)) {
                SecretPhase::Retired
            } else if secret.version > self.current.version {
                SecretPhase::Pending
            } else {
                SecretPhase::Older
            }
        };
        let state = |secret: &Arc<ServerSecret>| SecretState {
            mark: secret.mark(),
            phase: phase(secret),
            used_from: secret.used_from,
            retires_at: secret.retires_at,
        };
        let mut states: Vec<SecretState> = self.all().map(state).collect();
        states.sort_by_key(|state| Reverse(state.mark.version));
        states
    }

    /// The versions that `other` may have made something with and that this ring does not have, or has another secret for. What
    /// was made with those is lost to it.
    #[must_use]
    pub fn lacks(&self, other: &Self) -> Vec<u32> {
        let needed = other.states().into_iter().filter(|state| state.phase != SecretPhase::Pending);
        self.lacks_of(&needed.map(|state| state.mark).collect::<Vec<_>>())
    }

    /// The same of a ring of which only the fingerprints are known.
    #[must_use]
    pub fn lacks_of(&self, marks: &[SecretMark]) -> Vec<u32> {
        let own = self.marks();
        marks.iter().filter(|mark| !own.contains(mark)).map(|mark| mark.version).collect()
    }

    /// What every version is known again by.
    #[must_use]
    pub fn marks(&self) -> Vec<SecretMark> {
        self.all().map(|secret| secret.mark()).collect()
    }

    /// The digester of a realm.
    #[must_use]
    pub fn digester(&self, realm: &Realm) -> RealmDigester {
        let states = realm.environments.iter().map(|environment| {
            let derive = |secret: &Arc<ServerSecret>| {
                (secret.version, secret.derive("key-digest", &[realm.name.as_str(), environment.name.as_str()]))
            };
            EnvironmentDigester { newest: derive(&self.current), older: self.others.iter().map(derive).collect() }
        });
        RealmDigester { newest_version: self.current.version, environments: states.collect() }
    }

    /// What seals the records of a store. Every version can open, a retired one too: history has to stay readable. The current
    /// one seals.
    #[must_use]
    pub fn record_mac(&self) -> RecordMac {
        self.mac("record-mac")
    }

    /// What seals the parts of a backup; opens as what seals records does.
    #[must_use]
    pub fn backup_mac(&self) -> RecordMac {
        self.mac("backup-mac")
    }

    /// What seals the lines of a server's journal; opens as what seals records does.
    #[must_use]
    pub fn journal_mac(&self) -> RecordMac {
        self.mac("journal-mac")
    }

    fn mac(&self, purpose: &str) -> RecordMac {
        let derive = |secret: &Arc<ServerSecret>| (secret.version, secret.derive(purpose, &[]));
        let older = self.others.iter().chain(&self.retired).map(derive);
        RecordMac { newest: derive(&self.current), older: older.collect() }
    }

    /// What recognizes a realm's requests when they come again, also those that came under a version that is retired since:
    /// nobody is let in by it.
    #[must_use]
    pub fn request_marker(&self, realm: &RealmName) -> RequestMarker {
        let derive = |secret: &Arc<ServerSecret>| secret.derive("idempotency", &[realm.as_str()]);
        RequestMarker::new(derive(&self.current), self.others.iter().chain(&self.retired).map(derive).collect())
    }

    /// What signs checkpoints of audit chains: with the current version; what others signed, retired ones too, can still be
    /// verified.
    #[must_use]
    pub fn audit_signer(&self) -> Signer {
        let seed = |secret: &Arc<ServerSecret>| (secret.version, secret.derive_bytes("audit-signing", &[]));
        Signer::new(seed(&self.current), self.others.iter().chain(&self.retired).map(seed))
    }

    /// What the signing keys of a realm's embed tokens are made from, that of the current version first. Tokens are credentials:
    /// what a retired version signed holds no more.
    #[must_use]
    pub fn embed_seeds(&self, realm: &RealmName) -> Vec<Zeroizing<[u8; 32]>> {
        let seed = |secret: &Arc<ServerSecret>| secret.derive_bytes("embed-signing", &[realm.as_str()]);
        std::iter::once(&self.current).chain(&self.others).map(seed).collect()
    }

    /// A value that tells whether two rings share their current secret, and tells nothing of the secret.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        truncate(self.current.derive("ring-fingerprint", &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(versions: &[(u32, u8)]) -> SecretRing {
        timed(&versions.iter().map(|(version, byte)| (*version, *byte, None, None)).collect::<Vec<_>>())
    }

    fn timed(versions: &[(u32, u8, Option<u64>, Option<u64>)]) -> SecretRing {
        let time = |second: Option<u64>| second.map(Timestamp::from_micros);
        let secret = |(version, byte, from, until): &(u32, u8, Option<u64>, Option<u64>)| {
            ServerSecret::new(*version, Zeroizing::new([*byte; 32])).between(time(*from), time(*until))
        };
        SecretRing::new(versions.iter().map(secret).collect()).unwrap()
    }

    #[test]
    fn a_ring_lacks_what_it_does_not_have_and_what_it_has_another_secret_for() {
        let before = ring(&[(1, 1), (2, 2)]);
        for (now, lost) in [
            (ring(&[(2, 2), (1, 1)]), &[][..]),
            (ring(&[(3, 3), (2, 2), (1, 1)]), &[]),
            (ring(&[(2, 2)]), &[1]),
            (ring(&[(1, 1)]), &[2]),
            (ring(&[(1, 1), (2, 3)]), &[2]),
            (ring(&[(1, 2), (2, 1), (3, 3)]), &[2, 1]),
        ] {
            assert_eq!(now.lacks(&before), lost);
        }
        // What was never used is not missed.
        assert_eq!(ring(&[(1, 1)]).lacks(&timed(&[(1, 1, None, None), (2, 2, Some(9), None)])), [0; 0]);
    }

    #[test]
    fn a_version_is_known_then_used_then_older_and_at_last_retired() {
        use SecretPhase::{Current, Older, Pending, Retired};
        let ring = timed(&[(1, 1, None, Some(30)), (2, 2, Some(10), None), (3, 3, Some(40), None)]);
        for (now, phases, next) in [
            (0, [Pending, Pending, Current], Some(10)),
            (9, [Pending, Pending, Current], Some(10)),
            (10, [Pending, Current, Older], Some(30)),
            (29, [Pending, Current, Older], Some(30)),
            (30, [Pending, Current, Retired], Some(40)),
            (40, [Current, Older, Retired], None),
        ] {
            let now_ring = ring.at(Timestamp::from_micros(now));
            let found: Vec<SecretPhase> = now_ring.states().iter().map(|state| state.phase).collect();
            assert_eq!(found, phases, "at {now}");
            assert_eq!(now_ring.next_change(), next.map(Timestamp::from_micros), "at {now}");
            // A clock that goes back brings back what was.
            assert_eq!(now_ring.at(Timestamp::default()).newest_version(), 1);
        }
    }

    #[test]
    fn a_ring_always_has_a_current_version() {
        for (versions, current) in [
            (&[(1, 1, Some(90), None), (2, 2, Some(80), None)][..], 1),
            (&[(1, 1, None, Some(5)), (2, 2, None, Some(6))], 2),
            (&[(1, 1, None, Some(5)), (2, 2, Some(80), None)], 1),
        ] {
            let ring = timed(versions).at(Timestamp::from_micros(10));
            assert_eq!(ring.newest_version(), current, "{versions:?}");
            let phases: Vec<_> = ring.states().into_iter().filter(|s| s.phase == SecretPhase::Current).collect();
            assert_eq!(phases.len(), 1);
        }
        assert!(SecretRing::new(Vec::new()).is_none());
        let twice = || ServerSecret::new(1, Zeroizing::new([1; 32]));
        assert!(SecretRing::new(vec![twice(), twice()]).is_none());
    }

    #[test]
    fn what_lets_in_ends_with_a_version_and_what_is_history_does_not() {
        let realm = RealmName::new("recurr").unwrap();
        let old = ring(&[(1, 1)]);
        let sealed = old.record_mac().seal(&[b"place"], b"body");
        let asked = old.request_marker(&realm).mark("act", "key", b"request");
        for (now, lets_in) in [(0, true), (20, true), (30, false)] {
            let ring = timed(&[(1, 1, None, Some(30)), (2, 2, Some(10), None)]).at(Timestamp::from_micros(now));
            assert!(ring.record_mac().opens(&[b"place"], b"body", &sealed));
            let again = ring.request_marker(&realm).mark("act", "key", b"request");
            assert!(again.fingerprints().any(|mark| mark == asked.fingerprint()));
            let public = ring.audit_signer().public_keys().iter().any(|(version, _)| *version == 1);
            assert!(public, "what it signed can be verified");
            assert_eq!(ring.embed_seeds(&realm).contains(&old.embed_seeds(&realm)[0]), lets_in, "at {now}");
        }
    }
}
