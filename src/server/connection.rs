//! One connection: the place that it takes up, the time in which its client has to begin speaking, and how its answers are
//! written.

use crate::config::ListenerName;
use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
    time::Sleep,
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
const PREFACE_BYTES: usize = 24;

/// A stream that takes up one of the places for connections until it is dropped.
pub(super) struct Connection<IO> {
    stream: IO,
    greeting: Option<Greeting>,
    _place: OwnedSemaphorePermit,
}

/// A client that has not said what every client says first.
struct Greeting {
    missing: usize,
    timer: Pin<Box<Sleep>>,
}

impl<IO> Connection<IO> {
    /// The client has until `timer` ends to begin.
    pub(super) fn new(stream: IO, place: OwnedSemaphorePermit, timer: Pin<Box<Sleep>>) -> Self {
        let greeting = Greeting { missing: PREFACE_BYTES, timer };
        Self { stream, greeting: Some(greeting), _place: place }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Connection<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, greeting, .. } = &mut *self;
        let before = buffer.filled().len();
        let read = Pin::new(stream).poll_read(context, buffer);
        if let Some(waiting) = greeting {
            let came = buffer.filled().len().saturating_sub(before);
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
