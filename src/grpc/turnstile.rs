//! Numbers of calls that may be in work at a time, and the tickets of those that are.

use super::refusal::TooMany;
use crate::app::{meter::Meter, ports::Clock, seldom::Seldom};
use std::{
    ops::Deref,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};
use tonic::Status;

static SHED: Seldom = Seldom::new();

/// A number of calls that may be in work at a time.
#[derive(Debug)]
pub struct Turnstile {
    inside: AtomicUsize,
    most: usize,
}

/// Tells how many calls are in work, and lets none in.
pub struct InWork(Weak<Turnstile>);

impl InWork {
    /// So many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.upgrade().map_or(0, |turnstile| turnstile.inside.load(Ordering::Relaxed))
    }
}

/// A call in work.
#[derive(Debug)]
pub(super) struct Ticket<T: Deref<Target = Turnstile> = Arc<Turnstile>>(T);

impl<T: Deref<Target = Turnstile>> Ticket<T> {
    pub(super) fn to(turnstile: T) -> Option<Self> {
        turnstile.try_join().then(|| Self(turnstile))
    }
}

impl<T: Deref<Target = Turnstile>> Drop for Ticket<T> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Turnstile {
    /// At most so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { inside: AtomicUsize::new(0), most }
    }

    /// Whoever counts the calls in work.
    #[must_use]
    pub fn in_work(self: &Arc<Self>) -> InWork {
        InWork(Arc::downgrade(self))
    }

    pub(super) fn enter(self: &Arc<Self>) -> Option<Ticket> {
        Ticket::to(Arc::clone(self))
    }

    /// Counts one more, unless there are too many. Whoever joins without a ticket has to leave by hand.
    pub(super) fn try_join(&self) -> bool {
        let joined = self.inside.fetch_add(1, Ordering::Relaxed) < self.most;
        if !joined {
            self.leave();
        }
        joined
    }

    /// Counts one more, however many there are: for one that steps out and whose ticket will leave once more.
    pub(super) fn join(&self) {
        self.inside.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn is_full(&self) -> bool {
        self.inside.load(Ordering::Relaxed) >= self.most
    }

    pub(super) fn most(&self) -> usize {
        self.most
    }
}

/// What calls are refused as that were too many. Also the label of their count, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whatever is no act.
    Decision,
    /// An act of management.
    Act,
    /// One that reads or writes much at a time.
    Bulk,
    /// One whose request was still on its way.
    Arriving,
    /// A stream of answers.
    Stream,
    /// One of a client that does not take its answers.
    Untaken,
}

/// Refuses a call because there are `most` of its kind: counts it, and tells the log once a second.
pub(super) fn refused(kind: Kind, most: usize, clock: &dyn Clock, meter: &Meter) -> Status {
    if let Some(count) = meter.shed.get(kind as usize) {
        count.one();
    }
    if let Some(left_out) = SHED.turn(clock.ticks()) {
        tracing::warn!(most, ?kind, left_out, "too many calls in work: a call was refused");
    }
    TooMany::Calls(kind).refusal(match kind {
        Kind::Untaken => "too many answers wait for this client to take them: take them and try again",
        _ => "too many calls are in work: try again",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::meter::SHED_KINDS;

    #[test]
    fn as_many_are_let_in_as_the_turnstile_takes_and_one_more_for_each_that_left() {
        let turnstile = Arc::new(Turnstile::new(2));
        let in_work = turnstile.in_work();
        let (first, second) = (turnstile.enter().unwrap(), turnstile.enter().unwrap());
        assert!(turnstile.enter().is_none() && turnstile.enter().is_none() && turnstile.is_full());
        assert_eq!(in_work.count(), 2);
        drop(first);
        let third = turnstile.enter();
        assert!(third.is_some() && turnstile.enter().is_none());
        drop((second, third));
        assert!(turnstile.enter().is_some());
        assert_eq!(in_work.count(), 0);
    }

    #[test]
    fn kinds_are_counted_under_their_names() {
        for kind in [Kind::Decision, Kind::Act, Kind::Bulk, Kind::Arriving, Kind::Stream, Kind::Untaken] {
            assert_eq!(format!("{kind:?}").to_lowercase(), SHED_KINDS[kind as usize]);
        }
    }
}
