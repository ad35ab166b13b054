//! Puts the rooms together: reads the secrets, opens the store, binds the port, starts the workers, watches the store and the
//! files, and ends in good order. The only room that knows them all, and the only one that reads a clock or random bytes.

mod acceptor;
mod beat;
mod bound;
mod clock;
mod configuration;
mod connection;
mod crew;
mod descriptors;
mod dumps;
mod entropy;
mod error;
mod files;
mod front;
mod inflow;
mod journal;
mod line;
mod offenders;
mod operations;
mod operator;
mod places;
mod post;
mod reload;
mod restore;
mod secrets;
mod setback;
mod socket;
mod stores;
mod telling;
mod tls;
mod turns;
mod vault;
mod watch;
mod worker;

pub use crew::DRAIN;
pub use error::StartError;
pub use reload::{Refusal, ReloadState, Source};
pub use restore::{NotRestored, RestoreReport, RestoreStep, restore};
pub use secrets::{When, retire_secret, rotate_secrets, show_secrets};
pub use stores::{StoreProblem, StoreReport, check_store};
pub use tls::TlsError;

use crate::{
    app::{
        authenticate::FLAW_REMEMBERED,
        error::AppError,
        house::App,
        meter::{Meter, StoreMeter},
        ports::{Clock, Entropy},
    },
    config::{self, Settings, StoreKind},
    domain::realm::Realm,
    grpc::{ACTS, Doors, Turnstile, audit::AuditStreams},
    store::{Backend, CacheSettings, StoreOptions, Where, embedded},
};
use bound::{Addresses, Bound};
use clock::SystemClock;
use configuration::Configuration;
use crew::Crew;
use entropy::SystemEntropy;
use front::Services;
use journal::FileJournal;
use offenders::Offenders;
use places::Places;
use reload::Reloader;
use setback::Setbacks;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, thread, time::Duration};
use telling::{Handing, Telling};
use tokio::{
    runtime::{Builder, Runtime},
    sync::watch as signal,
};
use worker::Hosting;

/// What a start is told beside the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Make a new operator key and write it to its file.
    pub reissue_operator_key: bool,
}

/// What a server says of itself once it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it speaks TLS there.
    pub secured: bool,
    /// The Unix socket that it listens on beside that.
    pub socket: Option<PathBuf>,
    /// Where it listens for management beside that.
    pub management: Option<SocketAddr>,
    /// Whether it speaks TLS there.
    pub management_secured: bool,
    /// Where metrics and health are told.
    pub operations: Option<SocketAddr>,
    /// Whether by TLS.
    pub operations_secured: bool,
    /// Where the operator key lies.
    pub operator_key: PathBuf,
    /// Whether this start made the operator key.
    pub operator_key_made: bool,
    /// The realms that it serves.
    pub realms: Vec<String>,
    /// Where keys and counters are kept.
    pub store: String,
}

/// How long it is kept what was done to accounts: longer than anybody keeps backups to restore them.
const JOURNAL_KEPT: Duration = Duration::from_secs(90 * 86_400);

/// Runs a server until it is told to stop (SIGTERM or SIGINT). `announce` is called once it listens; from then on it takes over
/// what changes in its files, and `source` says where its settings are read from again.
///
/// # Errors
/// When it cannot start: says what is wrong and where.
pub fn run(
    settings: &Settings,
    options: Options,
    source: Source,
    announce: impl FnOnce(&Ready),
) -> Result<(), StartError> {
    telling::start_log(&settings.log);
    dumps::forbid()?;
    descriptors::raise(Places::of(settings.limits.connections));
    let background = background_runtime()?;
    // Before anything else: else SIGHUP would end a server that is still starting.
    let told = background.block_on(async { reload::hangups() })?;
    let before = source.footprint(settings);
    let loaded = config::read(settings).map_err(StartError::Configuration)?;
    let mut bound = Bound::to(settings)?;
    let clock = Arc::new(SystemClock::new());
    // Where nobody can ask, nothing is counted.
    let meter = Arc::new(if bound.operations.is_some() { Meter::on() } else { Meter::default() });
    meter.expect_acts(&ACTS);
    meter.configuration.loaded(clock.now());
    let data = (settings.store.kind == StoreKind::Embedded).then(|| settings.data_dir.join(embedded::FILE_NAME));
    let ring = secrets::load(&settings.secrets_path(), data.as_deref(), &SystemEntropy, clock.now())?;
    let (told_time, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) = (clock.clone(), Arc::new(SystemEntropy));
    let seen = source.look(settings, &loaded.realms, before);
    let watch = vault::Watch { meter: Arc::clone(&meter), clock: Arc::clone(&told_time) };
    let configuration = Configuration::open(settings.clone(), loaded, ring, watch)?;
    let (telling, exporter) = Telling::open(&settings.traces, &meter.traces, &told_time)?;
    let following = telling.following();
    let journal = match settings.journal_path() {
        None => None,
        Some(path) => FileJournal::open(&path, &configuration.ring, clock.now().before(JOURNAL_KEPT))?,
    };
    let house = configuration.house(None, &entropy).with_following(following.clone());
    let house = Arc::new(match journal {
        Some(journal) => house.with_journal(Arc::new(journal)),
        None => house,
    });
    let tls = Arc::new(tls::Present::new(&configuration.certificates));
    configuration.issuers.keep_fresh(background.handle(), &entropy);
    let store_options = store_options(settings);
    let store = background.block_on(Backend::open(&store_options, &configuration.ring, clock.clone()))?;
    let store_meter = Arc::new(StoreMeter::new());
    let store = if meter.is_on() { store.measured(&store_meter) } else { store };
    let store = if following.is_on() { store.followed() } else { store };
    // Not before: whoever cannot start hears of that alone.
    configuration.tell_weaknesses();
    let management = App::new(Arc::clone(&house), store.at_leisure());

    let setbacks = Arc::new(Setbacks::default());
    // Before anybody is let through by what should not be there any more.
    setbacks.found(background.block_on(management.recover(true)).map_err(StartError::Recovery)?);
    background.block_on(management.begin_webhooks()).map_err(StartError::Webhooks)?;
    let operator_key = settings.operator_key_path();
    let made = background.block_on(operator::ensure(&management, &operator_key, options.reissue_operator_key))?;

    let load = settings.limits.clone();
    let doors = Arc::new(Doors::new(load.acts));
    let places = Arc::new(Places::new(load.connections, clock.clone(), Arc::clone(&meter)));
    let (stop, stopping) = signal::channel(false);
    let audit = AuditStreams::new(stopping.clone());
    let (reporter, health) = tonic_health::server::health_reporter();
    let services = Services {
        decisions: App::new(Arc::clone(&house), store.clone()),
        management: management.clone(),
        management_runtime: background.handle().clone(),
        health,
        load: load.clone(),
        routing: Arc::clone(&configuration.routing),
        calls: Arc::new(Turnstile::new(load.calls)),
        doors: Arc::clone(&doors),
        workers: settings.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from)),
        audit: audit.clone(),
    };
    let hosting = Hosting {
        load: load.clone(),
        places: Arc::clone(&places),
        offenders: Arc::new(Offenders::new()),
        release: settings.vault.release_on.clone(),
        manage: settings.management.serve_on.clone(),
        tls: Arc::clone(&tls),
        meter: Arc::clone(&meter),
        clock: clock.clone(),
    };
    let Crew { fronts, senders, in_work, threads } = Crew::start(services, hosting, &stop)?;
    let handing = exporter.map(|exporter| Handing::start(exporter, &background));
    let realms = configuration.loaded.realms.iter().map(|realm: &Arc<Realm>| realm.name.to_string()).collect();
    let (way, runtime) = (store.clone(), background.handle().clone());
    let parts = reload::Parts {
        source,
        fronts,
        store: way,
        runtime,
        clock: told_time,
        entropy,
        telling,
        tls: Arc::clone(&tls),
    };
    let problems = Arc::clone(&house.problems);
    let reloader = background.block_on(async { Reloader::new(parts, house, configuration, seen, told) });
    let (present, issuers) = (reloader.house(), reloader.issuers());

    let well = Arc::new(operations::Health::default());
    let (leave, leaving) = signal::channel(false);
    let (is_serving, serving) = signal::channel(false);
    let watching = watch::store(
        store.clone(),
        (problems, Arc::clone(&setbacks)),
        Arc::clone(&clock),
        reporter.clone(),
        Arc::clone(&well),
        is_serving,
        leaving.clone(),
    );
    let watching = background.spawn(watching);
    background.spawn(watch::uses(management.clone(), serving.clone(), leaving.clone()));
    background.spawn(watch::news(management.clone(), serving.clone(), leaving.clone()));
    background.spawn(setback::watch(management.clone(), setbacks, serving.clone(), leaving.clone()));
    background.spawn(watch::due(management.clone(), serving.clone(), leaving.clone()));
    background.spawn(watch::secrets(management.clone(), serving.clone(), leaving.clone()));
    background.spawn(watch::vault(management, leaving.clone()));
    background.spawn(watch::configuration(reloader.state(), reporter.clone(), leaving.clone()));
    let reloading = background.spawn(reloader.run(leaving));
    for door in bound.doors.drain(..) {
        background.spawn(acceptor::run(door, senders.clone(), Arc::clone(&places), stopping.clone()));
    }
    if let Some(listener) = bound.operations.take() {
        let load = operations::Load {
            calls: in_work,
            calls_most: load.calls,
            acts: doors.acts().in_work(),
            acts_most: load.acts,
            audit: audit.open(),
            places: Arc::clone(&places),
            counters: load.counters,
        };
        let of_store = store.clone();
        let store = Box::new(move || of_store.figures());
        let certificates = Arc::clone(&tls);
        let figures =
            operations::Figures { meter, store, store_meter, house: present, issuers, load, clock, certificates };
        background.spawn(operations::serve(
            listener,
            operations::Desk { figures, health: Arc::clone(&well) },
            operations::Security { tls, patience: settings.limits.arrival_timeout },
            stopping,
        ));
    }
    let Addresses { calls, management, operations, socket } = bound.addresses;
    announce(&Ready {
        address: calls,
        secured: settings.tls.is_set(),
        management,
        management_secured: settings.management.tls.is_set(),
        operations,
        operations_secured: settings.operations_tls.is_set(),
        socket,
        operator_key,
        operator_key_made: made,
        realms,
        store: store.describe(),
    });

    let ended = background.block_on(watch::until_told(&threads));
    // Whoever listens to these has gone only when there is nothing left to stop.
    let _ = leave.send(true);
    background.block_on(async {
        // Nobody says that the server is well once it was said that it goes.
        let _ = watching.await;
        watch::say_goodbye(&reporter, &well).await;
        if ended.is_ok() {
            watch::linger(settings.drain_delay).await;
        }
    });
    let _ = stop.send(true);
    let drained = crew::drain(threads);
    let written = background.block_on(async {
        match tokio::time::timeout(DRAIN, reloading).await {
            Ok(Ok(house)) => App::new(house, store).write_uses().await,
            Ok(Err(_)) | Err(_) => Err(AppError::Bug("reloading was not done to its end")),
        }
    });
    if let Err(error) = written {
        tracing::warn!(%error, "the latest uses of keys could not be written");
    }
    if let Some(handing) = handing {
        handing.finish(&background);
    }
    background.shutdown_timeout(Duration::from_secs(1));
    ended.and(drained)
}

/// Management and background work never share a thread with decisions.
fn background_runtime() -> Result<Runtime, StartError> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).thread_name("keygate-background").enable_all();
    builder.build().map_err(system("the background runtime"))
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> StartError {
    move |cause| StartError::System { what, cause }
}

fn store_options(settings: &Settings) -> StoreOptions {
    let place = match settings.store.kind {
        StoreKind::Embedded => Where::Directory { path: settings.data_dir.clone(), counters: settings.limits.counters },
        StoreKind::Redis => Where::Redis(Box::new(stores::redis(&settings.store.redis))),
    };
    let cache = &settings.cache;
    let cache = CacheSettings {
        keys: cache.keys,
        accounts: cache.accounts,
        misses: cache.unknown_keys,
        miss_lifetime: FLAW_REMEMBERED,
    };
    StoreOptions { place, cache }
}
