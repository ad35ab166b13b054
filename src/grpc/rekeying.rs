//! Work that a decision leaves for after its answer.

use super::followed::around;
use crate::app::{
    house::App,
    meter::Failure,
    ports::Store,
    rekey::{Rekey, Turn},
};
use std::sync::Arc;
use tokio::{runtime::Handle, sync::Semaphore, time::sleep};

/// Re-keys in the background, on the runtime of management.
pub struct Rekeying<S> {
    management: App<S>,
    runtime: Handle,
    turns: Arc<Semaphore>,
}

impl<S: Clone> Clone for Rekeying<S> {
    fn clone(&self) -> Self {
        let Self { management, runtime, turns } = self;
        Self { management: management.clone(), runtime: runtime.clone(), turns: Arc::clone(turns) }
    }
}

impl<S: Store> Rekeying<S> {
    /// Keys that are re-keyed at the same time, at most; the others wait for their next use.
    const TURNS: usize = 16;

    /// Over the use cases of management.
    #[must_use]
    pub fn new(management: App<S>, runtime: Handle) -> Self {
        Self { management, runtime, turns: Arc::new(Semaphore::new(Self::TURNS)) }
    }

    pub(super) fn later(&self, work: Rekey) {
        let meter = &self.management.house.meter;
        let wait = match self.management.turn_to_rekey(&work) {
            Turn::After(wait) => wait,
            Turn::Taken => return,
            Turn::Later => return meter.rekeying_put_off.one(),
        };
        let (app, turns) = (self.management.clone(), Arc::clone(&self.turns));
        self.runtime.spawn(async move {
            sleep(wait).await;
            let turn = turns.try_acquire_owned();
            if turn.is_err() {
                app.rekeying_done(&work);
                return app.house.meter.rekeying_put_off.one();
            }
            let span = app.house.following.work("rekey", &app.house.clock);
            let done = around!(&span, app.rekey(&work));
            app.rekeying_done(&work);
            if let Some(span) = &span {
                span.note("keygate.key_id", work.key().to_string());
                span.ended(done.as_ref().err().map(|error| Failure::of(error).name()));
            }
            let meter = &app.house.meter;
            if done.is_ok() {
                meter.rekeyed.one()
            } else {
                meter.rekeying_put_off.one()
            }
            if let Err(error) = done {
                tracing::warn!(key_id = %work.key(), %error, "re-keying failed; the next use tries again");
            }
            drop(turn);
        });
    }
}
