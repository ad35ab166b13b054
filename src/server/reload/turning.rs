//! The moments at which another version of the server secret is used, or one retires.

use crate::{
    app::ports::Clock,
    domain::key::{SecretMark, SecretPhase, SecretRing},
};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::time::sleep;

/// The clock is looked at so often while a moment lies ahead: it may be set, or follow the store's.
const LOOK: Duration = Duration::from_secs(1);
/// A moment that is close is not overslept.
const LEAST: Duration = Duration::from_millis(1);

/// Waits for the next moment at which something changes, for ever if there is none. `late`: it is over, and it is time for
/// another try.
pub(super) async fn moment(ring: &SecretRing, clock: &Arc<dyn Clock>, late: bool) {
    let Some(next) = ring.next_change() else { return pending().await };
    if late {
        sleep(LOOK).await;
    }
    loop {
        let left = next.since(clock.now());
        if left.is_zero() {
            return;
        }
        sleep(left.clamp(LEAST, LOOK)).await;
    }
}

/// Tells which versions are there for something else than before.
pub(super) fn tell(before: &SecretRing, now: &SecretRing) {
    let before = before.states();
    let was = |mark: SecretMark| before.iter().find(|state| state.mark == mark).map(|state| state.phase);
    for state in now.states() {
        let version = state.mark.version;
        match state.phase {
            phase if was(state.mark) == Some(phase) => {}
            SecretPhase::Current => tracing::info!(version, "this version of the server secret is used from now on"),
            SecretPhase::Pending => {
                tracing::info!(version, "this version of the server secret is known, and used later")
            }
            SecretPhase::Retired => {
                tracing::warn!(
                    version,
                    "this version of the server secret is retired: keys that are still under it are unknown now"
                );
            }
            SecretPhase::Older => {}
        }
    }
}
