//! Answers, watched until their clients have them.

use super::{Line, Open, Round};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

/// An answer's body, which is watched until its client has it.
pub(in crate::server) struct Watched<B> {
    body: B,
    open: Open,
    /// While the client is waited for, and not the server: since which round.
    waiting: Option<Round>,
}

impl<B> Watched<B> {
    pub(in crate::server) fn new(body: B, open: Open) -> Self {
        let waiting = Some(open.line.wait());
        Self { body, open, waiting }
    }

    fn goes_on(&mut self) {
        if let Some(round) = self.waiting.take() {
            self.open.line.took(round);
        }
    }
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.goes_on();
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Watched<B> {
    type Data = Part;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Part>, Self::Error>>> {
        let this = &mut *self;
        // It is asked for more when the client takes more.
        this.goes_on();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(context));
        let line = &this.open.line;
        this.waiting = Some(line.wait());
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| Part::new(bytes, line)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer, which are dropped when they are on their way.
pub(in crate::server) struct Part {
    bytes: Bytes,
    line: Arc<Line>,
    round: Round,
}

impl Part {
    pub(super) fn new(bytes: Bytes, line: &Arc<Line>) -> Self {
        Self { bytes, line: Arc::clone(line), round: line.wait() }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.line.took(self.round);
    }
}

impl Buf for Part {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use std::sync::atomic::Ordering::Relaxed;

    #[tokio::test]
    async fn an_answer_counts_until_its_bytes_are_gone() {
        let line = Line::new(Arc::default());
        let mut answer = Watched::new(Full::new(Bytes::from_static(b"answer")), line.call());
        assert_eq!((line.open.load(Relaxed), line.untaken()), (1, 1));
        let part = answer.frame().await.unwrap().unwrap().into_data().unwrap_or_else(|_| panic!("data"));
        assert!(answer.frame().await.is_none());
        drop(answer);
        assert_eq!((line.open.load(Relaxed), line.untaken(), part.remaining()), (0, 1, 6));
        drop(part);
        assert_eq!((line.untaken(), line.all.untaken.load(Relaxed)), (0, 0));
    }
}
