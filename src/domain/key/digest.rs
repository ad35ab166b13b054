//! Keyed digests. A key is stored only as HMAC-SHA256 under a key that is derived from the server secret for one purpose,
//! one realm and one environment; a record carries a MAC so that whoever can write to the store can delete, never forge.

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

/// What digests the keys of one environment: the version that makes digests, and those that are looked for beside it.
pub(super) struct EnvironmentDigester {
    pub(super) newest: (u32, HmacSha256),
    pub(super) older: Vec<(u32, HmacSha256)>,
}

/// Makes the digests of one realm's keys.
pub struct RealmDigester {
    pub(super) newest_version: u32,
    pub(super) environments: Vec<EnvironmentDigester>,
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
    pub(super) newest: (u32, HmacSha256),
    pub(super) older: Vec<(u32, HmacSha256)>,
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

pub(super) fn truncate(mac: HmacSha256) -> [u8; 16] {
    let full: [u8; 32] = mac.finalize().into_bytes().into();
    let mut short = [0; 16];
    short.copy_from_slice(full.split_at(16).0);
    short
}

pub(super) fn keyed(key: &[u8]) -> HmacSha256 {
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
