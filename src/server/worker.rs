//! One worker: a thread with a runtime of its own, on which its connections, decisions and its way to the store live.

use super::{
    StartError,
    acceptor::{Incoming, Places},
    connection::{Accepted, Connection, Stream, Watch},
    line::{Ending, Line, Lines, Patience, Watched},
    offenders::{self, Offenders},
    tls,
};
use crate::{
    app::{
        house::{App, House},
        meter::Meter,
        ports::{Clock, Store},
        seldom::Seldom,
    },
    config::{ListenerName, LoadSettings},
    domain::{certificate::ClientCertificate, realm::Routing},
    grpc::{
        Desk, Doors, Gate, GateLoad, MayRelease, Rekeying, Turnstile,
        audit::{AuditLogService, AuditStreams},
        authorization::{AuthorizationService, Deciding, Entrance, LargestRequests},
        backup::BackupService,
        directory::DirectoryService,
        embed_tokens::EmbedTokensService,
        envoy::{CheckService, RateLimitService},
        onboarding::OnboardingService,
        realms::RealmsService,
        secrets::SecretsService,
        vault::VaultService,
        webhooks::WebhooksService,
    },
    proto::v1::{
        DESCRIPTORS, audit_log_server::AuditLogServer, backup_server::BackupServer, directory_server::DirectoryServer,
        embed_tokens_server::EmbedTokensServer, onboarding_server::OnboardingServer, realms_server::RealmsServer,
        secrets_server::SecretsServer, vault_server::VaultServer, webhooks_server::WebhooksServer,
    },
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::{Mutex, RwLock};
use std::{
    convert::Infallible,
    error::Error,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::{Builder, Handle, Runtime},
    sync::{OwnedSemaphorePermit, watch},
    time::{Sleep, sleep, timeout},
};
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

/// Bytes of a question for health, at most: it holds the name of a service.
const HEALTH_BYTES: usize = 1_024;
/// Bytes of a request's header list, at most.
const HEADER_LIST_BYTES: u32 = 16 * 1_024;
/// Bytes that a client may send of one call, and of all on a connection, before they are looked at.
const STREAM_WINDOW: u32 = 128 * 1_024;
const CONNECTION_WINDOW: u32 = 256 * 1_024;

/// Calls of a connection that the server has to reset because of how they were made, before it is ended.
const ERRORS: usize = 256;
/// While places are scarce, a connection on which nothing was asked for so long makes room.
const IDLE_WHILE_SCARCE: Duration = Duration::from_secs(60);

/// Connections so far: what tells one from another.
static CONNECTIONS: AtomicU64 = AtomicU64::new(0);

/// What a worker serves.
pub(super) struct Services<S: Clone, H: Health> {
    pub(super) decisions: App<S>,
    pub(super) management: App<S>,
    pub(super) management_runtime: Handle,
    pub(super) health: HealthServer<H>,
    pub(super) load: LoadSettings,
    pub(super) routing: Arc<Routing>,
    /// The calls in work on this worker.
    pub(super) calls: Arc<Turnstile>,
    /// The acts of management in work on all workers.
    pub(super) doors: Arc<Doors>,
    /// How many workers there are.
    pub(super) workers: usize,
    /// The places for connections.
    pub(super) places: Arc<Places>,
    /// The streams of the audit log that are open on all workers.
    pub(super) audit: AuditStreams,
    /// Where credentials are released.
    pub(super) release: Vec<ListenerName>,
    /// Where something is managed.
    pub(super) manage: Vec<ListenerName>,
    /// Where connections came from that broke the rules.
    pub(super) offenders: Arc<Offenders>,
    /// What the listeners show.
    pub(super) tls: Arc<tls::Present>,
}

// Derived, it would ask that what stands behind the health service could be cloned too.
impl<S: Clone, H: Health> Clone for Services<S, H> {
    fn clone(&self) -> Self {
        Self {
            decisions: self.decisions.clone(),
            management: self.management.clone(),
            management_runtime: self.management_runtime.clone(),
            health: self.health.clone(),
            load: self.load.clone(),
            routing: Arc::clone(&self.routing),
            calls: Arc::clone(&self.calls),
            doors: Arc::clone(&self.doors),
            workers: self.workers,
            places: Arc::clone(&self.places),
            offenders: Arc::clone(&self.offenders),
            audit: self.audit.clone(),
            release: self.release.clone(),
            manage: self.manage.clone(),
            tls: Arc::clone(&self.tls),
        }
    }
}

/// A worker's runtime. One thread, since a connection then never moves between cores: measured, this is what makes the
/// difference to the default runtime.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// What a worker answers with. It is replaced as a whole when the configuration is: every call goes to its end in the entrance
/// that it came in by, and so in one state of the configuration.
pub(super) struct Front<S: Clone, H: Health> {
    // Of this worker alone: nobody else ever waits for it, or makes it wait, but at a reload.
    entrance: RwLock<Arc<Entrance<S>>>,
    services: Mutex<Services<S, H>>,
}

/// An entrance that nobody comes in by yet, and what it was built from.
pub(super) struct Built<S: Clone, H: Health> {
    entrance: Arc<Entrance<S>>,
    services: Services<S, H>,
}

impl<S: Store, H: Health> Front<S, H> {
    pub(super) fn open(services: Services<S, H>) -> Result<Self, StartError> {
        let entrance = Arc::new(entrance(services.clone())?);
        Ok(Self { entrance: RwLock::new(entrance), services: Mutex::new(services) })
    }

    /// An entrance to another house, for [`Front::put`].
    pub(super) fn build(&self, house: &Arc<House>, routing: &Arc<Routing>) -> Result<Built<S, H>, StartError> {
        let mut services = self.services.lock().clone();
        services.decisions.house = Arc::clone(house);
        services.management.house = Arc::clone(house);
        services.routing = Arc::clone(routing);
        Ok(Built { entrance: Arc::new(entrance(services.clone())?), services })
    }

    /// Every call from now on comes in there.
    pub(super) fn put(&self, built: Built<S, H>) {
        *self.entrance.write() = built.entrance;
        *self.services.lock() = built.services;
    }

    fn entrance(&self) -> Arc<Entrance<S>> {
        Arc::clone(&self.entrance.read())
    }
}

/// Serves connections until told to stop, and then until they have ended.
pub(super) async fn serve<S: Store, H: Health>(
    front: Arc<Front<S, H>>,
    mut incoming: Incoming,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    // Nothing of the house itself: whoever kept it would keep it beyond a reload.
    let host = {
        let services = front.services.lock();
        let house = &services.decisions.house;
        Host {
            protocol: protocol(&services.load),
            patience: Patience {
                taking: services.load.arrival_timeout,
                idle: services.load.idle_timeout,
                idle_while_scarce: IDLE_WHILE_SCARCE,
            },
            places: Arc::clone(&services.places),
            offenders: Arc::clone(&services.offenders),
            lines: Arc::default(),
            release: services.release.clone(),
            manage: services.manage.clone(),
            tls: Arc::clone(&services.tls),
            meter: Arc::clone(&house.meter),
            clock: Arc::clone(&house.clock),
            failed: Seldom::new(),
            front: Arc::clone(&front),
        }
    };
    let connections = Connections { host: Arc::new(host), stop: stop.clone(), all: watch::Sender::new(false) };
    let stopped = async { drop(stop.wait_for(|stop| *stop).await) };
    let taken = async {
        while let Some(accepted) = incoming.recv().await {
            connections.take(accepted);
        }
    };
    tokio::select! {
        () = stopped => {}
        () = taken => {}
    }
    // Whoever was let in before is served too.
    while let Ok(accepted) = incoming.try_recv() {
        connections.take(accepted);
    }
    let _ = connections.all.send(true);
    // Each holds its end until it has ended.
    connections.all.closed().await;
    Ok(())
}

/// HTTP/2, and nothing else, straight on the connection: what a general server would put between costs more than a decision.
/// It does not ask silent clients whether they live: for that it would read a clock at every frame, and the system does it too.
fn protocol(load: &LoadSettings) -> http2::Builder<TokioExecutor> {
    let mut protocol = http2::Builder::new(TokioExecutor::new());
    protocol
        .timer(TokioTimer::new())
        .max_concurrent_streams(load.streams_per_connection)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_local_error_reset_streams(Some(ERRORS))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .auto_date_header(false);
    protocol
}

/// The connections of one worker.
struct Connections<S: Clone, H: Health> {
    host: Arc<Host<S, H>>,
    stop: watch::Receiver<bool>,
    /// Tells all of them that the server goes.
    all: watch::Sender<bool>,
}

/// What connections are served with.
struct Host<S: Clone, H: Health> {
    protocol: http2::Builder<TokioExecutor>,
    /// How long a client may take to begin, to take an answer, and to ask for something.
    patience: Patience,
    places: Arc<Places>,
    offenders: Arc<Offenders>,
    lines: Arc<Lines>,
    /// Where credentials are released.
    release: Vec<ListenerName>,
    /// Where something is managed.
    manage: Vec<ListenerName>,
    tls: Arc<tls::Present>,
    meter: Arc<Meter>,
    clock: Arc<dyn Clock>,
    failed: Seldom,
    front: Arc<Front<S, H>>,
}

impl<S: Store, H: Health> Connections<S, H> {
    fn take(&self, accepted: Accepted) {
        let Accepted { stream, place, listener } = accepted;
        let (host, mut going) = (Arc::clone(&self.host), self.all.subscribe());
        let taken = match stream {
            Stream::Tcp(stream) => TcpStream::from_std(stream).map(|stream| {
                let (peer, stop) = (stream.peer_addr().ok(), self.stop.clone());
                match host.tls.acceptor_of(listener) {
                    None => drop(tokio::spawn(async move {
                        host.wait_for(peer, &mut going).await;
                        let ended = host.serve(stream, host.arrival(place, listener), going).await;
                        host.ended(ended, peer);
                    })),
                    Some(acceptor) => drop(tokio::spawn(async move {
                        host.wait_for(peer, &mut going).await;
                        match tls::shake_hands(&acceptor, stream, host.timer(), stop).await {
                            Ok((stream, left)) => {
                                let client = tls::identity::of(&stream);
                                let arrival = Arrival { most: left, place, listener, client };
                                let ended = host.serve(stream, arrival, going).await;
                                host.ended(ended, peer);
                            }
                            Err(error) => host.not_agreed(&error, peer),
                        }
                    })),
                }
            }),
            Stream::Unix(stream) => UnixStream::from_std(stream).map(|stream| {
                drop(tokio::spawn(async move {
                    let ended = host.serve(stream, host.arrival(place, listener), going).await;
                    host.ended(ended, None);
                }));
            }),
        };
        if let Err(error) = taken {
            tracing::warn!(%error, "a connection could not be served");
        }
    }
}

/// A connection that is to be served.
struct Arrival {
    /// Ends when its client has to have begun.
    most: Pin<Box<Sleep>>,
    place: OwnedSemaphorePermit,
    listener: ListenerName,
    /// What its client showed.
    client: Option<Arc<ClientCertificate>>,
}

impl<S: Store, H: Health> Host<S, H> {
    /// A connection on which nothing is shown.
    fn arrival(&self, place: OwnedSemaphorePermit, listener: ListenerName) -> Arrival {
        Arrival { most: self.timer(), place, listener, client: None }
    }

    /// Ends when a client that came now has to have begun.
    fn timer(&self) -> Pin<Box<Sleep>> {
        Box::pin(sleep(self.patience.taking))
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Arrival { most, place, listener, client }: Arrival,
        mut going: watch::Receiver<bool>,
    ) -> Result<(), hyper::Error> {
        let line = Line::new(Arc::clone(&self.lines));
        let watch = Watch { line: Arc::clone(&line), clock: Arc::clone(&self.clock), meter: Arc::clone(&self.meter) };
        let stream = TokioIo::new(Connection::new(stream, place, most, watch));
        let (front, called) = (Arc::clone(&self.front), Arc::clone(&line));
        let connection = CONNECTIONS.fetch_add(1, Relaxed);
        let (release, manages) = (self.release.contains(&listener), self.manage.contains(&listener));
        let client = client.filter(|_| manages);
        let service = service_fn(move |mut request: http::Request<_>| {
            let entrance = front.entrance();
            if let Some(client) = &client {
                request.extensions_mut().insert(Arc::clone(client));
            }
            if release {
                request.extensions_mut().insert(MayRelease);
            }
            let (mut open, called) = (called.call(), Arc::clone(&called));
            async move {
                open.begin();
                let answer = if called.is_choked() {
                    entrance.choked()
                } else {
                    entrance.answer(request, connection, manages).await
                };
                Ok::<_, Infallible>(answer.map(|body| Watched::new(body, open)))
            }
        });
        let mut served = pin!(self.protocol.serve_connection(stream, service));
        let why = tokio::select! {
            biased;
            ended = &mut served => return ended,
            _ = going.wait_for(|going| *going) => None,
            why = line.watched(self.patience, || self.places.are_scarce(listener)) => Some(why),
        };
        if let Some(count) = why.and_then(|why| self.meter.connections_ended.get(why as usize)) {
            count.one();
        }
        match why {
            None => {
                served.as_mut().graceful_shutdown();
                served.await
            }
            Some(Ending::Idle) => {
                served.as_mut().graceful_shutdown();
                // Whoever asks for something at this very moment is answered.
                timeout(self.patience.taking, served).await.unwrap_or(Ok(()))
            }
            Some(why @ (Ending::Unread | Ending::Stalled)) => {
                tracing::debug!(?why, "a connection was cut off");
                Ok(())
            }
        }
    }

    /// Whoever was cut off a short while ago begins a little later.
    async fn wait_for(&self, peer: Option<SocketAddr>, going: &mut watch::Receiver<bool>) {
        if peer.is_some_and(|peer| self.offenders.holds(peer.ip(), self.clock.ticks())) {
            self.meter.connections_slowed.one();
            tokio::select! {
                () = sleep(offenders::WAIT) => {}
                _ = going.wait_for(|going| *going) => {}
            }
        }
    }

    fn ended(&self, ended: Result<(), hyper::Error>, peer: Option<SocketAddr>) {
        if let Err(error) = ended {
            self.meter.connections_broken.one();
            // Whoever only went away did nothing wrong.
            let broke_rules = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
            if let Some(peer) = peer
                && broke_rules.is_some_and(|error| error.is_library() && !error.is_io())
            {
                self.offenders.note(peer.ip(), self.clock.ticks());
            }
            tracing::debug!(%error, "a connection ended before its time");
        }
    }

    fn not_agreed(&self, error: &tls::NotAgreed, peer: Option<SocketAddr>) {
        self.meter.handshakes_failed.one();
        if let Some(peer) = peer
            // Whoever only went away, such as one who asks whether the port is open, did nothing wrong.
            && matches!(error, tls::NotAgreed::Failed(cause) if cause.kind() == io::ErrorKind::InvalidData)
        {
            self.offenders.note(peer.ip(), self.clock.ticks());
        }
        if let Some(left_out) = self.failed.turn(self.clock.ticks()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(%error, peer, left_out, "no TLS was agreed on with a client: its connection was closed");
        }
    }
}

fn entrance<S: Store, H: Health>(services: Services<S, H>) -> Result<Entrance<S>, StartError> {
    let Services {
        decisions, management, management_runtime, health, load, routing, calls, doors, workers, audit, ..
    } = services;
    let largest = LargestRequests { decision: load.decision_bytes, management: load.management_bytes };
    let (clock, meter) = (Arc::clone(&decisions.house.clock), Arc::clone(&decisions.house.meter));
    let reflection = |error: tonic_reflection::server::Error| StartError::Worker(error.to_string());
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // What stands in the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let realms = RealmsService::new(decisions.clone());
    let log = || AuditLogService::new(management.clone(), management_runtime.clone(), load.act_timeout, audit.clone());
    let (audit, backup) = (log(), BackupService::new(log()));
    let rekeying = Rekeying::new(management.clone(), management_runtime.clone());
    let onboarding = OnboardingService::new(management.clone(), management_runtime.clone(), load.act_timeout);
    let desk = Desk::new(management, management_runtime, load.act_timeout, Arc::clone(&doors));
    let embed_tokens = EmbedTokensServer::new(EmbedTokensService::new(desk.clone(), decisions.clone()));
    let directory = DirectoryServer::new(DirectoryService::new(desk.clone()));
    let secrets = SecretsServer::new(SecretsService::new(desk.clone()));
    let webhooks = WebhooksServer::new(WebhooksService::new(desk.clone()));
    let vault = VaultServer::new(VaultService::new(desk.clone()));
    let deciding = Deciding {
        rate_limits: RateLimitService::new(decisions.clone(), Arc::clone(&routing)),
        check: CheckService::new(decisions.clone(), rekeying.clone(), routing),
        authorization: AuthorizationService::new(decisions, desk, rekeying),
    };
    let (v1, v1alpha) = (descriptors().build_v1(), descriptors().build_v1alpha());
    let others = Routes::new(RealmsServer::new(realms).max_decoding_message_size(largest.decision))
        .add_service(embed_tokens.max_decoding_message_size(largest.decision))
        .add_service(directory.max_decoding_message_size(largest.decision))
        .add_service(secrets.max_decoding_message_size(largest.decision))
        .add_service(webhooks.max_decoding_message_size(largest.decision))
        .add_service(vault.max_decoding_message_size(largest.decision))
        .add_service(AuditLogServer::new(audit).max_decoding_message_size(largest.decision))
        .add_service(BackupServer::new(backup).max_decoding_message_size(largest.decision))
        .add_service(OnboardingServer::new(onboarding).max_decoding_message_size(largest.decision))
        .add_service(health.max_decoding_message_size(HEALTH_BYTES))
        .add_service(v1.map_err(reflection)?.max_decoding_message_size(largest.decision))
        .add_service(v1alpha.map_err(reflection)?.max_decoding_message_size(largest.decision));
    let gate = GateLoad {
        decisions: calls,
        acts: Arc::clone(doors.acts()),
        arrival: load.arrival_timeout,
        largest: load.management_bytes.max(load.decision_bytes),
        workers,
    };
    let gate = Gate::new(gate, clock, meter);
    Ok(Entrance::new(gate, deciding, largest, others))
}
