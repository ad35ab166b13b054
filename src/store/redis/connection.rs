//! One connection to one Redis: made, checked, multiplexed, replaced when it breaks.
//!
//! A call waits while a connection is being made, for as long as its deadline allows, and fails at once while the server
//! refuses. A broken connection is noticed without a call, and replaced in the background. Nothing is sent twice: after a
//! break, whether a command was run is not known. Must never know what is stored.

use super::{OpenError, RedisOptions, check::Greeter, scripts};
use crate::{
    app::ports::{
        Clock, StoreError,
        meter::{Count, Stripes},
    },
    domain::time::Ticks,
    store::figures::RedisFigures,
};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisError, Script, ServerErrorKind, Value, aio::MultiplexedConnection,
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
    client: Client,
    /// Host and port, without user and password.
    address: String,
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
    Failed(StoreError),
}

#[derive(Clone)]
struct Live {
    connection: MultiplexedConnection,
    generation: u64,
}

impl Connection {
    /// Connects and checks the server, within the connect timeout.
    pub(super) async fn open(
        options: &RedisOptions,
        greeter: Greeter,
        clock: Arc<dyn Clock>,
        counts: Arc<Counts>,
    ) -> Result<Self, OpenError> {
        let (client, address) = client(&options.url)?;
        let slot = Arc::new(Slot {
            counts,
            client,
            address,
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
        Ok(Self { slot })
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
        let mut live = self.slot.live().await?;
        let reply = live.connection.send_packed_command(command).await.and_then(Value::extract_error);
        self.slot.judge(&live, reply)
    }

    /// Runs commands in one round trip and in their order; others' may come in between.
    pub(super) async fn pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>, StoreError> {
        let mut live = self.slot.live().await?;
        let replies = pipeline.query_async(&mut live.connection).await;
        self.slot.judge(&live, replies)
    }

    /// Runs a command that calls a script, and gives the server the script if it lost it.
    pub(super) async fn script(&self, command: &Cmd, script: &Script) -> Result<Value, StoreError> {
        let mut live = self.slot.live().await?;
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

    /// Host and port, without user and password.
    pub(super) fn address(&self) -> &str {
        &self.slot.address
    }

    /// The error for a reply that no Redis gives.
    pub(super) fn misunderstood(&self, what: &str) -> StoreError {
        StoreError::Unavailable(format!("{what} from Redis at `{}` was not understood", self.slot.address))
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
            Ok(State::Failed(reason)) => Err(reason.clone()),
            _ => Err(StoreError::Unavailable(format!("Redis at `{}` is not connected", self.address))),
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
        // After a failover the name may lead to the new primary by now.
        let demoted = matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading)
        );
        if demoted || error.is_unrecoverable_error() {
            self.lost(live.generation);
        }
        Err(explain(&self.address, &error))
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
        let failed = |error: RedisError| OpenError::Unreachable(explain(&self.address, &error));
        let attempt = async {
            let mut connection =
                self.client.get_multiplexed_async_connection_with_config(&config).await.map_err(failed)?;
            self.greeter
                .greet(&mut connection)
                .await
                .map_err(failed)?
                .map_err(|faults| OpenError::Unfit { address: self.address.clone(), faults })?;
            for script in scripts::all() {
                script.load_async(&mut connection).await.map_err(failed)?;
            }
            Ok(Live { connection, generation })
        };
        let silent = || {
            let waited = self.connect_timeout.as_millis();
            OpenError::Unreachable(StoreError::Unavailable(format!(
                "Redis at `{}` did not answer within {waited} ms",
                self.address
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
            Err(OpenError::Unreachable(reason)) => slot.state.send_replace(State::Failed(reason)),
            Err(reason) => slot.state.send_replace(State::Failed(StoreError::Unavailable(reason.to_string()))),
        };
        drop(slot);
        time::sleep(pause).await;
        pause = pause.saturating_mul(2).min(longest);
    }
}

fn client(url: &str) -> Result<(Client, String), OpenError> {
    let wrong = |_| OpenError::Address;
    let info = url.into_connection_info().map_err(wrong)?;
    if !info.addr().is_supported() {
        return Err(OpenError::Address);
    }
    let address = info.addr().to_string();
    // The third version of the protocol tells of a connection that ends without being asked.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3).set_skip_set_lib_name();
    let client = Client::open(info.set_redis_settings(settings)).map_err(wrong)?;
    Ok((client, address))
}

fn explain(address: &str, error: &RedisError) -> StoreError {
    let text = error.to_string();
    if text.contains("command not allowed when used memory") {
        return StoreError::Full(format!("Redis at `{address}` has reached its `maxmemory`: raise it, or remove data"));
    }
    if text.contains(scripts::BROKEN_COUNTER) || text.contains("WRONGTYPE") {
        return StoreError::Corrupt(format!("Redis at `{address}` holds something that keygate did not write: {text}"));
    }
    StoreError::Unavailable(format!("Redis at `{address}`: {text}"))
}
