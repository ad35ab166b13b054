//! The store and what is remembered of it.

use super::{
    Scene,
    page::{Family, Kind, Page},
};
use crate::app::meter::{Command, StoreFault};

const UP: Family = Family {
    name: "keygate_store_up",
    kind: Kind::Gauge,
    labels: &["store"],
    help: "1 while the store answers, asked every second; else 0.",
};
const PROBLEM: Family = Family {
    name: "keygate_store_problem",
    kind: Kind::Gauge,
    labels: &["problem"],
    help: "1 while that is wrong with the store, looked into every five seconds; else 0.",
};
const TOOK: Family = Family {
    name: "keygate_store_duration_seconds",
    kind: Kind::Histogram,
    labels: &["command"],
    help: "Time that the store took for a command, failures included.",
};
const ERRORS: Family = Family {
    name: "keygate_store_errors",
    kind: Kind::Counter,
    labels: &["command", "error"],
    help: "Commands that the store did not do, by why.",
};
const COUNTERS: Family = Family {
    name: "keygate_store_counters",
    kind: Kind::Gauge,
    labels: &[],
    help: "Counters of limits in memory; 0 on Redis, which keeps them itself.",
};
const COUNTERS_ROOM: Family = Family {
    name: "keygate_store_counters_room",
    kind: Kind::Gauge,
    labels: &[],
    help: "Counters of limits that there is room for in memory; 0 on Redis.",
};
const ROUND_TRIPS: Family = Family {
    name: "keygate_redis_round_trips",
    kind: Kind::Counter,
    labels: &[],
    help: "Commands, scripts and pipelines that were sent to Redis; 0 on the embedded store.",
};
const CONNECTS: Family = Family {
    name: "keygate_redis_connects",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Attempts to connect to Redis, the first of each worker included.",
};
const LOST: Family = Family {
    name: "keygate_redis_connections_lost",
    kind: Kind::Counter,
    labels: &[],
    help: "Connections to Redis that broke, stayed silent or led to a server that is no primary any more.",
};
const CACHE_ENTRIES: Family =
    Family { name: "keygate_cache_entries", kind: Kind::Gauge, labels: &["cache"], help: "What is remembered." };
const CACHE_ROOM: Family = Family {
    name: "keygate_cache_room",
    kind: Kind::Gauge,
    labels: &["cache"],
    help: "How many entries of usual size there is room for.",
};
const CACHE_BYTES: Family = Family {
    name: "keygate_cache_bytes",
    kind: Kind::Gauge,
    labels: &["cache"],
    help: "About how many bytes a memory takes: an estimate from the number and size of its entries.",
};
const CACHE_LOOKUPS: Family = Family {
    name: "keygate_cache_lookups",
    kind: Kind::Counter,
    labels: &["cache", "result"],
    help: "Lookups in memories whose lookups are not counted by realm.",
};

pub(super) fn write(page: &mut Page, scene: &Scene<'_>) {
    let (now, meter) = (&scene.now, scene.store_meter);
    page.family(&UP).add(&[now.store_kind], u8::from(now.store_up));
    let mut problem = page.family(&PROBLEM);
    for (code, is_so) in &now.store_problems {
        problem.add(&[code], u8::from(*is_so));
    }
    let mut took = page.family(&TOOK);
    for command in Command::ALL {
        took.durations(&[command.name()], &meter.took(command), &[]);
    }
    let mut errors = page.family(&ERRORS);
    for command in Command::ALL {
        for fault in StoreFault::ALL.into_iter().filter(|fault| command.may_meet(*fault)) {
            errors.add(&[command.name(), fault.name()], meter.faults(command, fault));
        }
    }
    let (counters, room) = now.counters.unwrap_or_default();
    page.family(&COUNTERS).add(&[], counters);
    page.family(&COUNTERS_ROOM).add(&[], room);
    let redis = now.redis.unwrap_or_default();
    page.family(&ROUND_TRIPS).add(&[], redis.round_trips);
    page.family(&CONNECTS).add(&["ok"], redis.connected).add(&["failed"], redis.failed);
    page.family(&LOST).add(&[], redis.lost);
    let mut entries = page.family(&CACHE_ENTRIES);
    for cache in &now.caches {
        entries.add(&[cache.name], cache.entries);
    }
    let mut room = page.family(&CACHE_ROOM);
    for cache in &now.caches {
        room.add(&[cache.name], cache.room);
    }
    let mut bytes = page.family(&CACHE_BYTES);
    for cache in &now.caches {
        bytes.add(&[cache.name], cache.bytes);
    }
    let mut lookups = page.family(&CACHE_LOOKUPS);
    for cache in &now.caches {
        if let Some([hit, miss]) = cache.asked {
            lookups.add(&[cache.name, "hit"], hit).add(&[cache.name, "miss"], miss);
        }
    }
}
