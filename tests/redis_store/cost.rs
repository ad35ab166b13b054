//! What a decision costs the server: commands, bytes, time.

use crate::{
    support::redis::RedisServer,
    world::{digest, limit, made, open, owner, plan, realm},
};
use keygate::{
    app::ports::{Fence, Freshness, Sought, Store},
    domain::id::AccountId,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

pub fn calls(server: &RedisServer) -> BTreeMap<String, u64> {
    let stats = server.cli(&["INFO", "commandstats"]);
    let count = |line: &str| {
        let (name, rest) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    stats.lines().filter_map(count).collect()
}

#[tokio::test]
async fn a_decision_is_one_script_and_a_few_reads_of_16_bytes() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    let key = made(&store, &owner, 1).await;
    let realm = realm(vec![
        limit("a", 1_000_000, Duration::from_secs(86_400), 60),
        limit("b", 1_000_000, Duration::from_secs(86_400), 60),
    ]);
    let charge = async || {
        let fence = Fence { owner: &owner, stamp: key.stamp };
        store.charge(&[fence], &plan(&realm, &owner.account, 1, true)).await.unwrap()
    };
    charge().await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    for _ in 0..100 {
        charge().await;
    }
    let mut calls = calls(&server);
    calls.retain(|name, _| !name.starts_with("config"));
    println!("100 decisions of a fence and two limits: {calls:?}");
    let expected = [("evalsha", 100), ("getrange", 300), ("setrange", 200), ("time", 100)];
    assert_eq!(calls, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test]
async fn a_key_is_found_in_one_round_trip() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    made(&store, &owner("acme"), 1).await;
    server.cli(&["CONFIG", "RESETSTAT"]);
    for _ in 0..10 {
        crate::world::found(&store, 1).await.unwrap();
    }
    let mut calls = calls(&server);
    calls.retain(|name, _| !name.starts_with("config"));
    let expected = [("evalsha", 10), ("get", 20), ("hget", 20)];
    assert_eq!(calls, expected.map(|(name, count)| (name.to_owned(), count)).into());
}

#[tokio::test]
async fn a_secret_with_many_digests_costs_as_many_round_trips_as_one_with_one() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    made(&store, &owner("acme"), 1).await;
    let reads = || {
        let stats = server.cli(&["INFO", "stats"]);
        let count = stats.lines().find_map(|line| line.strip_prefix("total_reads_processed:")?.trim().parse().ok());
        count.unwrap_or(0_u64)
    };
    let realm = owner("acme").realm;
    // A key under its last digest, and one that never was.
    for last in [1, 9] {
        let digests: Vec<_> = [4, 5, 6, 7, 8, last].map(digest).into();
        server.cli(&["CONFIG", "RESETSTAT"]);
        let before = reads();
        for _ in 0..20 {
            let sought =
                Sought { realm: &realm, digests: &digests, freshness: Freshness::Fresh, uses: false, due: None };
            store.find_key(&sought).await.unwrap();
        }
        // One of them asked for the figure itself.
        let took = reads() - before;
        println!("20 readings of 6 digests: {took} reads by the server");
        assert!((20..30).contains(&took), "{took}");
        let mut calls = calls(&server);
        calls.retain(|name, _| !name.starts_with("config") && name != "info");
        assert_eq!(
            calls,
            [("evalsha", 20), ("get", 140), ("hget", 40)].map(|(name, count)| (name.to_owned(), count)).into()
        );
    }
}

#[tokio::test]
async fn a_counter_takes_the_bytes_that_are_promised() {
    for (precision, most) in [(10, 256), (60, 512), (120, 768)] {
        let server = RedisServer::start();
        let (store, _) = open(&server).await;
        let realm = realm(vec![limit("requests", 100, Duration::from_secs(60), precision)]);
        store.charge(&[], &plan(&realm, &owner("acme").account, 1, true)).await.unwrap();
        let bytes =
            server.cli(&["EVAL", "return redis.call('MEMORY', 'USAGE', redis.call('KEYS', 'kg1:*:c:*')[1])", "0"]);
        println!("precision {precision}: {bytes} bytes a counter, its name included");
        assert!(bytes.parse::<u32>().unwrap() <= most, "{bytes}");
    }
}

/// A figure for the documentation; run it in release and alone.
#[tokio::test]
#[ignore = "measures speed: run it alone, in release"]
async fn throughput_of_charges_with_64_in_flight() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let realm = Arc::new(realm(vec![limit("requests", 1_000_000_000, Duration::from_secs(60), 60)]));
    let accounts: Arc<Vec<AccountId>> = Arc::new((0..10_000).map(|n| owner(&format!("account-{n}")).account).collect());
    for (fenced, seconds) in [(false, 3), (true, 3)] {
        let stop = Instant::now() + Duration::from_secs(seconds);
        let start = Instant::now();
        let fence_owner = owner("fenced");
        let stamp = made(&store, &fence_owner, u8::from(fenced) + 1).await.stamp;
        let tasks: Vec<_> = (0..64_usize)
            .map(|task| {
                let (store, realm, accounts, fence_owner) =
                    (store.clone(), realm.clone(), accounts.clone(), fence_owner.clone());
                tokio::spawn(async move {
                    let (mut done, mut next) = (0_u64, task);
                    while Instant::now() < stop {
                        let fence = [Fence { owner: &fence_owner, stamp }];
                        let fences = if fenced { &fence[..] } else { &[] };
                        store.charge(fences, &plan(&realm, &accounts[next % accounts.len()], 1, true)).await.unwrap();
                        (done, next) = (done + 1, next + 64);
                    }
                    done
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.unwrap();
        }
        let rate = done as f64 / start.elapsed().as_secs_f64();
        let usec = server.cli(&["INFO", "commandstats"]);
        let evalsha = usec.lines().find(|line| line.starts_with("cmdstat_evalsha")).unwrap_or_default().to_owned();
        println!("fenced {fenced}: {rate:.0} charges/s through one connection; server: {evalsha}");
        server.cli(&["CONFIG", "RESETSTAT"]);
    }
}
