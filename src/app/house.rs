//! What all use cases share: the realms with their digesters, the store, the clock.
//!
//! A house never changes. When the configuration does, another one is built beside it and succeeds it: whoever began in the
//! old house ends there, and what outlives a configuration is handed on.

use super::{
    error::AppError,
    manager::{Certified, Manager},
    meter::{Meter, RealmMeter},
    misses::Misses,
    ports::{
        Clock, Courier, Entropy, GoodToken, Messenger, NoMessenger, Store, TokenVerdict, Tokens, backup::Archive,
        journal::Journal, trace::Following,
    },
    problems::Problems,
    rekey::Pace,
    uses::UseQueue,
    vault::Vault,
};
use crate::domain::{
    audit::Signer,
    embed::EmbedToken,
    id::{AccountRef, KeyId, RealmName},
    key::{KeySnapshot, LastUse, Minted, RealmDigester, RequestMarker, SecretRing, SecretState, hint},
    realm::{Realm, Realms},
    secret::{Secret, SecretRef},
    time::Timestamp,
    token::TokenFlaw,
    webhook::{EventKind, Webhook},
};
use parking_lot::RwLock;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock, Weak},
};
use tokio::sync::{Mutex, MutexGuard, Notify};
use zeroize::Zeroizing;

/// A realm, what digests its keys, and what marks its requests.
pub struct Guarded {
    /// The realm.
    pub realm: Arc<Realm>,
    /// Makes the digests of its keys.
    pub digester: RealmDigester,
    /// Recognizes requests that come again.
    pub marker: RequestMarker,
    /// Who is told what happens in it.
    pub hooks: Vec<Webhook>,
    /// What is counted of it.
    pub meter: Arc<RealmMeter>,
}

impl Guarded {
    /// Whether anything hangs on when its keys were last used.
    pub(super) fn heeds_uses(&self) -> bool {
        let rests = self.realm.keys.suspend_unused_after.is_some();
        rests || self.hooks.iter().any(|hook| hook.wants(EventKind::Awoken))
    }
}

/// What every worker shares: all that follows from one state of the configuration, and the ways to what outlives it.
pub struct House {
    /// By name: few, and looked up at every request.
    realms: Vec<Guarded>,
    /// Reads clocks.
    pub clock: Arc<dyn Clock>,
    /// Makes random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Judges access tokens.
    pub(super) tokens: Arc<dyn Tokens>,
    /// Brings one-time codes.
    pub(super) messenger: Arc<dyn Messenger>,
    pub(super) uses: Arc<UseQueue>,
    pub(super) misses: Arc<Misses>,
    pub(super) rekeying: Arc<Pace>,
    /// Providers' credentials.
    pub vault: Arc<Vault>,
    /// Whose certificates manage.
    pub(super) certified: Arc<Certified>,
    /// Signs checkpoints of audit chains.
    pub(super) signer: Signer,
    /// The versions of the server secret, the newest first.
    pub secrets: Vec<SecretState>,
    /// Knows what the file of a backup looks like; none: no backup is made.
    pub(super) archive: Option<Arc<dyn Archive>>,
    /// What this server writes down of its acts; none: nothing.
    pub(super) journal: Option<Arc<dyn Journal>>,
    /// Refuses every act.
    pub(super) read_only: bool,
    /// Takes messages to subscribers.
    pub(super) courier: OnceLock<Arc<dyn Courier>>,
    /// What is wrong with the store just now.
    pub problems: Arc<Problems>,
    /// Told when there may be news for them.
    pub news: Arc<Notify>,
    /// What is counted.
    pub meter: Arc<Meter>,
    /// Who follows calls.
    pub following: Following,
    /// Denials of each realm that the log tells in a second, at most.
    pub denials_a_second: u32,
    locks: Arc<[Mutex<()>]>,
    hasher: RandomState,
    /// Which house is lived in now. All that succeed each other share this.
    present: Arc<RwLock<Weak<House>>>,
}

/// The use cases over one store. Cheap to clone: every worker has one of its own.
pub struct App<S> {
    /// What every worker shares.
    pub house: Arc<House>,
    /// This worker's way to the store.
    pub store: S,
}

impl<S: Clone> Clone for App<S> {
    fn clone(&self) -> Self {
        Self { house: Arc::clone(&self.house), store: self.store.clone() }
    }
}

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

    /// From now on this is the house that is lived in: work in the background goes on in it with its next step. Somebody has to
    /// keep it.
    pub fn move_in(self: &Arc<Self>) {
        *self.present.write() = Arc::downgrade(self);
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

    /// Every realm.
    pub(super) fn realms(&self) -> impl Iterator<Item = &Guarded> {
        self.realms.iter()
    }

    /// The realm of that name.
    ///
    /// # Errors
    /// When there is none. Which there are is not said: whoever asks need not have shown who they are.
    pub fn realm(&self, name: &str) -> Result<&Guarded, AppError> {
        self.find(name).ok_or_else(|| AppError::invalid("realm", "must be a realm of this server"))
    }

    /// The same, for those who manage keys.
    ///
    /// # Errors
    /// When there is none: says which there are.
    pub fn realm_to_manage(&self, name: &str, _manager: &Manager) -> Result<&Guarded, AppError> {
        self.find(name).ok_or_else(|| {
            let names: Vec<&str> = self.realms.iter().map(|guarded| guarded.realm.name.as_str()).collect();
            let names = names.join("`, `");
            AppError::invalid("realm", format!("must be a realm of this server: `{names}`"))
        })
    }

    /// Every realm in the order of their names, for those who manage keys.
    pub fn all_to_manage(&self, _manager: &Manager) -> impl Iterator<Item = &Guarded> {
        self.realms.iter()
    }

    fn find(&self, name: &str) -> Option<&Guarded> {
        let found = self.realms.binary_search_by(|guarded| guarded.realm.name.as_str().cmp(name));
        self.realms.get(found.ok()?)
    }

    /// Acts on one account wait for each other on this node, so that only other nodes make them start over.
    pub(super) async fn act_on(&self, owner: &AccountRef) -> Option<MutexGuard<'_, ()>> {
        let slot = (self.hash_of(owner) as usize).checked_rem(self.locks.len())?;
        Some(self.locks.get(slot)?.lock().await)
    }

    /// The same for the same account as long as the process runs.
    pub(super) fn hash_of(&self, owner: &AccountRef) -> u64 {
        self.hasher.hash_one(owner)
    }

    /// A new key id.
    pub(super) fn new_key_id(&self, now: Timestamp) -> Result<KeyId, AppError> {
        let mut random = [0; 10];
        self.entropy.fill(&mut random)?;
        Ok(KeyId::new(now, random))
    }

    /// Notes that a key was let through.
    pub(super) fn note_use(&self, key: &Arc<KeySnapshot>, secret: u32, used: LastUse) {
        if !self.uses.note(key, secret, used) {
            self.meter.uses_dropped.one();
        }
    }

    /// How many notes of uses wait to be written.
    #[must_use]
    pub fn uses_waiting(&self) -> usize {
        self.uses.waiting()
    }

    /// An id for a request that came without one: 64 random bits in hexadecimal, or the time where there are none.
    #[must_use]
    pub fn new_request_id(&self) -> String {
        let mut random = [0; 8];
        match self.entropy.fill(&mut random) {
            Ok(()) => format!("{:016x}", u64::from_be_bytes(random)),
            Err(_) => format!("{:016x}", self.clock.now().as_micros()),
        }
    }

    /// A new secret for an environment of a realm, with what is stored of it.
    pub(super) fn new_secret(&self, guard: &Guarded, environment: usize) -> Result<(Secret, Minted), AppError> {
        let rules = guard.realm.environments.get(environment).ok_or(AppError::Bug("no such environment"))?;
        let secret = rules.format.generate(|buffer| self.entropy.fill(buffer))?;
        let minted = mint(guard, environment, rules.format.prefix(), secret.expose())?;
        Ok((secret, minted))
    }
}

fn guarded(realms: &Realms, ring: &SecretRing, meter: &Meter) -> Vec<Guarded> {
    let guarded = |realm: &Arc<Realm>| Guarded {
        realm: Arc::clone(realm),
        digester: ring.digester(realm),
        marker: ring.request_marker(&realm.name),
        hooks: realm.webhooks.clone(),
        meter: meter.realm(realm),
    };
    realms.iter().map(guarded).collect()
}

/// What is stored of a key's text.
pub(super) fn mint(guard: &Guarded, environment: usize, prefix: &str, key: &str) -> Result<Minted, AppError> {
    let (secret_version, digest) =
        guard.digester.newest(environment, key).ok_or(AppError::Bug("no digester for this environment"))?;
    let scheme = crate::domain::key::DigestScheme::Native;
    Ok(Minted { digest, scheme, secret_version, hint: hint(guard.realm.hint, prefix, key) })
}

impl<S: Store> App<S> {
    /// The use cases over a store.
    #[must_use]
    pub fn new(house: Arc<House>, store: S) -> Self {
        Self { house, store }
    }

    /// The same in the house that is lived in now. A request stays where it began; whatever goes on for longer asks this
    /// with every step.
    #[must_use]
    pub fn as_of_now(&self) -> Self {
        let present = self.house.present.read().upgrade();
        Self { house: present.unwrap_or_else(|| Arc::clone(&self.house)), store: self.store.clone() }
    }
}
