//! Keyed digests. A key is stored only as HMAC-SHA256 under a key that is derived from the server secret for one purpose,
//! one realm and one environment; a record carries a MAC so that whoever can write to the store can delete, never forge.

use super::RequestMarker;
use crate::domain::{audit::Signer, id::RealmName, realm::Realm};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub(super) type HmacSha256 = Hmac<Sha256>;

/// HMAC-SHA256 of a key, or of a hash of it that was made elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest from its stored form.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest as stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

/// The hash function of a hash made elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

/// Which part of the key a hash made elsewhere covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HashedPart {
    /// The whole key.
    Whole,
    /// What follows the prefix.
    Body,
}

/// How a stored digest comes from a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DigestScheme {
    /// Straight from the key.
    Native,
    /// From a hash made elsewhere; re-keyed to native when the key is first used.
    Imported(HashAlgorithm, HashedPart),
}

impl HashAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// The name used in a realm's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The length of a hash in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    fn hash(self, data: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        })
    }
}

impl HashedPart {
    /// Every part.
    pub const ALL: [Self; 2] = [Self::Whole, Self::Body];

    /// The name used in a realm's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Body => "body",
        }
    }
}

impl DigestScheme {
    /// The scheme as stored.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Native => 0,
            Self::Imported(HashAlgorithm::Sha256, HashedPart::Whole) => 1,
            Self::Imported(HashAlgorithm::Sha256, HashedPart::Body) => 2,
            Self::Imported(HashAlgorithm::Sha512, HashedPart::Whole) => 3,
            Self::Imported(HashAlgorithm::Sha512, HashedPart::Body) => 4,
        }
    }

    /// The scheme of a stored code.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        let imported = HashAlgorithm::ALL.into_iter().flat_map(|a| HashedPart::ALL.map(|p| Self::Imported(a, p)));
        std::iter::once(Self::Native).chain(imported).find(|scheme| scheme.code() == code)
    }
}

/// One version of the server secret: 32 random bytes that never leave the process.
pub struct ServerSecret {
    version: u32,
    bytes: Zeroizing<[u8; 32]>,
}

impl ServerSecret {
    /// The secret of that version.
    #[must_use]
    pub fn new(version: u32, bytes: Zeroizing<[u8; 32]>) -> Self {
        Self { version, bytes }
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
}

/// The versions of the server secret, newest first. There is always at least one.
pub struct SecretRing {
    newest: ServerSecret,
    older: Vec<ServerSecret>,
}

impl SecretRing {
    /// A ring of these versions, sorted here. Nothing when there is none, or when two share a version.
    #[must_use]
    pub fn new(mut versions: Vec<ServerSecret>) -> Option<Self> {
        versions.sort_by_key(|secret| std::cmp::Reverse(secret.version));
        let distinct = versions.windows(2).all(|pair| matches!(pair, [a, b] if a.version != b.version));
        let mut versions = versions.into_iter();
        let newest = versions.next().filter(|_| distinct)?;
        Some(Self { newest, older: versions.collect() })
    }

    /// The version that new digests and records are keyed with.
    #[must_use]
    pub fn newest_version(&self) -> u32 {
        self.newest.version
    }

    /// The versions of `other` that this ring does not have, or has another secret for. What was made with those is lost
    /// to it.
    #[must_use]
    pub fn lacks(&self, other: &Self) -> Vec<u32> {
        self.lacks_of(&other.fingerprints())
    }

    /// The same of a ring of which only the fingerprints are known.
    #[must_use]
    pub fn lacks_of(&self, fingerprints: &[(u32, [u8; 16])]) -> Vec<u32> {
        let own = self.fingerprints();
        fingerprints.iter().filter(|theirs| !own.contains(theirs)).map(|(version, _)| *version).collect()
    }

    /// Every version with a value that tells whether another ring has the same secret for it, and tells nothing of the secret;
    /// the newest first.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<(u32, [u8; 16])> {
        let mark = |secret: &ServerSecret| (secret.version, truncate(secret.derive("version-fingerprint", &[])));
        std::iter::once(&self.newest).chain(&self.older).map(mark).collect()
    }

    /// The digester of a realm.
    #[must_use]
    pub fn digester(&self, realm: &Realm) -> RealmDigester {
        let states = realm.environments.iter().map(|environment| {
            let derive = |secret: &ServerSecret| {
                (secret.version, secret.derive("key-digest", &[realm.name.as_str(), environment.name.as_str()]))
            };
            EnvironmentDigester { newest: derive(&self.newest), older: self.older.iter().map(derive).collect() }
        });
        RealmDigester { newest_version: self.newest.version, environments: states.collect() }
    }

    /// What seals the records of a store. Every version can open; the newest seals.
    #[must_use]
    pub fn record_mac(&self) -> RecordMac {
        let derive = |secret: &ServerSecret| (secret.version, secret.derive("record-mac", &[]));
        RecordMac { newest: derive(&self.newest), older: self.older.iter().map(derive).collect() }
    }

    /// What seals the parts of a backup. Every version can open; the newest seals.
    #[must_use]
    pub fn backup_mac(&self) -> RecordMac {
        let derive = |secret: &ServerSecret| (secret.version, secret.derive("backup-mac", &[]));
        RecordMac { newest: derive(&self.newest), older: self.older.iter().map(derive).collect() }
    }

    /// What seals the lines of a server's journal. Every version can open; the newest seals.
    #[must_use]
    pub fn journal_mac(&self) -> RecordMac {
        let derive = |secret: &ServerSecret| (secret.version, secret.derive("journal-mac", &[]));
        RecordMac { newest: derive(&self.newest), older: self.older.iter().map(derive).collect() }
    }

    /// What recognizes a realm's requests when they come again.
    #[must_use]
    pub fn request_marker(&self, realm: &RealmName) -> RequestMarker {
        let derive = |secret: &ServerSecret| secret.derive("idempotency", &[realm.as_str()]);
        RequestMarker::new(derive(&self.newest), self.older.iter().map(derive).collect())
    }

    /// What signs checkpoints of audit chains: with the newest version; what older ones signed can still be verified.
    #[must_use]
    pub fn audit_signer(&self) -> Signer {
        let seed = |secret: &ServerSecret| (secret.version, secret.derive_bytes("audit-signing", &[]));
        Signer::new(seed(&self.newest), self.older.iter().map(seed))
    }

    /// What the signing keys of a realm's embed tokens are made from, the newest first.
    #[must_use]
    pub fn embed_seeds(&self, realm: &RealmName) -> Vec<Zeroizing<[u8; 32]>> {
        let seed = |secret: &ServerSecret| secret.derive_bytes("embed-signing", &[realm.as_str()]);
        std::iter::once(&self.newest).chain(&self.older).map(seed).collect()
    }

    /// A value that tells whether two rings share their newest secret, and tells nothing of the secret.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        truncate(self.newest.derive("ring-fingerprint", &[]))
    }
}

struct EnvironmentDigester {
    newest: (u32, HmacSha256),
    older: Vec<(u32, HmacSha256)>,
}

/// Makes the digests of one realm's keys.
pub struct RealmDigester {
    newest_version: u32,
    environments: Vec<EnvironmentDigester>,
}

impl RealmDigester {
    /// The version of the server secret that new digests are keyed with.
    #[must_use]
    pub fn newest_version(&self) -> u32 {
        self.newest_version
    }

    /// The digest that a new secret of that environment is stored under, and the version of the server secret in it.
    /// `environment` is an index into the realm's environments.
    #[must_use]
    pub fn newest(&self, environment: usize, key: &str) -> Option<(u32, Digest)> {
        let (version, state) = &self.environments.get(environment)?.newest;
        Some((*version, native(state, key)))
    }

    /// Every digest that the key may be stored under, most likely first: native ones by version, then those over the
    /// given hashes made elsewhere. Lazily: an usual key costs one HMAC.
    pub fn candidates<'a>(
        &'a self,
        environment: usize,
        key: &'a str,
        prefix: &'a str,
        imported: &'a [DigestScheme],
    ) -> impl Iterator<Item = (DigestScheme, u32, Digest)> + 'a {
        let environments = self.environments.get(environment).into_iter();
        let natives = environments.clone().flat_map(move |e| {
            let states = std::iter::once(&e.newest).chain(&e.older);
            states.map(move |(version, state)| (DigestScheme::Native, *version, native(state, key)))
        });
        let foreign = environments.flat_map(move |e| {
            let states = std::iter::once(&e.newest).chain(&e.older);
            states.flat_map(move |(version, state)| {
                imported.iter().filter_map(move |scheme| {
                    let DigestScheme::Imported(algorithm, part) = *scheme else { return None };
                    let covered = match part {
                        HashedPart::Whole => key,
                        HashedPart::Body => key.strip_prefix(prefix)?,
                    };
                    let hash = algorithm.hash(covered.as_bytes());
                    Some((*scheme, *version, over_hash(state, *scheme, &hash)))
                })
            })
        });
        natives.chain(foreign)
    }

    /// Every digest that a hash made elsewhere may be stored under, and the version of the server secret in it. The first is
    /// the one for a new key.
    pub fn of_hash<'a>(
        &'a self,
        environment: usize,
        scheme: DigestScheme,
        hash: &'a [u8],
    ) -> impl Iterator<Item = (u32, Digest)> + 'a {
        let states =
            self.environments.get(environment).into_iter().flat_map(|e| std::iter::once(&e.newest).chain(&e.older));
        states.map(move |(version, state)| (*version, over_hash(state, scheme, hash)))
    }
}

/// Seals and opens stored records.
pub struct RecordMac {
    newest: (u32, HmacSha256),
    older: Vec<(u32, HmacSha256)>,
}

impl RecordMac {
    /// The length of a MAC: HMAC-SHA256 cut to 128 bits.
    pub const LENGTH: usize = 16;

    /// The MAC of a record in its place. `place` names the kind of record and where it stands, `body` is all its bytes.
    #[must_use]
    pub fn seal(&self, place: &[&[u8]], body: &[u8]) -> [u8; Self::LENGTH] {
        record_mac(&self.newest.1, place, body)
    }

    /// Whether the record was sealed by us in this very place.
    #[must_use]
    pub fn opens(&self, place: &[&[u8]], body: &[u8], mac: &[u8]) -> bool {
        let mut states = std::iter::once(&self.newest).chain(&self.older);
        states.any(|(_, state)| record_mac(state, place, body).ct_eq(mac).into())
    }
}

fn record_mac(state: &HmacSha256, place: &[&[u8]], body: &[u8]) -> [u8; RecordMac::LENGTH] {
    let mut mac = state.clone();
    for field in place.iter().chain(std::iter::once(&body)) {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    truncate(mac)
}

fn truncate(mac: HmacSha256) -> [u8; 16] {
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut short = [0; 16];
    short.copy_from_slice(full.split_at(16).0);
    short
}

fn keyed(key: &[u8]) -> HmacSha256 {
    // HMAC takes a key of any length; a block-sized copy is the variant of the API that cannot fail.
    let mut block = Zeroizing::new([0u8; 64]);
    for (slot, byte) in block.iter_mut().zip(key) {
        *slot = *byte;
    }
    HmacSha256::new((&*block).into())
}

fn native(state: &HmacSha256, key: &str) -> Digest {
    let mut mac = state.clone();
    mac.update(b"k");
    mac.update(key.as_bytes());
    Digest(mac.finalize().into_bytes().into())
}

fn over_hash(state: &HmacSha256, scheme: DigestScheme, hash: &[u8]) -> Digest {
    let mut mac = state.clone();
    mac.update(b"h");
    mac.update(&scheme.code().to_be_bytes());
    mac.update(hash);
    Digest(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(versions: &[(u32, u8)]) -> SecretRing {
        let secret = |(version, byte): &(u32, u8)| ServerSecret::new(*version, Zeroizing::new([*byte; 32]));
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
    }
}
