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
/// A connection whose peer confirms nothing of what was sent to it for so long is closed.
#[cfg(target_os = "linux")]
const UNCONFIRMED: Duration = Duration::from_secs(60);

/// Places of the listener for management: its own, so that nobody who fills the others keeps operators out.
const MANAGEMENT: usize = 256;
/// Places of the Unix socket beyond those that it shares with the port.
const UNIX: usize = 64;
/// Places are scarce when fewer than one in so many is free.
const SCARCE: usize = 8;

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
    /// Shared by the port and the Unix socket.
    free: Arc<Semaphore>,
    of_unix: Arc<Semaphore>,
    of_management: Arc<Semaphore>,
    most: usize,
    refused: Seldom,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
}

impl Places {
    pub(super) fn new(most: usize, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        let made = |most| Arc::new(Semaphore::new(most));
        let (free, of_unix, of_management) = (made(most), made(UNIX), made(MANAGEMENT));
        Self { free, of_unix, of_management, most, refused: Seldom::new(), clock, meter }
    }

    /// How many connections there may be at a time.
    pub(super) const fn of(most: usize) -> usize {
        most.saturating_add(UNIX).saturating_add(MANAGEMENT)
    }

    /// How many are taken, and how many there are: without those that are reserved.
    pub(super) fn taken(&self) -> (u64, u64) {
        (self.most.saturating_sub(self.free.available_permits()) as u64, self.most as u64)
    }

    /// Whether those who ask for nothing should make room.
    pub(super) fn are_scarce(&self, listener: ListenerName) -> bool {
        match listener {
            ListenerName::Management => self.of_management.available_permits() < MANAGEMENT / SCARCE,
            ListenerName::Listen | ListenerName::ListenUnix => self.free.available_permits() < self.most / SCARCE,
        }
    }

    /// A place, if one is free. A connection without one is closed: in a queue it would only wait for a server that
    /// is busy.
    fn take(&self, listener: ListenerName) -> Option<OwnedSemaphorePermit> {
        let take = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned().ok();
        let place = match listener {
            ListenerName::Listen => take(&self.free),
            ListenerName::ListenUnix => take(&self.free).or_else(|| take(&self.of_unix)),
            ListenerName::Management => take(&self.of_management),
        };
        if place.is_some() {
            self.meter.connections.one()
        } else {
            self.meter.connections_refused.one()
        }
        if place.is_none()
            && let Some(left_out) = self.refused.turn(self.clock.ticks())
        {
            tracing::warn!(
                most = if listener == ListenerName::Management { MANAGEMENT } else { self.most },
                listener = listener.name(),
                left_out,
                "too many connections: a new one was closed (`limits.connections`)"
            );
        }
        place
    }
}

/// Binds a port, and tells which.
pub(super) fn bind(address: SocketAddr) -> io::Result<(SocketAddr, std::net::TcpListener)> {
    let kind = if address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(kind, Type::STREAM, Some(Protocol::TCP))?;
    // A restarted server gets its port back at once; two servers at a time still cannot have it.
    socket.set_reuse_address(true)?;
    // What is accepted inherits it. Of a peer behind a Unix socket the system knows when it is gone.
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(IDLE).with_interval(PROBE).with_retries(PROBES))?;
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(UNCONFIRMED))?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    socket.set_nonblocking(true)?;
    let listener = std::net::TcpListener::from(socket);
    Ok((listener.local_addr()?, listener))
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
                if let Some(place) = places.take(listener) {
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
