//! Seats for requests that wait for their rest, and who gets one while all are taken: each connection has a fair share. Whoever
//! opens many calls and never ends them takes seats from itself, and not from those who wait for one message.

use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Waker},
};

/// Seats of one worker.
pub(super) struct Seats {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    count: usize,
    /// Of each connection those that it has, the oldest first. None has none.
    of: HashMap<u64, VecDeque<Arc<Seat>>>,
}

/// A seat that somebody has, or had to leave.
pub(super) struct Seat {
    connection: u64,
    lost: AtomicBool,
    /// Whoever has it.
    waker: Mutex<Option<Waker>>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: Mutex::default() }
    }

    pub(super) const fn most(&self) -> usize {
        self.most
    }

    /// A seat for a call of that connection. While all are taken, the connection that has most of them gives up its oldest, if
    /// it still has no fewer than this one then. Nothing: there is none.
    pub(super) fn take(&self, connection: u64) -> Option<Arc<Seat>> {
        let mut lost = None;
        let seat = {
            let mut taken = self.taken.lock();
            if taken.count >= self.most {
                lost = Some(taken.give_up(connection)?);
            }
            let seat = Arc::new(Seat { connection, lost: AtomicBool::new(false), waker: Mutex::new(None) });
            taken.of.entry(connection).or_default().push_back(Arc::clone(&seat));
            taken.count = taken.count.saturating_add(1);
            seat
        };
        if let Some(lost) = lost {
            lost.lose();
        }
        Some(seat)
    }

    /// Its call waits no longer.
    pub(super) fn leave(&self, seat: &Arc<Seat>) {
        let mut taken = self.taken.lock();
        let Some(all) = taken.of.get_mut(&seat.connection) else { return };
        let before = all.len();
        all.retain(|other| !Arc::ptr_eq(other, seat));
        let (left, empty) = (before.saturating_sub(all.len()), all.is_empty());
        taken.count = taken.count.saturating_sub(left);
        if empty {
            taken.of.remove(&seat.connection);
        }
    }
}

impl Taken {
    /// The seat that somebody loses to that connection.
    fn give_up(&mut self, connection: u64) -> Option<Arc<Seat>> {
        let own = self.of.get(&connection).map_or(0, VecDeque::len);
        let (_, most) = self.of.iter_mut().max_by_key(|(_, seats)| seats.len())?;
        if most.len() <= own.saturating_add(1) {
            return None;
        }
        self.count = self.count.saturating_sub(1);
        most.pop_front()
    }
}

impl Seat {
    /// Whether somebody else has it now. If not, `context` is told when that becomes so.
    pub(super) fn is_lost(&self, context: &Context<'_>) -> bool {
        let mut waker = self.waker.lock();
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
        self.lost.load(Relaxed)
    }

    fn lose(&self) {
        // Under the lock: who looks at the same time sees it, or is woken.
        let waker = {
            let mut waker = self.waker.lock();
            self.lost.store(true, Relaxed);
            waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_lost(seat: &Seat) -> bool {
        seat.is_lost(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn while_all_are_taken_the_connection_with_most_seats_loses_its_oldest() {
        let seats = Seats::new(6);
        let greedy: Vec<_> = (0..6).map(|_| seats.take(1).unwrap()).collect();
        assert!(seats.take(1).is_none(), "it has them all");
        let first = seats.take(2).unwrap();
        let second = seats.take(2).unwrap();
        let third = seats.take(2).unwrap();
        assert_eq!(
            greedy.iter().map(|seat| is_lost(seat)).collect::<Vec<_>>(),
            [true, true, true, false, false, false]
        );
        assert!(seats.take(2).is_none() && seats.take(1).is_none(), "each has half");
        // One of the two with three seats each, whichever it is.
        let fourth = seats.take(3).unwrap();
        let all = || greedy.iter().chain([&first, &second, &third]);
        assert_eq!(all().filter(|seat| is_lost(seat)).count(), 4);
        for seat in all().chain([&fourth]) {
            seats.leave(seat);
            seats.leave(seat);
        }
        let taken = seats.taken.lock();
        assert!(taken.count == 0 && taken.of.is_empty());
    }

    #[test]
    fn many_connections_with_one_seat_each_lose_none() {
        let seats = Seats::new(4);
        let all: Vec<_> = (0..4).map(|connection| seats.take(connection).unwrap()).collect();
        assert!(seats.take(9).is_none());
        seats.leave(&all[0]);
        assert!(seats.take(9).is_some() && !all.iter().any(|seat| is_lost(seat)));
    }
}
