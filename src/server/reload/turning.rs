//! The moments at which another version of the server secret is used, or one retires.

use crate::{
    app::ports::Clock,
    domain::key::{SecretMark, SecretPhase, SecretRing},
};
use std::{future::pending, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep, sleep_until};

/// The clock is looked at so often while a moment lies ahead: it may be set, or follow the store's.
const LOOK: Duration = Duration::from_secs(1);
/// A moment that is close is not overslept.
const LEAST: Duration = Duration::from_millis(1);

/// When a turn that failed is tried again.
#[expect(clippy::disallowed_methods, reason = "a span of waiting is measured on the runtime's own clock")]
pub(super) fn next_try() -> Instant {
    let now = Instant::now();
    now.checked_add(LOOK).unwrap_or(now)
}

/// Waits for the next moment at which something changes, for ever if there is none. `late`: it is over, and is tried again then.
pub(super) async fn moment(ring: &SecretRing, clock: &Arc<dyn Clock>, late: Option<Instant>) {
    let Some(next) = ring.next_change() else { return pending().await };
    if let Some(again) = late {
        sleep_until(again).await;
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
