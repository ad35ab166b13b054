//! The pace of work that goes on in the background until the server ends.

use std::{future::Future, time::Duration};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

/// Steps at a pace, and whether there is to be another.
pub(super) struct Beat {
    ticks: Interval,
    stop: watch::Receiver<bool>,
}

impl Beat {
    /// A step each `period`, the first at once; one that takes longer puts off those behind it.
    pub(super) fn new(period: Duration, stop: watch::Receiver<bool>) -> Self {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, stop }
    }

    /// Waits for the next step. False: there is none any more.
    pub(super) async fn next(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => false,
            _ = self.ticks.tick() => true,
        }
    }

    /// Does a step that may be broken off. Nothing: it was.
    pub(super) async fn unless_stopped<T>(&mut self, step: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop) => None,
            done = step => Some(done),
        }
    }
}
