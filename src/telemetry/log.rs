//! The log.

use std::{io, sync::OnceLock};
use tracing::Level;
use tracing_subscriber::{Registry, filter::Targets, fmt, layer::SubscriberExt, reload, util::SubscriberInitExt};

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is said, and whoever changes that.
static SPOKEN: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// What is said from `level` on; what the libraries below say only where it is a warning, or at `trace`, so that one line for
/// each decision is one line.
fn spoken(level: Level) -> Targets {
    let theirs = if level == Level::TRACE { level } else { level.min(Level::WARN) };
    Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_default(theirs)
}

/// Starts logging to standard error, from `level` on. Does nothing when a log was started before.
pub fn start(level: Level, format: Format) {
    let (filter, handle) = reload::Layer::new(spoken(level));
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let started = match format {
        Format::Text => log.with(lines.with_ansi(io::IsTerminal::is_terminal(&io::stderr()))).try_init(),
        Format::Json => log.with(lines.json().flatten_event(true)).try_init(),
    };
    // A second start, as in tests, keeps the first.
    if started.is_ok() {
        let _ = SPOKEN.set(handle);
    }
}

/// Goes on logging from another level on. Does nothing where no log was started here.
pub fn set_level(level: Level) {
    if let Some(handle) = SPOKEN.get() {
        // It fails when the log is gone, and then there is nothing to change.
        let _ = handle.reload(spoken(level));
    }
}
