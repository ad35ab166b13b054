//! Which Redis, on which terms, and why it cannot be opened.

use crate::app::ports::{Problem, ProblemCode, StoreError};
use std::{path::PathBuf, time::Duration};

/// Which Redis, and on which terms.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`, `rediss://…` for TLS, `unix:///path`, or
    /// `redis+sentinel://[user[:password]@]host[:port],…/primary[/database]`. May hold a password: never printed.
    pub url: String,
    /// The file that the password stands in, read for every new connection.
    pub password_file: Option<PathBuf>,
    /// The files of TLS, read for every new connection.
    pub tls: TlsFiles,
    /// How the sentinels are spoken to, if there are any.
    pub sentinel: SentinelOptions,
    /// For one decision, all its steps together.
    pub deadline: Duration,
    /// For connecting and checking the server.
    pub connect_timeout: Duration,
    /// Rest on a server without an append-only file: a crash of it may lose keys and bring revoked ones back.
    pub allow_no_persistence: bool,
    /// Rest on a server that evicts: it may forget keys and counters at any time.
    pub allow_eviction: bool,
    /// How many replicas must have a change before it is acknowledged; 0: none.
    pub wait_replicas: u32,
    /// How long they are waited for.
    pub wait_timeout: Duration,
}

/// The files of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities whose certificates are trusted; absent: those that this machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown, and its private key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that must stand in the other's certificate; absent: the host's.
    pub server_name: Option<String>,
}

/// How sentinels are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelOptions {
    /// Their user; absent: the default one.
    pub user: Option<String>,
    /// The file that their password stands in; absent: none is given.
    pub password_file: Option<PathBuf>,
    /// Whether by TLS; absent: as to Redis.
    pub tls: Option<bool>,
    /// The files of TLS; absent: those for Redis, but for the server's name.
    pub files: Option<TlsFiles>,
}

impl RedisOptions {
    /// The time of one decision, when nothing else is said.
    pub const DEADLINE: Duration = Duration::from_millis(50);
    /// The least time that acts of management and listings get.
    pub const MANAGEMENT_DEADLINE: Duration = Duration::from_secs(1);
    /// The time to connect that is given when nothing else is said.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
    /// The time that replicas get when nothing else is said.
    pub const WAIT_TIMEOUT: Duration = Duration::from_millis(500);

    /// Strict terms and usual times.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            password_file: None,
            tls: TlsFiles::default(),
            sentinel: SentinelOptions::default(),
            deadline: Self::DEADLINE,
            connect_timeout: Self::CONNECT_TIMEOUT,
            allow_no_persistence: false,
            allow_eviction: false,
            wait_replicas: 0,
            wait_timeout: Self::WAIT_TIMEOUT,
        }
    }
}

/// Why a store in Redis cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The address is not one.
    #[error(
        "the address of Redis must be `redis://[user[:password]@]host[:port][/database]`, the same with `rediss://` for TLS, \
         `unix:///path`, or `redis+sentinel://[user[:password]@]host[:port],…/primary[/database]`, the same with \
         `rediss+sentinel://` for TLS"
    )]
    Address,
    /// Nobody answers there, or not in time.
    #[error("{0}; see that Redis runs there and lets this machine in, or name another address")]
    Unreachable(StoreError),
    /// It cannot be connected to, and it is known what to do.
    #[error("{0}")]
    Refused(Problem),
    /// Somebody answers whom keygate must not rest on.
    #[error("Redis at `{address}` cannot be used: {}", .faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Unfit {
        /// Host and port.
        address: String,
        /// Everything that is wrong.
        faults: Vec<Problem>,
    },
}

impl OpenError {
    /// The same as a list.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let remedy = "see that Redis runs there and lets this machine in, or name another address";
        match self {
            // It is refused before anything is asked, so a server that runs never tells it.
            Self::Address => vec![Problem::grave(ProblemCode::Unreachable, self.to_string(), "name another address")],
            Self::Unreachable(error) => vec![Problem::grave(ProblemCode::Unreachable, error.to_string(), remedy)],
            Self::Refused(problem) => vec![problem.clone()],
            Self::Unfit { address, faults } => {
                let named = |fault: &Problem| Problem {
                    what: format!("Redis at `{address}`: {}", fault.what),
                    ..fault.clone()
                };
                faults.iter().map(named).collect()
            }
        }
    }
}
