//! Watches: the store's health once a second, the signals that end the server; writes uses and wipes opened credentials once a second.

use super::{
    StartError, beat::Beat, clock::SystemClock, crew::Worker, operations::Health, reload::ReloadState,
    setback::Setbacks,
};
use crate::{
    app::{
        hooks::Rounds,
        house::App,
        ports::{Problem, Store},
        problems::{Changed, Problems},
        secrets::Census,
    },
    grpc::envoy::{CHECK_SERVICE, RATE_LIMIT_SERVICE},
    proto::v1::authorization_server,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::interval,
};
use tonic_health::{ServingStatus, server::HealthReporter};

/// How often the store is asked whether it can decide, and uses are written.
const PERIOD: Duration = Duration::from_secs(1);
/// How often a few keys are counted, while there is something to count.
const COUNTING: Duration = Duration::from_millis(200);
/// At every how many of these what is wrong with it is looked into.
const EXAMINE: u32 = 5;
/// The names under which health is told: can it decide now? The server as a whole, what probes ask for, and each service.
const NAMES: [&str; 5] = ["", "readiness", authorization_server::SERVICE_NAME, CHECK_SERVICE, RATE_LIMIT_SERVICE];
/// The name under which the process alone is told of: serving from its start to its end.
const LIVENESS: &str = "liveness";
/// The name under which it is told whether the files say what the server goes by.
const CONFIGURATION: &str = "configuration";

/// Tells the truth about the store: serving while it answers, not serving while it does not. Waits for nothing else.
pub(super) async fn store<S: Store>(
    store: S,
    (problems, setbacks): (Arc<Problems>, Arc<Setbacks>),
    clock: Arc<SystemClock>,
    reporter: HealthReporter,
    health: Arc<Health>,
    serving: watch::Sender<bool>,
    stop: watch::Receiver<bool>,
) {
    reporter.set_service_status(LIVENESS, ServingStatus::Serving).await;
    let mut beat = Beat::new(PERIOD, stop);
    let (mut was_serving, mut answered, mut looks) = (None, None, 0_u32);
    while beat.next().await {
        clock.follow_wall();
        let answer = store.ping().await;
        // Whatever changes is looked into at once.
        if looks == 0 || answered != Some(answer.is_ok()) {
            let found = store.examine().await.into_iter().chain(setbacks.problem());
            tell(&problems.found(found.collect()));
        }
        answered = Some(answer.is_ok());
        looks = looks.saturating_add(1).checked_rem(EXAMINE).unwrap_or_default();
        let found = problems.now();
        let is_serving = answer.is_ok() && !found.iter().any(|problem| problem.stops);
        health.store(answer.as_ref().map_err(ToString::to_string).map(drop), found);
        if was_serving != Some(is_serving) {
            match &answer {
                Ok(()) if was_serving.is_none() && is_serving => {}
                Ok(()) if is_serving => tracing::info!("the store answers again"),
                Ok(()) => tracing::error!("not serving until the store can be rested on again"),
                Err(error) => tracing::error!(%error, "not serving until the store answers"),
            }
            report(&reporter, if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing }).await;
            was_serving = Some(is_serving);
            serving.send_replace(is_serving);
        }
    }
}

/// Tells what is wrong with the store when it begins and when it ends.
fn tell(changed: &Changed) {
    for Problem { code, what, remedy, stops } in &changed.new {
        if *stops {
            tracing::error!(problem = code.name(), remedy, "{what}");
        } else {
            tracing::warn!(problem = code.name(), remedy, "{what}");
        }
    }
    for Problem { code, .. } in &changed.gone {
        tracing::info!(problem = code.name(), "no longer a problem of the store");
    }
}

/// Writes the latest uses of keys while the store answers: many batches may take long, and nobody waits for them.
pub(super) async fn uses<S: Store>(mut app: App<S>, serving: watch::Receiver<bool>, stop: watch::Receiver<bool>) {
    let mut beat = Beat::new(PERIOD, stop);
    while beat.next().await {
        let is_serving = *serving.borrow();
        app = app.as_of_now();
        if is_serving && let Err(error) = app.write_uses().await {
            tracing::warn!(%error, "the latest uses of keys could not be written");
        }
    }
}

/// Tells subscribers what is new: at once where this server did it, else once a second.
pub(super) async fn news<S: Store>(mut app: App<S>, serving: watch::Receiver<bool>, stop: watch::Receiver<bool>) {
    let mut beat = Beat::new(PERIOD, stop);
    let mut rounds = Rounds::default();
    loop {
        tokio::select! {
            goes_on = beat.next() => if !goes_on { return },
            () = app.house.news.notified() => {}
        }
        let now = app.as_of_now();
        if !Arc::ptr_eq(&now.house, &app.house) {
            rounds.look_again();
            app = now;
        }
        let is_serving = *serving.borrow();
        let round = async { if is_serving { app.deliver(&mut rounds).await } else { Ok(()) } };
        if let Some(Err(error)) = beat.unless_stopped(round).await {
            tracing::warn!(%error, "news could not be delivered");
        }
    }
}

/// Tells subscribers what is due.
pub(super) async fn due<S: Store>(mut app: App<S>, serving: watch::Receiver<bool>, stop: watch::Receiver<bool>) {
    let mut beat = Beat::new(PERIOD, stop);
    while beat.next().await {
        let is_serving = *serving.borrow();
        app = app.as_of_now();
        let round = async { if is_serving { app.tell_all_due().await } else { Ok(()) } };
        if let Some(Err(error)) = beat.unless_stopped(round).await {
            tracing::warn!(%error, "what is due could not be told");
        }
    }
}

/// Counts which keys hang on which version of the server secret, a step at a time.
pub(super) async fn secrets<S: Store>(mut app: App<S>, serving: watch::Receiver<bool>, stop: watch::Receiver<bool>) {
    let mut beat = Beat::new(COUNTING, stop);
    let mut census = Census::default();
    while beat.next().await {
        let is_serving = *serving.borrow();
        app = app.as_of_now();
        if is_serving && let Err(error) = app.count_keys_by_secret(&mut census).await {
            tracing::debug!(%error, "keys could not be counted by server secret; this step is taken again");
        }
    }
}

/// Tells whether the files say what the server goes by. That they do not is no reason to send anybody elsewhere: it has a name of
/// its own.
pub(super) async fn configuration(
    mut state: watch::Receiver<ReloadState>,
    reporter: HealthReporter,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let is_current = state.borrow_and_update().refused.is_none();
        let status = if is_current { ServingStatus::Serving } else { ServingStatus::NotServing };
        reporter.set_service_status(CONFIGURATION, status).await;
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Before the end: whoever asks for health is sent elsewhere.
pub(super) async fn say_goodbye(reporter: &HealthReporter, health: &Health) {
    health.leave();
    report(reporter, ServingStatus::NotServing).await;
}

async fn report(reporter: &HealthReporter, status: ServingStatus) {
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
}

/// Goes on serving for a while, so that whoever balances load has heard of the goodbye before connections are told; a second
/// signal ends it.
pub(super) async fn linger(delay: Duration) {
    if delay.is_zero() {
        return;
    }
    tracing::info!(seconds = delay.as_secs_f64(), "going on for a while before connections are told to end");
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    if let (Ok(mut terminate), Ok(mut interrupt)) = signals {
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}

/// Waits for SIGTERM or SIGINT, or for a worker that ended by itself.
pub(super) async fn until_told(workers: &[Worker]) -> Result<(), StartError> {
    let listen = |kind| signal(kind).map_err(|cause| StartError::System { what: "listening to signals", cause });
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    let mut ticks = interval(PERIOD);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = ticks.tick() => {
                if workers.iter().any(Worker::is_finished) {
                    return Ok(());
                }
            }
        }
    }
}

/// Wipes opened credentials whose time is over, whether or not anybody asks for others.
pub(super) async fn vault<S: Store>(mut app: App<S>, stop: watch::Receiver<bool>) {
    let mut beat = Beat::new(PERIOD, stop);
    while beat.next().await {
        app = app.as_of_now();
        app.house.vault.sweep(app.house.clock.ticks());
    }
}
