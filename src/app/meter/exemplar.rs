//! One decision for each bucket of a histogram: what leads from a number to a request.

use crate::domain::time::{Ticks, Timestamp};
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What leads from a number to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The request id that came with the call.
    pub request_id: Option<String>,
    /// The trace that the call is part of.
    pub trace_id: Option<String>,
}

/// One of the decisions that a bucket counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    /// What leads to it.
    pub marks: Marks,
    /// How long it took.
    pub took: Duration,
    /// When it was made.
    pub at: Timestamp,
}

/// What is shown for each bucket of a verb, and from when on another one may be.
#[derive(Debug, Default)]
pub(super) struct Shown {
    next: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
}

impl Shown {
    /// How often a bucket may show another decision.
    const SHOWN_US: u64 = 1_000_000;

    /// Shows a decision, if none was shown a moment ago; `marks` is asked only then.
    pub(super) fn show(&self, took: Duration, at: (Timestamp, Ticks), marks: impl FnOnce() -> Marks) {
        let (now, next) = (at.1.as_micros(), self.next.load(Ordering::Relaxed));
        if now < next {
            return;
        }
        self.next.store(now.saturating_add(Self::SHOWN_US), Ordering::Relaxed);
        let marks = marks();
        if marks != Marks::default()
            && let Some(mut place) = self.exemplar.try_lock()
        {
            *place = Some(Exemplar { marks, took, at: at.0 });
        }
    }

    /// What is shown.
    pub(super) fn read(&self) -> Option<Exemplar> {
        self.exemplar.lock().clone()
    }
}
