//! One worker: a thread with a runtime of its own, on which its connections, decisions and its way to the store live.

use super::{StartError, acceptor, acceptor::Incoming};
use crate::{
    app::{house::App, ports::Store},
    config::LoadSettings,
    grpc::{
        Gate, Turnstile,
        authorization::{AuthorizationService, Entrance, LargestRequests},
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

/// Bytes of a question for health, at most: it holds the name of a service.
const HEALTH_BYTES: usize = 1_024;
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
    /// The calls in work on this worker.
    pub(super) calls: Turnstile,
    /// The acts on keys in work on all workers.
    pub(super) acts: Arc<Turnstile>,
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
    let connections = acceptor::connections(incoming, load.arrival_timeout);
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    server
        .serve_with_incoming_shutdown(entrance(services)?, connections, stopped)
        .await
        .map_err(|error| StartError::Worker(error.to_string()))
}

fn entrance<S: Store, H: Health>(services: Services<S, H>) -> Result<Gate<Entrance<S>>, StartError> {
    let Services { decisions, management, management_runtime, health, load, calls, acts } = services;
    let largest = LargestRequests { decision: load.decision_bytes, management: load.management_bytes };
    let clock = Arc::clone(&decisions.house.clock);
    let reflection = |error: tonic_reflection::server::Error| StartError::Worker(error.to_string());
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // What stands in the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let realms = RealmsService::new(decisions.clone());
    let authorization = AuthorizationService::new(decisions, management, management_runtime, load.act_timeout);
    let (v1, v1alpha) = (descriptors().build_v1(), descriptors().build_v1alpha());
    let others = Routes::new(RealmsServer::new(realms).max_decoding_message_size(largest.decision))
        .add_service(health.max_decoding_message_size(HEALTH_BYTES))
        .add_service(v1.map_err(reflection)?.max_decoding_message_size(largest.decision))
        .add_service(v1alpha.map_err(reflection)?.max_decoding_message_size(largest.decision));
    let entrance = Entrance::new(authorization, largest, others);
    Ok(Gate::new(entrance, calls, acts, load.arrival_timeout, clock))
}
