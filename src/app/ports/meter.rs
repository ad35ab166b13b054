//! What is counted, as plain numbers: nothing here knows who reads them or in which words. Counting never waits, never
//! allocates and never looks a name up; what is counted at every decision stands in stripes, one for each thread, which are
//! added up when they are read.

use super::{CommitError, StoreError};
use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn one(&self) {
        self.many(1);
    }

    /// So many more.
    pub fn many(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many there are.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that stands for now.
#[derive(Debug, Default)]
pub struct Level(AtomicU64);

impl Level {
    /// It is this now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper ends of the buckets of every histogram, in microseconds; a last bucket takes the rest.
pub const BOUNDS_US: [u64; 16] =
    [10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];
/// Buckets of a histogram.
pub const BUCKETS: usize = BOUNDS_US.len() + 1;

/// How long something took, by buckets.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Count; BUCKETS],
    sum_us: Count,
}

/// What a histogram held when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurationsRead {
    /// How many fell into each bucket, and into no smaller one.
    pub buckets: [u64; BUCKETS],
    /// All of them together, in microseconds.
    pub sum_us: u64,
}

/// The bucket that a span falls into.
#[must_use]
pub fn bucket_of(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    BOUNDS_US.partition_point(|bound| *bound < micros)
}

impl Durations {
    /// Notes one.
    pub fn note(&self, took: Duration) {
        if let Some(bucket) = self.buckets.get(bucket_of(took)) {
            bucket.one();
        }
        self.sum_us.many(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds what it holds to `read`.
    pub fn add_to(&self, read: &mut DurationsRead) {
        for (sum, bucket) in read.buckets.iter_mut().zip(&self.buckets) {
            *sum = sum.saturating_add(bucket.get());
        }
        read.sum_us = read.sum_us.saturating_add(self.sum_us.get());
    }
}

/// One place for each thread that counts, so that no two of them write to the same line of a processor's cache.
#[derive(Debug)]
pub struct Stripes<T> {
    places: Box<[Apart<T>]>,
}

/// Two lines: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

thread_local! {
    static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
}
static STRIPES_TAKEN: AtomicUsize = AtomicUsize::new(0);

/// How many threads count apart; more share.
pub const STRIPES: usize = 16;

/// Gives this thread the next place. Threads that decide take theirs before any other thread does.
pub fn take_stripe() -> usize {
    let stripe = STRIPES_TAKEN.fetch_add(1, Ordering::Relaxed);
    STRIPE.set(Some(stripe));
    stripe
}

impl<T> Stripes<T> {
    /// A place for each of [`STRIPES`] threads; none at all where nothing is to be counted.
    #[must_use]
    pub fn new(on: bool, place: impl Fn() -> T) -> Self {
        let places = if on { STRIPES } else { 0 };
        Self { places: (0..places).map(|_| Apart(place())).collect() }
    }

    /// This thread's place; nothing where nothing is counted.
    #[must_use]
    pub fn here(&self) -> Option<&T> {
        let stripe = STRIPE.get().unwrap_or_else(take_stripe);
        self.places.get(stripe & (STRIPES - 1)).map(|place| &place.0)
    }

    /// Every place.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.places.iter().map(|place| &place.0)
    }

    /// What all places together hold of one count.
    pub fn sum(&self, count: impl Fn(&T) -> u64) -> u64 {
        self.all().map(count).fold(0, u64::saturating_add)
    }
}

/// What a store is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// [`super::Store::find_key`]
    FindKey,
    /// [`super::Store::find_key_by_id`]
    FindKeyById,
    /// [`super::Store::find_account`]
    FindAccount,
    /// [`super::Store::charge`]
    Charge,
    /// [`super::Store::commit`]
    Commit,
    /// Reading of records for management: an account, keys, entries, idempotency records, where a key lies.
    Read,
    /// Listing of keys, accounts or entries.
    List,
    /// [`super::Store::note_uses`]
    NoteUses,
    /// [`super::Store::read_uses`]
    ReadUses,
    /// [`super::Store::read_audit`]
    ReadAudit,
    /// Reading, listing or writing of memos.
    Memo,
    /// [`super::Store::ping`]
    Ping,
}

impl Command {
    /// Every command, in the order of their numbers.
    pub const ALL: [Self; 12] = [
        Self::FindKey,
        Self::FindKeyById,
        Self::FindAccount,
        Self::Charge,
        Self::Commit,
        Self::Read,
        Self::List,
        Self::NoteUses,
        Self::ReadUses,
        Self::ReadAudit,
        Self::Memo,
        Self::Ping,
    ];

    /// Whether it may fail so: only what changes an account meets others who do.
    #[must_use]
    pub const fn may_meet(self, fault: StoreFault) -> bool {
        matches!(self, Self::Commit) || !matches!(fault, StoreFault::Conflict)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FindKey => "find_key",
            Self::FindKeyById => "find_key_by_id",
            Self::FindAccount => "find_account",
            Self::Charge => "charge",
            Self::Commit => "commit",
            Self::Read => "read",
            Self::List => "list",
            Self::NoteUses => "note_uses",
            Self::ReadUses => "read_uses",
            Self::ReadAudit => "read_audit",
            Self::Memo => "memo",
            Self::Ping => "ping",
        }
    }

    /// What it is called where a call is followed.
    #[must_use]
    pub const fn span(self) -> &'static str {
        match self {
            Self::FindKey => "store find_key",
            Self::FindKeyById => "store find_key_by_id",
            Self::FindAccount => "store find_account",
            Self::Charge => "store charge",
            Self::Commit => "store commit",
            Self::Read => "store read",
            Self::List => "store list",
            Self::NoteUses => "store note_uses",
            Self::ReadUses => "store read_uses",
            Self::ReadAudit => "store read_audit",
            Self::Memo => "store memo",
            Self::Ping => "store ping",
        }
    }
}

/// Why a store did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreFault {
    /// It could not be reached, or not serve.
    Unavailable,
    /// It did not answer in time.
    Deadline,
    /// It has no room.
    Full,
    /// It holds what cannot be trusted.
    Corrupt,
    /// It was done, and not enough replicas have it.
    Unconfirmed,
    /// Another server changed the account at the same time: the act starts over.
    Conflict,
}

impl StoreFault {
    /// Every fault, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Unavailable, Self::Deadline, Self::Full, Self::Corrupt, Self::Unconfirmed, Self::Conflict];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Deadline => "deadline",
            Self::Full => "full",
            Self::Corrupt => "corrupt",
            Self::Unconfirmed => "unconfirmed",
            Self::Conflict => "conflict",
        }
    }
}

impl From<&StoreError> for StoreFault {
    fn from(error: &StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => Self::Unavailable,
            StoreError::Deadline(_) => Self::Deadline,
            StoreError::Full(_) => Self::Full,
            StoreError::Corrupt(_) => Self::Corrupt,
            StoreError::Unconfirmed(_) => Self::Unconfirmed,
        }
    }
}

impl From<&CommitError> for StoreFault {
    fn from(error: &CommitError) -> Self {
        match error {
            CommitError::Conflict | CommitError::DigestTaken(_) | CommitError::ReadOnly => Self::Conflict,
            CommitError::Store(error) => error.into(),
        }
    }
}

/// What was asked of a store, how long it took and what went wrong.
#[derive(Debug)]
pub struct StoreMeter {
    commands: Stripes<[CommandCounts; Command::ALL.len()]>,
}

#[derive(Debug, Default)]
struct CommandCounts {
    took: Durations,
    faults: [Count; StoreFault::ALL.len()],
}

impl StoreMeter {
    /// Nothing was asked yet.
    #[must_use]
    pub fn new() -> Self {
        Self { commands: Stripes::new(true, Default::default) }
    }

    /// Notes a command that was done, or why it was not.
    pub fn note(&self, command: Command, took: Duration, fault: Option<StoreFault>) {
        let counts = self.commands.here().and_then(|commands| commands.get(command as usize));
        let Some(counts) = counts else { return };
        counts.took.note(took);
        if let Some(count) = fault.and_then(|fault| counts.faults.get(fault as usize)) {
            count.one();
        }
    }

    /// How long a command took.
    #[must_use]
    pub fn took(&self, command: Command) -> DurationsRead {
        let mut read = DurationsRead::default();
        self.commands.all().filter_map(|all| all.get(command as usize)).for_each(|all| all.took.add_to(&mut read));
        read
    }

    /// How often a command failed so.
    #[must_use]
    pub fn faults(&self, command: Command, fault: StoreFault) -> u64 {
        let count = |all: &[CommandCounts; Command::ALL.len()]| {
            let fault = all.get(command as usize).and_then(|counts| counts.faults.get(fault as usize));
            fault.map_or(0, Count::get)
        };
        self.commands.sum(count)
    }
}

impl Default for StoreMeter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_commands_and_faults_are_their_places() {
        assert!(Command::ALL.iter().enumerate().all(|(at, command)| *command as usize == at));
        assert!(StoreFault::ALL.iter().enumerate().all(|(at, fault)| *fault as usize == at));
    }

    #[test]
    fn a_span_falls_into_the_first_bucket_that_holds_it() {
        let micros = |micros| bucket_of(Duration::from_micros(micros));
        assert_eq!((micros(0), micros(10), micros(11), micros(25)), (0, 0, 1, 1));
        assert_eq!((micros(5_000_000), micros(5_000_001)), (15, 16));
    }

    #[test]
    fn what_threads_count_apart_is_one_sum() {
        let meter = StoreMeter::new();
        std::thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| meter.note(Command::Charge, Duration::from_micros(20), Some(StoreFault::Full)));
            }
        });
        let took = meter.took(Command::Charge);
        assert_eq!((took.buckets[1], took.sum_us), (40, 800));
        assert_eq!(meter.faults(Command::Charge, StoreFault::Full), 40);
        assert_eq!(meter.took(Command::Commit), DurationsRead::default());
    }

    #[test]
    fn where_nothing_is_counted_there_is_no_place() {
        assert!(Stripes::new(false, Count::default).here().is_none());
    }
}
