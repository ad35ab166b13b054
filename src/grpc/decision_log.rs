//! One line for each decision at `debug`, and a few denials of each second at `info`, with stable field names. Costs nothing while
//! the level is off.

use super::failure::Call;
use crate::{
    app::{
        authenticate::{Decision, Denial, Verdict},
        check_rate_limit::LimitDecision,
        house::Guarded,
        meter::Verb,
    },
    domain::time::Ticks,
};

pub(super) fn write(call: &Call<'_>, guard: &Guarded, decision: &Decision<'_>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (request_id, realm) = (call.request_id(), guard.realm.name.as_str());
    let degraded = decision.degraded;
    match &decision.verdict {
        Verdict::Allowed { key, .. } => {
            let (key_id, account) = (key.key.id, &key.owner.account);
            tracing::debug!(request_id, realm, %key_id, %account, degraded, decision = "allowed");
        }
        Verdict::Bearer(bearer) => {
            let (issuer, account) = (&*bearer.token.issuer, &bearer.token.account);
            let key_id = bearer.key.as_ref().map(|key| tracing::field::display(key.key.id));
            tracing::debug!(request_id, realm, issuer, key_id, %account, degraded, decision = "allowed");
        }
        Verdict::Public { operation } => {
            tracing::debug!(request_id, realm, operation = &*operation.name, degraded, decision = "public");
        }
        Verdict::Denied(denial) => {
            let key_id = denial.key.as_ref().map(|key| key.key.id.to_string());
            let cause = decision.steps.first().filter(|step| step.stage == "request").map(|step| &*step.finding);
            tracing::debug!(
                request_id,
                realm,
                key_id,
                degraded,
                decision = "denied",
                reason = denial.reason.name(),
                cause
            );
        }
    }
}

/// The same of a decision on limits alone.
pub(super) fn write_limits(call: &Call<'_>, guard: &Guarded, decision: &LimitDecision<'_>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let (request_id, realm, degraded) = (call.request_id(), guard.realm.name.as_str(), decision.degraded);
    match &decision.denial {
        None => tracing::debug!(request_id, realm, degraded, decision = "allowed"),
        Some(denial) => {
            let limit = denial.limit.map(|limit| &*limit.name);
            tracing::debug!(request_id, realm, degraded, decision = "denied", reason = denial.reason.name(), limit);
        }
    }
}

/// Tells a denial, if its realm has not told as many as it may this second: the log holds a sample, the metrics count all.
pub(super) fn sample(call: &Call<'_>, guard: &Guarded, verb: Verb, denial: &Denial<'_>, now: Ticks) {
    // At `debug` each of them is told anyway.
    if tracing::enabled!(tracing::Level::DEBUG) || !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    let Some(left_out) = guard.meter.tell_denial(call.house.denials_a_second, now) else { return };
    let (request_id, realm, verb) = (call.request_id(), guard.realm.name.as_str(), verb.name());
    let key_id = denial.key.as_ref().map(|key| tracing::field::display(key.key.id));
    let account = denial.key.as_ref().map(|key| tracing::field::display(&key.owner.account));
    let (reason, limit) = (denial.reason.name(), denial.limit.map(|limit| &*limit.name));
    tracing::info!(request_id, realm, verb, key_id, account, reason, limit, left_out, "denied");
}
