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
        token::{KeySource, TOKEN_BYTES, Token, TokenFlaw},
    },
};
use embed::EmbedKeys;
use issuer::Issuer;
pub use issuer::IssuerState;
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use text::TokenText;
use tokio::runtime::Handle;
use zeroize::Zeroizing;

/// Tokens of one realm that are remembered, at most.
const REMEMBERED: usize = 10_000;

/// The issuers of every realm.
pub struct Issuers {
    realms: Vec<Arc<OfRealm>>,
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
    /// With every file that is not a key set; or when the machine has no certificates to trust an address by.
    pub fn open(realms: &Realms, ring: &SecretRing, clock: &Arc<dyn Clock>) -> Result<Self, Vec<IssuerError>> {
        Self { realms: Vec::new() }.successor(realms, ring, clock)
    }

    /// The issuers of these realms, which succeed those here. What is known of an issuer goes on as long as it is the same one:
    /// its keys, while they come from the same place; and the tokens that were found good, while nothing changed in their
    /// realm. Nothing changes here.
    ///
    /// # Errors
    /// As [`Issuers::open`].
    pub fn successor(
        &self,
        realms: &Realms,
        ring: &SecretRing,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, Vec<IssuerError>> {
        let (mut opened, mut errors) = (Vec::new(), Vec::new());
        for realm in realms.iter().filter(|realm| !realm.tokens.is_empty() || realm.embed_tokens.is_some()) {
            let before = self.of(&realm.name);
            let issuers = realm.tokens.iter().map(|rules| {
                let before = before.and_then(|before| before.issuers.iter().find(|issuer| issuer.is_of(rules)));
                Issuer::succeed(before, &realm.name, rules, Arc::clone(clock))
            });
            let (good, bad): (Vec<_>, Vec<_>) = issuers.partition(Result::is_ok);
            errors.extend(bad.into_iter().filter_map(Result::err));
            let issuers: Vec<Arc<Issuer>> = good.into_iter().filter_map(Result::ok).collect();
            let embed = realm.embed_tokens.as_ref();
            let embed = embed.and_then(|_| EmbedKeys::new(&realm.name, &ring.embed_seeds(&realm.name)));
            opened.push(match before.filter(|before| before.is(realm, &issuers, embed.as_ref())) {
                Some(before) => Arc::clone(before),
                None => Arc::new(OfRealm::new(realm, issuers, embed)),
            });
        }
        if errors.is_empty() { Ok(Self { realms: opened }) } else { Err(errors) }
    }

    /// Fetches key sets from their addresses, now and again, until the runtime ends or they retire.
    pub fn keep_fresh(&self, runtime: &Handle, entropy: &Arc<dyn Entropy>) {
        for (realm, issuer) in self.all() {
            issuer.keep_fresh(runtime, &realm.name, entropy);
        }
    }

    /// Whether all of them go on from there.
    #[must_use]
    pub fn are(&self, before: &Self) -> bool {
        let pairs = || self.all().zip(before.all());
        let count = pairs().count();
        let same = pairs().all(|((_, own), (_, other))| Arc::ptr_eq(own, other));
        same && count == self.all().count() && count == before.all().count()
    }

    /// Fetches no more for those issuers that did not go on in `successor`.
    pub fn retire(&self, successor: &Self) {
        for (_, issuer) in self.all() {
            if !successor.all().any(|(_, other)| Arc::ptr_eq(issuer, other)) {
                issuer.retire();
            }
        }
    }

    /// How the keys of every issuer stand.
    #[must_use]
    pub fn states(&self) -> Vec<IssuerState> {
        let of = |of_realm: &Arc<OfRealm>| -> Vec<IssuerState> {
            of_realm.issuers.iter().map(|issuer| issuer.state(&of_realm.name)).collect()
        };
        self.realms.iter().flat_map(of).collect()
    }

    /// Tokens that are remembered, and the room for them.
    #[must_use]
    pub fn remembered(&self) -> (usize, u64) {
        let held = |of: &Arc<OfRealm>| {
            let entries = of.good.len().saturating_add(of.good_embeds.len());
            (entries, of.good.capacity().saturating_add(of.good_embeds.capacity()))
        };
        let all = self.realms.iter().map(held);
        all.fold((0, 0), |sum, held| (sum.0.saturating_add(held.0), sum.1.saturating_add(held.1)))
    }

    /// The files that key sets are read from.
    pub fn files(realms: &Realms) -> impl Iterator<Item = &Path> {
        realms.iter().flat_map(|realm| &realm.tokens).filter_map(|rules| match &rules.keys {
            KeySource::File(path) => Some(path.as_path()),
            KeySource::Url(_) => None,
        })
    }

    fn all(&self) -> impl Iterator<Item = (&OfRealm, &Arc<Issuer>)> {
        self.realms.iter().flat_map(|of_realm| of_realm.issuers.iter().map(move |issuer| (&**of_realm, issuer)))
    }

    fn of(&self, realm: &RealmName) -> Option<&Arc<OfRealm>> {
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
    fn new(realm: &Arc<Realm>, issuers: Vec<Arc<Issuer>>, embed: Option<EmbedKeys>) -> Self {
        Self {
            name: realm.name.clone(),
            realm: Arc::clone(realm),
            issuers,
            good: Cache::new(REMEMBERED),
            embed,
            good_embeds: Cache::new(REMEMBERED),
        }
    }

    /// Whether it judges by the very same.
    fn is(&self, realm: &Arc<Realm>, issuers: &[Arc<Issuer>], embed: Option<&EmbedKeys>) -> bool {
        let same_issuers = self.issuers.len() == issuers.len()
            && self.issuers.iter().zip(issuers).all(|(own, other)| Arc::ptr_eq(own, other));
        let same_embed = match (&self.embed, embed) {
            (Some(own), Some(other)) => own.is(other),
            (own, other) => own.is_none() && other.is_none(),
        };
        Arc::ptr_eq(&self.realm, realm) && same_issuers && same_embed
    }

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
