//! The gate before every service: lets in as many calls as the server takes on, and gives each a time in which its request
//! must have arrived. Knows nothing of what is asked.

use crate::app::{meter::Meter, ports::Clock, seldom::Seldom};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{Sleep, sleep};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

const MANAGE_KEYS: &str = "/keygate.v1.Authorization/ManageKeys";
const DIRECTORY: &str = "/keygate.v1.Directory/";
const VAULT: &str = "/keygate.v1.Vault/";
const AUDIT_LOG: &str = "/keygate.v1.AuditLog/";
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

/// Tells how many calls are in work, and lets none in.
pub struct InWork(Weak<()>);

impl InWork {
    /// So many.
    #[must_use]
    pub fn count(&self) -> usize {
        // One is the turnstile's own.
        self.0.strong_count().saturating_sub(1)
    }
}

/// A call in work.
pub(super) struct Ticket {
    _counted: Arc<()>,
}

impl Turnstile {
    /// At most so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { tickets: Arc::new(()), most }
    }

    /// Whoever counts the calls in work.
    #[must_use]
    pub fn in_work(&self) -> InWork {
        InWork(Arc::downgrade(&self.tickets))
    }

    pub(super) fn enter(&self) -> Option<Ticket> {
        let ticket = Ticket { _counted: Arc::clone(&self.tickets) };
        // One is the turnstile's own.
        (Arc::strong_count(&self.tickets).saturating_sub(1) <= self.most).then_some(ticket)
    }
}

/// The gate.
pub struct Gate {
    decisions: Arc<Turnstile>,
    acts: Arc<Turnstile>,
    arrival: Duration,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
}

impl Gate {
    /// `decisions` counts every call but acts on keys and readings of the audit log, which `acts` counts. A request has to arrive within `arrival`.
    #[must_use]
    pub fn new(
        decisions: Arc<Turnstile>,
        acts: Arc<Turnstile>,
        arrival: Duration,
        clock: Arc<dyn Clock>,
        meter: Arc<Meter>,
    ) -> Self {
        Self { decisions, acts, arrival, clock, meter }
    }

    /// Lets a call in until the ticket is dropped, unless there are too many.
    pub(super) fn enter(&self, path: &str) -> Result<Option<Ticket>, Status> {
        let acts = path == MANAGE_KEYS || [DIRECTORY, AUDIT_LOG, VAULT].iter().any(|service| path.starts_with(service));
        let turnstile = if acts { &self.acts } else { &self.decisions };
        let ticket = turnstile.enter();
        if ticket.is_none() && !path.starts_with(HEALTH) {
            return Err(self.refused(acts, turnstile.most));
        }
        Ok(ticket)
    }

    /// A request's body, which has to arrive in time.
    pub(super) fn arriving<B>(&self, body: B) -> Arriving<B> {
        Arriving { body, within: self.arrival, timer: None }
    }

    fn refused(&self, acts: bool, most: usize) -> Status {
        let [of_decisions, of_acts] = &self.meter.shed;
        if acts {
            of_acts.one()
        } else {
            of_decisions.one()
        }
        if let Some(left_out) = SHED.turn(self.clock.ticks()) {
            tracing::warn!(most, acts, left_out, "too many calls in work: a call was refused");
        }
        let details = ErrorDetails::with_retry_info(Some(RETRY));
        Status::with_error_details(Code::ResourceExhausted, "too many calls are in work: try again", details)
    }
}

/// A request's body on its way.
pub(super) struct Arriving<B> {
    body: B,
    within: Duration,
    /// Set when the body is first waited for: most have arrived when they are looked at.
    timer: Option<Pin<Box<Sleep>>>,
}

type AnyError = Box<dyn Error + Send + Sync>;

impl<B: Body<Data = Bytes, Error: Into<AnyError>> + Unpin> Body for Arriving<B> {
    type Data = Bytes;
    type Error = AnyError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnyError>>> {
        let Self { body, within, timer } = &mut *self;
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(*within)));
        timer.as_mut().poll(context).map(|()| {
            let most = within.as_millis();
            let late = Status::deadline_exceeded(format!("the request did not arrive whole within {most} ms"));
            Some(Err(late.into()))
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
