//! The gate before every service: lets in as many calls as the server takes on, and gives each a time in which its request
//! must have arrived. Knows nothing of what is asked.

use crate::app::{ports::Clock, seldom::Seldom};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status, body::Body};
use tonic_types::{ErrorDetails, StatusExt};
use tower::Service;

const MANAGE_KEYS: &str = "/keygate.v1.Authorization/ManageKeys";
/// Whoever asks for health is always let in: a server that is busy is not one that is ill.
const HEALTH: &str = "/grpc.health.v1.Health/";
/// What a caller is told to wait that was not let in.
const RETRY: Duration = Duration::from_millis(100);

static SHED: Seldom = Seldom::new();

/// A number of calls that may be in work at a time.
pub struct Turnstile {
    /// As many clones of it are out as calls are in work.
    tickets: Arc<()>,
    most: usize,
}

/// A call in work.
struct Ticket {
    _counted: Arc<()>,
}

impl Turnstile {
    /// At most so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { tickets: Arc::new(()), most }
    }

    fn enter(&self) -> Option<Ticket> {
        let ticket = Ticket { _counted: Arc::clone(&self.tickets) };
        // One is the turnstile's own.
        (Arc::strong_count(&self.tickets).saturating_sub(1) <= self.most).then_some(ticket)
    }
}

/// The gate before `inner`.
pub struct Gate<E> {
    inner: E,
    decisions: Arc<Turnstile>,
    acts: Arc<Turnstile>,
    arrival: Duration,
    clock: Arc<dyn Clock>,
}

impl<E> Gate<E> {
    /// `decisions` counts every call but acts on keys, which `acts` counts. A request has to arrive within `arrival`.
    #[must_use]
    pub fn new(inner: E, decisions: Turnstile, acts: Arc<Turnstile>, arrival: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { inner, decisions: Arc::new(decisions), acts, arrival, clock }
    }

    fn refuse(&self, acts: bool, most: usize) -> Response<Body> {
        if let Some(left_out) = SHED.turn(self.clock.ticks()) {
            tracing::warn!(most, acts, left_out, "too many calls in work: a call was refused");
        }
        let details = ErrorDetails::with_retry_info(Some(RETRY));
        Status::with_error_details(Code::ResourceExhausted, "too many calls are in work: try again", details)
            .into_http()
    }
}

impl<E: Clone> Clone for Gate<E> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            decisions: Arc::clone(&self.decisions),
            acts: Arc::clone(&self.acts),
            arrival: self.arrival,
            clock: Arc::clone(&self.clock),
        }
    }
}

impl<E> Service<Request<Body>> for Gate<E>
where
    E: Service<Request<Arriving>, Response = Response<Body>, Error = Infallible>,
    E::Future: Unpin,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Admission<E::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let path = request.uri().path();
        let acts = path == MANAGE_KEYS;
        let turnstile = if acts { &self.acts } else { &self.decisions };
        let ticket = turnstile.enter();
        if ticket.is_none() && !path.starts_with(HEALTH) {
            return Admission(Err(Some(self.refuse(acts, turnstile.most))));
        }
        let request = request.map(|body| Arriving { body, within: self.arrival, timer: None });
        Admission(Ok((self.inner.call(request), ticket)))
    }
}

/// A call that was let in, until it is answered, or the answer to one that was not.
pub struct Admission<F>(Result<(F, Option<Ticket>), Option<Response<Body>>>);

impl<F: Future<Output = Result<Response<Body>, Infallible>> + Unpin> Future for Admission<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok((call, _)) => Pin::new(call).poll(context),
            // A future that was ready is not asked again.
            Err(refusal) => refusal.take().map_or(Poll::Pending, |refusal| Poll::Ready(Ok(refusal))),
        }
    }
}

/// A request's body on its way.
pub struct Arriving {
    body: Body,
    within: Duration,
    /// Set when the body is first waited for: most have arrived when they are looked at.
    timer: Option<Pin<Box<Sleep>>>,
}

impl http_body::Body for Arriving {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { body, within, timer } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame);
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(*within)));
        timer.as_mut().poll(context).map(|()| {
            let most = within.as_millis();
            Some(Err(Status::deadline_exceeded(format!("the request did not arrive whole within {most} ms"))))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_let_in_as_the_turnstile_takes_and_one_more_for_each_that_left() {
        let turnstile = Turnstile::new(2);
        let (first, second) = (turnstile.enter().unwrap(), turnstile.enter().unwrap());
        assert!(turnstile.enter().is_none() && turnstile.enter().is_none());
        drop(first);
        let third = turnstile.enter();
        assert!(third.is_some() && turnstile.enter().is_none());
        drop((second, third));
        assert!(turnstile.enter().is_some());
    }
}
