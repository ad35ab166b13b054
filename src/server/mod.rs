//! Starts the server. Its only content here is the door that the command line uses.

use crate::config::{Mistakes, Settings};

/// What a start is told beside the settings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Make a new operator key and write it to its file.
    pub reissue_operator_key: bool,
}

/// Why the server did not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(Mistakes),
    /// Anything else.
    #[error("this build has no server")]
    NoServer,
}

/// Runs the server until it is told to stop.
///
/// # Errors
/// When it cannot start.
pub fn run(settings: Settings, _options: Options) -> Result<(), StartError> {
    crate::config::load(&settings).map_err(StartError::Configuration)?;
    Err(StartError::NoServer)
}
