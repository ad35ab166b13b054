//! Logs. A leaf: uses no other room. Secrets cannot get here, because no type that holds one can be formatted.

use std::io;
use tracing::Level;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error, from `level` on; what the libraries below say only where it is a warning, or at `trace`,
/// so that one line for each decision is one line. Does nothing when a log was started before.
pub fn start(level: Level, format: Format) {
    let theirs = if level == Level::TRACE { level } else { level.min(Level::WARN) };
    let spoken = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(theirs);
    let builder = fmt().with_max_level(level).with_writer(io::stderr).with_target(false);
    // A second start, as in tests, keeps the first.
    let _ = match format {
        Format::Text => builder.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).finish().with(spoken).try_init(),
        Format::Json => builder.json().flatten_event(true).finish().with(spoken).try_init(),
    };
}
