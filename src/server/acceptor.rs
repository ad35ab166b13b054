//! Accepts connections and deals them out to the workers in turn.
//!
//! Each worker is one thread with a runtime of its own; a connection stays with its worker for life. Dealing them out gives
//! every worker the same number, where sockets that share a port would leave it to a hash of few addresses; and nobody
//! else can bind the port beside this server.

use std::{io, net::SocketAddr};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

/// How long accepting rests after a failure that passes by itself, such as too many open files.
const REST: std::time::Duration = std::time::Duration::from_millis(50);

/// One worker's connections.
pub(super) type Incoming = mpsc::UnboundedReceiver<std::net::TcpStream>;

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
    listener: std::net::TcpListener,
    workers: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut turns = workers.iter().cycle();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        };
        // A connection that fails here has gone already.
        let dealt = accepted.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            stream.into_std()
        });
        match dealt {
            // A worker that ended has said why itself.
            Ok(stream) => drop(turns.next().map(|worker| worker.send(stream))),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(REST).await;
            }
        }
    }
}
