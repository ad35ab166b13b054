//! What a worker answers with: every service behind one entrance, built anew when the configuration is.

use super::StartError;
use crate::{
    app::{
        house::{App, House},
        ports::Store,
    },
    config::LoadSettings,
    domain::realm::Routing,
    grpc::{
        Desk, Doors, Gate, GateLoad, Rekeying, Turnstile,
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
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use tokio::runtime::Handle;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};

/// Bytes of a question for health, at most: it holds the name of a service.
const HEALTH_BYTES: usize = 1_024;

/// What a worker answers with: its own, and what it shares with the others.
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
    /// The streams of the audit log that are open on all workers.
    pub(super) audit: AuditStreams,
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
            audit: self.audit.clone(),
        }
    }
}

/// The way in to a worker. It is replaced as a whole when the configuration is: every call goes to its end in the entrance
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

    pub(super) fn entrance(&self) -> Arc<Entrance<S>> {
        Arc::clone(&self.entrance.read())
    }
}

fn entrance<S: Store, H: Health>(services: Services<S, H>) -> Result<Entrance<S>, StartError> {
    let Services { decisions, management, management_runtime, health, load, routing, calls, doors, workers, audit } =
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
