//! Clocks that tests turn by hand.

use keygate::{
    app::ports::Clock,
    domain::time::{Ticks, Timestamp},
};
use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Stands still until it is turned.
pub struct ManualClock {
    ticks: AtomicU64,
}

impl ManualClock {
    const EPOCH_US: u64 = 1_800_000_000_000_000;

    pub fn new() -> Self {
        Self { ticks: AtomicU64::new(1_000_000_007) }
    }

    pub fn pass(&self, span: Duration) {
        self.ticks.fetch_add(span.as_micros() as u64, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(Self::EPOCH_US + self.ticks.load(Ordering::SeqCst))
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(self.ticks.load(Ordering::SeqCst))
    }

    fn observe(&self, _: Timestamp) {}
}

thread_local! {
    static LAST_READ: Cell<u64> = const { Cell::new(0) };
}

/// Moves on with every reading, and tells each thread what it read last: the very instant that decided.
pub struct RacingClock {
    ticks: AtomicU64,
    step_us: u64,
}

impl RacingClock {
    pub fn new(step_us: u64) -> Self {
        Self { ticks: AtomicU64::new(0), step_us }
    }

    pub fn last_read() -> u64 {
        LAST_READ.get()
    }

    pub fn skip(&self, micros: u64) {
        self.ticks.fetch_add(micros, Ordering::SeqCst);
    }

    pub fn peek(&self) -> u64 {
        self.ticks.load(Ordering::SeqCst)
    }
}

impl Clock for RacingClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.peek())
    }

    fn ticks(&self) -> Ticks {
        let now = self.ticks.fetch_add(self.step_us, Ordering::SeqCst);
        LAST_READ.set(now);
        Ticks::from_micros(now)
    }

    fn observe(&self, _: Timestamp) {}
}
