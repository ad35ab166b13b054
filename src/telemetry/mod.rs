//! Logs. A leaf: uses no other room. Secrets cannot get here, because no type that holds one can be formatted.

use std::io;
use tracing::Level;
use tracing_subscriber::fmt;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error, from `level` on. Does nothing when a log was started before.
pub fn start(level: Level, format: Format) {
    let builder = fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // A second start, as in tests, keeps the first.
    let _ = match format {
        Format::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
