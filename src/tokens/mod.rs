//! Judges access tokens of third parties: reads them, finds the issuer's key, verifies the signature once, and remembers what
//! was found good. The one room that knows JSON Web Tokens; may use the ports of `app` and the domain.
//!
//! Nothing that a token brings along decides how it is judged: the algorithm must be one that the realm allows for the issuer,
//! the key one of the issuer's own set under the `kid` that the token names, and both must go together.

mod claims;
mod fetch;
mod issuer;
mod json;
mod keys;
mod text;

use crate::{
    app::ports::{Clock, Entropy, TokenVerdict, Tokens},
    domain::{
        id::RealmName,
        realm::{Realm, Realms},
        secret::SecretRef,
        time::Timestamp,
        token::{TOKEN_BYTES, Token, TokenFlaw},
    },
};
use issuer::Issuer;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::{path::PathBuf, sync::Arc};
use text::TokenText;
use tokio::runtime::Handle;

/// Tokens of one realm that are remembered, at most.
const REMEMBERED: usize = 10_000;

/// The issuers of every realm.
pub struct Issuers {
    realms: Vec<OfRealm>,
}

/// The issuers of one realm, and the tokens that were found good.
struct OfRealm {
    name: RealmName,
    realm: Arc<Realm>,
    issuers: Vec<Arc<Issuer>>,
    /// By the token's hash: no part of it is kept.
    good: Cache<[u8; 32], Good>,
}

/// A token that was found good, and by which state of its issuer's keys.
#[derive(Clone)]
struct Good {
    token: Arc<Token>,
    issuer: usize,
    generation: u64,
}

/// Why the tokens of a realm cannot be judged at all.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A file of public keys cannot be read.
    #[error("realm `{realm}`: the key set `{}` cannot be read: {cause}", path.display())]
    File {
        /// The realm.
        realm: RealmName,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: std::io::Error,
    },
    /// A file of public keys is not one.
    #[error("realm `{realm}`: `{}` is no key set: {problem}", path.display())]
    Keys {
        /// The realm.
        realm: RealmName,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// An address of public keys cannot be asked.
    #[error("realm `{realm}`: keys cannot be fetched from `{url}`: {problem}")]
    Address {
        /// The realm.
        realm: RealmName,
        /// The address.
        url: String,
        /// What is wrong.
        problem: String,
    },
}

impl Issuers {
    /// The issuers of these realms: key sets in files are read now.
    ///
    /// # Errors
    /// When one of the files is not a key set, or the machine has no certificates to trust an address by.
    pub fn open(realms: &Realms, clock: &Arc<dyn Clock>) -> Result<Self, IssuerError> {
        let with_issuers = realms.iter().filter(|realm| !realm.tokens.is_empty());
        let opened = with_issuers.map(|realm| {
            let issuers = realm.tokens.iter();
            let issuers = issuers.map(|rules| Issuer::open(&realm.name, rules, Arc::clone(clock)).map(Arc::new));
            Ok(OfRealm {
                name: realm.name.clone(),
                realm: Arc::clone(realm),
                issuers: issuers.collect::<Result<_, _>>()?,
                good: Cache::new(REMEMBERED),
            })
        });
        Ok(Self { realms: opened.collect::<Result<_, _>>()? })
    }

    /// Fetches key sets from their addresses, now and again, until the runtime ends.
    pub fn keep_fresh(&self, runtime: &Handle, entropy: &Arc<dyn Entropy>) {
        for of_realm in &self.realms {
            for issuer in &of_realm.issuers {
                if issuer.is_fetched() {
                    runtime.spawn(Arc::clone(issuer).keep_fresh(of_realm.name.clone(), Arc::clone(entropy)));
                }
            }
        }
    }

    fn of(&self, realm: &RealmName) -> Option<&OfRealm> {
        self.realms.iter().find(|of_realm| of_realm.name == *realm)
    }
}

impl Tokens for Issuers {
    fn recall(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> Option<Arc<Token>> {
        let of_realm = self.of(realm).filter(|_| text.expose().len() <= TOKEN_BYTES)?;
        let mark = mark(text);
        let good = of_realm.good.get(&mark)?;
        let issuer = of_realm.issuers.get(good.issuer)?;
        if now >= good.token.expires_at || issuer.generation() != Some(good.generation) {
            of_realm.good.remove(&mark);
            return None;
        }
        good.token.holds(now).is_ok().then_some(good.token)
    }

    fn verify(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> TokenVerdict {
        match self.of(realm) {
            Some(of_realm) => of_realm.verify(text, now).unwrap_or_else(|flaw| TokenVerdict::Flawed(flaw, None)),
            None => TokenVerdict::Flawed(TokenFlaw::NotTaken, None),
        }
    }
}

impl OfRealm {
    fn verify(&self, text: SecretRef<'_>, now: Timestamp) -> Result<TokenVerdict, TokenFlaw> {
        let read = TokenText::read(text.expose())?;
        let claimed = read.issuer().ok_or(TokenFlaw::Claims)?;
        let mut issuers = self.issuers.iter().enumerate();
        let found = issuers.find(|(_, issuer)| *issuer.rules().issuer == *claimed);
        let (at, issuer) = found.ok_or(TokenFlaw::Issuer)?;
        if !issuer.rules().algorithms.contains(&read.algorithm) {
            return Err(TokenFlaw::Algorithm);
        }
        let (keys, generation) = match issuer.keys() {
            Some(known) => known,
            None => return Ok(issuer.renewal().unwrap_or_else(|| issuer.unavailable())),
        };
        let Some(key) = keys.named(&read.key_id) else {
            // Perhaps the issuer has a new one.
            return issuer.renewal().ok_or(TokenFlaw::UnknownKey);
        };
        key.verify(read.algorithm, read.signed, read.signature)?;
        let token = Arc::new(claims::token(issuer.rules(), &self.realm, &read.claims)?);
        if let Err(flaw) = token.holds(now) {
            return Ok(TokenVerdict::Flawed(flaw, Some(token)));
        }
        self.good.insert(mark(text), Good { token: Arc::clone(&token), issuer: at, generation });
        Ok(TokenVerdict::Good(token))
    }
}

fn mark(text: SecretRef<'_>) -> [u8; 32] {
    Sha256::digest(text.expose().as_bytes()).into()
}
