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

use std::{rc::Rc, time::Duration};
use support::{
    bare::{self, Bare, Runtime},
    keygate::Keygate,
    keys,
    loader::{self, Crowd, Requests, Round, Target, Until, drive},
    machine::{Cores, pause, resident_bytes, resume},
    redis::RedisServer,
    report::{self, Summary},
    setting,
};

/// The reference must not be held back by an allocator that keygate does not use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS_PER_ACCOUNT: usize = 10;

struct Plan {
    cores: Cores,
    keys: Vec<String>,
    rounds: usize,
    span: Duration,
}

/// A server and what to ask it.
struct Contestant {
    name: &'static str,
    target: Target,
    requests: Rc<Requests>,
}

fn main() {
    bare::serve_if_asked();
    let cores = Cores::share();
    let count = setting("KEYGATE_BENCH_KEYS", 100_000);
    let span = Duration::from_secs(setting("KEYGATE_BENCH_SECONDS", 2) as u64);
    let plan = Plan { cores, keys: keys::make(count), rounds: setting("KEYGATE_BENCH_ROUNDS", 5), span };

    let embedded = embedded(&plan);
    let redis = on_redis(&plan);

    println!();
    for line in embedded.into_iter().chain(redis) {
        line();
    }
}

type Line = Box<dyn FnOnce()>;

fn embedded(plan: &Plan) -> Vec<Line> {
    let (server, requests, answer) = prepare(plan, None);
    let (bare, shape) = references(plan, answer);
    let mut contestants = bare.contestants(&shape);
    contestants.insert(1, Contestant { name: "keygate, embedded store", target: server.target(), requests });

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

fn on_redis(plan: &Plan) -> Vec<Line> {
    let redis = RedisServer::start();
    let info = redis.cli(&["INFO", "server"]);
    let id = info.lines().find_map(|line| line.strip_prefix("process_id:")).and_then(|id| id.parse().ok());
    let id = id.expect("Redis tells its process");
    plan.cores.place_redis(id);

    let (server, requests, answer) = prepare(plan, Some(redis.url()));
    let (bare, shape) = references(plan, answer);
    let mut contestants = bare.contestants(&shape);
    contestants.truncate(1);
    contestants.push(Contestant { name: "keygate, charging on Redis", target: server.target(), requests });

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

/// Starts keygate, imports the keys, starts it again and lets it see every key once.
fn prepare(plan: &Plan, redis: Option<String>) -> (Keygate, Rc<Requests>, usize) {
    let count = plan.keys.len();
    println!("\nimporting {count} keys for {} accounts …", count.div_ceil(KEYS_PER_ACCOUNT));
    let mut server = Keygate::start(plan.cores, redis);
    server.manager().import(&plan.keys, 0, KEYS_PER_ACCOUNT);
    server.restart();
    let messages = plan.keys.iter().enumerate().map(|(number, key)| keys::request(key, number));
    let requests = Requests::new(messages);

    let before = resident_bytes(server.id());
    let cold = drive(server.target(), Crowd::MANY, &requests, Until::Sent(count));
    let after = resident_bytes(server.id());
    let answer = loader::ask(server.target(), keys::request(&plan.keys[0], 0)).len();
    println!("  every key once, read from the store: {:.0} requests/s", cold.per_second());
    println!(
        "  resident memory: {} at start, {} with every key",
        report::mib(before as f64),
        report::mib(after as f64)
    );
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!("  memory per key, its rate limit included: {each:.0} bytes");
    (server, requests, answer)
}

/// The bare servers.
struct References {
    current_thread: Bare,
    writes_together: Bare,
    multi_thread: Bare,
}

fn references(plan: &Plan, answer: usize) -> (References, Rc<Requests>) {
    let request = keys::request(&plan.keys[0], 0).len();
    println!("  a request takes {request} bytes, an answer {answer}; the bare servers' take as many");
    let servers = References {
        current_thread: Bare::start(plan.cores, Runtime::CurrentThread, answer),
        writes_together: Bare::start(plan.cores, Runtime::WritesTogether, answer),
        multi_thread: Bare::start(plan.cores, Runtime::MultiThread, answer),
    };
    let requests = Requests::new((0..plan.keys.len()).map(|_| bare::request(request)));
    (servers, requests)
}

impl References {
    fn contestants(&self, requests: &Rc<Requests>) -> Vec<Contestant> {
        let contestant = |name, server: &Bare| {
            let target = Target { address: server.address, path: bare::PATH, process: server.id() };
            Contestant { name, target, requests: Rc::clone(requests) }
        };
        vec![
            contestant("bare tonic, current_thread runtime", &self.current_thread),
            contestant("bare tonic, the same, answers written together", &self.writes_together),
            contestant("bare tonic, multi_thread runtime, 1 worker", &self.multi_thread),
        ]
    }
}

/// Rounds in turn, after one that does not count; prints and gives the medians.
fn compete(plan: &Plan, contestants: &[Contestant], crowd: Crowd, what: &str) -> Vec<Summary> {
    let mut rounds: Vec<Vec<Round>> = contestants.iter().map(|_| Vec::new()).collect();
    contestants.iter().for_each(|contestant| pause(contestant.target.process));
    for round in 0..=plan.rounds {
        for (contestant, rounds) in contestants.iter().zip(&mut rounds) {
            let span = if round == 0 { plan.span / 4 } else { plan.span };
            resume(contestant.target.process);
            let measured = drive(contestant.target, crowd, &contestant.requests, Until::Elapsed(span));
            pause(contestant.target.process);
            if round > 0 {
                rounds.push(measured);
            }
        }
    }
    contestants.iter().for_each(|contestant| resume(contestant.target.process));
    let Crowd { connections, streams } = crowd;
    let (count, seconds) = (plan.rounds, plan.span.as_secs_f32());
    report::heading(&format!("{what}: {connections} × {streams} streams, medians of {count} rounds of {seconds} s"));
    let summaries: Vec<Summary> = rounds.iter().map(|rounds| Summary::of(rounds)).collect();
    for (contestant, summary) in contestants.iter().zip(&summaries) {
        report::line(contestant.name, summary, summaries[0].per_second);
    }
    summaries
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
