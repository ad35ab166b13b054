//! One connection to one Redis: made, checked, multiplexed, replaced when it breaks.
//!
//! A call waits while a connection is being made, for as long as its deadline allows, and fails at once while the server
//! refuses. A broken connection is noticed without a call, and replaced in the background. Nothing is sent twice: after a
//! break, whether a command was run is not known. Must never know what is stored.

use super::{
    OpenError, RedisOptions,
    check::Greeter,
    diagnose,
    dialer::{Dialer, Driver},
    followed, permissions,
    permissions::Tried,
    scripts,
    target::Address,
};
use crate::{
    app::ports::{
        Clock, Problem, StoreError,
        meter::{Count, Stripes},
    },
    domain::time::Ticks,
    store::figures::RedisFigures,
};
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, PushInfo, PushKind, RedisError, Script, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use std::{
    future::Future,
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, time};

/// Commands that may wait to be written; more wait in their own call.
const QUEUE: usize = 1_024;
/// Between two attempts to connect: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// A connection on which nothing was answered for so long, although something was asked, is given up: behind it may be a
/// host that is gone without a word.
const SILENCE: Duration = Duration::from_secs(2);

/// A connection that mends itself. Clones share it.
#[derive(Clone)]
pub(super) struct Connection {
    slot: Arc<Slot>,
    /// The one that every call goes over, whatever becomes of it; absent: whichever is in use.
    pinned: Option<Arc<Live>>,
}

/// What is counted of all connections to one Redis.
#[derive(Debug)]
pub(super) struct Counts {
    round_trips: Stripes<Count>,
    connected: Count,
    failed: Count,
    lost: Count,
}

impl Counts {
    pub(super) fn new() -> Self {
        let round_trips = Stripes::new(true, Count::default);
        Self { round_trips, connected: Count::default(), failed: Count::default(), lost: Count::default() }
    }

    pub(super) fn read(&self) -> RedisFigures {
        RedisFigures {
            round_trips: self.round_trips.sum(Count::get),
            connected: self.connected.get(),
            failed: self.failed.get(),
            lost: self.lost.get(),
        }
    }
}

struct Slot {
    counts: Arc<Counts>,
    dialer: Arc<Dialer>,
    /// Where Redis is, without user and password.
    place: String,
    connect_timeout: Duration,
    greeter: Greeter,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    state: watch::Sender<State>,
    generations: AtomicU64,
    /// When a call was first left without an answer since the last answer; 0: none was.
    unanswered_since: AtomicU64,
}

enum State {
    Connecting,
    Ready(Live),
    Failed(StoreError, Vec<Problem>),
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    generation: u64,
    origin: Arc<Origin>,
}

/// What a connection belongs to.
struct Origin {
    address: Address,
    /// Ends with the last call that uses the connection.
    _driver: Driver,
}

impl Connection {
    /// Connects and checks the server, within the connect timeout.
    pub(super) async fn open(
        options: &RedisOptions,
        dialer: Arc<Dialer>,
        greeter: Greeter,
        clock: Arc<dyn Clock>,
        counts: Arc<Counts>,
    ) -> Result<Self, OpenError> {
        let slot = Arc::new(Slot {
            counts,
            place: dialer.place(),
            dialer,
            connect_timeout: options.connect_timeout,
            greeter,
            clock,
            runtime: Handle::current(),
            state: watch::Sender::new(State::Connecting),
            generations: AtomicU64::new(0),
            unanswered_since: AtomicU64::new(0),
        });
        let live = slot.connect().await?;
        slot.state.send_replace(State::Ready(live));
        if let Some(sentinels) = slot.dialer.sentinels() {
            tokio::spawn(follow(Arc::downgrade(&slot), sentinels.watch()));
        }
        Ok(Self { slot, pinned: None })
    }

    /// The same over the connection that is in use now, and over no other: what was begun on one server is not ended on
    /// another.
    pub(super) async fn pinned(&self) -> Result<Self, StoreError> {
        Ok(Self { slot: Arc::clone(&self.slot), pinned: Some(Arc::new(self.live().await?)) })
    }

    /// Why there is no connection, while there is none.
    pub(super) fn problems(&self) -> Vec<Problem> {
        match &*self.slot.state.borrow() {
            State::Failed(_, problems) => problems.clone(),
            State::Connecting | State::Ready(_) => Vec::new(),
        }
    }

    /// Runs calls that together must be done before the deadline.
    pub(super) async fn within<T, E: From<StoreError>>(
        &self,
        deadline: Duration,
        calls: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        match time::timeout(deadline, calls).await {
            Ok(result) => result,
            Err(_) => {
                self.slot.unanswered();
                Err(StoreError::Deadline(deadline).into())
            }
        }
    }

    /// Runs one command.
    pub(super) async fn query(&self, command: &Cmd) -> Result<Value, StoreError> {
        let span = followed::command(command);
        let done = self.queried(command).await;
        followed::ended(span, &done);
        done
    }

    async fn queried(&self, command: &Cmd) -> Result<Value, StoreError> {
        let mut live = self.live().await?;
        let reply = live.connection.send_packed_command(command).await.and_then(Value::extract_error);
        self.slot.judge(&live, reply)
    }

    /// Runs commands in one round trip and in their order; others' may come in between.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let span = followed::pipeline(pipeline);
        let done = self.piped(pipeline).await;
        followed::ended(span, &done);
        done
    }

    async fn piped(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let mut live = self.live().await?;
        let replies = pipeline.query_async(&mut live.connection).await;
        self.slot.judge(&live, replies)
    }

    /// Tries what keygate's user may do.
    pub(super) async fn tried(&self, waits: bool) -> Result<Tried, StoreError> {
        let mut live = self.live().await?;
        let tried = permissions::tried(&mut live.connection, waits, false).await;
        self.slot.judge(&live, tried)
    }

    /// Runs a command that calls a script, and gives the server the script if it lost it.
    pub(super) async fn script(&self, command: &Cmd, script: &Script) -> Result<Value, StoreError> {
        let span = followed::script(command, script);
        let done = self.run(command, script).await;
        followed::ended(span, &done);
        done
    }

    async fn run(&self, command: &Cmd, script: &Script) -> Result<Value, StoreError> {
        let mut live = self.live().await?;
        let mut reply = live.connection.send_packed_command(command).await.and_then(Value::extract_error);
        if reply.as_ref().is_err_and(|error| error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)) {
            // A script that the server does not know has not begun: this is not a second run.
            reply = match script.load_async(&mut live.connection).await {
                Ok(_) => live.connection.send_packed_command(command).await.and_then(Value::extract_error),
                Err(error) => Err(error),
            };
        }
        self.slot.judge(&live, reply)
    }

    /// Where Redis is, without user and password.
    pub(super) fn place(&self) -> &str {
        &self.slot.place
    }

    async fn live(&self) -> Result<Live, StoreError> {
        match &self.pinned {
            Some(live) => Ok(Live::clone(live)),
            None => self.slot.live().await,
        }
    }

    /// The error for a reply that no Redis gives.
    pub(super) fn misunderstood(&self, what: &str) -> StoreError {
        StoreError::Unavailable(format!("{what} from Redis at `{}` was not understood", self.slot.place))
    }
}

impl Slot {
    /// The connection for one round trip.
    async fn live(&self) -> Result<Live, StoreError> {
        if let Some(count) = self.counts.round_trips.here() {
            count.one();
        }
        if let State::Ready(live) = &*self.state.borrow() {
            return Ok(live.clone());
        }
        let mut watcher = self.state.subscribe();
        let settled = watcher.wait_for(|state| !matches!(state, State::Connecting)).await;
        match settled.as_deref() {
            Ok(State::Ready(live)) => Ok(live.clone()),
            Ok(State::Failed(reason, _)) => Err(reason.clone()),
            _ => Err(StoreError::Unavailable(format!("Redis at `{}` is not connected", self.place))),
        }
    }

    fn judge<T>(self: &Arc<Self>, live: &Live, reply: Result<T, RedisError>) -> Result<T, StoreError> {
        let error = match reply {
            Ok(reply) => {
                if self.unanswered_since.load(Ordering::Relaxed) != 0 {
                    self.unanswered_since.store(0, Ordering::Relaxed);
                }
                return Ok(reply);
            }
            Err(error) => error,
        };
        // After a failover the name may lead to the new primary by now, and after a rotation the file to the new password.
        let elsewhere = diagnose::is_demoted(&error) || diagnose::is_stranger(&error);
        if elsewhere || error.is_unrecoverable_error() {
            self.lost(live.generation);
        }
        Err(diagnose::call(&live.origin.address.to_string(), &error))
    }

    fn unanswered(self: &Arc<Self>) {
        let now = self.clock.ticks().as_micros().max(1);
        let first = self.unanswered_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        let since = first.err().unwrap_or(now);
        if Ticks::from_micros(now).since(Ticks::from_micros(since)) >= SILENCE {
            self.unanswered_since.store(0, Ordering::Relaxed);
            let generation = match &*self.state.borrow() {
                State::Ready(live) => Some(live.generation),
                _ => None,
            };
            generation.into_iter().for_each(|generation| self.lost(generation));
        }
    }

    /// Replaces the connection of that generation, if that is still the one in use.
    fn lost(self: &Arc<Self>, generation: u64) {
        let mut broken = None;
        self.state.send_if_modified(|state| {
            let in_use = matches!(state, State::Ready(live) if live.generation == generation);
            if in_use {
                broken = Some(mem::replace(state, State::Connecting));
            }
            in_use
        });
        if broken.is_some() {
            self.counts.lost.one();
            self.runtime.spawn(reconnect(Arc::downgrade(self)));
        }
    }

    async fn connect(self: &Arc<Self>) -> Result<Live, OpenError> {
        let generation = self.generations.fetch_add(1, Ordering::Relaxed);
        let slot = Arc::downgrade(self);
        let noticed = move |push: PushInfo| {
            if let (PushKind::Disconnection, Some(slot)) = (&push.kind, slot.upgrade()) {
                slot.lost(generation);
            }
            Ok::<(), ()>(())
        };
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_pipeline_buffer_size(QUEUE)
            .set_push_sender(noticed);
        let attempt = async {
            let made = self.dialer.connect(config).await?;
            let (mut connection, address) = (made.connection, made.address);
            let failed = |error: RedisError| diagnose::opening("Redis", &address, &error);
            let greeted = self.greeter.greet(&mut connection).await;
            greeted
                .map_err(|error| self.dialer.explain(&address, &error))?
                .map_err(|faults| OpenError::Unfit { address: address.to_string(), faults })?;
            for script in scripts::all() {
                script.load_async(&mut connection).await.map_err(failed)?;
            }
            Ok(Live { connection, generation, origin: Arc::new(Origin { address, _driver: made.driver }) })
        };
        let silent = || {
            let waited = self.connect_timeout.as_millis();
            OpenError::Unreachable(StoreError::Unavailable(format!(
                "Redis at `{}` did not answer within {waited} ms",
                self.place
            )))
        };
        let connected = time::timeout(self.connect_timeout, attempt).await.map_err(|_| silent()).flatten();
        if connected.is_ok() {
            self.counts.connected.one()
        } else {
            self.counts.failed.one()
        }
        connected
    }
}

/// Connects again and again, until it works or nobody needs the connection any more.
async fn reconnect(slot: Weak<Slot>) {
    let (mut pause, longest) = PAUSE;
    while let Some(slot) = slot.upgrade() {
        match slot.connect().await {
            Ok(live) => {
                slot.state.send_replace(State::Ready(live));
                return;
            }
            Err(error) => {
                let problems = error.problems();
                let reason = match error {
                    OpenError::Unreachable(reason) => reason,
                    error => StoreError::Unavailable(error.to_string()),
                };
                slot.state.send_replace(State::Failed(reason, problems))
            }
        };
        drop(slot);
        time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

/// Leaves a server that the sentinels do not call the primary any more, also where it goes on answering.
async fn follow(slot: Weak<Slot>, mut agreed: watch::Receiver<Option<Address>>) {
    agreed.mark_changed();
    while agreed.changed().await.is_ok() {
        let Some(slot) = slot.upgrade() else { return };
        let Some(primary) = agreed.borrow_and_update().clone() else { continue };
        let left = match &*slot.state.borrow() {
            State::Ready(live) if live.origin.address != primary => Some(live.generation),
            _ => None,
        };
        left.into_iter().for_each(|generation| slot.lost(generation));
    }
}
