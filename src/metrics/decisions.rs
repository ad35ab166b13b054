//! Decisions and what they rest on.

use super::page::{Family, Kind, Page};
use crate::{
    app::meter::{Answer, Astray, Failure, LimitState, Meter, RealmMeter, Remembered, Stored, Verb},
    domain::deny::DenyReason,
};

const DECISIONS: Family = Family {
    name: "keygate_decisions",
    kind: Kind::Counter,
    labels: &["realm", "verb", "outcome", "reason"],
    help: "Questions that were answered, by realm, verb and what was answered.",
};
const ASTRAY: Family = Family {
    name: "keygate_questions_astray",
    kind: Kind::Counter,
    labels: &["verb", "reason"],
    help: "Questions that came to no realm.",
};
const TOOK: Family = Family {
    name: "keygate_decision_duration_seconds",
    kind: Kind::Histogram,
    labels: &["realm", "verb"],
    help: "Time from a question that was read to its answer, before it is written.",
};
const DEGRADED: Family = Family {
    name: "keygate_decisions_degraded",
    kind: Kind::Counter,
    labels: &["realm"],
    help: "Decisions that the store could not confirm or count, and that the realm allows without.",
};
const LIMIT_NEAR: Family = Family {
    name: "keygate_limit_near",
    kind: Kind::Counter,
    labels: &["realm", "limit"],
    help: "Decisions after which at least 80 percent of a limit were used, and that it admitted.",
};
const LIMIT_OVER: Family = Family {
    name: "keygate_limit_over",
    kind: Kind::Counter,
    labels: &["realm", "limit"],
    help: "Decisions that a limit did not admit, those of shadow limits included.",
};
const LIMIT_PASSED_OVER: Family = Family {
    name: "keygate_limit_passed_over",
    kind: Kind::Counter,
    labels: &["realm", "limit"],
    help: "Decisions for which a limit was not counted because the store could not, and that it allows.",
};
const KEY_LOOKUPS: Family = Family {
    name: "keygate_key_lookups",
    kind: Kind::Counter,
    labels: &["realm", "result"],
    help: "Lookups of keys: remembered, remembered that there is none, or asked of the store.",
};
const TOKEN_LOOKUPS: Family = Family {
    name: "keygate_token_lookups",
    kind: Kind::Counter,
    labels: &["realm", "result"],
    help: "Access tokens that were remembered as good, and those whose signature was judged.",
};
const KEYS_USED: Family = Family {
    name: "keygate_keys_used",
    kind: Kind::Counter,
    labels: &["realm", "stored"],
    help: "Keys that were let through, by how their secret is stored.",
};

pub(super) fn write(page: &mut Page, meter: &Meter) {
    let realms = meter.realms();
    let mut decisions = page.family(&DECISIONS);
    for (realm, verb) in each_verb(&realms) {
        let name = realm.name().as_str();
        let count = |answer| realm.answers(verb, answer);
        decisions.add(&[name, verb.name(), "allowed", "allowed"], count(Answer::Allowed));
        for reason in DenyReason::ALL.into_iter().filter(|reason| verb.may_deny(*reason)) {
            decisions.add(&[name, verb.name(), "denied", reason.name()], count(Answer::Denied(reason)));
        }
        for failure in Failure::ALL {
            let outcome = if failure == Failure::Invalid { "refused" } else { "failed" };
            decisions.add(&[name, verb.name(), outcome, failure.name()], count(Answer::Failed(failure)));
        }
    }
    let mut astray = page.family(&ASTRAY);
    for verb in Verb::ALL {
        for why in Astray::ALL.into_iter().filter(|why| verb.may_go(*why)) {
            astray.add(&[verb.name(), why.name()], meter.astray_count(verb, why));
        }
    }
    let mut took = page.family(&TOOK);
    for (realm, verb) in each_verb(&realms) {
        let (read, shown) = realm.took(verb);
        took.durations(&[realm.name().as_str(), verb.name()], &read, &shown);
    }
    of_each(page, &DEGRADED, &realms, RealmMeter::degraded_count);
    of_limits(page, &LIMIT_NEAR, &realms, |state| state.near);
    of_limits(page, &LIMIT_OVER, &realms, |state| state.over);
    of_limits(page, &LIMIT_PASSED_OVER, &realms, |state| state.passed_over);
    let mut lookups = page.family(&KEY_LOOKUPS);
    for realm in &realms {
        for (name, found) in [("hit", Remembered::Hit), ("unknown", Remembered::Nothing), ("miss", Remembered::Asked)] {
            lookups.add(&[realm.name().as_str(), name], realm.keys(found));
        }
    }
    let mut lookups = page.family(&TOKEN_LOOKUPS);
    for realm in &realms {
        lookups.add(&[realm.name().as_str(), "hit"], realm.tokens(true));
        lookups.add(&[realm.name().as_str(), "miss"], realm.tokens(false));
    }
    let mut used = page.family(&KEYS_USED);
    for realm in &realms {
        for (name, stored) in [("newest", Stored::Newest), ("older", Stored::Older), ("imported", Stored::Imported)] {
            used.add(&[realm.name().as_str(), name], realm.stored(stored));
        }
    }
}

fn each_verb(realms: &[std::sync::Arc<RealmMeter>]) -> impl Iterator<Item = (&RealmMeter, Verb)> {
    realms.iter().flat_map(|realm| Verb::ALL.map(|verb| (&**realm, verb)))
}

fn of_each(
    page: &mut Page,
    family: &'static Family,
    realms: &[std::sync::Arc<RealmMeter>],
    count: impl Fn(&RealmMeter) -> u64,
) {
    let mut samples = page.family(family);
    for realm in realms {
        samples.add(&[realm.name().as_str()], count(realm));
    }
}

fn of_limits(
    page: &mut Page,
    family: &'static Family,
    realms: &[std::sync::Arc<RealmMeter>],
    count: impl Fn(LimitState) -> u64,
) {
    let mut samples = page.family(family);
    for realm in realms {
        for (limit, state) in realm.limit_states() {
            samples.add(&[realm.name().as_str(), limit], count(state));
        }
    }
}
