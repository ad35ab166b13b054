//! One line for each decision, with stable field names. Costs nothing while the level is off.

use crate::app::{
    authenticate::{Decision, Verdict},
    house::Guarded,
};

pub(super) fn write(guard: &Guarded, decision: &Decision<'_>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let realm = guard.realm.name.as_str();
    let degraded = decision.degraded;
    match &decision.verdict {
        Verdict::Allowed { key, .. } => {
            let (key_id, account) = (key.key.id, &key.owner.account);
            tracing::debug!(realm, %key_id, %account, degraded, decision = "allowed");
        }
        Verdict::Public { operation } => {
            tracing::debug!(realm, operation = &*operation.name, degraded, decision = "public");
        }
        Verdict::Denied(denial) => {
            let key_id = denial.key.as_ref().map(|key| key.key.id.to_string());
            let cause = decision.steps.first().filter(|step| step.stage == "request").map(|step| &*step.finding);
            tracing::debug!(realm, key_id, degraded, decision = "denied", reason = denial.reason.name(), cause);
        }
    }
}
