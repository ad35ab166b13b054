//! Key sets (RFC 7517): which keys of an issuer can verify a token, and by which algorithms.

use super::json;
use crate::domain::token::{TokenAlgorithm, TokenFlaw};
use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey, crypto};
use serde_json::{Map, Value};

/// Keys of a set, at most.
pub(super) const KEYS: usize = 64;
/// Bytes of a set, at most.
pub(super) const SET_BYTES: usize = 262_144;

/// The public keys of an issuer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeySet(Vec<Key>);

/// One public key.
#[derive(Debug)]
pub(super) struct Key {
    id: String,
    kind: Kind,
    /// The only algorithm that it is for, if the set says so.
    only: Option<TokenAlgorithm>,
    key: DecodingKey,
    /// What tells it from another key under the same name.
    material: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

impl KeySet {
    /// Reads a set. A key that cannot verify tokens here is passed over, as the standard has it.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > SET_BYTES {
            return Err(format!("it is larger than {SET_BYTES} bytes"));
        }
        let set = json::object(bytes).ok_or("it is not a JSON object in which every name stands once")?;
        let listed = set.get("keys").and_then(Value::as_array).ok_or("it has no list `keys`")?;
        if listed.len() > KEYS {
            return Err(format!("it holds {} keys, and {KEYS} are the most", listed.len()));
        }
        let mut keys: Vec<Key> = Vec::new();
        for entry in listed {
            let entry = entry.as_object().ok_or("one of its `keys` is no object")?;
            if ["d", "p", "q", "k"].iter().any(|private| entry.contains_key(*private)) {
                return Err("one of its keys is not public: whoever can read it can sign tokens".to_owned());
            }
            let Some(key) = Key::read(entry) else { continue };
            if keys.iter().any(|other| other.id == key.id) {
                return Err(format!("two of its keys are `{}`", key.id.escape_debug()));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err("none of its keys has a `kid` and can verify tokens here".to_owned());
        }
        Ok(Self(keys))
    }

    /// The key of that name.
    pub(super) fn named(&self, id: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let what = |key: &Self| (key.kind, key.only);
        self.id == other.id && what(self) == what(other) && self.material == other.material
    }
}

impl Eq for Key {}

impl Key {
    /// Nothing for a key that is none of ours to use.
    fn read(entry: &Map<String, Value>) -> Option<Self> {
        let word = |name: &str| entry.get(name).and_then(Value::as_str);
        let id = word("kid").filter(|id| !id.is_empty())?.to_owned();
        if entry.contains_key("use") && word("use") != Some("sig") {
            return None;
        }
        if let Some(uses) = entry.get("key_ops") {
            uses.as_array()?.iter().find(|operation| operation.as_str() == Some("verify"))?;
        }
        let (kind, names): (_, &[&str]) = match (word("kty")?, word("crv")) {
            ("RSA", None) => (Kind::Rsa, &["n", "e"]),
            ("EC", Some("P-256")) => (Kind::P256, &["x", "y"]),
            ("EC", Some("P-384")) => (Kind::P384, &["x", "y"]),
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, &["x"]),
            _ => return None,
        };
        let only = match entry.get("alg") {
            None => None,
            Some(name) => Some(TokenAlgorithm::from_name(name.as_str()?).filter(|only| kind.does(*only))?),
        };
        let material = names.iter().map(|name| word(name)).collect::<Option<Vec<&str>>>()?;
        let lengths = material.iter().map(|part| Some(BASE64URL_NOPAD.decode(part.as_bytes()).ok()?.len()));
        let lengths = lengths.collect::<Option<Vec<usize>>>()?;
        let key = match (kind, &material[..], &lengths[..]) {
            // 2,048 to 8,192 bits.
            (Kind::Rsa, [n, e], [256..=1_024, 1..=8]) => DecodingKey::from_rsa_components(n, e),
            (Kind::P256, [x, y], [32, 32]) | (Kind::P384, [x, y], [48, 48]) => DecodingKey::from_ec_components(x, y),
            (Kind::Ed25519, [x], [32]) => DecodingKey::from_ed_components(x),
            _ => return None,
        };
        let material = material.into_iter().map(str::to_owned).collect();
        Some(Self { id, kind, only, key: key.ok()?, material })
    }

    /// Verifies a signature.
    pub(super) fn verify(&self, algorithm: TokenAlgorithm, signed: &[u8], signature: &str) -> Result<(), TokenFlaw> {
        if !self.kind.does(algorithm) || self.only.is_some_and(|only| only != algorithm) {
            return Err(TokenFlaw::KeyMismatch);
        }
        let verified = crypto::verify(signature, signed, &self.key, library_name(algorithm));
        if verified.unwrap_or(false) { Ok(()) } else { Err(TokenFlaw::Signature) }
    }
}

impl Kind {
    fn does(self, algorithm: TokenAlgorithm) -> bool {
        use TokenAlgorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
        match algorithm {
            Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512 => self == Self::Rsa,
            Es256 => self == Self::P256,
            Es384 => self == Self::P384,
            EdDsa => self == Self::Ed25519,
        }
    }
}

fn library_name(algorithm: TokenAlgorithm) -> Algorithm {
    match algorithm {
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Rs384 => Algorithm::RS384,
        TokenAlgorithm::Rs512 => Algorithm::RS512,
        TokenAlgorithm::Ps256 => Algorithm::PS256,
        TokenAlgorithm::Ps384 => Algorithm::PS384,
        TokenAlgorithm::Ps512 => Algorithm::PS512,
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::Es384 => Algorithm::ES384,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}
