//! Why a server did not start, or stopped.

use super::tls::TlsError;
use crate::{
    app::{error::AppError, ports::StoreError},
    config::Mistakes,
    store, tokens,
};
use std::{io, net::SocketAddr, path::PathBuf};

/// Why a server did not start, or stopped. Each is a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings or realm files have mistakes.
    #[error("{0}")]
    Configuration(Mistakes),
    /// A file of the server cannot be read or written.
    #[error("`{}` cannot be {action}: {cause}", path.display())]
    File {
        /// The file or directory.
        path: PathBuf,
        /// What was tried with it.
        action: &'static str,
        /// What the operating system says.
        cause: io::Error,
    },
    /// The file with the server secrets is not what keygate wrote.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Secrets {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what is allowed.
        problem: &'static str,
    },
    /// The file with the server secrets cannot be changed so.
    #[error("`{}`: {problem}", path.display())]
    SecretsChange {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// The file with the server secrets lost what a running server needs.
    #[error("`{}` no longer holds {} as this server knows it: every key and record under it would be lost at once. Put the line back from your copy", path.display(), versions_text(versions))]
    SecretsLost {
        /// The file.
        path: PathBuf,
        /// The versions that are gone, or other secrets than they were.
        versions: Vec<u32>,
    },
    /// The file with the server secrets is not there, while the server runs.
    #[error("`{}` is missing, and everything hangs on it: put the file back from its copy; where there are no keys yet, `keygate serve` makes it", path.display())]
    SecretsMissing {
        /// The file that should be there.
        path: PathBuf,
    },
    /// Files were written all the time while they were read.
    #[error("the files of the configuration change faster than they can be read: they are read again once they rest")]
    Restless,
    /// Several things at once.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Several(Vec<StartError>),
    /// The file with the server secrets is not there, and the data that hangs on them is.
    #[error("`{}` is missing, and everything in `{}` hangs on it: put the file back from its copy; where there are no keys yet, `keygate serve` makes it", path.display(), data.display())]
    SecretsGone {
        /// The file that should be there.
        path: PathBuf,
        /// The file that is.
        data: PathBuf,
    },
    /// Settings of the file and those of flags and variables do not go together.
    #[error("{0}")]
    Settings(String),
    /// Nobody can be told of traces.
    #[error("traces cannot be told to `traces.endpoint`: {0}")]
    Traces(String),
    /// One-time codes cannot be brought.
    #[error("the one-time codes of realm `{realm}` cannot be handed to their webhook: {problem}")]
    Onboarding {
        /// The realm.
        realm: String,
        /// What is wrong.
        problem: String,
    },
    /// A webhook cannot be sent to.
    #[error("the webhook `{name}` of realm `{realm}` cannot be sent to: {problem}")]
    Webhook {
        /// Its realm.
        realm: String,
        /// Its name.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// The store cannot be told of other server secrets.
    #[error("the server secrets cannot be taken over: {0}")]
    Ring(StoreError),
    /// It cannot be noted since when subscribers are there.
    #[error("what webhooks were told cannot be read: {0}")]
    Webhooks(AppError),
    /// It cannot be looked into whether the store went back in time.
    #[error("whether the store went back in time cannot be told: {0}")]
    Recovery(AppError),
    /// A key-encryption key cannot be read.
    #[error("the vault cannot be opened: {0}")]
    Vault(String),
    /// The files of a listener's TLS cannot be used.
    #[error("{0}")]
    Tls(TlsError),
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] store::OpenError),
    /// The issuers of access tokens cannot be set up.
    #[error("{0}")]
    Issuers(#[from] tokens::IssuerError),
    /// The first operator key cannot be made.
    #[error("the operator key cannot be made: {0}")]
    Operator(AppError),
    /// Nobody can listen there.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        cause: io::Error,
    },
    /// Nobody can listen for operations there.
    #[error("cannot listen on {address} for operations: {cause}")]
    Operations {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        cause: io::Error,
    },
    /// Nobody can listen on that socket.
    #[error("cannot listen on the socket `{}`: {cause}", path.display())]
    Socket {
        /// The socket's file.
        path: PathBuf,
        /// What the operating system says, or what lies there.
        cause: io::Error,
    },
    /// The operating system gives no thread or runtime.
    #[error("cannot start {what}: {cause}")]
    System {
        /// What could not be started.
        what: &'static str,
        /// What the operating system says.
        cause: io::Error,
    },
    /// A worker stopped with an error.
    #[error("a worker stopped: {0}")]
    Worker(String),
}

fn versions_text(versions: &[u32]) -> String {
    let list: Vec<String> = versions.iter().map(ToString::to_string).collect();
    format!("{} {}", if list.len() == 1 { "version" } else { "versions" }, list.join(", "))
}

impl StartError {
    /// One error of these; there has to be one.
    pub(super) fn of(mut errors: Vec<Self>) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            last => Self::Several(errors.into_iter().chain(last).collect()),
        }
    }

    /// Everything that is wrong, each a sentence of its own.
    pub(super) fn sentences(&self) -> Vec<String> {
        match self {
            Self::Configuration(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
            Self::Several(errors) => errors.iter().flat_map(Self::sentences).collect(),
            other => vec![other.to_string()],
        }
    }

    pub(super) fn file(path: &std::path::Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File { path, action, cause }
    }
}
