//! How a house is built, furnished, and succeeded by another.

use super::{House, guarded::guarded};
use crate::{
    app::{
        manager::Certified,
        meter::Meter,
        misses::Misses,
        ports::{
            Clock, Courier, Entropy, GoodToken, Messenger, NoMessenger, TokenVerdict, Tokens, backup::Archive,
            journal::Journal, trace::Following,
        },
        vault::Vault,
    },
    domain::{
        embed::EmbedToken, id::RealmName, key::SecretRing, realm::Realms, secret::SecretRef, time::Timestamp,
        token::TokenFlaw, webhook::Webhook,
    },
};
use std::{
    hash::RandomState,
    sync::{Arc, OnceLock},
};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

/// For a server of which no realm takes tokens.
struct NoTokens;

impl Tokens for NoTokens {
    fn recall(&self, _: &RealmName, _: SecretRef<'_>, _: Timestamp) -> Option<GoodToken> {
        None
    }

    fn verify(&self, _: &RealmName, _: SecretRef<'_>, _: Timestamp) -> TokenVerdict {
        TokenVerdict::Flawed(TokenFlaw::NotTaken, None)
    }

    fn sign(&self, _: &RealmName, _: &[u8; 16], _: &EmbedToken) -> Option<Zeroizing<String>> {
        None
    }

    fn key_set(&self, _: &RealmName) -> Option<String> {
        None
    }
}

impl House {
    /// Acts on this many accounts are made at the same time, at most.
    const LOCKS: usize = 256;

    /// Makes ready what all use cases share.
    #[must_use]
    pub fn new(realms: &Realms, ring: &SecretRing, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        let meter = Arc::new(Meter::default());
        Self {
            realms: guarded(realms, ring, &meter),
            clock,
            entropy,
            tokens: Arc::new(NoTokens),
            messenger: Arc::new(NoMessenger),
            uses: Arc::default(),
            misses: Arc::new(Misses::new(0)),
            rekeying: Arc::default(),
            vault: Arc::new(Vault::off()),
            certified: Arc::default(),
            signer: ring.audit_signer(),
            secrets: ring.states(),
            archive: None,
            journal: None,
            read_only: false,
            courier: OnceLock::new(),
            problems: Arc::default(),
            news: Arc::default(),
            meter,
            following: Following::default(),
            denials_a_second: 0,
            locks: (0..Self::LOCKS).map(|_| Mutex::new(())).collect(),
            hasher: RandomState::new(),
            present: Arc::default(),
        }
    }

    /// The same, with whatever counts. Without it nothing is counted.
    #[must_use]
    pub fn with_meter(mut self, meter: Arc<Meter>) -> Self {
        self.realms.iter_mut().for_each(|guarded| guarded.meter = meter.realm(&guarded.realm));
        Self { meter, ..self }
    }

    /// The same, with whoever follows calls. Without it none is followed.
    #[must_use]
    pub fn with_following(self, following: Following) -> Self {
        Self { following, ..self }
    }

    /// The same, which tells so many denials of each realm in a second.
    #[must_use]
    pub fn with_told_denials(self, denials_a_second: u32) -> Self {
        Self { denials_a_second, ..self }
    }

    /// A house for another state of the configuration, in which nobody lives yet. It shares what outlives every configuration:
    /// the clock, what is counted, uses that wait to be written, misses, the order of acts on an account.
    #[must_use]
    pub fn successor(&self, realms: &Realms, ring: &SecretRing) -> Self {
        Self {
            realms: guarded(realms, ring, &self.meter),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
            tokens: Arc::new(NoTokens),
            messenger: Arc::new(NoMessenger),
            uses: Arc::clone(&self.uses),
            misses: Arc::clone(&self.misses),
            rekeying: Arc::clone(&self.rekeying),
            vault: Arc::new(Vault::off()),
            certified: Arc::default(),
            signer: ring.audit_signer(),
            secrets: ring.states(),
            archive: None,
            journal: self.journal.clone(),
            read_only: false,
            courier: OnceLock::new(),
            problems: Arc::clone(&self.problems),
            news: Arc::clone(&self.news),
            meter: Arc::clone(&self.meter),
            following: self.following.clone(),
            denials_a_second: self.denials_a_second,
            locks: Arc::clone(&self.locks),
            hasher: self.hasher.clone(),
            present: Arc::clone(&self.present),
        }
    }

    /// The same, with a budget of misses for each address.
    #[must_use]
    pub fn with_budget(self, misses_per_source: u32) -> Self {
        Self { misses: Arc::new(Misses::new(misses_per_source)), ..self }
    }

    /// The same, in which these certificates manage.
    #[must_use]
    pub fn with_certified(self, certified: Arc<Certified>) -> Self {
        Self { certified, ..self }
    }

    /// The same, with a vault.
    #[must_use]
    pub fn with_vault(self, vault: impl Into<Arc<Vault>>) -> Self {
        Self { vault: vault.into(), ..self }
    }

    /// The same, with whoever knows what the file of a backup looks like.
    #[must_use]
    pub fn with_archive(self, archive: Arc<dyn Archive>) -> Self {
        Self { archive: Some(archive), ..self }
    }

    /// The same, which writes down what it does to accounts.
    #[must_use]
    pub fn with_journal(self, journal: Arc<dyn Journal>) -> Self {
        Self { journal: Some(journal), ..self }
    }

    /// The same, which refuses every act, or no longer does.
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// The same, with whoever judges access tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: Arc<dyn Tokens>) -> Self {
        Self { tokens, ..self }
    }

    /// The same, with somebody who takes messages to subscribers. `exports`: one of them takes every act.
    #[must_use]
    pub fn with_courier(mut self, courier: Arc<dyn Courier>, exports: bool) -> Self {
        // Nobody else sets it.
        let _ = self.courier.set(courier);
        if exports {
            self.realms.iter_mut().for_each(|guarded| guarded.hooks.push(Webhook::export()));
        }
        self
    }

    /// The same, with whoever brings one-time codes.
    #[must_use]
    pub fn with_messenger(self, messenger: Arc<dyn Messenger>) -> Self {
        Self { messenger, ..self }
    }
}
