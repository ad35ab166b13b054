//! What all calls share that carry a management key: reading it, and one line of the log for what came of each.

use super::{failure::Fault, status};
use crate::app::error::AppError;
use tonic::{
    Status,
    metadata::{KeyAndValueRef, MetadataMap},
};

/// A call's metadata as the headers that a management credential is taken from.
pub(super) fn headers(metadata: &MetadataMap) -> Vec<(&str, &str)> {
    let header = |entry| match entry {
        KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.to_str().ok()?)),
        KeyAndValueRef::Binary(name, _) => Some((name.as_str(), "")),
    };
    metadata.iter().filter_map(header).collect()
}

/// Logs what came of a call.
pub(super) fn told<T>(done: Result<T, AppError>, well: &str, ill: &str) -> Result<T, Status> {
    match done {
        Ok(reply) => {
            tracing::info!("{well}");
            Ok(reply)
        }
        Err(error) => {
            match Fault::of(&error) {
                Fault::Callers => tracing::info!(%error, "{ill}"),
                Fault::Passing(_) => tracing::warn!(%error, "{ill}"),
                Fault::Grave(_) => tracing::error!(%error, "{ill}"),
            }
            Err(status(&error))
        }
    }
}
