//! The server as a process: what runs, what it takes on, its configuration and its clock.

use super::{
    Scene,
    page::{Family, Kind, Page, seconds},
};
use crate::app::meter::{Ending, SHED_KINDS};

const BUILD: Family =
    Family { name: "keygate_build", kind: Kind::Info, labels: &["version", "store"], help: "What runs here." };
const READY: Family = Family {
    name: "keygate_ready",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while the server can decide and goes on; else 0.",
};
const GENERATION: Family = Family {
    name: "keygate_configuration_generation",
    kind: Kind::Gauge,
    labels: &[],
    help: "How many configurations were put in force, the first with the start.",
};
const LOADED: Family = Family {
    name: "keygate_configuration_loaded_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When the configuration was put in force.",
};
const REFUSED_AT: Family = Family {
    name: "keygate_configuration_refused_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When a configuration was last refused; 0: never.",
};
const REFUSED: Family = Family {
    name: "keygate_configurations_refused",
    kind: Kind::Counter,
    labels: &[],
    help: "Configurations that were refused while the one before stayed in force.",
};
const IN_WORK: Family = Family {
    name: "keygate_calls_in_work",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "Calls in work: those that decide, and acts of management. Each is a stream of HTTP/2.",
};
const MOST: Family = Family {
    name: "keygate_calls_most",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "Calls that may be in work at a time.",
};
const SHED: Family = Family {
    name: "keygate_calls_shed",
    kind: Kind::Counter,
    labels: &["kind"],
    help: "Calls that were refused because too many were in work.",
};
const CONNECTIONS: Family =
    Family { name: "keygate_connections", kind: Kind::Gauge, labels: &[], help: "Connections that are open." };
const CONNECTIONS_MOST: Family = Family {
    name: "keygate_connections_most",
    kind: Kind::Gauge,
    labels: &[],
    help: "Connections that may be open at a time.",
};
const ACCEPTED: Family = Family {
    name: "keygate_connections_accepted",
    kind: Kind::Counter,
    labels: &[],
    help: "Connections that were taken on.",
};
const ENDED: Family = Family {
    name: "keygate_connections_refused",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Connections that were closed for want of a place or because no TLS was agreed on, or ended because the client did not \
           speak HTTP/2, not in time, or broke off.",
};
const ENDED_BY_US: Family = Family {
    name: "keygate_connections_ended",
    kind: Kind::Counter,
    labels: &["reason"],
    help: "Connections that the server ended: nothing was asked for long, answers were not taken, half a frame came and no \
           more, or others came for the place of one on which nothing was ever asked.",
};
const SLOWED: Family = Family {
    name: "keygate_connections_slowed",
    kind: Kind::Counter,
    labels: &[],
    help: "How often a connection was read later because its frames moved nothing.",
};
const AHEAD: Family = Family {
    name: "keygate_clock_ahead_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "How far the time of day that deadlines are judged by is ahead of this machine's clock.",
};
const CERTIFICATES: Family = Family {
    name: "keygate_certificate_expires_timestamp_seconds",
    kind: Kind::Gauge,
    labels: &["listener"],
    help: "When the certificate that a listener shows ends, or the first of those that it shows with it; 0: it speaks no TLS.",
};
const CPU: Family = Family {
    name: "process_cpu_seconds",
    kind: Kind::Counter,
    labels: &[],
    help: "Processor time of the process, user and system.",
};
const RESIDENT: Family = Family {
    name: "process_resident_memory_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Resident memory of the process.",
};
const VIRTUAL: Family = Family {
    name: "process_virtual_memory_bytes",
    kind: Kind::Gauge,
    labels: &[],
    help: "Virtual memory of the process.",
};
const OPEN_FDS: Family =
    Family { name: "process_open_fds", kind: Kind::Gauge, labels: &[], help: "Open file descriptors." };
const MAX_FDS: Family = Family {
    name: "process_max_fds",
    kind: Kind::Gauge,
    labels: &[],
    help: "File descriptors that may be open; 0: any number.",
};
const THREADS: Family =
    Family { name: "process_threads", kind: Kind::Gauge, labels: &[], help: "Threads of the process." };
const STARTED: Family = Family {
    name: "process_start_time_seconds",
    kind: Kind::Gauge,
    labels: &[],
    help: "When the process started, in seconds since 1970.",
};

pub(super) fn write(page: &mut Page, scene: &Scene<'_>) {
    let (meter, now) = (scene.meter, &scene.now);
    page.family(&BUILD).add(&[now.version, now.store_kind], 1);
    page.family(&READY).add(&[], u8::from(now.ready));
    let configuration = &meter.configuration;
    page.family(&GENERATION).add(&[], configuration.generation.get());
    page.family(&LOADED).add(&[], seconds(configuration.loaded_at_us.get()));
    page.family(&REFUSED_AT).add(&[], seconds(configuration.refused_at_us.get()));
    page.family(&REFUSED).add(&[], configuration.refused.get());

    let kinds = ["decision", "act"];
    let mut in_work = page.family(&IN_WORK);
    for (kind, count) in kinds.into_iter().zip([now.calls.0, now.acts.0]) {
        in_work.add(&[kind], count);
    }
    let mut most = page.family(&MOST);
    for (kind, count) in kinds.into_iter().zip([now.calls.1, now.acts.1]) {
        most.add(&[kind], count);
    }
    let mut shed = page.family(&SHED);
    for (kind, count) in SHED_KINDS.into_iter().zip(&meter.shed) {
        shed.add(&[kind], count.get());
    }
    page.family(&CONNECTIONS).add(&[], now.connections.0);
    page.family(&CONNECTIONS_MOST).add(&[], now.connections.1);
    page.family(&ACCEPTED).add(&[], meter.connections.taken.get());
    let mut refused = page.family(&ENDED);
    refused.add(&["no_place"], meter.connections.refused.get()).add(&["broken"], meter.connections.broken.get());
    refused.add(&["no_tls"], meter.connections.not_agreed.get());
    let mut ended = page.family(&ENDED_BY_US);
    for why in Ending::ALL {
        ended.add(&[why.name()], meter.connections.ended_count(why));
    }
    page.family(&SLOWED).add(&[], meter.connections.slowed.get());
    page.family(&AHEAD).add(&[], seconds(u64::try_from(now.clock_ahead.as_micros()).unwrap_or(u64::MAX)));
    let mut certificates = page.family(&CERTIFICATES);
    for (listener, end) in &now.certificates_end {
        certificates.add(&[listener], end);
    }

    if let Some(process) = &now.process {
        page.family(&CPU).add(&[], process.cpu_seconds);
        page.family(&RESIDENT).add(&[], process.resident_bytes);
        page.family(&VIRTUAL).add(&[], process.virtual_bytes);
        page.family(&OPEN_FDS).add(&[], process.open_fds);
        page.family(&MAX_FDS).add(&[], process.max_fds);
        page.family(&THREADS).add(&[], process.threads);
        page.family(&STARTED).add(&[], process.started);
    }
}
