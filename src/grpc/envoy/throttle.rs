//! Lines of the log that every request could cause: one a second is enough.

use crate::app::ports::Clock;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

#[derive(Default)]
pub(super) struct Throttle {
    /// The next second that may speak, by the even clock; 0 before the first.
    next: AtomicU64,
}

impl Throttle {
    /// True once a second.
    pub(super) fn may_speak(&self, clock: &dyn Clock) -> bool {
        let second = clock.ticks().since(crate::domain::time::Ticks::from_micros(0)).max(Duration::ZERO).as_secs();
        let next = self.next.load(Ordering::Relaxed);
        let later = second.saturating_add(1);
        second >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}
