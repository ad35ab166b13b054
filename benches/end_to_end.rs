//! Authenticates over 100,000 distinct keys with one rate limit each, in turn with a bare tonic server whose handler does
//! nothing and whose messages have the same size: so every figure has a reference from the same machine and minute.
//!
//! The environment may set KEYGATE_BENCH_KEYS, KEYGATE_BENCH_ROUNDS, KEYGATE_BENCH_SECONDS (of one round) and
//! KEYGATE_BENCH_BINARY (another build to measure).

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a bench that cannot measure fails loudly")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot measure fails loudly"
)]
#![allow(dead_code, reason = "every bench uses its part of the shared modules")]

mod support;

use std::rc::Rc;
use support::{
    bare,
    contest::{Contestant, Plan, References, compete},
    keygate::Keygate,
    keys,
    loader::{self, Crowd, Method, Requests, Until, drive},
    machine::{Cores, resident_bytes},
    redis::RedisServer,
    report::{self, Summary},
};

/// The reference must not be held back by an allocator that keygate does not use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    bare::serve_if_asked();
    let plan = Plan::read(Cores::share());
    let keys = keys::make(plan.count);

    let embedded = embedded(&plan, &keys);
    let redis = on_redis(&plan, &keys);

    println!();
    for line in embedded.into_iter().chain(redis) {
        line();
    }
}

type Line = Box<dyn FnOnce()>;

fn embedded(plan: &Plan, keys: &[String]) -> Vec<Line> {
    let (server, requests, bare) = prepare(plan, keys, None);
    let target = server.target(Method::AUTHENTICATE);
    let keygate = Contestant { name: "keygate, embedded store", target, requests };
    let contestants = [bare.current_thread(), keygate, bare.writes_together(), bare.multi_thread()];

    let many = compete(plan, &contestants, Crowd::MANY, "Authenticate, embedded store");
    compete(plan, &contestants, Crowd::ONE, "Authenticate, embedded store");
    let [reference, keygate, together, multi_thread] = [many[0], many[1], many[2], many[3]];
    let mut lines: Vec<Line> = vec![
        Box::new(move || {
            let ratio = keygate.per_second / reference.per_second;
            report::verdict("authenticate embedded, throughput", ratio, "bare on the same runtime", 0.80);
        }),
        Box::new(move || {
            let ratio = keygate.per_second / together.per_second;
            println!("authenticate embedded, throughput: {ratio:.2} of bare that also writes answers together");
        }),
        Box::new(move || {
            let ratio = keygate.per_second / multi_thread.per_second;
            report::verdict("authenticate embedded, throughput", ratio, "bare on tokio's default runtime", 1.00);
        }),
    ];
    if keygate.busy < Summary::BUSY {
        lines.push(Box::new(move || {
            let share = keygate.busy * 100.0;
            println!("authenticate embedded: the server used {share:.0} % of its core: the figure is not its limit");
        }));
    }
    lines
}

fn on_redis(plan: &Plan, keys: &[String]) -> Vec<Line> {
    let redis = RedisServer::start();
    // A child that rewrites the log would take the core from Redis and the loader, for longer than a decision waits.
    redis.config_set("auto-aof-rewrite-percentage", "0");
    redis.config_set("save", "");
    let info = redis.cli(&["INFO", "server"]);
    let id = info.lines().find_map(|line| line.strip_prefix("process_id:")).and_then(|id| id.parse().ok());
    let id = id.expect("Redis tells its process");
    plan.cores.place_redis(id);

    let (server, requests, bare) = prepare(plan, keys, Some(redis.url()));
    let target = server.target(Method::AUTHENTICATE);
    let keygate = Contestant { name: "keygate, charging on Redis", target, requests };
    let contestants = [bare.current_thread(), keygate];

    let many = compete(plan, &contestants, Crowd::MANY, "Authenticate, Redis");
    compete(plan, &contestants, Crowd::ONE, "Authenticate, Redis");
    let before = commands(&redis);
    let round = drive(contestants[1].target, Crowd::MANY, &contestants[1].requests, Until::Elapsed(plan.span));
    let decisions = round.requests as f64;
    println!("  Redis commands by decision, those that the script runs included:");
    let mut sent = 0.0;
    for (name, calls) in commands(&redis) {
        let earlier = before.iter().find(|(other, _)| *other == name).map_or(0.0, |(_, calls)| *calls);
        let each = (calls - earlier) / decisions;
        if each >= 0.001 {
            println!("    {name:<12} {each:.3}");
        }
        if name.starts_with("eval") || name.starts_with("fcall") {
            sent += each;
        }
    }
    let keygate = many[1];
    vec![Box::new(move || {
        println!(
            "authenticate on Redis: {:.0} requests/s, p99 {:.0} µs, {sent:.3} script calls a decision, server busy {:.0} %",
            keygate.per_second,
            keygate.p99_us,
            keygate.busy * 100.0
        );
    })]
}

/// Starts keygate with the keys, lets it see every key once, and starts the bare servers.
fn prepare(plan: &Plan, keys: &[String], redis: Option<String>) -> (Keygate, Rc<Requests>, References) {
    let server = plan.keygate(keys, redis);
    let requests = Requests::new(keys.iter().enumerate().map(|(number, key)| keys::request(key, number)));

    let target = server.target(Method::AUTHENTICATE);
    let before = resident_bytes(server.id());
    let cold = drive(target, Crowd::MANY, &requests, Until::Sent(keys.len()));
    let after = resident_bytes(server.id());
    println!("  every key once, read from the store: {:.0} requests/s", cold.per_second());
    println!(
        "  resident memory: {} at start, {} with every key",
        report::mib(before as f64),
        report::mib(after as f64)
    );
    let each = after.saturating_sub(before) as f64 / keys.len() as f64;
    println!("  memory per key, its rate limit included: {each:.0} bytes");
    let request = keys::request(&keys[0], 0);
    let answer = loader::ask(target, request.clone());
    (server, requests, References::start(plan, Method::AUTHENTICATE, &request, &answer))
}

/// Every command and how often it was called so far.
fn commands(redis: &RedisServer) -> Vec<(String, f64)> {
    let info = redis.cli(&["INFO", "commandstats"]);
    let calls = info.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    });
    calls.collect()
}
