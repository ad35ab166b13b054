//! Puts the rooms together: reads the secrets, opens the store, binds the port, starts the workers, watches the store and the
//! files, and ends in good order. The only room that knows them all, and the only one that reads a clock or random bytes.

mod acceptor;
mod beat;
mod clock;
mod configuration;
mod connection;
mod descriptors;
mod dumps;
mod entropy;
mod error;
mod files;
mod inflow;
mod journal;
mod line;
mod offenders;
mod operations;
mod operator;
mod post;
mod reload;
mod restore;
mod secrets;
mod setback;
mod socket;
mod stores;
mod telling;
mod tls;
mod vault;
mod watch;
mod worker;

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
        meter::{Meter, StoreMeter, take_stripe},
        ports::{Clock, Entropy},
    },
    config::{self, ListenerName, Settings, StoreKind},
    domain::realm::Realm,
    grpc::{ACTS, Doors, Turnstile, audit::AuditStreams},
    store::{Backend, CacheSettings, StoreOptions, Where, embedded},
};
use clock::SystemClock;
use configuration::Configuration;
use entropy::SystemEntropy;
use journal::FileJournal;
use reload::Reloader;
use setback::Setbacks;
use std::{net::SocketAddr, path::PathBuf, sync::Arc, thread, time::Duration};
use telling::{Handing, Telling};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{mpsc, watch as signal},
};

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
/// How long connections may take to end after the server was told to stop.
const DRAIN: Duration = Duration::from_secs(10);

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
    descriptors::raise(acceptor::Places::of(settings.limits.connections));
    let background = background_runtime()?;
    // Before anything else: else SIGHUP would end a server that is still starting.
    let told = background.block_on(async { reload::hangups() })?;
    let before = source.footprint(settings);
    let loaded = config::read(settings).map_err(StartError::Configuration)?;
    let listen = |address| acceptor::bind(address).map_err(|cause| StartError::Listen { address, cause });
    let tell = |address| acceptor::bind(address).map_err(|cause| StartError::Operations { address, cause });
    let (address, listener) = listen(settings.listen)?;
    let (operations_address, operations) = settings.listen_operations.map(tell).transpose()?.unzip();
    let (management_address, management_listener) = settings.management.listen.map(listen).transpose()?.unzip();
    let bound = match &settings.listen_unix {
        None => None,
        Some(path) => {
            let failed = |cause| StartError::Socket { path: path.clone(), cause };
            let access = socket::Access {
                mode: settings.listen_unix_mode,
                owner: settings.listen_unix_owner.as_deref(),
                group: settings.listen_unix_group.as_deref(),
            };
            Some(socket::bind(path, &access).map_err(failed)?)
        }
    };
    // Its file goes when this function ends, however it does.
    let (unix, _socket_file) = bound.unzip();

    let clock = Arc::new(SystemClock::new());
    // Where nobody can ask, nothing is counted.
    let meter = Arc::new(if operations.is_some() { Meter::on() } else { Meter::default() });
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
    let offenders = Arc::new(offenders::Offenders::new());
    let places = Arc::new(acceptor::Places::new(load.connections, clock.clone(), Arc::clone(&meter)));
    let (stop, stopping) = signal::channel(false);
    let audit = AuditStreams::new(stopping.clone());
    let (reporter, health) = tonic_health::server::health_reporter();
    let (is_ready, ready) = std::sync::mpsc::channel();
    let mut senders = Vec::new();
    let mut workers = Vec::new();
    let mut in_work = Vec::new();
    let threads = settings.threads.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    for _ in 0..threads {
        let (sender, incoming) = mpsc::unbounded_channel();
        senders.push(sender);
        let (house, management, health, store) =
            (Arc::clone(&house), management.clone(), health.clone(), store.clone());
        let (management_runtime, load, stopping) = (background.handle().clone(), load.clone(), stopping.clone());
        let (doors, calls) = (Arc::clone(&doors), Arc::new(Turnstile::new(load.calls.div_ceil(threads.max(1)))));
        let (places, offenders) = (Arc::clone(&places), Arc::clone(&offenders));
        in_work.push(calls.in_work());
        let (routing, audit) = (Arc::clone(&configuration.routing), audit.clone());
        let (release, manage) = (settings.vault.release_on.clone(), settings.management.serve_on.clone());
        let tls = Arc::clone(&tls);
        let is_ready = is_ready.clone();
        let work = move || {
            take_stripe();
            let runtime = worker::runtime().map_err(system("a worker"))?;
            let served = runtime.block_on(async {
                let decisions = App::new(house, store.for_this_runtime().await?);
                let services = worker::Services {
                    decisions,
                    management,
                    management_runtime,
                    health,
                    load,
                    routing,
                    calls,
                    doors,
                    workers: threads,
                    places,
                    offenders,
                    audit,
                    release,
                    manage,
                    tls,
                };
                let front = Arc::new(worker::Front::open(services)?);
                // Nobody hears it when the start has failed already.
                let _ = is_ready.send(Arc::clone(&front));
                drop(is_ready);
                worker::serve(front, incoming, stopping).await
            });
            // Whoever is still connected after the drain is cut off.
            runtime.shutdown_background();
            served
        };
        workers.push(thread::Builder::new().name("keygate-worker".to_owned()).spawn(work).map_err(system("a worker"))?);
    }

    // Nobody is told that the server listens while a worker may still fail to reach the store.
    drop(is_ready);
    let fronts: Vec<_> = ready.iter().take(threads).collect();
    if fronts.len() < threads {
        let _ = stop.send(true);
        return drain(workers);
    }
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
    let unix = unix.map(|listener| (ListenerName::ListenUnix, acceptor::Door::Unix(listener)));
    let more = management_listener.map(|listener| (ListenerName::Management, acceptor::Door::Tcp(listener)));
    for door in unix.into_iter().chain(more).chain([(ListenerName::Listen, acceptor::Door::Tcp(listener))]) {
        background.spawn(acceptor::run(door, senders.clone(), Arc::clone(&places), stopping.clone()));
    }
    if let Some(listener) = operations {
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
    announce(&Ready {
        address,
        secured: settings.tls.is_set(),
        management: management_address,
        management_secured: settings.management.tls.is_set(),
        operations: operations_address,
        operations_secured: settings.operations_tls.is_set(),
        socket: settings.listen_unix.clone(),
        operator_key,
        operator_key_made: made,
        realms,
        store: store.describe(),
    });

    let ended = background.block_on(watch::until_told(&workers));
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
    let drained = drain(workers);
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

fn drain(workers: Vec<thread::JoinHandle<Result<(), StartError>>>) -> Result<(), StartError> {
    let mut left = DRAIN.as_millis() / 10;
    while left > 0 && workers.iter().any(|worker| !worker.is_finished()) {
        thread::sleep(Duration::from_millis(10));
        left = left.saturating_sub(1);
    }
    let mut outcome = Ok(());
    for worker in workers {
        if worker.is_finished() {
            let ended = worker.join().unwrap_or_else(|_| Err(StartError::Worker("it panicked".to_owned())));
            outcome = outcome.and(ended);
        } else {
            tracing::warn!(seconds = DRAIN.as_secs(), "connections did not end in time and are cut off");
        }
    }
    outcome
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
