//! Envoy's dialects over 100,000 distinct keys or descriptors, in turn with a bare tonic server whose handler does nothing
//! and whose messages have the same size; and what a request through a real Envoy takes when keygate answers its questions,
//! compared with the bare server in keygate's place.
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

use envoy_types::pb::envoy::service::{
    auth::v3::CheckResponse,
    ratelimit::v3::{RateLimitResponse, rate_limit_response::Code},
};
use prost::Message;
use support::{
    bare::{self, Bare},
    contest::{Contestant, Plan, References, compete},
    envoy::{self, Answer, value},
    front,
    keygate::{Keygate, account},
    keys,
    loader::{self, Crowd, Method, Requests, Round, Until, drive},
    machine::Cores,
    python,
    report::{self, Summary},
};
use tempfile::TempDir;

/// The reference must not be held back by an allocator that keygate does not use.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Line = Box<dyn FnOnce()>;

fn main() {
    bare::serve_if_asked();
    let plan = Plan::read(Cores::share());
    let keys = keys::make(plan.count);
    let server = plan.keygate(&keys, None);

    let checks = Question {
        method: Method::CHECK,
        name: "Check",
        messages: keys.iter().enumerate().map(|(number, key)| check(key, number)).collect(),
        left: |answer| {
            let answer = CheckResponse::decode(answer).expect("an answer to `Check`");
            assert_eq!(value(&answer.passed().headers, "x-auth-account"), Some(account(0).as_str()), "{answer:?}");
            assert_eq!(answer.told("realm").as_deref(), Some(keys::REALM), "{answer:?}");
            let left = value(&answer.passed().response_headers_to_add, "x-ratelimit-remaining");
            left.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("nothing was charged: {answer:?}"))
        },
    };
    let limits = Question {
        method: Method::SHOULD_RATE_LIMIT,
        name: "ShouldRateLimit",
        messages: (0..plan.count).map(tenant).collect(),
        left: |answer| {
            let answer = RateLimitResponse::decode(answer).expect("an answer to `ShouldRateLimit`");
            let [status] = &answer.statuses[..] else { panic!("one descriptor, one status: {answer:?}") };
            let limit = status.current_limit.as_ref().map(|limit| limit.name.as_str());
            assert_eq!((status.code(), limit), (Code::Ok, Some("visits")), "{answer:?}");
            status.limit_remaining
        },
    };
    let mut lines = Vec::new();
    for question in [&checks, &limits] {
        lines.extend(dialect(&plan, &server, question));
    }
    lines.extend(through_envoy(&plan, &server, &keys));

    println!();
    for line in lines {
        line();
    }
}

/// One call of Envoy's.
struct Question {
    method: Method,
    name: &'static str,
    messages: Vec<Vec<u8>>,
    /// What is left of the limit of the first message, by the answer to it, which was looked at in all its parts.
    left: fn(&[u8]) -> u32,
}

/// The call by itself.
fn dialect(plan: &Plan, server: &Keygate, question: &Question) -> Vec<Line> {
    let &Question { method, name, ref messages, left } = question;
    let target = server.target(method);
    let requests = Requests::new(messages.iter().cloned());
    println!("\n{name}");
    let cold = drive(target, Crowd::MANY, &requests, Until::Sent(messages.len()));
    println!("  every one once: {:.0} requests/s", cold.per_second());
    let answer = loader::ask(target, messages[0].clone());
    let charged = left(&answer).saturating_sub(left(&loader::ask(target, messages[0].clone())));
    assert_eq!(charged, 1, "every call is charged");

    let bare = References::start(plan, method, &messages[0], &answer);
    let keygate = Contestant { name: "keygate, embedded store", target, requests };
    let contestants = [bare.current_thread(), keygate, bare.multi_thread()];
    let many = compete(plan, &contestants, Crowd::MANY, name);
    compete(plan, &contestants, Crowd::ONE, name);
    let [reference, keygate, _] = many[..] else { panic!("one line for each server") };
    vec![Box::new(move || {
        let what = format!("{name} embedded, throughput");
        report::verdict(&what, keygate.per_second / reference.per_second, "bare on the same runtime", 0.75);
        if keygate.busy < Summary::BUSY {
            // What the throughput would be if nobody else had the core.
            println!("{name} embedded: the server used {:.0} % of its core: not its limit", keygate.busy * 100.0);
            let what = format!("{name} embedded, processor time");
            report::verdict(&what, reference.us_each / keygate.us_each, "bare, as throughput", 0.75);
        }
    })]
}

/// A request through Envoy, which asks keygate or the bare server over a Unix socket.
fn through_envoy(plan: &Plan, server: &Keygate, keys: &[String]) -> Option<Line> {
    if let Err(problem) = python::try_environment("envoy") {
        println!("\nEnvoy is not to be had, so nothing is measured through it: {problem}");
        return None;
    }
    let folder = TempDir::with_prefix("keygate-bench-").expect("a temporary directory can be made");
    let socket = folder.path().join("bare.sock");
    let answer = loader::ask(server.target(Method::CHECK), check(&keys[0], 0));
    let bare = Bare::start_unix(plan.cores, &answer, &socket);
    let service = front::service();
    let asked = [
        ("bare tonic, current_thread runtime", bare.id(), front::envoy(service, &socket, keys::REALM)),
        ("keygate, embedded store", server.id(), front::envoy(service, &server.socket(), keys::REALM)),
    ];
    let requests =
        Requests::raw(keys.iter().enumerate().map(|(number, key)| front::request(key, number).into()).collect());
    let mut rounds: Vec<Vec<Round>> = asked.iter().map(|_| Vec::new()).collect();
    for round in 0..=plan.rounds {
        for ((_, process, envoy), rounds) in asked.iter().zip(&mut rounds) {
            let span = if round == 0 { plan.span / 4 } else { plan.span };
            let measured = front::drive(envoy.port(), &requests, span, *process);
            if round > 0 {
                rounds.push(measured);
            }
        }
    }
    let (count, seconds) = (plan.rounds, plan.span.as_secs_f32());
    report::latency_heading(&format!("Through Envoy: one request at a time, medians of {count} rounds of {seconds} s"));
    let summaries: Vec<Summary> = rounds.iter().map(|rounds| Summary::of(rounds)).collect();
    for ((name, ..), summary) in asked.iter().zip(&summaries) {
        report::latency_line(name, summary, summaries[0].mean_us);
    }
    let ratio = summaries[1].mean_us / summaries[0].mean_us;
    Some(Box::new(move || {
        report::verdict_below("a request through Envoy, mean", ratio, "the bare server in keygate's place", 1.10);
    }))
}

/// What Envoy asks about a request with that key.
fn check(key: &str, number: usize) -> Vec<u8> {
    let credential = format!("Bearer {key}");
    let headers = [
        ("user-agent", "curl/8.5.0"),
        ("accept", "*/*"),
        ("authorization", credential.as_str()),
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "http"),
        ("x-envoy-external-address", "203.0.113.7"),
        ("x-request-id", "0f2c9a4e-5d1b-4c68-9a37-61b0c2a7d9e3"),
    ];
    envoy::check(keys::REALM, "GET", &format!("/v1/orders/{number:07}"), &headers).encode_to_vec()
}

/// What Envoy asks about the limit of one tenant.
fn tenant(number: usize) -> Vec<u8> {
    envoy::limit(keys::REALM, &[envoy::descriptor(&[("tenant", &format!("tenant-{number:07}"))])]).encode_to_vec()
}
