//! Accepts connections and deals them out to the workers in turn.
//!
//! Each worker is one thread with a runtime of its own; a connection stays with its worker for life. Dealing them out gives
//! every worker the same number, where sockets that share a port would leave it to a hash of few addresses; and nobody
//! else can bind the port beside this server.

use super::connection::{Accepted, Connection};
use std::{io, net::SocketAddr};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{mpsc, watch},
};
use tokio_stream::{Stream, StreamExt, wrappers::UnboundedReceiverStream};

/// How long accepting rests after a failure that passes by itself, such as too many open files.
const REST: std::time::Duration = std::time::Duration::from_millis(50);

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

/// Binds a port.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let kind = if address.is_ipv4() { socket2::Domain::IPV4 } else { socket2::Domain::IPV6 };
    let socket = socket2::Socket::new(kind, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    // A restarted server gets its port back at once; two servers at a time still cannot have it.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(1_024)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Accepts until told to stop.
pub(super) async fn run(
    door: Door,
    workers: Vec<mpsc::UnboundedSender<Accepted>>,
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
            // A worker that ended has said why itself.
            Ok(connection) => drop(turns.next().map(|worker| worker.send(connection))),
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
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                stream.into_std().map(Accepted::Tcp)
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.into_std().map(Accepted::Unix)
            }
        }
    }
}

/// A worker's connections, on its own runtime.
pub(super) fn connections(incoming: Incoming) -> impl Stream<Item = io::Result<Connection>> {
    UnboundedReceiverStream::new(incoming).map(Accepted::settle)
}
