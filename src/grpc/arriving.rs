//! Requests on their way. A call is in work from the moment that its message is there: until then it waits in an anteroom,
//! for a bounded time, and takes no place from those that can be answered.

use super::{
    seats::{Seat, Seats},
    turnstile::{self, Kind, Turnstile},
};
use crate::app::{meter::Meter, ports::Clock};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// Bytes of a message that is let in only to see whether it is urgent, at most. An act that ends something is far smaller.
const URGENT_BYTES: usize = 8 * 1_024;

/// Where requests wait whose message is not there yet: on one worker.
pub(super) struct Anteroom {
    /// Where they go from here.
    decisions: Arc<Turnstile>,
    acts: Arc<Turnstile>,
    /// Calls that wait.
    waiting: Seats,
    /// Bytes of messages of which a part came.
    bytes: AtomicUsize,
    most_bytes: usize,
    within: Duration,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
}

impl Anteroom {
    /// For so many calls, and bytes of them.
    pub(super) fn new(
        (decisions, acts): (Arc<Turnstile>, Arc<Turnstile>),
        (calls, most_bytes): (usize, usize),
        within: Duration,
        (clock, meter): (Arc<dyn Clock>, Arc<Meter>),
    ) -> Self {
        let waiting = Seats::new(calls);
        Self { decisions, acts, waiting, bytes: AtomicUsize::new(0), most_bytes, within, clock, meter }
    }

    /// Whatever counts calls that are decisions, or acts.
    pub(super) fn turnstile(&self, place: Place) -> &Arc<Turnstile> {
        match place {
            Place::Decision => &self.decisions,
            Place::Act => &self.acts,
        }
    }

    pub(super) fn refused(&self, kind: Kind, most: usize) -> Status {
        turnstile::refused(kind, most, &*self.clock, &self.meter)
    }

    fn take(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let taken = before.saturating_add(bytes) <= self.most_bytes;
        if !taken {
            self.give_back(bytes);
        }
        taken
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

/// What a call counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Decision,
    Act,
}

impl Place {
    pub(super) const fn kind(self) -> Kind {
        match self {
            Self::Decision => Kind::Decision,
            Self::Act => Kind::Act,
        }
    }
}

/// What a call's place is while its request is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has a ticket, which counts for nothing while it waits outside.
    Ticket(Place),
    /// It is an act, and gets a ticket later. While there are too many acts, its message must be a small one.
    Later,
    /// It needs none.
    Free,
    /// It keeps what it has: its request is a stream.
    Keeps,
}

/// A request's body on its way.
pub(super) struct Arriving<B> {
    body: B,
    room: Arc<Anteroom>,
    standing: Standing,
    whole: bool,
    /// The connection that it comes by.
    connection: u64,
    /// While it waits outside.
    seat: Option<Arc<Seat>>,
    /// Bytes that came while more was to come.
    bytes: usize,
    /// Set when the body is first waited for: most have arrived when they are looked at.
    timer: Option<Pin<Box<Sleep>>>,
}

type AnyError = Box<dyn Error + Send + Sync>;

impl<B> Arriving<B> {
    pub(super) fn new(body: B, room: Arc<Anteroom>, standing: Standing, connection: u64) -> Self {
        Self { body, room, standing, whole: false, connection, seat: None, bytes: 0, timer: None }
    }

    /// The request is not there yet: it waits outside, as long as nobody else needs its seat more.
    fn step_out(&mut self, context: &Context<'_>) -> Result<(), Status> {
        if self.standing == Standing::Keeps {
            return Ok(());
        }
        let crowded = || self.room.refused(Kind::Arriving, self.room.waiting.most());
        if let Some(seat) = &self.seat {
            return if seat.is_lost(context) { Err(crowded()) } else { Ok(()) };
        }
        let seat = self.room.waiting.take(self.connection).ok_or_else(crowded)?;
        // Nobody takes it from there before its task has another turn: it belongs to this thread.
        seat.is_lost(context);
        self.seat = Some(seat);
        if let Standing::Ticket(place) = self.standing {
            self.room.turnstile(place).leave();
        }
        Ok(())
    }

    /// The request is there.
    fn step_in(&mut self) -> Result<(), Status> {
        self.room.give_back(std::mem::take(&mut self.bytes));
        let Some(seat) = self.seat.take() else { return Ok(()) };
        self.room.waiting.leave(&seat);
        let Standing::Ticket(place) = self.standing else { return Ok(()) };
        let turnstile = self.room.turnstile(place);
        if turnstile.try_join() {
            return Ok(());
        }
        // Its ticket leaves once more.
        turnstile.join();
        Err(self.room.refused(place.kind(), turnstile.most()))
    }

    /// A part of the request is there.
    fn took(&mut self, bytes: usize, whole: bool) -> Result<(), Status> {
        let acts = &self.room.acts;
        if self.standing == Standing::Later && self.bytes.saturating_add(bytes) > URGENT_BYTES && acts.is_full() {
            return Err(self.room.refused(Kind::Act, acts.most()));
        }
        if whole {
            self.whole = true;
            return self.step_in();
        }
        if self.standing == Standing::Keeps {
            return Ok(());
        }
        if !self.room.take(bytes) {
            return Err(self.room.refused(Kind::Arriving, self.room.most_bytes));
        }
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }
}

impl<B> Drop for Arriving<B> {
    fn drop(&mut self) {
        // Whoever goes away from outside leaves nothing behind.
        self.room.give_back(self.bytes);
        if let Some(seat) = self.seat.take() {
            self.room.waiting.leave(&seat);
            if let Standing::Ticket(place) = self.standing {
                self.room.turnstile(place).join();
            }
        }
    }
}

impl<B: Body<Data = Bytes, Error: Into<AnyError>> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                let (bytes, whole) = (frame.data_ref().map_or(0, Bytes::len), this.body.is_end_stream());
                Poll::Ready(Some(this.took(bytes, whole).map(|()| frame).map_err(Into::into)))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(None) => Poll::Ready(this.step_in().err().map(|refused| Err(refused.into()))),
            Poll::Pending => {
                if let Err(refused) = this.step_out(context) {
                    return Poll::Ready(Some(Err(refused.into())));
                }
                let within = this.room.within;
                let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(within)));
                timer.as_mut().poll(context).map(|()| {
                    let most = within.as_millis();
                    let late = Status::deadline_exceeded(format!("the request did not arrive whole within {most} ms"));
                    Some(Err(late.into()))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
