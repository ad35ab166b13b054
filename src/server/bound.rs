//! The sockets that a server listens on. They are bound before anything else is begun: whoever cannot listen hears of that alone.

use super::{
    StartError,
    acceptor::{self, Door},
    socket::{self, SocketFile},
};
use crate::config::{ListenerName, Settings};
use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
};

/// What is listened on.
pub(super) struct Bound {
    /// Where calls come in.
    pub(super) doors: Vec<(ListenerName, Door)>,
    /// Where metrics and health are told.
    pub(super) operations: Option<TcpListener>,
    pub(super) addresses: Addresses,
    /// Its file goes when the server does, however it ends.
    _socket_file: Option<SocketFile>,
}

/// Where it is listened, ports that the system chose among them.
pub(super) struct Addresses {
    pub(super) calls: SocketAddr,
    pub(super) management: Option<SocketAddr>,
    pub(super) operations: Option<SocketAddr>,
    pub(super) socket: Option<PathBuf>,
}

impl Bound {
    pub(super) fn to(settings: &Settings) -> Result<Self, StartError> {
        let listen = |address| acceptor::bind(address).map_err(|cause| StartError::Listen { address, cause });
        let tell = |address| acceptor::bind(address).map_err(|cause| StartError::Operations { address, cause });
        let (calls, listener) = listen(settings.listen)?;
        let (operations_address, operations) = settings.listen_operations.map(tell).transpose()?.unzip();
        let (management_address, management) = settings.management.listen.map(listen).transpose()?.unzip();
        let (unix, socket_file) = unix(settings)?.unzip();
        let unix = unix.map(|listener| (ListenerName::ListenUnix, Door::Unix(listener)));
        let management = management.map(|listener| (ListenerName::Management, Door::Tcp(listener)));
        let doors = unix.into_iter().chain(management).chain([(ListenerName::Listen, Door::Tcp(listener))]);
        Ok(Self {
            doors: doors.collect(),
            operations,
            addresses: Addresses {
                calls,
                management: management_address,
                operations: operations_address,
                socket: settings.listen_unix.clone(),
            },
            _socket_file: socket_file,
        })
    }
}

fn unix(settings: &Settings) -> Result<Option<(std::os::unix::net::UnixListener, SocketFile)>, StartError> {
    let Some(path) = &settings.listen_unix else { return Ok(None) };
    let access = socket::Access {
        mode: settings.listen_unix_mode,
        owner: settings.listen_unix_owner.as_deref(),
        group: settings.listen_unix_group.as_deref(),
    };
    let bound = socket::bind(path, &access);
    bound.map(Some).map_err(|cause| StartError::Socket { path: path.clone(), cause })
}
