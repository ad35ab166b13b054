//! Work beside decisions: acts of management, uses, messages, the vault, issuers.

use super::{
    Scene,
    page::{Family, Kind, Page, seconds},
};
use crate::app::meter::{ActResult, DurationsRead};

const ACTS: Family = Family {
    name: "keygate_acts",
    kind: Kind::Counter,
    labels: &["act", "result"],
    help: "Acts of management, by what they do and what came of them.",
};
const USES_WAITING: Family = Family {
    name: "keygate_uses_waiting",
    kind: Kind::Gauge,
    labels: &[],
    help: "Keys whose last use waits to be written.",
};
const USES: Family = Family {
    name: "keygate_uses",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Last uses of keys that were written, that the store did not take, or for which the queue had no room.",
};
const REKEYED: Family = Family {
    name: "keygate_keys_rekeyed",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Secrets that were moved to the newest server secret after their use, or put off to their next use.",
};
const MESSAGES: Family = Family {
    name: "keygate_webhook_messages",
    kind: Kind::Counter,
    labels: &["realm", "webhook", "result"],
    help: "Attempts to deliver a message that succeeded or failed, and messages that were given up (dead).",
};
const BACKLOG: Family = Family {
    name: "keygate_webhook_backlog",
    kind: Kind::Gauge,
    labels: &["realm", "queue"],
    help: "Accounts that may have news, and entries that were due (200 at most), as the last round found them.",
};
const EXPORT: Family = Family {
    name: "keygate_audit_export_events",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Events of the audit log that were written to the export file, and attempts that failed.",
};
const STREAMS: Family = Family {
    name: "keygate_audit_streams",
    kind: Kind::Gauge,
    labels: &[],
    help: "Streams of the audit log that are open.",
};
const RELEASES: Family = Family {
    name: "keygate_vault_releases",
    kind: Kind::Counter,
    labels: &["realm", "result"],
    help: "Credentials that were released, that the account has not deposited (absent), or that could not be opened.",
};
const HELD: Family = Family {
    name: "keygate_vault_credentials_held",
    kind: Kind::Gauge,
    labels: &[],
    help: "Opened credentials in memory.",
};
const SERVICE_TOOK: Family = Family {
    name: "keygate_key_service_duration_seconds",
    kind: Kind::Histogram,
    labels: &["operation"],
    help: "Time that services which hold key-encryption keys took, failures included.",
};
const SERVICE_ERRORS: Family = Family {
    name: "keygate_key_service_errors",
    kind: Kind::Counter,
    labels: &["operation"],
    help: "Calls that such a service did not do.",
};
const CODES: Family = Family {
    name: "keygate_onboarding_codes",
    kind: Kind::Counter,
    labels: &["realm", "result"],
    help: "One-time codes that were handed on, and those that could not be.",
};
const ISSUER_KEYS: Family = Family {
    name: "keygate_issuer_keys",
    kind: Kind::Gauge,
    labels: &["realm", "issuer"],
    help: "Public keys of a token issuer that are known.",
};
const ISSUER_USABLE: Family = Family {
    name: "keygate_issuer_usable",
    kind: Kind::Gauge,
    labels: &["realm", "issuer"],
    help: "1 while tokens of the issuer can be judged; 0 while its keys are not known, or too old.",
};
const ISSUER_AGE: Family = Family {
    name: "keygate_issuer_keys_age_seconds",
    kind: Kind::Gauge,
    labels: &["realm", "issuer"],
    help: "Time since the issuer's keys were fetched; 0 for keys from a file and before the first fetch.",
};
const ISSUER_FETCHES: Family = Family {
    name: "keygate_issuer_fetches",
    kind: Kind::Counter,
    labels: &["realm", "issuer", "result"],
    help: "Attempts to fetch the issuer's keys.",
};

const SPANS: Family = Family {
    name: "keygate_trace_spans",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Spans that the receiver of traces took, that it did not want, or that were dropped.",
};
const SPANS_WAITING: Family = Family {
    name: "keygate_trace_spans_waiting",
    kind: Kind::Gauge,
    labels: &[],
    help: "Spans that wait for the receiver of traces.",
};
const EXPORT_FAILURES: Family = Family {
    name: "keygate_trace_export_failures",
    kind: Kind::Counter,
    labels: &[],
    help: "Attempts to hand spans over that failed.",
};

const GONE_BACK: Family = Family {
    name: "keygate_accounts_gone_back",
    kind: Kind::Counter,
    labels: &[],
    help: "Accounts of the store that were found behind what this server had written down of them.",
};
const ENDED_AGAIN: Family = Family {
    name: "keygate_keys_ended_again",
    kind: Kind::Counter,
    labels: &[],
    help: "Keys that stopped to work again because they had before the store went back in time.",
};

pub(super) fn write(page: &mut Page, scene: &Scene<'_>) {
    let (meter, now) = (scene.meter, &scene.now);
    let realms = meter.realms();
    let traces = &meter.traces;
    let mut spans = page.family(&SPANS);
    spans.add(&["exported"], traces.exported.get()).add(&["dropped"], traces.dropped.get());
    spans.add(&["refused"], traces.refused.get());
    page.family(&SPANS_WAITING).add(&[], traces.waiting.get());
    page.family(&EXPORT_FAILURES).add(&[], traces.failures.get());
    let mut acts = page.family(&ACTS);
    for (act, counts) in meter.acts() {
        for (result, count) in ActResult::ALL.into_iter().zip(counts) {
            acts.add(&[act, result.name()], count);
        }
    }
    page.family(&USES_WAITING).add(&[], now.uses_waiting);
    let mut uses = page.family(&USES);
    uses.add(&["written"], meter.uses_written.get()).add(&["failed"], meter.uses_lost.get());
    uses.add(&["dropped"], meter.uses_dropped.get());
    page.family(&GONE_BACK).add(&[], meter.gone_back.get());
    page.family(&ENDED_AGAIN).add(&[], meter.ended_again.get());
    let mut rekeyed = page.family(&REKEYED);
    rekeyed.add(&["done"], meter.rekeyed.get()).add(&["put_off"], meter.rekeying_put_off.get());

    let mut messages = page.family(&MESSAGES);
    for realm in &realms {
        for (hook, counts) in realm.hooks() {
            for (result, count) in
                [("delivered", &counts.delivered), ("failed", &counts.failed), ("dead", &counts.dead)]
            {
                messages.add(&[realm.name().as_str(), hook, result], count.get());
            }
        }
    }
    let mut backlog = page.family(&BACKLOG);
    for realm in &realms {
        for (queue, level) in ["news", "due"].into_iter().zip(&realm.backlog) {
            backlog.add(&[realm.name().as_str(), queue], level.get());
        }
    }
    let mut export = page.family(&EXPORT);
    export.add(&["written"], meter.exported.get()).add(&["failed"], meter.export_failures.get());
    page.family(&STREAMS).add(&[], now.audit_streams);

    let mut releases = page.family(&RELEASES);
    for realm in &realms {
        for (result, count) in ["released", "absent", "failed"].into_iter().zip(&realm.releases) {
            releases.add(&[realm.name().as_str(), result], count.get());
        }
    }
    page.family(&HELD).add(&[], now.credentials_held);
    let operations = || ["wrap", "open"].into_iter().zip(&meter.key_service);
    let mut took = page.family(&SERVICE_TOOK);
    for (operation, (durations, _)) in operations() {
        let mut read = DurationsRead::default();
        durations.add_to(&mut read);
        took.durations(&[operation], &read, &[]);
    }
    let mut errors = page.family(&SERVICE_ERRORS);
    for (operation, (_, failed)) in operations() {
        errors.add(&[operation], failed.get());
    }
    let mut codes = page.family(&CODES);
    for realm in &realms {
        for (result, count) in ["sent", "failed"].into_iter().zip(&realm.codes) {
            codes.add(&[realm.name().as_str(), result], count.get());
        }
    }
    issuers(page, scene);
}

fn issuers(page: &mut Page, scene: &Scene<'_>) {
    let issuers = &scene.now.issuers;
    let mut keys = page.family(&ISSUER_KEYS);
    for of in issuers {
        keys.add(&[of.realm.as_str(), &of.issuer], of.keys);
    }
    let mut usable = page.family(&ISSUER_USABLE);
    for of in issuers {
        usable.add(&[of.realm.as_str(), &of.issuer], u8::from(of.usable));
    }
    let mut age = page.family(&ISSUER_AGE);
    for of in issuers {
        let micros = of.age.map_or(0, |age| u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        age.add(&[of.realm.as_str(), &of.issuer], seconds(micros));
    }
    let mut fetches = page.family(&ISSUER_FETCHES);
    for of in issuers {
        for (result, count) in ["ok", "failed"].into_iter().zip(of.fetches) {
            fetches.add(&[of.realm.as_str(), &of.issuer, result], count);
        }
    }
}
