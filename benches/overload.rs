//! What attacks cost whoever behaves: latency of a steady client beside each attack, as a multiple of that without it, in turns
//! within one run; and by how much the server's memory grows. One worker, which everybody shares.
//!
//! The attackers are a process of their own, of low priority, on the loader's core.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a bench that cannot measure fails loudly")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot measure fails loudly"
)]
#![allow(dead_code, reason = "every bench compiles the whole of what they share and uses a part")]

#[path = "../tests/overload/attacks.rs"]
mod attacks;
#[path = "../tests/overload/frames.rs"]
mod frames;
mod support;

use attacks::{FLOODS, HOLDS};
use frames::{ASKED, AUTHENTICATE, Wire, call, streams};
use hdrhistogram::Histogram;
use std::{
    env,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};
use support::{
    keygate::Keygate,
    machine::{Cores, resident_bytes},
    setting,
};
use tokio::runtime::Builder;

const QUIET: Duration = Duration::from_millis(1_000);
const LASTS: Duration = Duration::from_millis(3_000);
/// Between two questions of the client that behaves.
const PACE: Duration = Duration::from_millis(1);
const HOLDING: usize = 100;
const MOST_RATIO: f64 = 2.0;
const MOST_MIB: f64 = 64.0;
const RECOVERY: Duration = Duration::from_secs(60);
/// As many as a server takes without more, but for the client that behaves.
const IDLE: usize = 1_249;
const OTHERS: [&str; 2] = ["idle connections", "calls, as many as one can"];

fn main() {
    let words: Vec<String> = env::args().collect();
    if let Some(at) = words.iter().position(|word| word == "--attack") {
        return attack(&words[at + 1], &words[at + 2]);
    }
    let (cores, rounds) = (Cores::share(), setting("KEYGATE_BENCH_ROUNDS", 3));
    let only = env::var("KEYGATE_BENCH_ATTACK").unwrap_or_default();
    println!("The aims: p99 at most {MOST_RATIO} of that before, {MOST_MIB} MiB of memory, recovered within 60 s.");
    println!(
        "| attack | p50 µs before | during | p99 µs before | during | p99 ratio | memory MiB | recovered | aims |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for name in FLOODS.into_iter().chain(HOLDS).chain(OTHERS).filter(|name| name.contains(&only)) {
        row(cores, name, rounds);
    }
}

fn row(cores: Cores, name: &str, rounds: usize) {
    let server = Keygate::start(cores, None);
    let address = server.address().to_string();
    let mut client = Client::open(&address);
    let (mut quiet, mut during) = (histogram(), histogram());
    client.ask(QUIET, &mut histogram());
    let before = resident_bytes(server.id());
    let (mut most, mut recovered) = (before, Duration::ZERO);
    for _ in 0..rounds {
        client.ask(QUIET, &mut quiet);
        let mut attackers = attackers(name, &address);
        let until = Instant::now() + LASTS;
        while Instant::now() < until {
            client.ask(Duration::from_millis(50), &mut during);
            most = most.max(resident_bytes(server.id()));
        }
        attackers.kill().expect("our own child");
        attackers.wait().expect("our own child");
        let (ended, usual) = (Instant::now(), 3 * quiet.value_at_quantile(0.99));
        loop {
            let mut last = histogram();
            client.ask(Duration::from_millis(50), &mut last);
            if last.value_at_quantile(0.9) <= usual || ended.elapsed() > RECOVERY {
                break;
            }
        }
        recovered = recovered.max(ended.elapsed());
        sleep(Duration::from_secs(2));
    }
    let at = |of: &Histogram<u64>, share| of.value_at_quantile(share);
    let ratio = at(&during, 0.99) as f64 / at(&quiet, 0.99) as f64;
    let mib = most.saturating_sub(before) as f64 / 1_048_576.0;
    let met = ratio <= MOST_RATIO && mib <= MOST_MIB && recovered <= RECOVERY;
    println!(
        "| {name} | {} | {} | {} | {} | {ratio:.1} | {mib:.1} | {:.2} s | {} |",
        at(&quiet, 0.5),
        at(&during, 0.5),
        at(&quiet, 0.99),
        at(&during, 0.99),
        recovered.as_secs_f64(),
        if met { "PASS" } else { "MISS" },
    );
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are legal")
}

/// This program once more, as attackers.
fn attackers(name: &str, address: &str) -> Child {
    let mut command = Command::new("nice");
    command.args(["-n", "19"]).arg(env::current_exe().expect("it runs")).args(["--attack", name, address]);
    command.stdout(Stdio::null()).spawn().expect("`nice` can be started")
}

fn attack(name: &str, address: &str) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let until = tokio::time::Instant::now() + 2 * LASTS;
    let name = FLOODS.into_iter().chain(HOLDS).chain(OTHERS).find(|known| *known == name).expect("a known attack");
    runtime.block_on(async {
        let to = address.to_owned();
        if FLOODS.contains(&name) {
            attacks::repeatedly(until, move || attacks::flood(name, to.clone(), until)).await;
        } else if HOLDS.contains(&name) {
            attacks::hold(name, address, HOLDING, until).await;
        } else if name == OTHERS[0] {
            let mut wires = Vec::with_capacity(IDLE);
            while wires.len() < IDLE {
                wires.extend(Wire::open(address).await);
            }
            tokio::time::sleep_until(until).await;
        } else {
            let calls = move || {
                let to = to.clone();
                async move {
                    let (mut wire, mut streams) = (Wire::open(&to).await.expect("it listens"), streams());
                    while tokio::time::Instant::now() < until {
                        let batch = streams.by_ref().take(32).flat_map(|at| call(at, AUTHENTICATE, ASKED));
                        assert!(wire.ask(&batch.collect::<Vec<u8>>(), 32).await, "a call is answered");
                    }
                    false
                }
            };
            attacks::repeatedly(until, calls).await;
        }
    });
}

/// A client that behaves: one connection, one call at a time.
struct Client {
    runtime: tokio::runtime::Runtime,
    wire: Wire,
    streams: Box<dyn Iterator<Item = u32>>,
}

impl Client {
    fn open(address: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let wire = runtime.block_on(Wire::open(address)).expect("it listens");
        Self { runtime, wire, streams: Box::new(streams()) }
    }

    fn ask(&mut self, lasts: Duration, seen: &mut Histogram<u64>) {
        let Self { runtime, wire, streams } = self;
        runtime.block_on(async {
            let until = Instant::now() + lasts;
            while Instant::now() < until {
                let message = call(streams.next().expect("streams are left"), AUTHENTICATE, b"\x0a\x05bench");
                let began = Instant::now();
                assert!(wire.ask(&message, 1).await, "whoever behaves is answered");
                seen.record(u64::try_from(began.elapsed().as_micros()).expect("not long")).expect("it fits");
                tokio::time::sleep(PACE).await;
            }
        });
    }
}
