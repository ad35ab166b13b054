//! One worker: a thread with a runtime of its own, on which its connections, decisions and its way to the store live.

use super::{
    StartError,
    acceptor::{Incoming, ReleaseOn},
    connection::{Accepted, Connection, Stream},
};
use crate::{
    app::{
        house::{App, House},
        meter::Meter,
        ports::Store,
    },
    config::LoadSettings,
    domain::realm::Routing,
    grpc::{
        Desk, Gate, MayRelease, Rekeying, Turnstile,
        audit::{AuditLogService, AuditStreams},
        authorization::{AuthorizationService, Deciding, Entrance, LargestRequests},
        backup::BackupService,
        directory::DirectoryService,
        embed_tokens::EmbedTokensService,
        envoy::{CheckService, RateLimitService},
        onboarding::OnboardingService,
        realms::RealmsService,
        vault::VaultService,
        webhooks::WebhooksService,
    },
    proto::v1::{
        DESCRIPTORS, audit_log_server::AuditLogServer, backup_server::BackupServer, directory_server::DirectoryServer,
        embed_tokens_server::EmbedTokensServer, onboarding_server::OnboardingServer, realms_server::RealmsServer,
        vault_server::VaultServer, webhooks_server::WebhooksServer,
    },
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use parking_lot::{Mutex, RwLock};
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::{Builder, Handle, Runtime},
    sync::{OwnedSemaphorePermit, watch},
};
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

/// Bytes of a question for health, at most: it holds the name of a service.
const HEALTH_BYTES: usize = 1_024;
/// Bytes of a request's header list, at most.
const HEADER_LIST_BYTES: u32 = 16 * 1_024;

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
    /// The acts on keys in work on all workers.
    pub(super) acts: Arc<Turnstile>,
    /// The streams of the audit log that are open on all workers.
    pub(super) audit: AuditStreams,
    /// Where credentials are released.
    pub(super) release: ReleaseOn,
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
            acts: Arc::clone(&self.acts),
            audit: self.audit.clone(),
            release: self.release,
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
    let (load, release, meter) = {
        let services = front.services.lock();
        (services.load.clone(), services.release, Arc::clone(&services.decisions.house.meter))
    };
    let connections = Connections {
        protocol: protocol(&load),
        patience: load.arrival_timeout,
        release,
        meter,
        front: Arc::clone(&front),
        all: GracefulShutdown::new(),
    };
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
    connections.all.shutdown().await;
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
        .auto_date_header(false);
    protocol
}

/// The connections of one worker.
struct Connections<S: Clone, H: Health> {
    protocol: http2::Builder<TokioExecutor>,
    /// How long a client may take to begin.
    patience: Duration,
    /// Where credentials are released.
    release: ReleaseOn,
    meter: Arc<Meter>,
    front: Arc<Front<S, H>>,
    all: GracefulShutdown,
}

impl<S: Store, H: Health> Connections<S, H> {
    fn take(&self, accepted: Accepted) {
        let Accepted { stream, place } = accepted;
        let release = self.release.holds(&stream);
        let taken = match stream {
            Stream::Tcp(stream) => TcpStream::from_std(stream).map(|stream| self.serve(stream, place, release)),
            Stream::Unix(stream) => UnixStream::from_std(stream).map(|stream| self.serve(stream, place, release)),
        };
        if let Err(error) = taken {
            tracing::warn!(%error, "a connection could not be served");
        }
    }

    fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        place: OwnedSemaphorePermit,
        release: bool,
    ) {
        let stream = TokioIo::new(Connection::new(stream, place, self.patience));
        let front = Arc::clone(&self.front);
        let service = service_fn(move |mut request: http::Request<_>| {
            let entrance = front.entrance();
            if release {
                request.extensions_mut().insert(MayRelease);
            }
            async move { Ok::<_, Infallible>(entrance.answer(request).await) }
        });
        let connection = self.all.watch(self.protocol.serve_connection(stream, service));
        let meter = Arc::clone(&self.meter);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                meter.connections_broken.one();
                tracing::debug!(%error, "a connection ended before its time");
            }
        });
    }
}

fn entrance<S: Store, H: Health>(services: Services<S, H>) -> Result<Entrance<S>, StartError> {
    let Services { decisions, management, management_runtime, health, load, routing, calls, acts, audit, .. } =
        services;
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
    let desk = Desk::new(management, management_runtime, load.act_timeout);
    let embed_tokens = EmbedTokensServer::new(EmbedTokensService::new(desk.clone(), decisions.clone()));
    let directory = DirectoryServer::new(DirectoryService::new(desk.clone()));
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
        .add_service(webhooks.max_decoding_message_size(largest.decision))
        .add_service(vault.max_decoding_message_size(largest.decision))
        .add_service(AuditLogServer::new(audit).max_decoding_message_size(largest.decision))
        .add_service(BackupServer::new(backup).max_decoding_message_size(largest.decision))
        .add_service(OnboardingServer::new(onboarding).max_decoding_message_size(largest.decision))
        .add_service(health.max_decoding_message_size(HEALTH_BYTES))
        .add_service(v1.map_err(reflection)?.max_decoding_message_size(largest.decision))
        .add_service(v1alpha.map_err(reflection)?.max_decoding_message_size(largest.decision));
    let gate = Gate::new(calls, acts, load.arrival_timeout, clock, meter);
    Ok(Entrance::new(gate, deciding, largest, others))
}
