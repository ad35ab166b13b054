//! What is known of one connection while it is served: calls that are open on it, answers that its client did not take yet,
//! and whether it stands still in the middle of a frame. Whoever asks for answers and does not take them would else have them
//! kept in memory for ever.

mod answers;

pub(super) use answers::Watched;

use super::turns::{Ticket, Turns};
use crate::app::meter::Ending;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{MissedTickBehavior, interval};

/// Answers of one worker that wait for their clients, from which on those are refused more who let many wait.
const UNTAKEN: u32 = 1_024;
/// So many answers may wait on a connection all the same.
const UNTAKEN_BY_ONE: u32 = 16;

/// A connection asks for much that has more calls open at a time.
const FEW: u32 = 16;

/// What the connections of one worker have in common.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// Answers that wait for their clients.
    untaken: AtomicU32,
    turns: Arc<Turns>,
}

/// Which of the two rounds that are counted something belongs to.
#[derive(Debug, Clone, Copy)]
enum Round {
    Even,
    Odd,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Line {
    /// Calls whose answer was not handed over to its end.
    open: AtomicU32,
    /// Calls so far.
    calls: AtomicU32,
    /// Answers, or parts of them, that the client did not take yet: those of this round, and of the one before.
    untaken: [AtomicU32; 2],
    /// The round that runs.
    round: AtomicU32,
    /// Whether the client is in the middle of a frame, or of a head of several.
    midway: AtomicBool,
    /// Frames so far.
    frames: AtomicU32,
    /// Whether anything was read of it since that was last looked at.
    was_read: AtomicBool,
    pub(super) ticket: Arc<Ticket>,
    all: Arc<Lines>,
}

/// Counters of a worker belong to its thread: they are atomic only so that tasks can hold them, and no step has to lock the memory.
fn add(count: &AtomicU32, more: u32) {
    count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
}

fn subtract(count: &AtomicU32, less: u32) {
    count.store(count.load(Relaxed).wrapping_sub(less), Relaxed);
}

/// How long what may last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until a part of an answer is taken, and until a frame is there whole: this and at most twice this, but for the time in
    /// which others are read before it.
    pub(super) taking: Duration,
    /// Until something is asked; zero: for ever.
    pub(super) idle: Duration,
    /// The same while places are scarce. Whoever never asked for anything has `taking` then, if that is less.
    pub(super) idle_while_scarce: Duration,
}

impl Line {
    pub(super) fn new(all: Arc<Lines>) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            untaken: [AtomicU32::new(0), AtomicU32::new(0)],
            round: AtomicU32::new(0),
            midway: AtomicBool::new(false),
            frames: AtomicU32::new(0),
            was_read: AtomicBool::new(false),
            ticket: Ticket::new(&all.turns),
            all,
        })
    }

    /// A call began.
    pub(super) fn call(self: &Arc<Self>) -> Open {
        add(&self.open, 1);
        add(&self.calls, 1);
        if self.open.load(Relaxed) > FEW {
            self.ticket.set_asks_much(true);
        }
        self.ticket.came();
        Open { line: Arc::clone(self), begun: false }
    }

    /// Whether too many answers wait for this client, while there are many of all.
    fn is_choked(&self) -> bool {
        self.all.untaken.load(Relaxed) > UNTAKEN && self.untaken() > UNTAKEN_BY_ONE
    }

    /// What the client sent last: `midway` is whether it ends in the middle of a frame.
    pub(super) fn heard(&self, frames: u32, midway: bool) {
        add(&self.frames, frames);
        self.midway.store(midway, Relaxed);
        self.was_read.store(true, Relaxed);
    }

    /// An answer, or a part of one, begins to wait for the client.
    fn wait(&self) -> Round {
        let round = if self.round.load(Relaxed) & 1 == 0 { Round::Even } else { Round::Odd };
        add(self.untaken_of(round), 1);
        add(&self.all.untaken, 1);
        round
    }

    /// It waits no more.
    fn took(&self, round: Round) {
        subtract(self.untaken_of(round), 1);
        subtract(&self.all.untaken, 1);
    }

    const fn untaken_of(&self, round: Round) -> &AtomicU32 {
        let [even, odd] = &self.untaken;
        match round {
            Round::Even => even,
            Round::Odd => odd,
        }
    }

    fn untaken(&self) -> u32 {
        self.untaken.iter().fold(0, |sum, count| sum.saturating_add(count.load(Relaxed)))
    }

    /// Begins another round. Whether answers wait that waited through all of the one before.
    fn next_round(&self) -> bool {
        let next = self.round.load(Relaxed).wrapping_add(1);
        self.round.store(next, Relaxed);
        self.untaken.get(next as usize & 1).is_some_and(|waiting| waiting.load(Relaxed) > 0)
    }

    /// Waits until the connection has to end.
    pub(super) async fn watched(&self, patience: Patience, scarce: impl Fn() -> bool) -> Ending {
        let Patience { taking, idle, idle_while_scarce } = patience;
        let mut tick = taking.min(idle_while_scarce);
        if !idle.is_zero() {
            tick = tick.min(idle);
        }
        let rounds = u32::try_from(taking.as_millis().div_ceil(tick.as_millis().max(1))).unwrap_or(u32::MAX);
        let mut ticks = interval(tick);
        // A process that stood still must not count rounds that nobody had.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first comes at once.
        ticks.tick().await;
        let (mut calls, mut frames, mut quiet, mut ticked) = (0, 0, Duration::ZERO, 0_u32);
        loop {
            ticks.tick().await;
            ticked = ticked.wrapping_add(1);
            if ticked.checked_rem(rounds) == Some(0) {
                let heard = self.frames.load(Relaxed);
                // What it says is not heard while others are read before it.
                let was_read = self.was_read.load(Relaxed);
                self.was_read.store(false, Relaxed);
                let is_held_up = !was_read && self.ticket.waits();
                if self.midway.load(Relaxed) && heard == frames && !is_held_up {
                    return Ending::Stalled;
                }
                if self.next_round() && !is_held_up {
                    return Ending::Unread;
                }
                frames = heard;
            }
            self.ticket.set_asks_much(self.open.load(Relaxed) > FEW);
            let asked = self.calls.load(Relaxed);
            let busy = asked != calls || self.open.load(Relaxed) > 0 || self.untaken() > 0;
            calls = asked;
            quiet = if busy { Duration::ZERO } else { quiet.saturating_add(tick) };
            let spared = if asked == 0 { idle_while_scarce.min(taking) } else { idle_while_scarce };
            if (!idle.is_zero() && quiet >= idle) || (quiet >= spared && scarce()) {
                return Ending::Idle;
            }
        }
    }
}

/// A call that is open.
pub(super) struct Open {
    line: Arc<Line>,
    begun: bool,
}

impl Open {
    /// It has its first turn. Whether it can be served: not if too many answers wait for its client.
    pub(super) fn begin(&mut self) -> bool {
        if !std::mem::replace(&mut self.begun, true) {
            self.line.all.turns.began();
        }
        !self.line.is_choked()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.begin();
        subtract(&self.line.open, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{answers::Part, *};
    use bytes::Bytes;

    const PATIENCE: Patience = Patience {
        taking: Duration::from_millis(10),
        idle: Duration::from_millis(60),
        idle_while_scarce: Duration::from_millis(30),
    };

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
    }

    /// Why the connection is ended, and whether that took so long.
    #[allow(clippy::disallowed_methods, reason = "how long it takes is what is tested")]
    async fn ends(line: &Line, scarce: bool) -> (Ending, bool) {
        let began = std::time::Instant::now();
        let ending = line.watched(PATIENCE, || scarce).await;
        let least = match ending {
            Ending::Idle if scarce && line.calls.load(Relaxed) == 0 => PATIENCE.taking,
            Ending::Idle if scarce => PATIENCE.idle_while_scarce,
            Ending::Idle => PATIENCE.idle,
            _ => PATIENCE.taking,
        };
        (ending, began.elapsed() >= least)
    }

    #[test]
    fn an_answer_that_is_not_taken_ends_its_connection_and_one_that_is_does_not() {
        runtime().block_on(async {
            let line = Line::new(Arc::default());
            drop(line.call());
            let part = Part::new(Bytes::new(), &line);
            assert_eq!(ends(&line, false).await, (Ending::Unread, true));
            drop(part);
            assert_eq!(ends(&line, false).await, (Ending::Idle, true));
            assert_eq!(ends(&line, true).await, (Ending::Idle, true));
        });
    }

    #[test]
    fn a_call_that_is_open_keeps_its_connection_and_half_a_frame_does_not() {
        runtime().block_on(async {
            let line = Line::new(Arc::default());
            let open = line.call();
            let long = tokio::time::timeout(5 * PATIENCE.idle, line.watched(PATIENCE, || true)).await;
            assert!(long.is_err());
            line.heard(3, true);
            assert_eq!(ends(&line, false).await, (Ending::Stalled, true));
            line.heard(1, false);
            drop(open);
            assert_eq!(ends(&line, false).await, (Ending::Idle, true));
            assert_eq!(ends(&Line::new(Arc::default()), true).await, (Ending::Idle, true));
        });
    }

    #[test]
    fn whoever_lets_many_answers_wait_is_refused_more_when_there_are_many_of_all() {
        let all = Arc::<Lines>::default();
        let (line, other) = (Line::new(Arc::clone(&all)), Line::new(all));
        let mine: Vec<_> = (0..=UNTAKEN_BY_ONE).map(|_| Part::new(Bytes::new(), &line)).collect();
        assert!(!line.is_choked());
        let theirs: Vec<_> = (0..UNTAKEN).map(|_| Part::new(Bytes::new(), &other)).collect();
        assert!(line.is_choked() && other.is_choked());
        drop(mine);
        assert!(!line.is_choked());
        drop(theirs);
        assert_eq!(line.all.untaken.load(Relaxed), 0);
    }

    #[test]
    fn a_call_counts_as_not_begun_until_its_turn_and_many_at_a_time_are_remembered_for_a_while() {
        let line = Line::new(Arc::default());
        let mut calls: Vec<_> = (0..FEW).map(|_| line.call()).collect();
        calls[0].begin();
        calls[0].begin();
        assert_eq!((line.all.turns.unbegun(), line.ticket.is_of_much()), (FEW - 1, false));
        calls.push(line.call());
        assert!(line.ticket.is_of_much());
        drop(calls);
        assert_eq!((line.all.turns.unbegun(), line.ticket.is_of_much()), (0, true));
        runtime().block_on(async { ends(&line, true).await });
        assert!(!line.ticket.is_of_much());
    }
}
