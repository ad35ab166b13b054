//! One worker: a thread with a runtime of its own, on which its connections, decisions and its way to the store live.

use super::{
    acceptor::Incoming,
    connection::{Accepted, Connection, Stream, Watch},
    front::Front,
    line::{Line, Lines, Patience, Watched},
    offenders::{self, Offenders},
    places::{Place, Places},
    tls,
};
use crate::{
    app::{
        meter::{Ending, Meter},
        ports::{Clock, Store},
        seldom::Seldom,
    },
    config::{ListenerName, LoadSettings},
    domain::certificate::ClientCertificate,
    grpc::MayRelease,
};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
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
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinHandle,
    time::{Sleep, sleep, timeout},
};
use tonic_health::pb::health_server::Health;

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

/// What connections are served with on every worker.
#[derive(Clone)]
pub(super) struct Hosting {
    pub(super) load: LoadSettings,
    /// The places for connections.
    pub(super) places: Arc<Places>,
    /// Where connections came from that broke the rules.
    pub(super) offenders: Arc<Offenders>,
    /// Where credentials are released.
    pub(super) release: Vec<ListenerName>,
    /// Where something is managed.
    pub(super) manage: Vec<ListenerName>,
    /// What the listeners show.
    pub(super) tls: Arc<tls::Present>,
    pub(super) meter: Arc<Meter>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A worker's runtime. One thread, since a connection then never moves between cores: measured, this is what makes the
/// difference to the default runtime.
pub(super) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Serves connections until told to stop, and then until they have ended.
pub(super) async fn serve<S: Store, H: Health>(
    front: Arc<Front<S, H>>,
    hosting: Hosting,
    mut incoming: Incoming,
    mut stop: watch::Receiver<bool>,
) {
    let host = Host {
        protocol: protocol(&hosting.load),
        patience: Patience {
            taking: hosting.load.arrival_timeout,
            idle: hosting.load.idle_timeout,
            idle_while_scarce: IDLE_WHILE_SCARCE,
        },
        lines: Arc::default(),
        failed: Seldom::new(),
        hosting,
        front,
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
    // Whoever was let in before is served too, and nobody after.
    incoming.close();
    while let Ok(accepted) = incoming.try_recv() {
        connections.take(accepted);
    }
    let _ = connections.all.send(true);
    // Each holds its end until it has ended.
    connections.all.closed().await;
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

/// What the connections of one worker are served with.
struct Host<S: Clone, H: Health> {
    protocol: http2::Builder<TokioExecutor>,
    /// How long a client may take to begin, to take an answer, and to ask for something.
    patience: Patience,
    lines: Arc<Lines>,
    failed: Seldom,
    hosting: Hosting,
    front: Arc<Front<S, H>>,
}

impl<S: Store, H: Health> Connections<S, H> {
    fn take(&self, accepted: Accepted) {
        let Accepted { stream, place, listener } = accepted;
        let (host, mut going, occupant) = (Arc::clone(&self.host), self.all.subscribe(), place.occupant());
        let taken = match stream {
            Stream::Tcp(stream) => TcpStream::from_std(stream).map(|stream| {
                let (peer, stop) = (stream.peer_addr().ok(), self.stop.clone());
                match host.hosting.tls.acceptor_of(listener) {
                    None => tokio::spawn(async move {
                        host.wait_for(peer, &mut going).await;
                        let ended = host.serve(stream, host.arrival(place, listener, peer), going).await;
                        host.ended(ended, peer);
                    }),
                    Some(acceptor) => tokio::spawn(async move {
                        host.wait_for(peer, &mut going).await;
                        match tls::shake_hands(&acceptor, stream, host.timer(), stop).await {
                            Ok((stream, left)) => {
                                let client = tls::identity::of(&stream);
                                let arrival = Arrival { most: left, place, listener, peer, client };
                                let ended = host.serve(stream, arrival, going).await;
                                host.ended(ended, peer);
                            }
                            Err(error) => host.not_agreed(&error, peer),
                        }
                    }),
                }
            }),
            Stream::Unix(stream) => UnixStream::from_std(stream).map(|stream| {
                tokio::spawn(async move {
                    let ended = host.serve(stream, host.arrival(place, listener, None), going).await;
                    host.ended(ended, None);
                })
            }),
        };
        match taken {
            Ok(task) => occupant.served_by(task.abort_handle()),
            Err(error) => tracing::warn!(%error, "a connection could not be served"),
        }
    }
}

/// A connection that is served: it has its turn whenever its task has one.
struct Served<'a, C> {
    connection: Pin<&'a mut C>,
    line: &'a Line,
}

impl<C: Future> Future for Served<'_, C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.line.ticket.begins();
        let served = self.connection.as_mut().poll(context);
        self.line.ticket.ends();
        served
    }
}

/// A task that ends with the one that began it.
struct Beside<T>(JoinHandle<T>);

impl<T> Drop for Beside<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A connection that is to be served.
struct Arrival {
    /// Ends when its client has to have begun.
    most: Pin<Box<Sleep>>,
    place: Place,
    listener: ListenerName,
    peer: Option<SocketAddr>,
    /// What its client showed.
    client: Option<Arc<ClientCertificate>>,
}

impl<S: Store, H: Health> Host<S, H> {
    /// A connection on which nothing is shown.
    fn arrival(&self, place: Place, listener: ListenerName, peer: Option<SocketAddr>) -> Arrival {
        Arrival { most: self.timer(), place, listener, peer, client: None }
    }

    /// Ends when a client that came now has to have begun.
    fn timer(&self) -> Pin<Box<Sleep>> {
        Box::pin(sleep(self.patience.taking))
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        Arrival { most, place, listener, peer, client }: Arrival,
        going: watch::Receiver<bool>,
    ) -> Result<(), hyper::Error> {
        let line = Line::new(Arc::clone(&self.lines));
        let watch = Watch {
            line: Arc::clone(&line),
            clock: Arc::clone(&self.hosting.clock),
            meter: Arc::clone(&self.hosting.meter),
        };
        let stream = TokioIo::new(Connection::new(stream, most, watch));
        let (front, called) = (Arc::clone(&self.front), Arc::clone(&line));
        let connection = CONNECTIONS.fetch_add(1, Relaxed);
        let (release, manages) = (self.hosting.release.contains(&listener), self.hosting.manage.contains(&listener));
        let client = client.filter(|_| manages);
        let service = service_fn(move |mut request: http::Request<_>| {
            let entrance = front.entrance();
            // Whoever is cut off at this moment must not have something done whose answer is lost.
            let is_kept = place.is_kept();
            if let Some(client) = &client {
                request.extensions_mut().insert(Arc::clone(client));
            }
            if release {
                request.extensions_mut().insert(MayRelease);
            }
            let mut open = called.call();
            async move {
                let answer = match (is_kept, open.begin()) {
                    (true, true) => entrance.answer(request, connection, manages).await,
                    (true, false) => entrance.choked(),
                    (false, _) => entrance.gone(),
                };
                Ok::<_, Infallible>(answer.map(|body| Watched::new(body, open)))
            }
        });
        // In a task of its own: what is waited for there comes seldom, and would be looked at whenever a frame comes.
        let (patience, places, mut all) = (self.patience, Arc::clone(&self.hosting.places), going.clone());
        let watched = Arc::clone(&line);
        let mut ending = Beside(tokio::spawn(async move {
            tokio::select! {
                _ = all.wait_for(|going| *going) => None,
                why = watched.watched(patience, || places.are_scarce(listener)) => Some(why),
            }
        }));
        let connection = pin!(self.protocol.serve_connection(stream, service));
        let mut served = Served { connection, line: &line };
        let why = tokio::select! {
            biased;
            ended = &mut served => return ended,
            why = &mut ending.0 => why.unwrap_or_default(),
        };
        if let Some(why) = why {
            self.hosting.meter.connections.ended(why);
        }
        match why {
            None => {
                served.connection.as_mut().graceful_shutdown();
                served.await
            }
            Some(Ending::Idle) => {
                served.connection.as_mut().graceful_shutdown();
                // Whoever asks for something at this very moment is answered.
                timeout(self.patience.taking, served).await.unwrap_or(Ok(()))
            }
            Some(why) => {
                tracing::debug!(why = why.name(), peer = peer.map(tracing::field::display), "a connection was cut off");
                Ok(())
            }
        }
    }

    /// Whoever was cut off a short while ago begins a little later.
    async fn wait_for(&self, peer: Option<SocketAddr>, going: &mut watch::Receiver<bool>) {
        if peer.is_some_and(|peer| self.hosting.offenders.holds(peer.ip(), self.hosting.clock.ticks())) {
            self.hosting.meter.connections.slowed.one();
            tokio::select! {
                () = sleep(offenders::WAIT) => {}
                _ = going.wait_for(|going| *going) => {}
            }
        }
    }

    fn ended(&self, ended: Result<(), hyper::Error>, peer: Option<SocketAddr>) {
        if let Err(error) = ended {
            self.hosting.meter.connections.broken.one();
            // Whoever only went away did nothing wrong.
            let broke_rules = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
            if let Some(peer) = peer
                && broke_rules.is_some_and(|error| error.is_library() && !error.is_io())
            {
                self.hosting.offenders.note(peer.ip(), self.hosting.clock.ticks());
            }
            tracing::debug!(%error, peer = peer.map(tracing::field::display), "a connection ended before its time");
        }
    }

    fn not_agreed(&self, error: &tls::NotAgreed, peer: Option<SocketAddr>) {
        self.hosting.meter.connections.not_agreed.one();
        if let Some(peer) = peer
            // Whoever only went away, such as one who asks whether the port is open, did nothing wrong.
            && matches!(error, tls::NotAgreed::Failed(cause) if cause.kind() == io::ErrorKind::InvalidData)
        {
            self.hosting.offenders.note(peer.ip(), self.hosting.clock.ticks());
        }
        if let Some(left_out) = self.failed.turn(self.hosting.clock.ticks()) {
            let peer = peer.map(tracing::field::display);
            tracing::warn!(%error, peer, left_out, "no TLS was agreed on with a client: its connection was closed");
        }
    }
}
