//! One line for each decision at `debug`, and a few denials of each second at `info`, with stable field names; and the same for
//! whoever follows the call. Costs nothing where neither is wanted.
//!
//! The fields stand in `docs/operations.md`; a test compares.

use super::failure::Call;
use crate::{
    app::{
        authenticate::{Decision, Denial, Verdict},
        check_rate_limit::LimitDecision,
        house::Guarded,
        meter::Verb,
        ports::trace::Span,
    },
    domain::{
        id::{AccountId, KeyId},
        time::Ticks,
    },
};

/// What is told of a decision.
#[derive(Default)]
struct Told<'d> {
    decision: &'static str,
    reason: Option<&'static str>,
    environment: Option<&'d str>,
    key_id: Option<KeyId>,
    account: Option<&'d AccountId>,
    issuer: Option<&'d str>,
    operation: Option<&'d str>,
    limit: Option<&'d str>,
    degraded: bool,
    cause: Option<&'d str>,
}

impl<'d> Told<'d> {
    fn of(decision: &'d Decision<'_>) -> Self {
        let degraded = decision.degraded;
        match &decision.verdict {
            Verdict::Allowed { key, operation, .. } => Self {
                decision: "allowed",
                environment: Some(key.key.environment.as_str()),
                key_id: Some(key.key.id),
                account: Some(&key.owner.account),
                operation: operation.map(|operation| &*operation.name),
                degraded,
                ..Self::default()
            },
            Verdict::Bearer(bearer) => Self {
                decision: "allowed",
                environment: Some(bearer.token.environment.as_str()),
                key_id: bearer.key.as_ref().map(|key| key.key.id),
                account: Some(&bearer.token.account),
                issuer: Some(&bearer.token.issuer),
                operation: bearer.operation.map(|operation| &*operation.name),
                degraded,
                ..Self::default()
            },
            Verdict::Public { operation } => {
                Self { decision: "public", operation: Some(&operation.name), degraded, ..Self::default() }
            }
            Verdict::Denied(denial) => {
                let cause = decision.steps.first().filter(|step| step.stage == "request").map(|step| &*step.finding);
                Self { degraded, cause, ..Self::denied(denial) }
            }
        }
    }

    fn of_limits(decision: &'d LimitDecision<'_>) -> Self {
        let degraded = decision.degraded;
        match &decision.denial {
            None => Self { decision: "allowed", degraded, ..Self::default() },
            Some(denial) => Self { degraded, ..Self::denied(denial) },
        }
    }

    fn denied(denial: &'d Denial<'_>) -> Self {
        let key = denial.key.as_ref();
        Self {
            decision: "denied",
            reason: Some(denial.reason.name()),
            environment: key.map(|key| key.key.environment.as_str()),
            key_id: key.map(|key| key.key.id),
            account: key.map(|key| &key.owner.account),
            limit: denial.limit.map(|limit| &*limit.name),
            ..Self::default()
        }
    }

    fn log(&self, call: &Call<'_>, guard: &Guarded, verb: Verb) {
        let (request_id, realm, verb) = (call.request_id(), guard.realm.name.as_str(), verb.name());
        let Self { decision, reason, environment, issuer, operation, limit, degraded, cause, .. } = *self;
        let (key_id, account) = (self.key_id.map(tracing::field::display), self.account.map(tracing::field::display));
        let trace_id = call.span.as_ref().map(|span| tracing::field::display(span.trace()));
        tracing::debug!(
            request_id,
            trace_id,
            realm,
            verb,
            decision,
            reason,
            environment,
            key_id,
            account,
            issuer,
            operation,
            limit,
            degraded,
            cause
        );
    }

    fn follow(&self, span: &Span, guard: &Guarded) {
        span.ended(None);
        span.note("rpc.grpc.status_code", 0);
        span.note("keygate.realm", guard.realm.name.to_string());
        span.note("keygate.outcome", self.decision);
        if let Some(reason) = self.reason {
            span.note("keygate.reason", reason);
        }
        let texts = [
            ("keygate.environment", self.environment),
            ("keygate.account", self.account.map(AccountId::as_str)),
            ("keygate.issuer", self.issuer),
            ("keygate.operation", self.operation),
            ("keygate.limit", self.limit),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                span.note(name, text.to_owned());
            }
        }
        if let Some(key) = self.key_id {
            span.note("keygate.key_id", key.to_string());
        }
        if self.degraded {
            span.note("keygate.degraded", true);
        }
    }
}

fn tell<'d>(call: &Call<'_>, guard: &Guarded, verb: Verb, told: impl FnOnce() -> Told<'d>) {
    let logs = tracing::enabled!(tracing::Level::DEBUG);
    if !logs && call.span.is_none() {
        return;
    }
    let told = told();
    if logs {
        told.log(call, guard, verb);
    }
    if let Some(span) = &call.span {
        told.follow(span, guard);
    }
}

pub(super) fn write(call: &Call<'_>, guard: &Guarded, verb: Verb, decision: &Decision<'_>) {
    tell(call, guard, verb, || Told::of(decision));
}

/// The same of a decision on limits alone.
pub(super) fn write_limits(call: &Call<'_>, guard: &Guarded, verb: Verb, decision: &LimitDecision<'_>) {
    tell(call, guard, verb, || Told::of_limits(decision));
}

/// The same of a decision on the limits of descriptors.
pub(super) fn write_descriptors(call: &Call<'_>, guard: &Guarded, verb: Verb, denial: Option<&Denial<'_>>) {
    tell(call, guard, verb, || {
        denial.map_or_else(|| Told { decision: "allowed", ..Told::default() }, |denial| Told::denied(denial))
    });
}

/// Tells a denial, if its realm has not told as many as it may this second: the log holds a sample, the metrics count all.
pub(super) fn sample(call: &Call<'_>, guard: &Guarded, verb: Verb, denial: &Denial<'_>, now: Ticks) {
    // At `debug` each of them is told anyway.
    if tracing::enabled!(tracing::Level::DEBUG) || !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let Some(left_out) = guard.meter.tell_denial(call.house.denials_a_second, now) else { return };
    let (request_id, realm, verb) = (call.request_id(), guard.realm.name.as_str(), verb.name());
    let trace_id = call.span.as_ref().map(|span| tracing::field::display(span.trace()));
    let key_id = denial.key.as_ref().map(|key| tracing::field::display(key.key.id));
    let account = denial.key.as_ref().map(|key| tracing::field::display(&key.owner.account));
    let (reason, limit) = (denial.reason.name(), denial.limit.map(|limit| &*limit.name));
    tracing::info!(request_id, trace_id, realm, verb, key_id, account, reason, limit, left_out, "denied");
}
