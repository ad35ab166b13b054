//! What is remembered, and when it is forgotten. See the module above for why it is never wrong.

use super::room::{ByOrganizations, ByText, CacheSettings, Held};
use crate::{
    app::ports::{Clock, Found, Sought, meter::Count},
    domain::{
        account::AccountSnapshot,
        commit::Change,
        id::{AccountRef, KeyId, RealmName},
        key::{Digest, KeySnapshot},
        time::Ticks,
    },
};
use quick_cache::{
    UnitWeighter, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Keys, accounts and misses.
pub(super) struct Memory {
    keys: ByDigest<Arc<KeySnapshot>, ByText>,
    pub(super) accounts: Cache<AccountRef, Arc<AccountSnapshot>, ByOrganizations>,
    /// Keys that embed tokens were minted from.
    pub(super) by_id: Cache<KeyId, Arc<KeySnapshot>>,
    misses: ByDigest<Miss, UnitWeighter>,
    /// Accounts that were remembered, and that were not.
    pub(super) accounts_asked: [Count; 2],
    miss_lifetime: Duration,
    /// Raised when digests were added.
    generation: AtomicU64,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Miss {
    realm: RealmName,
    read_at: Ticks,
    generation: u64,
}

type ByDigest<V, W> = Cache<Digest, V, W, BuildHasherDefault<DigestHasher>>;

impl Memory {
    pub(super) fn new(settings: CacheSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys: by_digest(settings.keys, ByText),
            accounts: Cache::with_weighter(settings.accounts, settings.accounts as u64, ByOrganizations),
            by_id: Cache::new(settings.accounts),
            misses: by_digest(settings.misses, UnitWeighter),
            accounts_asked: Default::default(),
            miss_lifetime: settings.miss_lifetime,
            generation: AtomicU64::new(0),
            clock,
        }
    }

    /// How many keys there are.
    pub(super) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn held(&self) -> [Held; 4] {
        let Self { keys, accounts, by_id, misses, .. } = self;
        [
            Held { of: "keys", entries: keys.len(), room: keys.capacity(), bytes: keys.weight() << 10 },
            Held::small("unknown_keys", misses.len(), misses.capacity(), 100),
            Held::small("accounts", accounts.len(), accounts.capacity(), 300),
            Held::small("embed_keys", by_id.len(), by_id.capacity(), 1_024),
        ]
    }

    /// The key of a digest, if it is one of the realm.
    pub(super) fn key(&self, realm: &RealmName, digest: &Digest) -> Option<Arc<KeySnapshot>> {
        self.keys.get(digest).filter(|key| key.owner.realm == *realm)
    }

    /// A key under any of the digests; or nothing, when all of them are remembered as leading nowhere.
    pub(super) fn recall(&self, sought: &Sought<'_>) -> Option<Found> {
        let key = sought.digests.iter().find_map(|digest| self.key(sought.realm, digest));
        key.map(Found::Key).or_else(|| self.recall_nothing(sought).map(Found::Nothing))
    }

    /// Since when all of the digests are remembered as leading nowhere.
    pub(super) fn recall_nothing(&self, sought: &Sought<'_>) -> Option<Ticks> {
        let (generation, now) = (self.generation(), self.clock.ticks());
        let mut oldest = now;
        for digest in sought.digests {
            let miss = self.misses.get(digest)?;
            let holds = miss.realm == *sought.realm
                && miss.generation == generation
                && now.since(miss.read_at) < self.miss_lifetime;
            oldest = holds.then(|| oldest.min(miss.read_at))?;
        }
        Some(oldest)
    }

    /// `generation` was read before the store was asked. That a digest leads nowhere is remembered only where all of the
    /// secret's digests do: while one of them leads to a key, the secret may be moved to another at any time.
    pub(super) fn remember(&self, sought: &Sought<'_>, found: &Found, generation: u64) {
        let realm = sought.realm;
        match found {
            Found::Key(key) => {
                sought.digests.iter().for_each(|digest| drop(self.misses.remove(digest)));
                let carried = sought.digests.iter().find(|digest| key.key.secret(digest).is_some());
                carried.into_iter().for_each(|digest| self.keys.insert(*digest, Arc::clone(key)));
            }
            Found::Nothing(read_at) => {
                for digest in sought.digests {
                    // What another realm found stays: a miss speaks for its own realm only.
                    self.keys.remove_if(digest, |key| key.owner.realm == *realm);
                    self.misses.insert(*digest, Miss { realm: realm.clone(), read_at: *read_at, generation });
                }
            }
        }
    }

    /// To be read before the store is asked.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

/// Forgets what a change touches when it goes out of scope: the commit may have succeeded, failed, or been abandoned.
pub(super) struct Forget<'c> {
    pub(super) memory: &'c Memory,
    pub(super) change: &'c Change,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        if !self.change.lookups.is_empty() {
            self.memory.generation.fetch_add(1, Ordering::SeqCst);
        }
        self.memory.accounts.remove(&self.change.owner);
        let written = self.change.put.iter().chain(&self.change.end);
        written.clone().for_each(|key| drop(self.memory.by_id.remove(&key.id)));
        let digests = written.flat_map(|key| key.secrets.iter().map(|secret| &secret.digest));
        digests.chain(&self.change.forgotten).for_each(|digest| drop(self.memory.keys.remove(digest)));
    }
}

/// Takes eight bytes of a digest as its hash. A digest is even by itself, and nobody without the server secret can choose
/// where theirs falls.
#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    // The length that goes before the bytes of every array is the same for all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

fn by_digest<V: Clone, W: Weighter<Digest, V> + Clone>(capacity: usize, weighter: W) -> ByDigest<V, W> {
    let hasher = BuildHasherDefault::default();
    Cache::with(capacity, capacity as u64, weighter, hasher, DefaultLifecycle::default())
}
