//! One connection: the place that it takes up, the time in which its client has to begin speaking, how much of it is read at a
//! time, and how its answers are written.

use super::{inflow::Inflow, line::Line};
use crate::{
    app::{meter::Meter, ports::Clock},
    config::ListenerName,
};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};

/// A connection that belongs to no runtime yet, the place that it takes up, and the listener that it came in by.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) place: OwnedSemaphorePermit,
    pub(super) listener: ListenerName,
}

/// By TCP or by a Unix socket.
pub(super) enum Stream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Bytes with which every client of HTTP/2 begins. What keeps a connection alive later does not run before they came.
pub(super) const PREFACE_BYTES: usize = 24;
/// Bytes of a connection that are read in one turn, before others have theirs: some twenty calls. HTTP/2 would else go on for as
/// long as there is more, a hundred times as long.
const READ_BYTES: usize = 2_048;

/// A stream that takes up one of the places for connections until it is dropped.
pub(super) struct Connection<IO> {
    stream: IO,
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
    inflow: Inflow,
    watch: Watch,
    /// Bytes that were read in this turn.
    turn: usize,
    /// While nothing is read of it: until when.
    rests: Option<Pin<Box<Sleep>>>,
}

/// Whoever is told what comes in.
pub(super) struct Watch {
    pub(super) line: Arc<Line>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) meter: Arc<Meter>,
}

/// A client that has not said what every client says first.
struct Greeting {
    missing: usize,
    timer: Pin<Box<Sleep>>,
}

impl<IO> Connection<IO> {
    /// The client has until `timer` ends to begin.
    pub(super) fn new(stream: IO, place: OwnedSemaphorePermit, timer: Pin<Box<Sleep>>, watch: Watch) -> Self {
        let greeting = Some(Greeting { missing: PREFACE_BYTES, timer });
        Self { stream, greeting, _place: place, inflow: Inflow::new(), watch, turn: 0, rests: None }
    }

    /// Whether nothing is read of it now. Its task is told when that is over.
    fn is_resting(&mut self, context: &mut Context<'_>) -> bool {
        if let Some(rest) = &mut self.rests {
            if rest.as_mut().poll(context).is_pending() {
                return true;
            }
            self.rests = None;
        }
        while self.inflow.is_over(|| self.watch.clock.ticks()) {
            self.watch.meter.connections_slowed.one();
            let rest = self.rests.insert(Box::pin(sleep(self.inflow.wait())));
            if rest.as_mut().poll(context).is_pending() {
                return true;
            }
        }
        self.rests = None;
        let had_turn = self.turn >= READ_BYTES;
        if had_turn || self.watch.line.is_crowded() {
            self.turn = 0;
            context.waker().wake_by_ref();
            return true;
        }
        false
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_resting(context) {
            return Poll::Pending;
        }
        if self.inflow.is_hopeless(|| self.watch.clock.ticks()) {
            // Its client said thousands of things a second for long, and asked for nothing.
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let Self { stream, greeting, inflow, watch, turn, .. } = &mut *self;
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(READ_BYTES.min(buffer.remaining())));
        let read = Pin::new(stream).poll_read(context, &mut part);
        let came = part.filled();
        *turn = if read.is_pending() { 0 } else { turn.saturating_add(came.len()) };
        if !came.is_empty() {
            let frames = inflow.heard(came);
            watch.line.heard(frames, inflow.midway());
        }
        let came = came.len();
        buffer.advance(came);
        if let Some(waiting) = greeting {
            waiting.missing = waiting.missing.saturating_sub(came);
            if waiting.missing == 0 {
                *greeting = None;
            } else if read.is_pending() && waiting.timer.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        read
    }
}

/// Takes no slices, on purpose. Where a connection takes slices, HTTP/2 hands an answer of more than 256 bytes over in a write
/// of its own; where it does not, answers of up to 1 KiB are copied together and many of them leave in one write. Measured:
/// one system call for two answers before, one for about ten since, and a fifth less time for each.
impl<IO: AsyncWrite + Unpin> AsyncWrite for Connection<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
