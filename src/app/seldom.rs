//! What may be said once a second, however often it happens.

use crate::domain::time::Ticks;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lines of one kind in the log, one a second at most.
#[derive(Debug, Default)]
pub struct Seldom {
    /// Microseconds of the clock from which on the next line may be written.
    next: AtomicU64,
    left_out: AtomicU64,
}

impl Seldom {
    const REST_US: u64 = 1_000_000;

    /// Nothing was said yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { next: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether a line may be written now, and how many were left out since the one before.
    pub fn turn(&self, now: Ticks) -> Option<u64> {
        let (now, next) = (now.as_micros(), self.next.load(Ordering::Relaxed));
        let later = now.saturating_add(Self::REST_US);
        let taken =
            now >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if taken {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_second_is_written_and_the_others_are_counted() {
        let seldom = Seldom::new();
        let turn = |micros| seldom.turn(Ticks::from_micros(micros));
        assert_eq!(turn(5), Some(0));
        assert_eq!((turn(6), turn(1_000_004)), (None, None));
        assert_eq!(turn(1_000_005), Some(2));
        assert_eq!((turn(1_000_006), turn(9_000_000)), (None, Some(1)));
    }
}
