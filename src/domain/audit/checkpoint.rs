//! Signed statements about chains. A chain alone cannot show that its end was cut off, nor that all of it was made anew: a
//! statement of how far it reached, signed by a key that only the server can derive, can.
//!
//! What is signed is a list of fields, each preceded by its length as 8 bytes, big-endian; numbers are 8 bytes, big-endian.
//! The first field names the kind of statement, so that none can be taken for another.

use super::Chain;
use crate::domain::{
    id::{AccountId, AccountRef, RealmName},
    time::Timestamp,
};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// How far an account's chain reached at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The account.
    pub owner: AccountRef,
    /// How many events there were, and the hash of the last.
    pub chain: Chain,
    /// When.
    pub at: Timestamp,
}

/// Which checkpoints were made together: leaving one out shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// The realm.
    pub realm: RealmName,
    /// The one account that was asked for; nothing: all of the realm.
    pub account: Option<AccountId>,
    /// How many checkpoints there are.
    pub accounts: u64,
    /// See [`Sealing`].
    pub digest: [u8; 32],
    /// When.
    pub at: Timestamp,
}

/// What can be signed.
pub trait Statement {
    /// What goes under the signature. No two statements have the same bytes.
    fn signed_bytes(&self) -> Vec<u8>;
}

impl Statement for Checkpoint {
    fn signed_bytes(&self) -> Vec<u8> {
        fields(&[
            b"keygate audit checkpoint 1",
            self.owner.realm.as_str().as_bytes(),
            self.owner.account.as_str().as_bytes(),
            &self.chain.length.to_be_bytes(),
            &self.chain.head,
            &self.at.as_micros().to_be_bytes(),
        ])
    }
}

impl Statement for Seal {
    fn signed_bytes(&self) -> Vec<u8> {
        fields(&[
            b"keygate audit seal 1",
            self.realm.as_str().as_bytes(),
            self.account.as_ref().map_or("", AccountId::as_str).as_bytes(),
            &self.accounts.to_be_bytes(),
            &self.digest,
            &self.at.as_micros().to_be_bytes(),
        ])
    }
}

fn fields(list: &[&[u8]]) -> Vec<u8> {
    list.iter().flat_map(|field| [&(field.len() as u64).to_be_bytes()[..], field].concat()).collect()
}

/// A public key that verifies statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; Self::BYTES]);

impl PublicKey {
    /// Bytes of a key.
    pub const BYTES: usize = 32;

    /// The key of these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The key as bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// Whether the bytes are a key at all, and none under which signatures mean nothing.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| !key.is_weak())
    }
}

/// A statement with its signature, which nobody has looked at yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed<T> {
    /// What is stated.
    pub statement: T,
    /// The key that is said to verify it.
    pub public_key: PublicKey,
    /// The signature.
    pub signature: [u8; Signed::<()>::SIGNATURE_BYTES],
}

impl Signed<()> {
    /// Bytes of a signature.
    pub const SIGNATURE_BYTES: usize = 64;
}

impl<T: Statement> Signed<T> {
    /// Whether the signature is one of that key over this statement. Whose key it is, is not said.
    #[must_use]
    pub fn is_genuine(&self) -> bool {
        let key = VerifyingKey::from_bytes(self.public_key.as_bytes());
        let signature = Signature::from_bytes(&self.signature);
        key.is_ok_and(|key| key.verify_strict(&self.statement.signed_bytes(), &signature).is_ok())
    }
}

/// A version of the server secret, and what the signing key of that version is made from.
type Seed = (u32, Zeroizing<[u8; 32]>);

/// Signs statements with the key of the newest server secret.
pub struct Signer {
    key: SigningKey,
    public: Vec<(u32, PublicKey)>,
}

impl Signer {
    /// Of every version of the server secret its number and the seed of its key.
    pub(in crate::domain) fn new(newest: Seed, older: impl Iterator<Item = Seed>) -> Self {
        let public = |key: &SigningKey| PublicKey(key.verifying_key().to_bytes());
        let key = SigningKey::from_bytes(&newest.1);
        let older = older.map(|(version, seed)| (version, public(&SigningKey::from_bytes(&seed))));
        let public = std::iter::once((newest.0, public(&key))).chain(older).collect();
        Self { key, public }
    }

    /// The keys that verify what was signed, each with the version of the server secret that it comes from; the newest first.
    #[must_use]
    pub fn public_keys(&self) -> &[(u32, PublicKey)] {
        &self.public
    }

    /// Signs a statement.
    #[must_use]
    pub fn sign<T: Statement>(&self, statement: T) -> Signed<T> {
        let signature = self.key.sign(&statement.signed_bytes()).to_bytes();
        Signed { statement, public_key: PublicKey(self.key.verifying_key().to_bytes()), signature }
    }
}

/// Checkpoints on their way into a seal: its digest is SHA-256 over the signed bytes of all of them, in order.
#[derive(Clone, Default)]
pub struct Sealing {
    hasher: Sha256,
    accounts: u64,
}

impl Sealing {
    /// Takes a checkpoint in.
    pub fn take(&mut self, checkpoint: &Checkpoint) {
        self.hasher.update(checkpoint.signed_bytes());
        self.accounts = self.accounts.saturating_add(1);
    }

    /// How many were taken in, and their digest.
    #[must_use]
    pub fn finish(self) -> (u64, [u8; 32]) {
        (self.accounts, self.hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(byte: u8) -> Signer {
        Signer::new((1, Zeroizing::new([byte; 32])), std::iter::empty())
    }

    fn checkpoint() -> Checkpoint {
        let owner = AccountRef { realm: RealmName::new("recurr").unwrap(), account: AccountId::new("acme").unwrap() };
        Checkpoint { owner, chain: Chain { length: 3, head: [7; 32] }, at: Timestamp::from_micros(5) }
    }

    #[test]
    fn a_signature_holds_for_its_statement_and_no_other() {
        let signed = signer(1).sign(checkpoint());
        assert!(signed.is_genuine());
        let change = |change: fn(&mut Signed<Checkpoint>)| {
            let mut changed = signed.clone();
            change(&mut changed);
            changed.is_genuine()
        };
        assert!(!change(|it| it.statement.chain.length = 2));
        assert!(!change(|it| it.statement.chain.head[31] ^= 1));
        assert!(!change(|it| it.statement.at = Timestamp::from_micros(6)));
        assert!(!change(|it| it.statement.owner.account = AccountId::new("acm").unwrap()));
        assert!(!change(|it| it.statement.owner.realm = RealmName::new("recover").unwrap()));
        assert!(!change(|it| it.signature[0] ^= 1));
        assert!(!change(|it| it.public_key = signer(2).public_keys()[0].1));
        assert!(signer(2).sign(checkpoint()).is_genuine(), "whose key it is, is for the verifier to say");
    }

    #[test]
    fn a_checkpoint_is_no_seal_and_fields_do_not_run_into_each_other() {
        let seal = |realm: &str, account: &str| Seal {
            realm: RealmName::new(realm).unwrap(),
            account: AccountId::new(account).ok(),
            accounts: 3,
            digest: [7; 32],
            at: Timestamp::from_micros(5),
        };
        assert_ne!(seal("recurr", "acme").signed_bytes(), checkpoint().signed_bytes());
        assert_ne!(seal("recurr", "acme").signed_bytes(), seal("recurracme", "").signed_bytes());
        assert_ne!(seal("recurr", "acme").signed_bytes(), seal("recurra", "cme").signed_bytes());
    }

    #[test]
    fn a_seal_depends_on_every_checkpoint_and_their_order() {
        let digest = |lengths: &[u64]| {
            let mut sealing = Sealing::default();
            for length in lengths {
                let chain = Chain { length: *length, head: [7; 32] };
                sealing.take(&Checkpoint { chain, ..checkpoint() });
            }
            sealing.finish()
        };
        assert_eq!(digest(&[1, 2]), digest(&[1, 2]));
        assert_eq!(digest(&[1, 2]).0, 2);
        for other in [&[2, 1][..], &[1], &[1, 2, 2], &[]] {
            assert_ne!(digest(&[1, 2]).1, digest(other).1);
        }
    }

    #[test]
    fn what_is_no_key_is_not_sound() {
        assert!(signer(1).public_keys()[0].1.is_sound());
        // The neutral element: a signature under it could be anybody's.
        let mut neutral = [0; 32];
        neutral[0] = 1;
        assert!(!PublicKey::from_bytes(neutral).is_sound());
        assert!(!PublicKey::from_bytes([2; 32]).is_sound() || !PublicKey::from_bytes([0xff; 32]).is_sound());
    }
}
