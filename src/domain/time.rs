//! Instants. Nothing in the domain reads a clock: `now` is an argument.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// An instant in UTC, in microseconds since 1970-01-01. Deadlines are judged against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The last instant that may be written in a request or a configuration: the end of the year 9999.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// The instant `micros` microseconds after 1970-01-01.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970-01-01, rounded up, so that nobody who waits until then comes too early.
    #[must_use]
    pub const fn as_secs_ceil(self) -> u64 {
        self.0.div_ceil(1_000_000)
    }

    /// The instant `span` later, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros)).min(Self::MAX)
    }

    /// The instant `span` earlier, at least 1970-01-01.
    #[must_use]
    pub fn before(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// A reading of a clock that only moves forward and is not bound to any calendar. Windows are counted in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Ticks(u64);

impl Ticks {
    /// The reading `micros` microseconds after the clock's own start.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's own start.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// The reading when `span` will have passed.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// The latest of many readings, shared between threads.
#[derive(Debug, Default)]
pub struct LatestTicks(AtomicU64);

impl LatestTicks {
    /// Readings closer together than this are one: a value that everybody reads is not written at every request.
    const GRAIN_US: u64 = 10_000;

    /// Starts with a reading.
    #[must_use]
    pub const fn new(reading: Ticks) -> Self {
        Self(AtomicU64::new(reading.0))
    }

    /// The latest reading, at most 10 ms behind.
    #[must_use]
    pub fn get(&self) -> Ticks {
        Ticks(self.0.load(Ordering::Relaxed))
    }

    /// Takes a reading in.
    pub fn advance(&self, reading: Ticks) {
        if reading.0 > self.get().0.saturating_add(Self::GRAIN_US) {
            self.0.fetch_max(reading.0, Ordering::Relaxed);
        }
    }
}

/// A span in the largest of days, hours, minutes and seconds that holds it whole: `30d`, `90m`.
#[must_use]
pub fn in_units(span: Duration) -> String {
    let seconds = span.as_secs();
    let units = [("d", 86_400), ("h", 3_600), ("m", 60)];
    let whole = units.into_iter().find(|(_, size)| seconds > 0 && seconds.is_multiple_of(*size));
    match whole.and_then(|(unit, size)| seconds.checked_div(size).map(|count| (unit, count))) {
        Some((unit, count)) => format!("{count}{unit}"),
        None => format!("{seconds}s"),
    }
}
