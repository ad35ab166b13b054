//! One connection: the time in which its client has to begin speaking, how much of it is read at a time, and how its answers are
//! written.

use super::{inflow::Inflow, line::Line, places::Place};
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
    time::{Sleep, sleep},
};

/// A connection that belongs to no runtime yet, the place that it takes up, and the listener that it came in by.
pub(super) struct Accepted {
    pub(super) stream: Stream,
    pub(super) place: Place,
    pub(super) listener: ListenerName,
}

/// By TCP or by a Unix socket.
pub(super) enum Stream {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

/// Bytes with which every client of HTTP/2 begins. What keeps a connection alive later does not run before they came.
pub(super) const PREFACE_BYTES: usize = 24;

/// A stream whose client is read in its turn.
pub(super) struct Connection<IO> {
    stream: IO,
    greeting: Option<Greeting>,
    inflow: Inflow,
    watch: Watch,
    /// While nothing is read of it for what it said: until when.
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
    pub(super) fn new(stream: IO, timer: Pin<Box<Sleep>>, watch: Watch) -> Self {
        let greeting = Some(Greeting { missing: PREFACE_BYTES, timer });
        Self { stream, greeting, inflow: Inflow::new(), watch, rests: None }
    }

    /// How many bytes of it may be read now. If none, its task is told when that is over.
    fn may_read(&mut self, context: &mut Context<'_>) -> Option<usize> {
        if let Some(rest) = &mut self.rests {
            if rest.as_mut().poll(context).is_pending() {
                return None;
            }
            self.rests = None;
        }
        while self.inflow.is_over(|| self.watch.clock.ticks()) {
            self.watch.meter.connections.slowed.one();
            let rest = self.rests.insert(Box::pin(sleep(self.inflow.wait())));
            if rest.as_mut().poll(context).is_pending() {
                return None;
            }
        }
        self.rests = None;
        self.watch.line.ticket.may_read(context)
    }
}

impl<IO> Drop for Connection<IO> {
    fn drop(&mut self) {
        self.watch.line.ticket.leaves();
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(most) = self.may_read(context) else { return Poll::Pending };
        if self.inflow.is_hopeless(|| self.watch.clock.ticks()) {
            // Its client said thousands of things a second for long, and asked for nothing.
            return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
        }
        let Self { stream, greeting, inflow, watch, .. } = &mut *self;
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most.min(buffer.remaining())));
        let read = Pin::new(stream).poll_read(context, &mut part);
        let came = part.filled();
        if !came.is_empty() {
            let frames = inflow.heard(came);
            watch.line.heard(frames, inflow.midway());
            watch.line.ticket.heard(came.len());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::{clock::SystemClock, turns::BYTES};
    use tokio::io::AsyncWriteExt;

    /// HTTP/2 asks again at once for more after it was told that there is nothing now.
    #[tokio::test]
    async fn in_one_turn_so_much_is_read_and_no_more_however_often_it_is_tried() {
        let line = Line::new(Arc::default());
        let watch = Watch { line: Arc::clone(&line), clock: Arc::new(SystemClock::new()), meter: Arc::default() };
        let (mut client, stream) = tokio::io::duplex(64 * BYTES);
        let mut connection = Connection::new(stream, Box::pin(sleep(std::time::Duration::from_secs(60))), watch);
        // One long frame.
        let said = [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\xf0\0\0\0\0\0\0\x01"[..], &[0; 8 * BYTES]].concat();
        client.write_all(&said).await.unwrap();
        let mut room = vec![0; said.len()];
        let mut all = ReadBuf::new(&mut room);
        for turn in 1..=4 {
            line.ticket.begins();
            std::future::poll_fn(|context| {
                for _ in 0..5 {
                    let _ = Pin::new(&mut connection).poll_read(context, &mut all);
                }
                Poll::Ready(())
            })
            .await;
            assert_eq!(all.filled().len(), turn * BYTES);
        }
        assert_eq!(all.filled(), &said[..4 * BYTES]);
    }
}
