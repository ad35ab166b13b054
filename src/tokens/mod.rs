//! Judges access tokens of third parties: reads them, finds the issuer's key, verifies the signature once, and remembers what
//! was found good. The one room that knows JSON Web Tokens; may use the ports of `app` and the domain.
//!
//! Nothing that a token brings along decides how it is judged: the algorithm must be one that the realm allows for the issuer,
//! the key one of the issuer's own set under the `kid` that the token names, and both must go together.

mod claims;
mod embed;
mod fetch;
mod issuer;
mod json;
mod keys;
mod text;

use crate::{
    app::ports::{Clock, Entropy, GoodToken, TokenVerdict, Tokens},
    domain::{
        embed::EmbedToken,
        id::RealmName,
        key::SecretRing,
        realm::{Realm, Realms},
        secret::SecretRef,
        time::Timestamp,
        token::{TOKEN_BYTES, Token, TokenFlaw},
    },
};
use embed::EmbedKeys;
use issuer::Issuer;
pub use issuer::IssuerState;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::{path::PathBuf, sync::Arc};
use text::TokenText;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

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
    /// What signs embed tokens, if the realm has them.
    embed: Option<EmbedKeys>,
    /// Those that were found good, by their hash.
    good_embeds: Cache<[u8; 32], Arc<EmbedToken>>,
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
    pub fn open(realms: &Realms, ring: &SecretRing, clock: &Arc<dyn Clock>) -> Result<Self, IssuerError> {
        let with_issuers = realms.iter().filter(|realm| !realm.tokens.is_empty() || realm.embed_tokens.is_some());
        let opened = with_issuers.map(|realm| {
            let issuers = realm.tokens.iter();
            let issuers = issuers.map(|rules| Issuer::open(&realm.name, rules, Arc::clone(clock)).map(Arc::new));
            Ok(OfRealm {
                name: realm.name.clone(),
                realm: Arc::clone(realm),
                issuers: issuers.collect::<Result<_, _>>()?,
                good: Cache::new(REMEMBERED),
                embed: realm
                    .embed_tokens
                    .as_ref()
                    .and_then(|_| EmbedKeys::new(&realm.name, &ring.embed_seeds(&realm.name))),
                good_embeds: Cache::new(REMEMBERED),
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

    /// How the keys of every issuer stand.
    #[must_use]
    pub fn states(&self) -> Vec<IssuerState> {
        let of = |of_realm: &OfRealm| -> Vec<IssuerState> {
            of_realm.issuers.iter().map(|issuer| issuer.state(&of_realm.name)).collect()
        };
        self.realms.iter().flat_map(of).collect()
    }

    /// Tokens that are remembered, and the room for them.
    #[must_use]
    pub fn remembered(&self) -> (usize, u64) {
        let held = |of: &OfRealm| {
            let entries = of.good.len().saturating_add(of.good_embeds.len());
            (entries, of.good.capacity().saturating_add(of.good_embeds.capacity()))
        };
        let all = self.realms.iter().map(held);
        all.fold((0, 0), |sum, held| (sum.0.saturating_add(held.0), sum.1.saturating_add(held.1)))
    }

    fn of(&self, realm: &RealmName) -> Option<&OfRealm> {
        self.realms.iter().find(|of_realm| of_realm.name == *realm)
    }
}

impl Tokens for Issuers {
    fn recall(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> Option<GoodToken> {
        let of_realm = self.of(realm).filter(|_| text.expose().len() <= TOKEN_BYTES)?;
        let mark = mark(text);
        if let Some(embed) = of_realm.good_embeds.get(&mark) {
            if now >= embed.token.ends_at {
                of_realm.good_embeds.remove(&mark);
            }
            return embed.token.holds(now).is_ok().then_some(GoodToken::Embed(embed));
        }
        let good = of_realm.good.get(&mark)?;
        let issuer = of_realm.issuers.get(good.issuer)?;
        if now >= good.token.expires_at || issuer.generation() != Some(good.generation) {
            of_realm.good.remove(&mark);
            return None;
        }
        good.token.holds(now).is_ok().then_some(GoodToken::OfIssuer(good.token))
    }

    fn verify(&self, realm: &RealmName, text: SecretRef<'_>, now: Timestamp) -> TokenVerdict {
        match self.of(realm) {
            Some(of_realm) => of_realm.verify(text, now).unwrap_or_else(|flaw| TokenVerdict::Flawed(flaw, None)),
            None => TokenVerdict::Flawed(TokenFlaw::NotTaken, None),
        }
    }

    fn sign(&self, realm: &RealmName, id: &[u8; 16], embed: &EmbedToken) -> Option<Zeroizing<String>> {
        Some(self.of(realm)?.embed.as_ref()?.sign(id, embed))
    }

    fn key_set(&self, realm: &RealmName) -> Option<String> {
        Some(self.of(realm)?.embed.as_ref()?.key_set())
    }
}

impl OfRealm {
    fn verify(&self, text: SecretRef<'_>, now: Timestamp) -> Result<TokenVerdict, TokenFlaw> {
        let read = TokenText::read(text.expose())?;
        let claimed = read.issuer().ok_or(TokenFlaw::Claims)?;
        if let Some(keys) = self.embed.as_ref().filter(|keys| **keys.issuer() == *claimed) {
            return self.verify_embed(keys, &read, text, now);
        }
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
        Ok(TokenVerdict::Good(GoodToken::OfIssuer(token)))
    }

    fn verify_embed(
        &self,
        keys: &EmbedKeys,
        read: &TokenText<'_>,
        text: SecretRef<'_>,
        now: Timestamp,
    ) -> Result<TokenVerdict, TokenFlaw> {
        let embed = Arc::new(keys.verify(read)?);
        match embed.token.holds(now) {
            Ok(()) => {}
            Err(flaw) => {
                let flaw = if flaw == TokenFlaw::Expired { TokenFlaw::ExpiredEmbed } else { flaw };
                return Ok(TokenVerdict::Flawed(flaw, Some(Arc::clone(&embed.token))));
            }
        }
        self.good_embeds.insert(mark(text), Arc::clone(&embed));
        Ok(TokenVerdict::Good(GoodToken::Embed(embed)))
    }
}

fn mark(text: SecretRef<'_>) -> [u8; 32] {
    Sha256::digest(text.expose().as_bytes()).into()
}
