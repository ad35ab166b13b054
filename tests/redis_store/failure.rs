//! A server that is killed, paused, emptied, or loses its scripts, and comes back.

use crate::{
    support::redis::RedisServer,
    world::{found, limit, made, open, open_with, owner, plan, realm},
};
use keygate::{
    app::ports::{Store, StoreError},
    store::redis::{OpenError, Redis, RedisOptions},
};
use std::time::{Duration, Instant};

/// Whoever waits for so long waits for ever: how busy the machine is does not matter.
const FOR_EVER: Duration = Duration::from_secs(10);

/// Asks until there is an answer; tells how long that took.
async fn recovered(store: &Redis) -> Duration {
    let start = Instant::now();
    while store.ping().await.is_err() {
        assert!(start.elapsed() < FOR_EVER, "the store does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    start.elapsed()
}

#[tokio::test]
async fn a_killed_server_is_unavailable_at_once_and_found_again() {
    let mut server = RedisServer::start();
    let (store, _) = open(&server).await;
    made(&store, &owner("acme"), 1).await;
    let realm = realm(vec![limit("all", 1_000, Duration::from_secs(60), 10)]);
    let account = owner("acme").account;
    let charge = async || store.charge(&[], &plan(&realm, &account, 1, true)).await;
    charge().await.unwrap();

    server.kill();
    for _ in 0..50 {
        // Refused, not waited for: that would be a missed deadline.
        let refused = charge().await;
        let address = format!("127.0.0.1:{}", server.port());
        assert!(matches!(&refused, Err(StoreError::Unavailable(text)) if text.contains(&address)), "{refused:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.restart();
    let took = recovered(&store).await;
    println!("killed and restarted: recovered after {took:?}");
    charge().await.unwrap();
    assert!(found(&store, 1).await.is_some());
}

#[tokio::test]
async fn a_restart_that_nobody_noticed_costs_no_call() {
    let mut server = RedisServer::start();
    let (store, _) = open(&server).await;
    made(&store, &owner("acme"), 1).await;
    server.restart();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(found(&store, 1).await.is_some());
}

#[tokio::test]
async fn a_paused_server_misses_the_deadline_and_nothing_else() {
    let server = RedisServer::start();
    let options = RedisOptions { deadline: Duration::from_millis(50), ..RedisOptions::new(&server.url()) };
    let store = open_with(options, &[1]).await.unwrap();
    let realm = realm(vec![limit("all", 1_000, Duration::from_secs(60), 10)]);
    let account = owner("acme").account;
    server.pause();
    for _ in 0..10 {
        let start = Instant::now();
        let silent = store.charge(&[], &plan(&realm, &account, 1, true)).await;
        assert!(start.elapsed() < FOR_EVER, "{:?}", start.elapsed());
        assert_eq!(silent, Err(StoreError::Deadline(Duration::from_millis(50))));
    }
    server.resume();
    let took = recovered(&store).await;
    println!("paused and resumed: recovered after {took:?}");

    // So long that the connection is given up.
    server.pause();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(6) {
        let call = Instant::now();
        assert!(store.ping().await.is_err());
        assert!(call.elapsed() < FOR_EVER, "{:?}", call.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.resume();
    let took = recovered(&store).await;
    println!("paused for long and resumed: recovered after {took:?}");
}

#[tokio::test]
async fn a_server_that_lost_everything_knows_nobody_and_is_marked_again() {
    let mut server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    made(&store, &owner, 1).await;
    server.restart_empty();
    recovered(&store).await;
    assert!(found(&store, 1).await.is_none());
    assert_eq!(store.read_account(&owner).await.unwrap(), None);
    let stranger = open_with(RedisOptions::new(&server.url()), &[9]).await;
    assert!(matches!(stranger, Err(OpenError::Unfit { .. })), "the mark is back: {stranger:?}");
    made(&store, &owner, 1).await;
}

#[tokio::test]
async fn scripts_that_are_flushed_are_given_again() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let realm = realm(vec![limit("all", 1_000, Duration::from_secs(60), 10)]);
    let account = owner("acme").account;
    for round in 1..=5_u32 {
        let charges = (0..20).map(|_| {
            let (store, realm, account) = (&store, &realm, &account);
            async move { store.charge(&[], &plan(realm, account, 1, true)).await.map(|_| ()) }
        });
        let charges: Vec<_> = charges.collect();
        assert_eq!(server.cli(&["SCRIPT", "FLUSH"]), "OK");
        for charge in join_all(charges).await {
            charge.unwrap();
        }
        let look = store.charge(&[], &plan(&realm, &account, 0, false)).await.unwrap();
        assert!(format!("{look:?}").contains(&format!("used: {}", round * 20)), "each was charged once: {look:?}");
    }
    server.cli(&["SCRIPT", "FLUSH"]);
    made(&store, &owner("acme"), 1).await;
}

async fn join_all<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        let mut ready = true;
        for (future, done) in futures.iter_mut().zip(&mut done).filter(|(_, done)| done.is_none()) {
            match future.as_mut().poll(context) {
                std::task::Poll::Ready(output) => *done = Some(output),
                std::task::Poll::Pending => ready = false,
            }
        }
        if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
