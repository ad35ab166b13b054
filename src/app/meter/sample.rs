//! How many lines of the log a flood may write.

use crate::domain::time::Ticks;
use std::sync::atomic::{AtomicU64, Ordering};

/// Lets a number of lines through in each second and counts the others.
#[derive(Debug, Default)]
pub(super) struct Sample {
    /// The second that is counted, and how many lines it had.
    second: AtomicU64,
    told: AtomicU64,
    left_out: AtomicU64,
}

impl Sample {
    /// Whether a line may be told now, `most` of them a second, and how many were not since the last that was.
    pub(super) fn turn(&self, most: u32, now: Ticks) -> Option<u64> {
        if most == 0 {
            return None;
        }
        // One more, so that the first second is another one than none.
        let second = now.as_micros().checked_div(1_000_000).unwrap_or_default().saturating_add(1);
        let counted = self.second.load(Ordering::Relaxed);
        if counted != second
            && self.second.compare_exchange(counted, second, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.told.store(0, Ordering::Relaxed);
        }
        // Read first: most denials of a flood only read.
        let full = self.told.load(Ordering::Relaxed) >= u64::from(most);
        if full || self.told.fetch_add(1, Ordering::Relaxed) >= u64::from(most) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_denials_a_second_are_told_and_the_others_are_counted() {
        let sample = Sample::default();
        let turn = |most, micros| sample.turn(most, Ticks::from_micros(micros));
        assert_eq!((turn(2, 0), turn(2, 1), turn(2, 2), turn(2, 999_999)), (Some(0), Some(0), None, None));
        assert_eq!((turn(2, 1_000_000), turn(2, 1_000_001), turn(2, 1_000_002)), (Some(2), Some(0), None));
        assert_eq!((turn(0, 5_000_000), turn(1, 6_000_000)), (None, Some(1)));
    }
}
