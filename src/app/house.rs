//! What all use cases share: the realms with their digesters, the store, the clock.
//!
//! A house never changes. When the configuration does, another one is built beside it and succeeds it: whoever began in the
//! old house ends there, and what outlives a configuration is handed on.

mod building;
mod guarded;

pub use guarded::Guarded;
pub(super) use guarded::mint;

use super::{
    error::AppError,
    manager::{Certified, Manager},
    meter::Meter,
    misses::Misses,
    ports::{Clock, Courier, Entropy, Messenger, Store, Tokens, backup::Archive, journal::Journal, trace::Following},
    problems::Problems,
    rekey::Pace,
    uses::UseQueue,
    vault::Vault,
};
use crate::domain::{
    audit::Signer,
    id::{AccountRef, KeyId},
    key::{KeySnapshot, LastUse, Minted, SecretState},
    secret::Secret,
    time::Timestamp,
};
use parking_lot::RwLock;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock, Weak},
};
use tokio::sync::{Mutex, MutexGuard, Notify};

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

impl House {
    /// From now on this is the house that is lived in: work in the background goes on in it with its next step. Somebody has to
    /// keep it.
    pub fn move_in(self: &Arc<Self>) {
        *self.present.write() = Arc::downgrade(self);
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
