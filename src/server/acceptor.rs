//! Accepts connections and deals them out to the workers in turn.
//!
//! Each worker is one thread with a runtime of its own; a connection stays with its worker for life. Dealing them out gives
//! every worker the same number, where sockets that share a port would leave it to a hash of few addresses; and nobody
//! else can bind the port beside this server.

use super::connection::{Accepted, Stream};
use crate::{
    app::{meter::Meter, ports::Clock, seldom::Seldom},
    config::ListenerName,
};
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
};

/// How long accepting rests after a failure that passes by itself, such as too many open files.
const REST: Duration = Duration::from_millis(50);

/// A connection that is silent for `IDLE` is asked whether somebody is there, and closed when `PROBES` go unanswered.
const IDLE: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;

/// One worker's connections.
pub(super) type Incoming = mpsc::UnboundedReceiver<Accepted>;

/// Where connections come in.
pub(super) enum Door {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

enum OpenDoor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The places for connections.
pub(super) struct Places {
    free: Arc<Semaphore>,
    most: usize,
    refused: Seldom,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
}

impl Places {
    pub(super) fn new(most: usize, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        Self { free: Arc::new(Semaphore::new(most)), most, refused: Seldom::new(), clock, meter }
    }

    /// How many are taken, and how many there are.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.most.saturating_sub(self.free.available_permits()) as u64, self.most as u64)
    }

    /// A place, if one is free. A connection without one is closed: in a queue it would only wait for a server that
    /// is busy.
    fn take(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.free).try_acquire_owned().ok();
        if place.is_some() {
            self.meter.connections.one()
        } else {
            self.meter.connections_refused.one()
        }
        if place.is_none()
            && let Some(left_out) = self.refused.turn(self.clock.ticks())
        {
            tracing::warn!(
                most = self.most,
                left_out,
                "too many connections: a new one was closed (`limits.connections`)"
            );
        }
        place
    }
}

/// Binds a port.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let kind = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(kind, Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server gets its port back at once; two servers at a time still cannot have it.
    socket.set_reuse_address(true)?;
    // What is accepted inherits it. Of a peer behind a Unix socket the system knows when it is gone.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(PROBE).with_retries(PROBES))?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until told to stop.
pub(super) async fn run(
    (listener, door): (ListenerName, Door),
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
    places: Arc<Places>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let door = door.open()?;
    let mut turns = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        match accepted {
            Ok(stream) => {
                // A worker that ended has said why itself.
                if let Some(place) = places.take() {
                    drop(turns.next().map(|worker| worker.send(Accepted { stream, place, listener })));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

impl Door {
    fn open(self) -> io::Result<OpenDoor> {
        Ok(match self {
            Self::Tcp(listener) => OpenDoor::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener) => OpenDoor::Unix(UnixListener::from_std(listener)?),
        })
    }
}

impl OpenDoor {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                stream.into_std().map(Stream::Tcp)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.into_std().map(Stream::Unix)
            }
        }
    }
}
