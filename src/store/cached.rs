//! Remembers what digests lead to, over any store. Knows nothing of how that store reads or writes.
//!
//! Why a remembered key can never be confirmed wrongly: an entry is the snapshot that the store gave, with the stamp that
//! the store took before it read. The cache changes neither. However late an entry is put in, and whatever commit it raced
//! with, `charge` compares its stamp with the store's own: what was read before an acknowledged commit carries a stamp from
//! before it and comes back as `Stale`, upon which the caller asks again with [`Freshness::Fresh`]. Dropping entries after a
//! local commit only saves that second round.
//!
//! A remembered miss has no charge that confirms it, so it carries a generation instead: taken before the store is asked,
//! raised after every local commit that adds digests, whatever its outcome. A miss that was read before such a commit is of
//! an older generation once the commit returns, so nothing hides a key that this node acknowledged. What was never
//! acknowledged here (a commit whose caller went away, a commit of another node) shows after the miss's lifetime at the
//! latest.

mod asked;

use crate::{
    app::ports::{
        Clock, CommitError, EntryQuery, Expected, Fence, Found, Freshness, KeyListing, KeyQuery, MemoId, Memos,
        Problem, Sought, Store, StoreError,
        meter::{Command, Count, StoreMeter},
    },
    domain::{
        account::{Account, AccountSnapshot},
        audit::AuditEvent,
        commit::Change,
        entry::{Entry, EntryId},
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
        key::{Digest, IdempotencyRecord, KeyRecord, KeySnapshot, KeyUse, KeyUses, UsesOf},
        limit::{Charged, Plan},
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

/// How much is remembered, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Keys at most, about 1 KiB each: one that carries more than that counts as several.
    pub keys: usize,
    /// Accounts that are acted on by keys of others, at most, about 300 bytes each; and as many keys that embed tokens came from.
    pub accounts: usize,
    /// Digests that lead nowhere, at most, about 100 bytes each.
    pub misses: usize,
    /// How long a digest is taken to lead nowhere.
    pub miss_lifetime: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { keys: 200_000, accounts: 100_000, misses: 100_000, miss_lifetime: Duration::from_secs(1) }
    }
}

/// How much is remembered of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of what.
    pub of: &'static str,
    /// How many.
    pub entries: usize,
    /// How much there is room for, in entries of usual size.
    pub room: u64,
    /// About how many bytes they take.
    pub bytes: u64,
}

impl Held {
    fn small(of: &'static str, entries: usize, room: u64, each: u64) -> Self {
        Self { of, entries, room, bytes: (entries as u64).saturating_mul(each) }
    }
}

/// A store with a memory for keys. Cheap to clone; clones share the memory.
#[derive(Clone)]
pub struct Cached<S> {
    store: S,
    memory: Arc<Memory>,
    meter: Option<Arc<StoreMeter>>,
    /// What the store is called where calls are followed; absent: none is.
    followed: Option<&'static str>,
}

struct Memory {
    keys: ByDigest<Arc<KeySnapshot>, ByText>,
    accounts: Cache<AccountRef, Arc<AccountSnapshot>, ByOrganizations>,
    /// Keys that embed tokens were minted from.
    by_id: Cache<KeyId, Arc<KeySnapshot>>,
    misses: ByDigest<Miss, UnitWeighter>,
    /// Accounts that were remembered, and that were not.
    accounts_asked: [Count; 2],
    miss_lifetime: Duration,
    /// Raised when digests were added.
    generation: AtomicU64,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Miss {
    realm: RealmName,
    read_at: Ticks,
    generation: u64,
}

type ByDigest<V, W> = Cache<Digest, V, W, BuildHasherDefault<DigestHasher>>;

/// Weighs a key by the texts that its managers gave it: it is bounded by bytes, not by their good will.
#[derive(Clone, Copy)]
struct ByText;

impl Weighter<Digest, Arc<KeySnapshot>> for ByText {
    fn weight(&self, _: &Digest, snapshot: &Arc<KeySnapshot>) -> u64 {
        let key = &snapshot.key;
        let entries: usize = key.metadata.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        let scopes: usize = key.scopes.iter().map(|scope| scope.as_str().len()).sum();
        // Once in the record, and once in what answers tell of it.
        let networks = std::mem::size_of_val(key.networks.as_slice());
        let organizations = snapshot.organizations.len().saturating_mul(200);
        let bytes = networks
            .saturating_add(organizations)
            .saturating_add(key.name.len())
            .saturating_add(entries)
            .saturating_add(scopes)
            .saturating_mul(2);
        1_u64.saturating_add(bytes as u64 / 1_024)
    }
}

/// Weighs an account by the organizations that were read with it.
#[derive(Clone, Copy)]
struct ByOrganizations;

impl Weighter<AccountRef, Arc<AccountSnapshot>> for ByOrganizations {
    fn weight(&self, _: &AccountRef, snapshot: &Arc<AccountSnapshot>) -> u64 {
        1_u64.saturating_add(snapshot.organizations.len() as u64)
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

impl<S: Store> Cached<S> {
    /// A memory over `store`.
    #[must_use]
    pub fn new(store: S, settings: CacheSettings, clock: Arc<dyn Clock>) -> Self {
        let memory = Memory {
            keys: by_digest(settings.keys, ByText),
            accounts: Cache::with_weighter(settings.accounts, settings.accounts as u64, ByOrganizations),
            by_id: Cache::new(settings.accounts),
            misses: by_digest(settings.misses, UnitWeighter),
            accounts_asked: Default::default(),
            miss_lifetime: settings.miss_lifetime,
            generation: AtomicU64::new(0),
            clock,
        };
        Self { store, memory: Arc::new(memory), meter: None, followed: None }
    }

    /// The same memory over another way to the same store.
    #[must_use]
    pub fn over(&self, store: S) -> Self {
        Self { store, memory: Arc::clone(&self.memory), meter: self.meter.clone(), followed: self.followed }
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// The same; what the store underneath is asked is measured.
    #[must_use]
    pub fn measured(self, meter: Arc<StoreMeter>) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// The same; what the store underneath is asked is told to whoever follows the call. `system` is what it is called.
    #[must_use]
    pub fn followed(self, system: &'static str) -> Self {
        Self { followed: Some(system), ..self }
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.memory.keys.len()
    }

    /// How much is remembered of what.
    #[must_use]
    pub fn held(&self) -> [Held; 4] {
        let Memory { keys, accounts, by_id, misses, .. } = &*self.memory;
        [
            Held { of: "keys", entries: keys.len(), room: keys.capacity(), bytes: keys.weight() << 10 },
            Held::small("unknown_keys", misses.len(), misses.capacity(), 100),
            Held::small("accounts", accounts.len(), accounts.capacity(), 300),
            Held::small("embed_keys", by_id.len(), by_id.capacity(), 1_024),
        ]
    }

    /// How often an account was remembered, and how often it was not.
    #[must_use]
    pub fn accounts_asked(&self) -> [u64; 2] {
        self.memory.accounts_asked.each_ref().map(Count::get)
    }
}

impl Memory {
    fn key(&self, realm: &RealmName, digest: &Digest) -> Option<Arc<KeySnapshot>> {
        self.keys.get(digest).filter(|key| key.owner.realm == *realm)
    }

    /// A key under any of the digests; or nothing, when all of them are remembered as leading nowhere.
    fn recall(&self, sought: &Sought<'_>) -> Option<Found> {
        let key = sought.digests.iter().find_map(|digest| self.key(sought.realm, digest));
        key.map(Found::Key).or_else(|| self.recall_nothing(sought).map(Found::Nothing))
    }

    /// Since when all of the digests are remembered as leading nowhere.
    fn recall_nothing(&self, sought: &Sought<'_>) -> Option<Ticks> {
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
    fn remember(&self, sought: &Sought<'_>, found: &Found, generation: u64) {
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

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::SeqCst)
    }
}

/// Forgets what a change touches when it goes out of scope: the commit may have succeeded, failed, or been abandoned.
struct Forget<'c> {
    memory: &'c Memory,
    change: &'c Change,
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

impl<S: Store> Store for Cached<S> {
    async fn find_key(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        if sought.freshness == Freshness::Remembered
            && let Some(found) = self.memory.recall(sought)
        {
            return Ok(found);
        }
        let generation = self.memory.generation();
        let found = self.timed(Command::FindKey, self.store.find_key(sought)).await?;
        self.memory.remember(sought, &found, generation);
        Ok(found)
    }

    fn patience(&self) -> Option<Duration> {
        self.store.patience()
    }

    fn recall(&self, realm: &RealmName, digest: &Digest) -> Option<Arc<KeySnapshot>> {
        self.memory.key(realm, digest)
    }

    fn recall_nothing(&self, sought: &Sought<'_>) -> Option<Ticks> {
        self.memory.recall_nothing(sought)
    }

    async fn find_key_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        if freshness == Freshness::Remembered
            && let Some(key) = self.memory.by_id.get(&id).filter(|key| key.owner == *owner)
        {
            return Ok(Some(key));
        }
        let found = self.timed(Command::FindKeyById, self.store.find_key_by_id(owner, id, freshness, due)).await?;
        match &found {
            Some(key) => self.memory.by_id.insert(id, Arc::clone(key)),
            None => drop(self.memory.by_id.remove(&id)),
        }
        Ok(found)
    }

    async fn find_account(
        &self,
        owner: &AccountRef,
        freshness: Freshness,
        due: Option<Ticks>,
    ) -> Result<Arc<AccountSnapshot>, StoreError> {
        if freshness == Freshness::Remembered
            && let Some(account) = self.memory.accounts.get(owner)
        {
            let [remembered, _] = &self.memory.accounts_asked;
            remembered.one();
            return Ok(account);
        }
        let [_, asked] = &self.memory.accounts_asked;
        asked.one();
        let found = self.timed(Command::FindAccount, self.store.find_account(owner, freshness, due)).await?;
        self.memory.accounts.insert(owner.clone(), Arc::clone(&found));
        Ok(found)
    }

    async fn charge(&self, fences: &[Fence<'_>], plan: &Plan<'_>) -> Result<Charged, StoreError> {
        self.timed(Command::Charge, self.store.charge(fences, plan)).await
    }

    async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        let _forget = Forget { memory: &self.memory, change };
        self.timed(Command::Commit, self.store.commit(change)).await
    }

    async fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        self.timed(Command::Read, self.store.read_account(owner)).await
    }

    async fn read_keys(&self, owner: &AccountRef, ids: &[KeyId]) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        self.timed(Command::Read, self.store.read_keys(owner, ids)).await
    }

    async fn locate_key(&self, realm: &RealmName, key: KeyId) -> Result<Option<AccountId>, StoreError> {
        self.timed(Command::Read, self.store.locate_key(realm, key)).await
    }

    async fn list_keys(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        self.timed(Command::List, self.store.list_keys(query)).await
    }

    async fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        self.timed(Command::List, self.store.list_accounts(realm, after, limit)).await
    }

    async fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        self.timed(Command::Read, self.store.read_idempotency(owner, slot)).await
    }

    async fn read_audit(&self, owner: &AccountRef, from: u64, limit: usize) -> Result<Vec<AuditEvent>, StoreError> {
        self.timed(Command::ReadAudit, self.store.read_audit(owner, from, limit)).await
    }

    async fn read_entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        self.timed(Command::Read, self.store.read_entry(owner, id)).await
    }

    async fn list_entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        self.timed(Command::List, self.store.list_entries(query)).await
    }

    async fn note_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        self.timed(Command::NoteUses, self.store.note_uses(uses)).await
    }

    async fn read_uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        self.timed(Command::ReadUses, self.store.read_uses(owner, wanted)).await
    }

    async fn read_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed(Command::Memo, self.store.read_memo(id)).await
    }

    async fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        self.timed(Command::Memo, self.store.list_memos(first, limit)).await
    }

    async fn write_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        self.timed(Command::Memo, self.store.write_memo(id, expected, value)).await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.timed(Command::Ping, self.store.ping()).await
    }

    async fn examine(&self) -> Vec<Problem> {
        self.store.examine().await
    }
}
