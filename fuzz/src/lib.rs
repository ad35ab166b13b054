//! What the fuzz targets share: the shipped realms, and keygate itself on an embedded store of its own.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what is missing here ends the run")]

use keygate::{
    app::{
        house::{App, House},
        ports::{Clock, Entropy, EntropyError},
    },
    config::{self, RealmFiles, Settings},
    domain::{
        id::RealmName,
        key::{SecretRing, ServerSecret},
        realm::{Realms, Routing},
        time::{Ticks, Timestamp},
    },
    grpc::{
        Rekeying,
        envoy::{CheckService, RateLimitService},
    },
    store::{Backend, CacheSettings, StoreOptions, Where},
};
use std::{
    cell::Cell,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// A realm of its own, with everything that a realm file can say of requests and limits.
pub const REALM: &str = include_str!("../realm.toml");

/// The shipped realms, and the one of this crate.
pub fn realms() -> Realms {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = vec![directory.join("../deploy/realms"), directory.join("realm.toml")];
    config::load(&Settings { realms: RealmFiles::Paths(paths), ..Settings::default() }).expect("the realms are right")
}

/// Both dialects over one store.
pub struct Envoy {
    runtime: Runtime,
    pub check: CheckService<Backend>,
    pub rate_limits: RateLimitService<Backend>,
    /// A key of the realm `keygate` that works.
    pub key: String,
    _data: tempfile::TempDir,
}

impl Envoy {
    pub fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory can be made");
        let ring = SecretRing::new(vec![ServerSecret::new(1, [7; 32].into())]).expect("one version is a ring");
        let clock = Arc::new(StillClock::default());
        let house = House::new(&realms(), &ring, clock.clone(), Arc::new(Counting::default()));
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
        let miss_lifetime = Duration::from_secs(1);
        let cache = CacheSettings { keys: 1_000, misses: 1_000, miss_lifetime, ..CacheSettings::default() };
        let options = StoreOptions { place: Where::Directory { path: data.path().to_owned(), counters: 100_000 }, cache };
        let (app, key) = runtime.block_on(async {
            let store = Backend::open(&options, &ring, clock).await.expect("the store opens");
            let app = App::new(Arc::new(house), store);
            let secret = app.new_operator_secret().expect("there are random bytes");
            app.make_operator(&secret, false).await.expect("the key can be made");
            (app, secret.expose().to_owned())
        });
        let mut routing = Routing::default();
        let fuzz = RealmName::new("fuzz").expect("a legal name");
        routing.host("*.example.com", fuzz.clone()).expect("a legal pattern");
        routing.host("keygate.example.com", RealmName::new("keygate").expect("a legal name")).expect("a legal host");
        routing.domain("edge", fuzz);
        let routing = Arc::new(routing);
        let check =
            CheckService::new(app.clone(), Rekeying::new(app.clone(), runtime.handle().clone()), routing.clone());
        Self { check, rate_limits: RateLimitService::new(app, routing), key, runtime, _data: data }
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

impl Default for Envoy {
    fn default() -> Self {
        Self::new()
    }
}

/// A clock that moves by a millisecond at every reading, so that runs can be repeated.
#[derive(Default)]
struct StillClock(AtomicU64);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + self.ticks().as_micros())
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(self.0.fetch_add(1_000, Ordering::Relaxed))
    }

    fn observe(&self, _store_time: Timestamp) {}
}

/// Bytes that differ from call to call, and not from run to run.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        let state = Cell::new(self.0.fetch_add(1, Ordering::Relaxed));
        for byte in buffer {
            state.set(state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            *byte = (state.get() >> 33) as u8;
        }
        Ok(())
    }
}
