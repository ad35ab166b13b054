//! Accepts connections and deals them out to the workers in turn.
//!
//! Each worker is one thread with a runtime of its own; a connection stays with its worker for life. Dealing them out gives
//! every worker the same number, where sockets that share a port would leave it to a hash of few addresses; and nobody
//! else can bind the port beside this server.

use super::{
    connection::{Accepted, Stream},
    places::Places,
};
use crate::config::ListenerName;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
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
                if let Some(place) = places.take(listener).await {
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
