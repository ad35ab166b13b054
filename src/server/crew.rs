//! The workers of a server: threads that are started together, share what they serve, and end together.

use super::{
    StartError,
    acceptor::Incoming,
    connection::Accepted,
    front::{Front, Services},
    system,
    worker::{self, Hosting},
};
use crate::{
    app::{house::App, meter::take_stripe},
    grpc::{InWork, Turnstile},
    store::Backend,
};
use std::{
    sync::{Arc, mpsc as ready},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tonic_health::pb::health_server::Health;

/// How long connections may take to end after the server was told to stop.
pub const DRAIN: Duration = Duration::from_secs(10);

/// How a worker's thread ended.
pub(super) type Worker = JoinHandle<Result<(), StartError>>;

/// Workers that serve.
pub(super) struct Crew<H: Health> {
    /// Their ways in, in the order of the workers.
    pub(super) fronts: Vec<Arc<Front<Backend, H>>>,
    pub(super) senders: Vec<mpsc::UnboundedSender<Accepted>>,
    /// The calls in work on each.
    pub(super) in_work: Vec<InWork>,
    pub(super) threads: Vec<Worker>,
}

impl<H: Health> Crew<H> {
    /// Starts workers. Each gets its own way to the store, and its own number of calls. Gives nothing before all of them can
    /// reach the store: nobody is told that a server listens of which a part fails.
    pub(super) fn start(
        services: Services<Backend, H>,
        hosting: Hosting,
        stop: &watch::Sender<bool>,
    ) -> Result<Self, StartError> {
        let (is_ready, ready) = ready::channel();
        let (mut senders, mut threads, mut in_work) = (Vec::new(), Vec::new(), Vec::new());
        let count = services.workers;
        for _ in 0..count {
            let (sender, incoming) = mpsc::unbounded_channel();
            let calls = Arc::new(Turnstile::new(hosting.load.calls.div_ceil(count.max(1))));
            senders.push(sender);
            in_work.push(calls.in_work());
            let services = Services { calls, ..services.clone() };
            let (hosting, stopping, is_ready) = (hosting.clone(), stop.subscribe(), is_ready.clone());
            let work = move || work(services, hosting, incoming, stopping, is_ready);
            threads.push(
                thread::Builder::new().name("keygate-worker".to_owned()).spawn(work).map_err(system("a worker"))?,
            );
        }
        drop(is_ready);
        let fronts: Vec<_> = ready.iter().take(count).collect();
        if fronts.len() < count {
            let _ = stop.send(true);
            drain(threads)?;
            return Err(StartError::Worker("it ended before it served".to_owned()));
        }
        Ok(Self { fronts, senders, in_work, threads })
    }
}

/// What a worker's thread does.
fn work<H: Health>(
    mut services: Services<Backend, H>,
    hosting: Hosting,
    incoming: Incoming,
    stopping: watch::Receiver<bool>,
    is_ready: ready::Sender<Arc<Front<Backend, H>>>,
) -> Result<(), StartError> {
    take_stripe();
    let runtime = worker::runtime().map_err(system("a worker"))?;
    let served = runtime.block_on(async {
        let App { house, store } = services.decisions;
        services.decisions = App::new(house, store.for_this_runtime().await?);
        let front = Arc::new(Front::open(services)?);
        // Nobody hears it when the start has failed already.
        let _ = is_ready.send(Arc::clone(&front));
        drop(is_ready);
        worker::serve(front, hosting, incoming, stopping).await;
        Ok(())
    });
    // Whoever is still connected after the drain is cut off.
    runtime.shutdown_background();
    served
}

/// Waits until workers have ended that were told to.
pub(super) fn drain(threads: Vec<Worker>) -> Result<(), StartError> {
    let mut left = DRAIN.as_millis() / 10;
    while left > 0 && threads.iter().any(|worker| !worker.is_finished()) {
        thread::sleep(Duration::from_millis(10));
        left = left.saturating_sub(1);
    }
    let mut outcome = Ok(());
    for worker in threads {
        if worker.is_finished() {
            let ended = worker.join().unwrap_or_else(|_| Err(StartError::Worker("it panicked".to_owned())));
            outcome = outcome.and(ended);
        } else {
            tracing::warn!(seconds = DRAIN.as_secs(), "connections did not end in time and are cut off");
        }
    }
    outcome
}
