//! Asking the store underneath: counted, timed, and told to whoever follows the call.

use super::Cached;
use crate::app::ports::{
    Store,
    meter::{Command, StoreFault},
    trace::{self, Kind, Span},
};
use std::future::Future;

impl<S: Store> Cached<S> {
    /// Waits for the store and notes how long that took.
    pub(super) async fn timed<T, E>(&self, command: Command, asked: impl Future<Output = Result<T, E>>) -> Result<T, E>
    where
        StoreFault: for<'e> From<&'e E>,
    {
        let span = self.followed.and_then(|system| step(system, command));
        let begun = self.meter.as_ref().map(|meter| (meter, self.memory.clock.ticks()));
        let done = match &span {
            None => asked.await,
            // Apart, so that a call that is not followed does not carry room for it.
            Some(span) => Box::pin(span.around(asked)).await,
        };
        if begun.is_none() && span.is_none() {
            return done;
        }
        let fault = done.as_ref().err().map(StoreFault::from);
        if let Some((meter, begun)) = begun {
            meter.note(command, self.memory.clock.ticks().since(begun), fault);
        }
        if let Some(span) = span {
            span.ended(fault.map(StoreFault::name));
        }
        done
    }
}

fn step(system: &'static str, command: Command) -> Option<Box<Span>> {
    let span = trace::here()?.step(command.span(), Kind::Internal);
    span.note("db.system.name", system);
    span.note("db.operation.name", command.name());
    Some(Box::new(span))
}
