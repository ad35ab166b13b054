//! An issuer of access tokens: keys of every kind, a key set with their public halves, and tokens to the letter, wrong ones too.

use super::calls::now;
use aws_lc_rs::{
    encoding::{AsBigEndian, EcPublicKeyUncompressedBin},
    hmac,
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        self as sign, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
        KeyPair, RsaEncoding, RsaKeyPair,
    },
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use std::sync::OnceLock;

/// Who issues, and for whom, in the tests' copies of the shipped realms.
pub const ISSUER: &str = "https://issuer.test";
pub const AUDIENCE: &str = "the-app";

/// A pair of keys.
pub enum Pair {
    Es256(EcdsaKeyPair),
    Es384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// An issuer with one key of each kind, named by its kind.
pub struct Issuer {
    pairs: Vec<(&'static str, Pair)>,
}

impl Issuer {
    pub fn new() -> Self {
        let pairs = vec![
            ("es256", Pair::Es256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())),
            ("es384", Pair::Es384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap())),
            ("rsa", Pair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())),
            ("ed25519", Pair::Ed25519(Ed25519KeyPair::generate().unwrap())),
        ];
        Self { pairs }
    }

    /// The one that the tests' copies of the shipped realms trust.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Issuer> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    pub fn pair(&self, key_id: &str) -> &Pair {
        &self.pairs.iter().find(|(name, _)| *name == key_id).expect("the issuer has such a key").1
    }

    /// The public halves.
    pub fn key_set(&self) -> String {
        let keys: Vec<Value> = self.pairs.iter().map(|(name, pair)| pair.public(name)).collect();
        json!({ "keys": keys }).to_string()
    }

    /// A good token for that account.
    pub fn token(&self, account: &str) -> String {
        self.signed("es256", "ES256", &claims(account))
    }

    /// Signed with that key, whatever the algorithm is said to be.
    pub fn signed(&self, key_id: &str, algorithm: &str, claims: &Value) -> String {
        let header = json!({ "alg": algorithm, "typ": "JWT", "kid": key_id });
        self.pair(key_id).sign_as(algorithm, &header.to_string(), &claims.to_string())
    }
}

/// The claims of a good token for that account.
pub fn claims(account: &str) -> Value {
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": account, "iat": now() - 5, "exp": now() + 3_600 })
}

/// Good claims, some of them replaced; null takes one out.
pub fn claims_with(account: &str, changes: Value) -> Value {
    let mut all = claims(account);
    for (name, value) in changes.as_object().expect("changes are an object") {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    all
}

pub fn encoded(text: impl AsRef<[u8]>) -> String {
    BASE64URL_NOPAD.encode(text.as_ref())
}

/// Header and claims as given, and a signature over them.
pub fn compact(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encoded(header), encoded(claims));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", encoded(signature))
}

pub fn hs256(secret: &[u8], header: &str, claims: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    compact(header, claims, |signed| hmac::sign(&key, signed).as_ref().to_vec())
}

impl Pair {
    pub fn sign_as(&self, algorithm: &str, header: &str, claims: &str) -> String {
        compact(header, claims, |signed| self.sign(algorithm, signed))
    }

    fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Es256(pair) | Self::Es384(pair) => pair.sign(&random, signed).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(signed).as_ref().to_vec(),
            Self::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match algorithm {
                    "RS384" => &sign::RSA_PKCS1_SHA384,
                    "RS512" => &sign::RSA_PKCS1_SHA512,
                    "PS256" => &sign::RSA_PSS_SHA256,
                    "PS384" => &sign::RSA_PSS_SHA384,
                    "PS512" => &sign::RSA_PSS_SHA512,
                    _ => &sign::RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, signed, &mut signature).unwrap();
                signature
            }
        }
    }

    /// The public half as a key set tells it.
    pub fn public(&self, key_id: &str) -> Value {
        let curve = |pair: &EcdsaKeyPair, name: &str| {
            let point: EcPublicKeyUncompressedBin<'_> = pair.public_key().as_be_bytes().unwrap();
            let (x, y) = point.as_ref()[1..].split_at((point.as_ref().len() - 1) / 2);
            json!({ "kty": "EC", "crv": name, "kid": key_id, "use": "sig", "x": encoded(x), "y": encoded(y) })
        };
        match self {
            Self::Es256(pair) => curve(pair, "P-256"),
            Self::Es384(pair) => curve(pair, "P-384"),
            Self::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": key_id, "x": encoded(pair.public_key().as_ref()) })
            }
            Self::Rsa(pair) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus(), public.exponent());
                let part = |number: sign::RsaPublicKeyComponents<Vec<u8>>| (encoded(&number.n), encoded(&number.e));
                let (n, e) = part(sign::RsaPublicKeyComponents {
                    n: n.big_endian_without_leading_zero().to_vec(),
                    e: e.big_endian_without_leading_zero().to_vec(),
                });
                json!({ "kty": "RSA", "kid": key_id, "n": n, "e": e })
            }
        }
    }
}
