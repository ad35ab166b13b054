//! Keys that nobody uses rest where the realm says so: the use cases over each store, with a clock that the test sets.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::{
    app::{
        authenticate::{AuthenticateRequest, Presented, Verdict},
        embed_tokens::MintEmbedToken,
        error::AppError,
        house::{App, House},
        keys::{CreateKey, Expiry, KeyFilter, UpdateKey},
        manager::{KeyManager, Manager, Minter, Reader, Shown},
        ports::{Clock, Courier, Delivery, Entropy, EntropyError, Store},
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
        webhook::Letter,
    },
    store::{
        CacheSettings, Cached,
        embedded::Embedded,
        redis::{Redis, RedisOptions},
    },
    tokens::Issuers,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use support::{files::ConfigFile, redis::RedisServer};

const DAY: Duration = Duration::from_secs(86_400);
const REALM: &str = r#"
realm = "shop"
credentials = [{ header = "authorization", scheme = "Bearer", accepts = ["key", "token"] }]

[[environments]]
name = "live"
prefix = "sh_live_"

[keys]
suspend_unused_after = "90d"

[embed_tokens]
lifetime = "1h"
longest = "1h"

[[webhooks]]
name = "watch"
url = "https://watch.invalid"
secret_env = "NOWHERE"
events = ["key.resting", "key.awoken"]
idle_after = "30d"
resting_within = "7d"
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

/// Takes every message, as its kind and body.
#[derive(Default)]
struct Taken(Mutex<Vec<(String, String)>>);

impl Courier for Taken {
    fn send<'a>(&'a self, _: &'a RealmName, letter: &'a Letter, _: Timestamp) -> Delivery<'a> {
        self.0.lock().unwrap().push((letter.event.clone(), letter.body.clone()));
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Two servers on one store, and what the first needs to manage keys.
struct World<S> {
    clock: Arc<TestClock>,
    apps: [App<Cached<S>>; 2],
    operator: Secret,
    taken: Arc<Taken>,
}

impl<S: Store> World<S> {
    async fn new(clock: Arc<TestClock>, ring: &SecretRing, store: S) -> Self {
        let file = ConfigFile::new("shop.toml", REALM);
        let settings = Settings { realms: RealmFiles::Paths(vec![file.path().into()]), ..Settings::default() };
        let realms = config::load(&settings).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let taken = Arc::new(Taken::default());
        let app = |first| {
            let entropy = Arc::new(Counting(AtomicU64::new(first)));
            let house = House::new(&realms, ring, clock.clone(), entropy);
            let now: Arc<dyn Clock> = clock.clone();
            let house = house.with_tokens(Arc::new(Issuers::open(&realms, ring, &now).unwrap()));
            let house = Arc::new(house.with_courier(taken.clone(), false));
            App::new(house, Cached::new(store.clone(), CacheSettings::default(), clock.clone()))
        };
        let apps = [app(1), app(1_000_000)];
        let operator = apps[0].new_operator_secret().unwrap();
        apps[0].make_operator(&operator, false).await.unwrap();
        Self { clock, apps, operator, taken }
    }

    fn wait(&self, span: Duration) {
        self.clock.0.fetch_add(u64::try_from(span.as_micros()).unwrap(), Ordering::SeqCst);
    }

    async fn manager(&self) -> Manager {
        let header = format!("Bearer {}", self.operator.expose());
        self.apps[0].manager(Shown::in_headers(vec![("authorization", &header)])).await.unwrap()
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
            member: None,
            repeatable: None,
        };
        let made = self.apps[0].create_key(manager.permit_keys::<KeyManager>(guard).unwrap(), &request).await.unwrap();
        (made.owned.key.id, made.secret.unwrap())
    }

    async fn resume(&self, key: KeyId) {
        let manager = self.manager().await;
        let guard = self.apps[0].house.realm("shop").unwrap();
        let patch = KeyPatch { state: Some(StatePatch::Resume), ..KeyPatch::default() };
        let request = UpdateKey { key, patch, expiry: None, expected_version: None };
        self.apps[0].update_key(manager.permit_keys::<KeyManager>(guard).unwrap(), &request).await.unwrap();
    }

    /// A token of a key, or why none is minted.
    async fn mint(&self, key: KeyId) -> Result<String, AppError> {
        let manager = self.manager().await;
        let guard = self.apps[0].house.realm("shop").unwrap();
        let target = AccountId::new("acme").unwrap();
        let request = MintEmbedToken { key, target, scopes: Vec::new(), lifetime: None };
        let minted = self.apps[0].mint_embed_token(manager.permit::<Minter>(guard).unwrap(), &request).await?;
        Ok(minted.text.to_string())
    }

    /// Presents a key to one of the servers: why it was denied, or nothing.
    async fn present(&self, server: usize, key: &Secret) -> Option<DenyReason> {
        self.judged(server, Presented::Key(SecretRef::new(key.expose()))).await
    }

    /// The same with a token.
    async fn present_token(&self, server: usize, token: &str) -> Option<DenyReason> {
        self.judged(server, Presented::Token(SecretRef::new(token))).await
    }

    async fn judged(&self, server: usize, presented: Presented<'_>) -> Option<DenyReason> {
        let app = &self.apps[server];
        let request = AuthenticateRequest::who(presented, CanonicalRequest::headers_alone(Vec::new()));
        match app.authenticate(app.house.realm("shop").unwrap(), &request).await.unwrap().verdict {
            Verdict::Denied(denial) => Some(denial.reason),
            _ => None,
        }
    }

    /// What was told since this was asked last, for one key.
    async fn told(&self, key: KeyId) -> Vec<String> {
        for app in &self.apps {
            app.tell_all_due().await.unwrap();
        }
        let all = std::mem::take(&mut *self.taken.0.lock().unwrap());
        all.into_iter().filter(|(_, body)| body.contains(&key.to_string())).map(|(event, _)| event).collect()
    }

    async fn states(&self, state: KeyState) -> Vec<KeyId> {
        let manager = self.manager().await;
        let guard = self.apps[0].house.realm("shop").unwrap();
        let filter = KeyFilter {
            account: None,
            environment: None,
            state: Some(state),
            member: None,
            after: None,
            page_size: 10,
        };
        let page = self.apps[0].list_keys(manager.permit_keys::<Reader>(guard).unwrap(), &filter).await.unwrap();
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

async fn tokens_rest_with_their_key<S: Store>(world: World<S>) {
    let (id, key) = world.create().await;
    world.wait(DAY * 89);
    assert_eq!(world.present(1, &key).await, None);
    world.apps[1].write_uses().await.unwrap();
    // The key is old, and was used of late.
    world.wait(DAY * 90 - Duration::from_secs(1_800));
    let token = world.mint(id).await.unwrap();
    for server in [0, 1] {
        assert_eq!(world.present_token(server, &token).await, None);
    }
    world.wait(Duration::from_secs(1_800));
    for server in [0, 1] {
        assert_eq!(world.present_token(server, &token).await, Some(DenyReason::UnusedKey));
    }
    assert!(matches!(world.mint(id).await, Err(AppError::NotMinted(DenyReason::UnusedKey))));
    // They awake with it, also where it is remembered as resting.
    world.resume(id).await;
    world.wait(Duration::from_secs(2));
    for server in [0, 1] {
        assert_eq!(world.present_token(server, &token).await, None);
    }
}

async fn rest_and_awakening_are_told<S: Store>(world: World<S>) {
    let (id, key) = world.create().await;
    assert_eq!(world.present(0, &key).await, None);
    world.apps[0].write_uses().await.unwrap();
    world.wait(DAY * 20);
    assert_eq!(world.present(1, &key).await, None);
    world.apps[1].write_uses().await.unwrap();
    // Two servers know of the latest use: for one of them it seems that the key lay idle.
    world.wait(DAY * 20);
    assert_eq!(world.present(0, &key).await, None);
    world.apps[0].write_uses().await.unwrap();
    assert_eq!(world.told(id).await, Vec::<String>::new());

    // It would have rested in time if it had not been used since.
    world.wait(DAY * 82);
    assert_eq!(world.told(id).await, Vec::<String>::new());
    world.wait(DAY);
    assert_eq!(world.told(id).await, ["key.resting"]);
    world.wait(DAY);
    assert_eq!(world.told(id).await, Vec::<String>::new());
    assert_eq!(world.present(0, &key).await, None);
    world.apps[0].write_uses().await.unwrap();
    assert_eq!(world.told(id).await, ["key.awoken"]);
    // Told anew after each use.
    world.wait(DAY * 82);
    assert_eq!(world.told(id).await, Vec::<String>::new());
    world.wait(DAY);
    assert_eq!(world.told(id).await, ["key.resting"]);
    world.wait(DAY * 30);
    assert_eq!(world.told(id).await, Vec::<String>::new());
    assert_eq!(world.present(0, &key).await, Some(DenyReason::UnusedKey));
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
async fn tokens_rest_with_their_key_embedded() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = Embedded::open(folder.path(), &ring(), clock.clone(), 1_000).unwrap();
    tokens_rest_with_their_key(World::new(clock, &ring(), store).await).await;
}

#[tokio::test]
async fn rest_and_awakening_are_told_embedded() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), clock());
    let store = Embedded::open(folder.path(), &ring(), clock.clone(), 1_000).unwrap();
    rest_and_awakening_are_told(World::new(clock, &ring(), store).await).await;
}

#[tokio::test]
async fn rest_and_awakening_are_told_redis() {
    let (redis, clock, ring) = (RedisServer::start(), clock(), ring());
    let options = RedisOptions::new(&redis.url());
    let store = Redis::connect(options, &ring, clock.clone()).await.unwrap();
    rest_and_awakening_are_told(World::new(clock, &ring, store).await).await;
}

#[tokio::test]
async fn unused_keys_rest_redis() {
    let (redis, clock, ring) = (RedisServer::start(), clock(), ring());
    let options = RedisOptions::new(&redis.url());
    let store = Redis::connect(options, &ring, clock.clone()).await.unwrap();
    unused_keys_rest(World::new(clock, &ring, store).await).await;
}

#[tokio::test]
async fn tokens_rest_with_their_key_redis() {
    let (redis, clock, ring) = (RedisServer::start(), clock(), ring());
    let options = RedisOptions::new(&redis.url());
    let store = Redis::connect(options, &ring, clock.clone()).await.unwrap();
    tokens_rest_with_their_key(World::new(clock, &ring, store).await).await;
}
