//! Whose bytes are read next on a worker. A call is a task as soon as its head was read, and tasks have their turns in the order
//! in which they came: whoever asks little would wait behind all the calls of those who ask much. So a connection with few open
//! calls is read at once. One with many is read when few calls wait for their first turn, and after those that wait for the same:
//! they stand in a queue, and are called one by one.
//!
//! Nobody waits in vain: while somebody waits, there is a call that has not begun, or a connection that was called. The last call
//! that begins calls the next connection; a connection that was called and brought no call does so when its turn ends. Where there
//! is no last one, since others ask little again and again, one is called now and then all the same.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
};

/// From so many calls on that wait for their first turn, no connection that asks for much is read, but one that was called.
const UNBEGUN_OF_MANY: u32 = 4;
/// From so many on, no other one either.
const UNBEGUN: u32 = 64;
/// After so many calls that others began, whoever waits is called though more of them wait.
const AT_LEAST_AFTER: u32 = 256;
/// Bytes of a connection that are read in one turn, before others have theirs: some twenty calls. HTTP/2 would else go on for as
/// long as there is more, a hundred times as long.
pub(super) const BYTES: usize = 2_048;
/// The same while nobody but connections that ask for much asks for anything: after so many calls. The more answers leave
/// together, the less each costs.
const BYTES_AMONG_MANY: usize = 8_192;
const AMONG_MANY: u32 = 512;

/// What is known of the turns of one worker. Counters belong to its thread, and are atomic only so that tasks can hold them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Calls that came, and had no turn yet.
    unbegun: AtomicU32,
    /// Calls of connections that ask for much, since the last one of another.
    of_many: AtomicU32,
    /// Calls that began since somebody was called.
    begun: AtomicU32,
    /// Whether a connection was called and has not had its turn.
    has_called: AtomicBool,
    /// Whether anybody may be in the queue: what every call asks, without a lock.
    anybody_waits: AtomicBool,
    queue: Mutex<VecDeque<Arc<Ticket>>>,
}

/// The turns of one connection.
#[derive(Debug)]
pub(super) struct Ticket {
    turns: Arc<Turns>,
    /// Whether it asks for much.
    asks_much: AtomicBool,
    /// Bytes that were read in this turn.
    read: AtomicUsize,
    /// Whether it is in the queue.
    waits: AtomicBool,
    /// While it waits: how it is called. In the queue it would keep all that a connection held which has gone.
    waker: Mutex<Option<Waker>>,
    /// Whether it was called.
    is_called: AtomicBool,
}

impl Turns {
    /// How many bytes are read in one turn.
    fn bytes(&self) -> usize {
        if self.of_many.load(Relaxed) < AMONG_MANY { BYTES } else { BYTES_AMONG_MANY }
    }

    /// A call has its first turn.
    pub(super) fn began(&self) {
        let left = self.unbegun.load(Relaxed).wrapping_sub(1);
        self.unbegun.store(left, Relaxed);
        if self.anybody_waits.load(Relaxed) {
            let begun = self.begun.load(Relaxed).saturating_add(1);
            self.begun.store(begun, Relaxed);
            if left == 0 || begun >= AT_LEAST_AFTER {
                self.call();
            }
        }
    }

    /// Calls the one that has waited longest, unless one was called already.
    fn call(&self) {
        if self.has_called.load(Relaxed) {
            return;
        }
        let mut queue = self.queue.lock();
        while let Some(next) = queue.pop_front() {
            // Whoever has gone meanwhile waits no more.
            if next.waits.swap(false, Relaxed) {
                next.is_called.store(true, Relaxed);
                self.has_called.store(true, Relaxed);
                self.begun.store(0, Relaxed);
                if let Some(waker) = next.waker.lock().take() {
                    waker.wake();
                }
                break;
            }
        }
        self.anybody_waits.store(!queue.is_empty(), Relaxed);
    }
}

impl Ticket {
    pub(super) fn new(turns: &Arc<Turns>) -> Arc<Self> {
        Arc::new(Self {
            turns: Arc::clone(turns),
            asks_much: AtomicBool::new(false),
            read: AtomicUsize::new(0),
            waits: AtomicBool::new(false),
            waker: Mutex::new(None),
            is_called: AtomicBool::new(false),
        })
    }

    /// Tells whether many calls are open on its connection, or were a short while ago.
    pub(super) fn set_asks_much(&self, much: bool) {
        self.asks_much.store(much, Relaxed);
    }

    /// The task of its connection is run. That is its turn, however often it tries to read.
    pub(super) fn begins(&self) {
        self.read.store(0, Relaxed);
    }

    /// So many bytes were read.
    pub(super) fn heard(&self, bytes: usize) {
        self.read.store(self.read.load(Relaxed).saturating_add(bytes), Relaxed);
    }

    /// A call came.
    pub(super) fn came(&self) {
        let turns = &self.turns;
        turns.unbegun.store(turns.unbegun.load(Relaxed).wrapping_add(1), Relaxed);
        let of_many = if self.asks_much.load(Relaxed) { turns.of_many.load(Relaxed).saturating_add(1) } else { 0 };
        turns.of_many.store(of_many, Relaxed);
    }

    /// How many bytes may be read now. If none, the task is woken when it is to be tried again.
    pub(super) fn may_read(self: &Arc<Self>, context: &Context<'_>) -> Option<usize> {
        let (turns, is_called) = (&self.turns, self.is_called.load(Relaxed));
        let unbegun = turns.unbegun.load(Relaxed);
        if self.asks_much.load(Relaxed)
            && !is_called
            && (unbegun >= UNBEGUN_OF_MANY || turns.anybody_waits.load(Relaxed) || turns.has_called.load(Relaxed))
        {
            self.wait(context);
            return None;
        }
        let left = turns.bytes().saturating_sub(self.read.load(Relaxed));
        if left == 0 || (unbegun >= UNBEGUN && !is_called) {
            context.waker().wake_by_ref();
            return None;
        }
        Some(left)
    }

    /// Whether nothing is read of its connection since others are before it.
    pub(super) fn waits(&self) -> bool {
        self.waits.load(Relaxed)
    }

    /// Waits behind those that wait already.
    fn wait(self: &Arc<Self>, context: &Context<'_>) {
        if self.waits() {
            return;
        }
        self.waits.store(true, Relaxed);
        let turns = &self.turns;
        *self.waker.lock() = Some(context.waker().clone());
        turns.queue.lock().push_back(Arc::clone(self));
        turns.anybody_waits.store(true, Relaxed);
        // It may stand behind nobody but connections that have gone.
        if turns.unbegun.load(Relaxed) == 0 {
            turns.call();
        }
    }

    /// Its turn is over.
    pub(super) fn ends(&self) {
        if self.is_called.load(Relaxed) {
            self.is_called.store(false, Relaxed);
            self.turns.has_called.store(false, Relaxed);
            if self.turns.unbegun.load(Relaxed) == 0 {
                self.turns.call();
            }
        }
    }

    /// Its connection is gone.
    pub(super) fn leaves(&self) {
        self.waits.store(false, Relaxed);
        drop(self.waker.lock().take());
        self.ends();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::atomic::AtomicUsize, task::Wake};

    impl Turns {
        pub(in crate::server) fn unbegun(&self) -> u32 {
            self.unbegun.load(Relaxed)
        }
    }

    impl Ticket {
        pub(in crate::server) fn is_of_much(&self) -> bool {
            self.asks_much.load(Relaxed)
        }
    }

    /// A connection, and how often its task was woken.
    struct Connection {
        ticket: Arc<Ticket>,
        woken: Arc<Woken>,
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    impl Connection {
        fn new(turns: &Arc<Turns>, asks_much: bool) -> Self {
            let ticket = Ticket::new(turns);
            ticket.set_asks_much(asks_much);
            Self { ticket, woken: Arc::default() }
        }

        /// Its task is run, and finds so many calls in what it reads. Whether it could read.
        fn runs(&self, calls: u32) -> bool {
            self.ticket.begins();
            let waker = Arc::clone(&self.woken).into();
            let reads = self.ticket.may_read(&Context::from_waker(&waker)).is_some();
            if reads {
                (0..calls).for_each(|_| self.ticket.came());
            }
            self.ticket.ends();
            reads
        }

        fn woken(&self) -> usize {
            self.woken.0.swap(0, Relaxed)
        }
    }

    fn with_calls(calls: u32) -> Arc<Turns> {
        let turns = Arc::<Turns>::default();
        let ticket = Ticket::new(&turns);
        (0..calls).for_each(|_| ticket.came());
        turns
    }

    fn begin(turns: &Turns, calls: u32) {
        (0..calls).for_each(|_| turns.began());
    }

    #[test]
    fn whoever_asks_little_is_read_before_those_who_ask_much() {
        for (calls, asks_much, reads) in [
            (UNBEGUN_OF_MANY - 1, true, true),
            (UNBEGUN_OF_MANY, true, false),
            (UNBEGUN - 1, false, true),
            (UNBEGUN, false, false),
        ] {
            let connection = Connection::new(&with_calls(calls), asks_much);
            assert_eq!(connection.runs(0), reads, "{calls} {asks_much}");
            // Whoever asks little is tried again as soon as everybody else had a turn.
            assert_eq!(connection.woken(), usize::from(!reads && !asks_much));
        }
    }

    #[test]
    fn a_turn_ends_after_so_many_bytes() {
        let turns = with_calls(1);
        for asks_much in [false, true] {
            let connection = Connection::new(&turns, asks_much);
            assert!(connection.runs(0));
            connection.ticket.heard(BYTES - 1);
            let waker = Arc::clone(&connection.woken).into();
            let context = Context::from_waker(&waker);
            assert_eq!(connection.ticket.may_read(&context), Some(1));
            connection.ticket.heard(1);
            assert!((0..2).all(|_| connection.ticket.may_read(&context).is_none()));
            assert!(connection.woken() > 0 && connection.runs(0));
        }
    }

    #[test]
    fn turns_are_longer_while_all_ask_for_much() {
        let turns = Arc::default();
        let [much, little] = [true, false].map(|much| Connection::new(&turns, much));
        assert!(much.runs(AMONG_MANY - 1));
        assert_eq!(turns.bytes(), BYTES);
        begin(&turns, AMONG_MANY - 1);
        assert!(much.runs(1));
        assert_eq!(turns.bytes(), BYTES_AMONG_MANY);
        assert!(little.runs(1));
        assert_eq!(turns.bytes(), BYTES);
    }

    #[test]
    fn those_who_wait_are_called_one_by_one_in_their_order() {
        let turns = with_calls(UNBEGUN_OF_MANY);
        let [first, second, third] = [(); 3].map(|()| Connection::new(&turns, true));
        assert!(!first.runs(0) && !second.runs(0) && !first.runs(0));
        begin(&turns, UNBEGUN_OF_MANY - 1);
        assert_eq!((first.woken(), second.woken()), (0, 0));
        begin(&turns, 1);
        assert_eq!((first.woken(), second.woken()), (1, 0));
        // Who was not called goes behind those who wait, though no call waits.
        assert!(!third.runs(0));
        assert!(first.runs(2) && !first.runs(0));
        begin(&turns, 1);
        assert_eq!((first.woken(), second.woken(), third.woken()), (0, 0, 0));
        begin(&turns, 1);
        assert_eq!((first.woken(), second.woken(), third.woken()), (0, 1, 0));
        // It has nothing to say, and the next is called at once.
        assert!(second.runs(0));
        assert_eq!((first.woken(), third.woken()), (0, 1));
        assert!(third.runs(0) && first.woken() == 1 && first.runs(0));
        assert!(!turns.has_called.load(Relaxed) && !turns.anybody_waits.load(Relaxed));
    }

    #[test]
    fn whoever_goes_holds_up_nobody() {
        let turns = with_calls(UNBEGUN_OF_MANY);
        let [first, second, third, fourth] = [(); 4].map(|()| Connection::new(&turns, true));
        assert!(!first.runs(0) && !second.runs(0) && !third.runs(0));
        first.ticket.leaves();
        begin(&turns, UNBEGUN_OF_MANY);
        assert_eq!((first.woken(), second.woken()), (0, 1));
        // It was called, and goes before its turn.
        second.ticket.leaves();
        assert_eq!((second.woken(), third.woken()), (0, 1));
        assert!(third.runs(UNBEGUN_OF_MANY));
        // Whoever stood before it has gone when the last call begins.
        assert!(!fourth.runs(0) && !third.runs(0));
        fourth.ticket.leaves();
        begin(&turns, UNBEGUN_OF_MANY);
        assert_eq!((fourth.woken(), third.woken()), (0, 1));
        assert!(third.runs(0) && !turns.anybody_waits.load(Relaxed));
    }

    #[test]
    fn whoever_waits_is_called_though_others_always_have_calls_that_wait() {
        let turns = with_calls(UNBEGUN);
        let [much, little] = [true, false].map(|much| Connection::new(&turns, much));
        assert!(!much.runs(0));
        for _ in 1..AT_LEAST_AFTER {
            begin(&turns, 1);
            assert!(little.runs(1));
            assert_eq!(much.woken(), 0);
        }
        begin(&turns, 1);
        little.ticket.came();
        // It was called, and is read however many calls wait.
        assert!(much.woken() == 1 && turns.unbegun() == UNBEGUN && much.runs(1) && !much.runs(0));
    }
}
