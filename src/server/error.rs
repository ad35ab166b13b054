//! Why a server did not start, or stopped.

use crate::{app::error::AppError, config::Mistakes, store, tokens};
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
    /// The file with the server secrets is not there, and the data that hangs on them is.
    #[error("`{}` is missing, and everything in `{}` hangs on it: put the file back from its copy", path.display(), data.display())]
    SecretsGone {
        /// The file that should be there.
        path: PathBuf,
        /// The file that is.
        data: PathBuf,
    },
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
    /// It cannot be noted since when subscribers are there.
    #[error("what webhooks were told cannot be read: {0}")]
    Webhooks(AppError),
    /// A key-encryption key cannot be read.
    #[error("the vault cannot be opened: {0}")]
    Vault(String),
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

impl StartError {
    pub(super) fn file(path: &std::path::Path, action: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |cause| Self::File { path, action, cause }
    }
}
