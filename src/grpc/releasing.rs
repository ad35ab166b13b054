//! Whether whoever calls may be handed providers' credentials: a matter of the listener that the connection came in by.

use http::Extensions;

/// Marks the requests of a listener that releases credentials. Whoever serves the connection puts it on each; on the requests of
/// other listeners there is nothing, and that costs nothing.
#[derive(Debug, Clone, Copy)]
pub struct MayRelease;

/// Whether a call carries the mark.
pub(super) fn may_release(extensions: &Extensions) -> bool {
    extensions.get::<MayRelease>().is_some()
}
