//! Counts what was answered, how long it took and how the limits stood; and tells a few denials of each second in the log.
//! The clock is read once more than a decision does anyway, and not at all where nothing is counted.

use super::{decision_log, failure::Call};
use crate::{
    app::{
        authenticate::{Decision, Denial, Verdict},
        check_rate_limit::LimitDecision,
        error::AppError,
        house::Guarded,
        meter::{Answer, Failure, Verb},
    },
    domain::{
        limit::LimitOutcome,
        time::{Ticks, Timestamp},
    },
};

/// When a question came.
pub(super) type Begun = (Timestamp, Ticks);

/// A question on its way to an answer.
pub(super) struct Question<'c> {
    pub(super) verb: Verb,
    pub(super) guard: &'c Guarded,
    pub(super) call: &'c Call<'c>,
    pub(super) begun: Begun,
}

impl Question<'_> {
    /// Counts a decision, and logs it.
    pub(super) fn decided(&self, decision: &Decision<'_>) {
        decision_log::write(self.call, self.guard, self.verb, decision);
        match &decision.verdict {
            Verdict::Denied(denial) => self.denied(denial),
            Verdict::Allowed { .. } | Verdict::Bearer(_) | Verdict::Public { .. } => self.answered(Answer::Allowed),
        }
        self.stood(&decision.limits, decision.degraded);
    }

    /// The same of a decision on limits alone.
    pub(super) fn decided_limits(&self, decision: &LimitDecision<'_>) {
        decision_log::write_limits(self.call, self.guard, self.verb, decision);
        match &decision.denial {
            Some(denial) => self.denied(denial),
            None => self.answered(Answer::Allowed),
        }
        self.stood(&decision.limits, decision.degraded);
    }

    /// The same of the limits of descriptors.
    pub(super) fn decided_descriptors(&self, outcomes: &[LimitOutcome<'_>], cost: u32) {
        let denying = LimitOutcome::spokesman(outcomes).filter(|outcome| outcome.denies());
        let denial = denying.map(|outcome| Denial::by_limit(outcome, cost, None));
        decision_log::write_descriptors(self.call, self.guard, self.verb, denial.as_ref());
        match &denial {
            Some(denial) => self.denied(denial),
            None => self.answered(Answer::Allowed),
        }
        self.stood(outcomes, false);
    }

    /// Counts a question that could not be answered.
    pub(super) fn failed(&self, error: &AppError) {
        let failure = Failure::of(error);
        if let Some(span) = &self.call.span {
            span.note("keygate.realm", self.guard.realm.name.to_string());
            span.note("keygate.outcome", if failure == Failure::Invalid { "refused" } else { "failed" });
            span.note("keygate.reason", failure.name());
        }
        self.answered(Answer::Failed(failure));
    }

    fn denied(&self, denial: &Denial<'_>) {
        self.answered(Answer::Denied(denial.reason));
        decision_log::sample(self.call, self.guard, self.verb, denial, self.begun.1);
    }

    fn answered(&self, answer: Answer) {
        let house = self.call.house;
        if !house.meter.is_on() {
            return;
        }
        let now = house.clock.ticks();
        let took = now.since(self.begun.1);
        self.guard.meter.answered(self.verb, answer, took);
        self.guard.meter.show(self.verb, took, (self.begun.0.after(took), now), || self.call.marks());
    }

    fn stood(&self, limits: &[LimitOutcome<'_>], degraded: bool) {
        self.guard.meter.limits(limits);
        if degraded || limits.iter().any(|limit| limit.degraded) {
            self.guard.meter.degraded();
        }
    }
}
