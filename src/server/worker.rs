//! One worker: a thread with a runtime of its own, on which its connections, decisions and its way to the store live.

use super::{StartError, acceptor, acceptor::Incoming};
use crate::{
    app::{house::App, ports::Store},
    config::LoadSettings,
    domain::realm::Routing,
    grpc::{
        Rekeying,
        authorization::{AuthorizationService, Entrance},
        envoy::{CheckService, RateLimitService},
        realms::RealmsService,
    },
    proto::v1::{DESCRIPTORS, realms_server::RealmsServer},
};
use std::{io, sync::Arc, time::Duration};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    sync::watch,
};
use tonic::{service::Routes, transport::Server};
use tonic_health::pb::health_server::{Health, HealthServer};

/// Bytes of one request, at most: a full batch of an import.
const MESSAGE_BYTES: usize = 1_024 * 1_024;
/// Bytes of a request's header list, at most.
const HEADER_LIST_BYTES: u32 = 16 * 1_024;
/// A connection that is silent for so long is asked whether it lives, and closed when it does not answer.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// What a worker serves.
pub(super) struct Services<S, H: Health> {
    pub(super) decisions: App<S>,
    pub(super) management: App<S>,
    pub(super) management_runtime: Handle,
    pub(super) health: HealthServer<H>,
    pub(super) load: LoadSettings,
    pub(super) routing: Arc<Routing>,
}

/// A worker's runtime. One thread, since a connection then never moves between cores: measured, this is what makes the
/// difference to the default runtime.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves connections until told to stop, and then until they have ended.
pub(super) async fn serve<S: Store, H: Health>(
    services: Services<S, H>,
    incoming: Incoming,
    mut stop: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let load = &services.load;
    let server = Server::builder()
        .max_concurrent_streams(Some(load.streams_per_connection))
        .http2_max_header_list_size(Some(HEADER_LIST_BYTES))
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1));
    let connections = acceptor::connections(incoming);
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    server
        .serve_with_incoming_shutdown(entrance(services)?, connections, stopped)
        .await
        .map_err(|error| StartError::Worker(error.to_string()))
}

fn entrance<S: Store, H: Health>(services: Services<S, H>) -> Result<Entrance<S>, StartError> {
    let Services { decisions, management, management_runtime, health, load, routing } = services;
    let reflection = |error: tonic_reflection::server::Error| StartError::Worker(error.to_string());
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let realms = RealmsService::new(decisions.clone());
    let rekeying = Rekeying::new(management.clone(), management_runtime.clone());
    let rate_limits = RateLimitService::new(decisions.clone(), Arc::clone(&routing));
    let check = CheckService::new(decisions.clone(), rekeying.clone(), routing);
    let authorization =
        AuthorizationService::new(decisions, management, management_runtime, load.act_timeout, rekeying);
    let others = Routes::new(RealmsServer::new(realms).max_decoding_message_size(MESSAGE_BYTES))
        .add_service(health)
        .add_service(descriptors().build_v1().map_err(reflection)?)
        .add_service(descriptors().build_v1alpha().map_err(reflection)?);
    Ok(Entrance::new(authorization, check, rate_limits, MESSAGE_BYTES, others))
}
