//! Why a server did not start, or stopped.

use crate::{app::error::AppError, config::Mistakes, store};
use std::{io, net::SocketAddr, path::PathBuf};

/// Why a server did not start, or stopped. Each is a sentence for whoever started it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings or realm files have mistakes.
    #[error("{0}")]
    Configuration(Mistakes),
    /// A file of the server cannot be read or written.
    #[error("`{}` cannot be {action}: {cause}", path.display())]
    File { path: PathBuf, action: &'static str, cause: io::Error },
    /// The file with the server secrets is not what keygate wrote.
    #[error("`{}`, line {line}: {problem}", path.display())]
    Secrets { path: PathBuf, line: usize, problem: &'static str },
    /// The store cannot be opened.
    #[error("{0}")]
    Store(#[from] store::OpenError),
    /// The first operator key cannot be made.
    #[error("the operator key cannot be made: {0}")]
    Operator(AppError),
    /// Nobody can listen there.
    #[error("cannot listen on {address}: {cause}")]
    Listen { address: SocketAddr, cause: io::Error },
    /// The operating system gives no thread or runtime.
    #[error("cannot start {what}: {cause}")]
    System { what: &'static str, cause: io::Error },
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
