//! What 1,000,000 keys cost, on both stores: importing them, starting with them, memory, disk, the first look at a key,
//! whether a page of a listing costs the same as with 1,000, backing them up while others ask, and restoring them.
//!
//! The environment may set KEYGATE_BENCH_KEYS.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a bench that cannot measure fails loudly")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot measure fails loudly"
)]
#![allow(dead_code, reason = "every bench uses its part of the shared modules")]

mod support;

use hdrhistogram::Histogram;
use std::{
    fs, thread,
    time::{Duration, Instant},
};
use support::{
    keygate::{Keygate, Manager, account},
    keys,
    loader::{Crowd, Method, Requests, Until, drive},
    machine::{Cores, bytes_on_disk, resident_bytes},
    median::median,
    redis::RedisServer,
    report::mib,
    setting,
};

const KEYS_PER_ACCOUNT: usize = 100;
/// How many keys the cost of a page is first measured with.
const FEW: usize = 1_000;
const PAGE: i32 = 100;
const PAGES_MEASURED: usize = 201;
const COLD_ALONE: usize = 2_000;
const COLD_TOGETHER: usize = 50_000;
/// Keys that are asked about beside a backup.
const ASKED: usize = 100_000;
const ALONE: Duration = Duration::from_secs(3);
const BESIDE: Duration = Duration::from_millis(250);

fn main() {
    let cores = Cores::share();
    let keys = keys::make(setting("KEYGATE_BENCH_KEYS", 1_000_000).max(2 * FEW));

    println!("\n{} keys on the embedded store", keys.len());
    let disk = |server: &Keygate| bytes_on_disk(&server.data()) as f64;
    let server = Keygate::start(cores, None);
    let (server, embedded) = run(server, &keys, "on disk", disk);
    back_up(&server, cores, None, &keys);
    drop(server);

    println!("\n{} keys on Redis", keys.len());
    let redis = RedisServer::start();
    let server = Keygate::start(cores, Some(redis.url()));
    let (server, on_redis) = run(server, &keys, "in Redis", |_| used_memory(&redis));
    back_up(&server, cores, Some(RedisServer::start()), &keys);

    println!();
    for (store, ratio) in [("embedded", embedded), ("Redis", on_redis)] {
        // Twice the time would be far from what an index costs, and far above what scatters.
        let word = if ratio < 2.0 { "PASS" } else { "MISS" };
        println!("listing a page, {store}: {ratio:.2} of the time with 1,000 keys (target < 2.00) {word}");
    }
}

/// Gives the server, and the time of a page with all keys as a multiple of the time with few.
fn run(mut server: Keygate, keys: &[String], place: &str, stored: impl Fn(&Keygate) -> f64) -> (Keygate, f64) {
    let mut manager = server.manager();
    let (few, many) = keys.split_at(FEW);
    manager.import(few, 0, KEYS_PER_ACCOUNT);
    let empty = stored(&server);
    let small = pages(&mut manager, FEW);

    let begun = Instant::now();
    manager.import(many, FEW, KEYS_PER_ACCOUNT);
    let seconds = begun.elapsed().as_secs_f64();
    println!("  import: {:.0} keys/s in batches of 1,000 for 10 accounts each", many.len() as f64 / seconds);
    drop(manager);

    server.restart();
    let each = (stored(&server) - empty) / many.len() as f64;
    println!("  {place}: {}, {each:.0} bytes a key", mib(stored(&server)));
    println!("  start-up until it serves: {:.0} ms", server.start_up.as_secs_f64() * 1e3);
    println!("  resident memory after start: {}", mib(resident_bytes(server.id()) as f64));

    cold(&server, keys);
    let mut manager = server.manager();
    let large = pages(&mut manager, keys.len());
    (server, large / small)
}

/// Backs everything up while somebody asks one call after the other, and restores it into a store of the same kind.
fn back_up(server: &Keygate, cores: Cores, redis: Option<RedisServer>, keys: &[String]) {
    let asked = keys.iter().take(ASKED).enumerate().map(|(number, key)| keys::request(key, number));
    let requests = Requests::new(asked);
    let ask = |server: &Keygate, until| drive(server.target(Method::AUTHENTICATE), Crowd::ONE, &requests, until);
    let p99_us = |latency_ns: &Histogram<u64>| latency_ns.value_at_quantile(0.99) as f64 / 1e3;
    // Each is looked at for the first time, and then is known.
    drive(server.target(Method::AUTHENTICATE), Crowd::MANY, &requests, Until::Sent(requests.count()));
    let alone = ask(server, Until::Elapsed(ALONE));

    let (begun, before) = (Instant::now(), resident_bytes(server.id()));
    let (file, mut backup) = server.back_up();
    let backup = thread::spawn(move || (backup.wait().expect("our own child"), begun.elapsed()));
    let mut beside = ask(server, Until::Elapsed(BESIDE)).latency_ns;
    let mut most = resident_bytes(server.id());
    while !backup.is_finished() {
        beside += ask(server, Until::Elapsed(BESIDE)).latency_ns;
        most = most.max(resident_bytes(server.id()));
    }
    let (ended, took) = backup.join().expect("it only waits");
    assert!(ended.success(), "`keygate backup` ended with {ended}");
    let (seconds, count) = (took.as_secs_f64(), keys.len() as f64);
    let bytes = fs::metadata(&file).expect("it is there").len() as f64 / count;
    println!("  backup: {seconds:.1} s, {:.0} keys/s, {bytes:.0} bytes a key", count / seconds);
    println!("  the server's memory meanwhile: {} more were seen", mib(most.saturating_sub(before) as f64));
    println!(
        "  calls one at a time: p99 {:.0} µs, beside the backup {:.0} µs",
        p99_us(&alone.latency_ns),
        p99_us(&beside)
    );

    let (restored, took) = Keygate::restored(cores, redis.as_ref().map(RedisServer::url), server, &file);
    println!("  restore: {:.1} s, {:.0} keys/s", took.as_secs_f64(), count / took.as_secs_f64());
    // Whoever is not let through ends the bench.
    ask(&restored, Until::Sent(COLD_ALONE.min(requests.count())));
}

/// Authenticates keys that were never seen since the start: keygate must read them, though the operating system may have
/// them in memory.
fn cold(server: &Keygate, keys: &[String]) {
    let messages = keys.iter().enumerate().map(|(number, key)| keys::request(key, number));
    let requests = Requests::new(messages);
    let alone =
        drive(server.target(Method::AUTHENTICATE), Crowd::ONE, &requests, Until::Sent(COLD_ALONE.min(keys.len() / 2)));
    let quantile_us = |quantile| alone.latency_ns.value_at_quantile(quantile) as f64 / 1e3;
    println!("  first look at a key, one at a time: p50 {:.0} µs, p99 {:.0} µs", quantile_us(0.5), quantile_us(0.99));
    let before = resident_bytes(server.id());
    let count = COLD_TOGETHER.min(keys.len() / 2);
    let together = drive(server.target(Method::AUTHENTICATE), Crowd::MANY, &requests, Until::Sent(count));
    let grown = resident_bytes(server.id()).saturating_sub(before) as f64 / count as f64;
    println!("  first look at a key, 64 at a time: {:.0} keys/s", together.per_second());
    let resident = mib(resident_bytes(server.id()) as f64);
    println!("  resident memory after {count} first looks: {resident}, {grown:.0} bytes a key");
}

/// Times the first page of the realm, a page deep inside it, and the page of one account. Gives the median
/// microseconds of the first page.
fn pages(manager: &mut Manager, count: usize) -> f64 {
    let mut timed = |account: &str, token: &str| {
        let times: Vec<f64> = (0..PAGES_MEASURED)
            .map(|_| {
                let (page, time) = manager.list(account, PAGE, token);
                assert_eq!(page.keys.len(), PAGE as usize, "a page is full");
                time.as_secs_f64() * 1e6
            })
            .collect();
        median(times)
    };
    let first = timed("", "");
    let middle = timed(&account(count / KEYS_PER_ACCOUNT / 2), "");
    println!("  a page of {PAGE} of {count} keys: first {first:.0} µs, of an account in the middle {middle:.0} µs");
    let mut token = String::new();
    for _ in 0..(count / 1_000 / 2).min(100) {
        token = manager.list("", 1_000, &token).0.next_page_token;
    }
    if !token.is_empty() {
        let mut times = Vec::new();
        for _ in 0..PAGES_MEASURED {
            times.push(manager.list("", PAGE, &token).1.as_secs_f64() * 1e6);
        }
        println!("  a page after {} keys: {:.0} µs", (count / 2).min(100_000), median(times));
    }
    first
}

fn used_memory(redis: &RedisServer) -> f64 {
    let info = redis.cli(&["INFO", "memory"]);
    let line = info.lines().find_map(|line| line.strip_prefix("used_memory:")).expect("Redis tells its memory");
    line.parse().expect("a number")
}
