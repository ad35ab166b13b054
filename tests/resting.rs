//! Keys that nobody uses rest where the realm says so: the use cases over each store, with a clock that the test sets.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::{
    app::{
        authenticate::{AuthenticateRequest, Presented, Verdict},
        house::{App, House},
        keys::{CreateKey, Expiry, KeyFilter, UpdateKey},
        manager::{KeyManager, Manager, Reader},
        ports::{Clock, Entropy, EntropyError, Store},
    },
    config::{self, RealmFiles, Settings},
    domain::{
        audit::Act,
        deny::DenyReason,
        id::{AccountId, AccountRef, KeyId, RealmName},
        key::{KeyPatch, KeyState, SecretRing, ServerSecret, StatePatch},
        request::CanonicalRequest,
        secret::{Secret, SecretRef},
        time::{Ticks, Timestamp},
    },
    store::{
        CacheSettings, Cached,
        embedded::Embedded,
        redis::{Redis, RedisOptions},
    },
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{files::ConfigFile, redis::RedisServer};

const DAY: Duration = Duration::from_secs(86_400);
const REALM: &str = r#"
realm = "shop"
credentials = [{ header = "authorization", scheme = "Bearer" }]

[[environments]]
name = "live"
prefix = "sh_live_"

[keys]
suspend_unused_after = "90d"
"#;

/// Stands still until it is moved.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(self.0.load(Ordering::SeqCst))
    }

    fn observe(&self, _: Timestamp) {}
}

/// Different at every call, and nothing more.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for slot in buffer {
            let number = self.0.fetch_add(1, Ordering::SeqCst).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            *slot = (number >> 56) as u8;
        }
        Ok(())
    }
}

/// Two servers on one store, and what the first needs to manage keys.
struct World<S> {
    clock: Arc<TestClock>,
    apps: [App<Cached<S>>; 2],
    operator: Secret,
}

impl<S: Store> World<S> {
    async fn new(clock: Arc<TestClock>, ring: &SecretRing, store: S) -> Self {
        let file = ConfigFile::new("shop.toml", REALM);
        let settings = Settings { realms: RealmFiles::Paths(vec![file.path().into()]), ..Settings::default() };
        let realms = config::load(&settings).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let app = |first| {
            let entropy = Arc::new(Counting(AtomicU64::new(first)));
            let house = Arc::new(House::new(&realms, ring, clock.clone(), entropy));
            App::new(house, Cached::new(store.clone(), CacheSettings::default(), clock.clone()))
        };
        let apps = [app(1), app(1_000_000)];
        let operator = apps[0].new_operator_secret().unwrap();
        apps[0].make_operator(&operator, false).await.unwrap();
        Self { clock, apps, operator }
    }

    fn wait(&self, span: Duration) {
        self.clock.0.fetch_add(u64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }

    async fn manager(&self) -> Manager {
        let header = format!("Bearer {}", self.operator.expose());
        self.apps[0].manager(vec![("authorization", &header)]).await.unwrap()
    }

    async fn create(&self) -> (KeyId, Secret) {
        let manager = self.manager().await;
        let guard = self.apps[0].house.realm("shop").unwrap();
        let request = CreateKey {
            account: AccountId::new("acme").unwrap(),
            environment: 0,
            name: "a key".to_owned(),
            scopes: Vec::new(),
            metadata: BTreeMap::new(),
            expiry: Expiry::Default,
            not_before: None,
            networks: Vec::new(),
            repeatable: None,
        };
        let made = self.apps[0].create_key(manager.permit::<KeyManager>(guard).unwrap(), &request).await.unwrap();
        (made.owned.key.id, made.secret.unwrap())
    }

    async fn resume(&self, key: KeyId) {
        let manager = self.manager().await;
        let guard = self.apps[0].house.realm("shop").unwrap();
        let patch = KeyPatch { state: Some(StatePatch::Resume), ..KeyPatch::default() };
        let request = UpdateKey { key, patch, expiry: None, expected_version: None };
        self.apps[0].update_key(manager.permit::<KeyManager>(guard).unwrap(), &request).await.unwrap();
    }

    /// Presents a key to one of the servers: why it was denied, or nothing.
    async fn present(&self, server: usize, key: &Secret) -> Option<DenyReason> {
        let app = &self.apps[server];
        let request = AuthenticateRequest {
            presented: Presented::Key(SecretRef::new(key.expose())),
            request: CanonicalRequest::headers_alone(Vec::new()),
            operation: None,
            source_address: None,
            account: None,
            organization: None,
            environment: None,
            required_scopes: Vec::new(),
            cost: 1,
            check_rate_limit: false,
            explain: false,
        };
        match app.authenticate(app.house.realm("shop").unwrap(), &request).await.unwrap().verdict {
            Verdict::Denied(denial) => Some(denial.reason),
            _ => None,
        }
    }

    async fn states(&self, state: KeyState) -> Vec<KeyId> {
        let manager = self.manager().await;
        let guard = self.apps[0].house.realm("shop").unwrap();
        let filter = KeyFilter { account: None, environment: None, state: Some(state), after: None, page_size: 10 };
        let page = self.apps[0].list_keys(manager.permit::<Reader>(guard).unwrap(), &filter).await.unwrap();
        page.keys.iter().map(|owned| owned.key.id).collect()
    }
}

async fn unused_keys_rest<S: Store>(world: World<S>) {
    let (used, used_key) = world.create().await;
    let (idle, idle_key) = world.create().await;
    // Each server remembers both.
    for server in [0, 1] {
        assert_eq!(world.present(server, &idle_key).await, None);
        assert_eq!(world.present(server, &used_key).await, None);
        world.apps[server].write_uses().await.unwrap();
    }
    world.wait(DAY * 60);
    assert_eq!(world.present(1, &used_key).await, None);
    world.apps[1].write_uses().await.unwrap();
    world.wait(DAY * 30 - Duration::from_secs(1));
    assert_eq!(world.states(KeyState::Suspended).await, []);
    world.wait(Duration::from_secs(1));
    // To the day; what one server let through, the other knows, though it remembers the key from before.
    assert_eq!(
        (world.states(KeyState::Suspended).await, world.states(KeyState::Active).await),
        (vec![idle], vec![used])
    );
    for server in [0, 1] {
        assert_eq!(world.present(server, &idle_key).await, Some(DenyReason::UnusedKey));
        assert_eq!(world.present(server, &used_key).await, None);
        // Asking does not wake it.
        world.apps[server].write_uses().await.unwrap();
        world.wait(Duration::from_secs(2));
        assert_eq!(world.present(server, &idle_key).await, Some(DenyReason::UnusedKey));
    }

    world.resume(idle).await;
    assert_eq!(world.states(KeyState::Suspended).await, []);
    world.wait(Duration::from_secs(2));
    for server in [0, 1] {
        assert_eq!(world.present(server, &idle_key).await, None);
    }
    let owner = AccountRef { realm: RealmName::new("shop").unwrap(), account: AccountId::new("acme").unwrap() };
    let events = world.apps[0].store.read_audit(&owner, 1, 100).await.unwrap();
    assert_eq!(events.last().map(|event| (event.act, event.key)), Some((Act::KeyResumed, Some(idle))));
    // A use that no server could write any more is forgotten with it: the key rests as of the last one that was written.
    world.wait(DAY * 90);
    assert_eq!(world.present(0, &idle_key).await, Some(DenyReason::UnusedKey));
}

fn ring() -> SecretRing {
    SecretRing::new(vec![ServerSecret::new(1, zeroize::Zeroizing::new([7; 32]))]).unwrap()
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(1_800_000_000_000_000)))
}

#[tokio::test]
async fn unused_keys_rest_embedded() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = Embedded::open(folder.path(), &ring(), clock.clone(), 1_000).unwrap();
    unused_keys_rest(World::new(clock, &ring(), store).await).await;
}

#[tokio::test]
async fn unused_keys_rest_redis() {
    let (redis, clock, ring) = (RedisServer::start(), clock(), ring());
    let options = RedisOptions::new(&redis.url());
    let store = Redis::connect(options, ring.record_mac(), ring.fingerprint(), clock.clone()).await.unwrap();
    unused_keys_rest(World::new(clock, &ring, store).await).await;
}
