//! The clock: the one place where time is read.

use crate::{
    app::ports::Clock,
    domain::time::{Ticks, Timestamp},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Time since the process started, on a clock that only moves forward evenly, and the time of day bound to it.
///
/// The time of day starts from the wall clock and then follows the even clock, so that a wall clock that is set back
/// never gives a key its life back. It moves forward when the wall clock, or a store that tells its own time, is ahead.
pub(super) struct SystemClock {
    started: Instant,
    /// Microseconds from 1970 to the start, by the furthest clock that was heard of.
    origin_us: AtomicU64,
}

impl SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the clock itself")]
    pub(super) fn new() -> Self {
        let clock = Self { started: Instant::now(), origin_us: AtomicU64::new(0) };
        clock.follow_wall();
        clock
    }

    /// When the clock began, by the time of day as it is known now.
    pub(super) fn began(&self) -> Timestamp {
        Timestamp::from_micros(self.origin_us.load(Ordering::Relaxed))
    }

    /// How far the time of day is ahead of the wall clock.
    #[expect(clippy::disallowed_methods, reason = "the clock itself")]
    pub(super) fn ahead(&self) -> Duration {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp::from_micros(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX));
        self.now().since(wall)
    }

    /// Moves the time of day forward to the wall clock: it also counts what the even clock misses while a machine sleeps.
    #[expect(clippy::disallowed_methods, reason = "the clock itself")]
    pub(super) fn follow_wall(&self) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.observe(Timestamp::from_micros(u64::try_from(wall.as_micros()).unwrap_or(u64::MAX)));
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.reading().0
    }

    fn reading(&self) -> (Timestamp, Ticks) {
        let ticks = self.ticks();
        let now = self.origin_us.load(Ordering::Relaxed).saturating_add(ticks.as_micros());
        (Timestamp::from_micros(now), ticks)
    }

    #[expect(clippy::disallowed_methods, reason = "the clock itself")]
    fn ticks(&self) -> Ticks {
        Ticks::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    fn observe(&self, store_time: Timestamp) {
        let origin = store_time.as_micros().saturating_sub(self.ticks().as_micros());
        self.origin_us.fetch_max(origin, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_day_never_goes_back() {
        let clock = SystemClock::new();
        let before = clock.now();
        clock.observe(Timestamp::from_micros(1));
        assert!(clock.now() >= before);
        let ahead = before.after(std::time::Duration::from_secs(3_600));
        clock.observe(ahead);
        assert!(clock.now() >= ahead);
        clock.follow_wall();
        assert!(clock.now() >= ahead);
    }
}
