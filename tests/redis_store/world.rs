//! A realm, keys and a clock to test with.

use crate::support::redis::RedisServer;
use keygate::{
    app::ports::{Clock, Found, Freshness, Sought, Store},
    domain::{
        account::Account,
        audit::Actor,
        commit::Change,
        envelope::{Envelope, Template},
        id::{AccountId, AccountRef, Environment, KeyId, RealmName},
        key::{
            self, Creation, Digest, DigestScheme, HintStyle, KeyRecord, KeySnapshot, Minted, SecretRing, ServerSecret,
        },
        limit::{LimitRule, OnStoreFailure, Part, Plan, Shape, Subject},
        realm::{KeyPolicy, OperationSet, Operations, RateHeaders, Realm, Scopes, WhenFull},
        time::{Ticks, Timestamp},
    },
    store::redis::{OpenError, Redis, RedisOptions},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A real clock that remembers what the store said.
pub struct TestClock {
    start: Instant,
    told: AtomicU64,
}

impl TestClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), told: AtomicU64::new(0) })
    }

    /// The server's time in the last reply that carried it.
    pub fn told(&self) -> Ticks {
        Ticks::from_micros(self.told.load(Ordering::SeqCst))
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap())
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap())
    }

    fn observe(&self, store_time: Timestamp) {
        self.told.store(store_time.as_micros(), Ordering::SeqCst);
    }
}

/// A ring of secrets of these versions.
pub fn ring(versions: &[u32]) -> SecretRing {
    let secret = |version: &u32| ServerSecret::new(*version, [u8::try_from(*version).unwrap(); 32].into());
    SecretRing::new(versions.iter().map(secret).collect()).unwrap()
}

pub async fn open_with(options: RedisOptions, versions: &[u32]) -> Result<Redis, OpenError> {
    let ring = ring(versions);
    Redis::connect(options, &ring, TestClock::new()).await
}

pub async fn open(server: &RedisServer) -> (Redis, Arc<TestClock>) {
    let clock = TestClock::new();
    let mut options = RedisOptions::new(&server.url());
    // The machine that runs the tests has other things to do.
    options.deadline = Duration::from_millis(500);
    (Redis::connect(options, &ring(&[1]), clock.clone()).await.unwrap(), clock)
}

pub fn limit(name: &str, limit: u32, window: Duration, precision: u32) -> LimitRule {
    LimitRule {
        name: name.into(),
        limit,
        window,
        shape: Shape::new(window, precision).unwrap(),
        per: vec![Part::Account],
        operations: OperationSet::All,
        descriptor: None,
        on_store_failure: OnStoreFailure::Deny,
        shadow: false,
    }
}

pub fn realm(limits: Vec<LimitRule>) -> Realm {
    Realm {
        name: RealmName::new("recurr").unwrap(),
        title: "Recurr".to_owned(),
        environments: Vec::new(),
        legacy_formats: Vec::new(),
        credentials: Vec::new(),
        access: keygate::domain::access::AccessRules::default(),
        members: None,
        onboarding: None,
        scopes: Scopes::default(),
        operations: Operations::default(),
        limits,
        tokens: Vec::new(),
        embed_tokens: None,
        management: keygate::domain::realm::Management::default(),
        keys: policy(),
        hint: HintStyle::None,
        envelope: Envelope::new(Template::new("application/json", "{}").unwrap(), Vec::new()),
        rate_headers: RateHeaders::default(),
        webhooks: Vec::new(),
        upstream: keygate::domain::realm::Upstream::default(),
        providers: keygate::domain::realm::Providers::default(),
        max_staleness: Duration::ZERO,
    }
}

fn policy() -> KeyPolicy {
    KeyPolicy {
        max_active_keys: None,
        when_full: WhenFull::Refuse,
        default_grace: Duration::ZERO,
        max_grace: Duration::from_secs(60),
        default_lifetime: None,
        max_lifetime: None,
        suspend_unused_after: None,
    }
}

pub fn owner(account: &str) -> AccountRef {
    AccountRef { realm: RealmName::new("recurr").unwrap(), account: AccountId::new(account).unwrap() }
}

pub fn environment() -> Environment {
    Environment::new("live").unwrap()
}

/// A plan over all limits of the realm.
pub fn plan<'a>(realm: &'a Realm, account: &'a AccountId, cost: u32, charging: bool) -> Plan<'a> {
    let mut plan = Plan::new(realm, Some(account), cost, charging);
    let subject = Subject { account: Some(account), ..Subject::default() };
    for rule in &realm.limits {
        plan.add(Some(&environment()), rule, &subject).unwrap();
    }
    plan
}

pub fn digest(seed: u8) -> Digest {
    Digest::from_bytes([seed; 32])
}

/// A change that makes a key whose id and digest come from `seed`.
pub fn creation(owner: &AccountRef, account: Option<&Account>, seed: u8) -> (Change, KeyRecord) {
    creation_with(owner, account, seed, digest(seed))
}

pub fn creation_with(owner: &AccountRef, account: Option<&Account>, seed: u8, digest: Digest) -> (Change, KeyRecord) {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let creation = Creation {
        id: KeyId::new(now, [seed; 10]),
        environment: environment(),
        name: format!("key {seed}"),
        scopes: Vec::new(),
        metadata: BTreeMap::new(),
        expires_at: None,
        not_before: None,
        networks: Vec::new(),
        member: None,
    };
    let minted = Minted { digest, scheme: DigestScheme::Native, secret_version: 1, hint: String::new() };
    let policy = policy();
    key::create(&key::Acting { owner, account, policy: &policy, actor: &Actor::System, now }, &[], creation, minted)
        .unwrap()
}

pub fn revocation(owner: &AccountRef, account: &Account, key: &KeyRecord) -> Change {
    let now = Timestamp::from_micros(1_900_000_000_000_000);
    let policy = policy();
    let acting = key::Acting { owner, account: Some(account), policy: &policy, actor: &Actor::System, now };
    key::revoke(&acting, std::slice::from_ref(key), None, "lost").unwrap().0
}

/// Makes a key and reads it back.
pub async fn made(store: &Redis, owner: &AccountRef, seed: u8) -> Arc<KeySnapshot> {
    let account = store.read_account(owner).await.unwrap();
    store.commit(&creation(owner, account.as_ref(), seed).0).await.unwrap();
    found(store, seed).await.expect("the key that was just made")
}

pub async fn found(store: &Redis, seed: u8) -> Option<Arc<KeySnapshot>> {
    found_by(store, digest(seed)).await
}

pub async fn found_by(store: &Redis, digest: Digest) -> Option<Arc<KeySnapshot>> {
    let realm = RealmName::new("recurr").unwrap();
    let sought = Sought { realm: &realm, digests: &[digest], freshness: Freshness::Fresh, uses: false, due: None };
    match store.find_key(&sought).await.unwrap() {
        Found::Key(key) => Some(key),
        Found::Nothing(_) => None,
    }
}

/// A number that looks random: a linear congruential generator, so that a failure can be run again.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}
