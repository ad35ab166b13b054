//! Data that was lost or turned back: what was read before must not pass for what is there now.

use crate::{
    support::redis::RedisServer,
    world::{TestClock, creation, digest, environment, found, made, open, owner, realm, revocation},
};
use keygate::{
    app::ports::{CommitError, Fence, Found, Freshness, Sought, Store},
    domain::{
        id::AccountRef,
        key::KeySnapshot,
        limit::{Charged, Plan},
    },
    store::{CacheSettings, Cached, redis::Redis},
};
use std::{sync::Arc, time::Duration};

async fn confirms(store: &Redis, owner: &AccountRef, stamp: u128) -> bool {
    let realm = realm(Vec::new());
    let plan = Plan::new(&realm, Some(&owner.account), 1, true);
    store.charge(&[Fence { owner, stamp }], &plan).await.unwrap() != Charged::Stale
}

async fn ready(store: &Redis) {
    for _ in 0..2_000 {
        if store.ping().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the store does not recover");
}

async fn remembered(store: &Cached<Redis>, seed: u8, freshness: Freshness) -> Option<Arc<KeySnapshot>> {
    let sought = Sought { realm: &owner("acme").realm, digests: &[digest(seed)], freshness, uses: false, due: None };
    match store.find_key(&sought).await.unwrap() {
        Found::Key(key) => Some(key),
        Found::Nothing(_) => None,
    }
}

#[tokio::test]
async fn a_remembered_key_of_an_account_that_was_lost_and_made_again_is_stale() {
    let mut server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    made(&store, &owner, 1).await;
    let memory = Cached::new(store.clone(), CacheSettings::default(), TestClock::new());
    let before = remembered(&memory, 1, Freshness::Fresh).await.unwrap();
    assert!(confirms(&store, &owner, before.stamp).await);

    server.restart_empty();
    ready(&store).await;
    assert!(!confirms(&store, &owner, before.stamp).await);
    let (other, _) = open(&server).await;
    let after = made(&other, &owner, 2).await;
    assert_eq!(before.account.version, after.account.version);

    let still = remembered(&memory, 1, Freshness::Remembered).await.expect("nobody told the memory");
    assert!(!confirms(&store, &owner, still.stamp).await, "a key without a record was confirmed");
    assert!(remembered(&memory, 1, Freshness::Fresh).await.is_none());
    assert!(confirms(&store, &owner, after.stamp).await);
}

#[tokio::test]
async fn what_a_new_primary_never_heard_of_is_stale_and_no_ground_for_a_change() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let (store, _) = open(&old).await;
    let owner = owner("acme");
    made(&store, &owner, 1).await;
    assert_eq!(new.cli(&["REPLICAOF", "127.0.0.1", &old.port().to_string()]), "OK");
    let mut tries = 0;
    while new.cli(&["EXISTS", "kg1:{recurr/acme}:a"]) != "1" {
        tries += 1;
        assert!(tries < 1_000, "the replica does not follow");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(new.cli(&["REPLICAOF", "NO", "ONE"]), "OK");

    // Acknowledged by the old primary, never replicated, and read by a server that remembers it.
    let lost = made(&store, &owner, 2).await;
    let read = found(&store, 1).await.unwrap();
    assert_eq!((read.stamp, read.account.version), (lost.stamp, 2));

    let (promoted, _) = open(&new).await;
    let kept = found(&promoted, 1).await.unwrap();
    promoted.commit(&revocation(&owner, &kept.account, &kept.key)).await.unwrap();
    let revoked = found(&promoted, 1).await.unwrap();
    assert_eq!(revoked.account.version, read.account.version);
    assert!(!confirms(&promoted, &owner, read.stamp).await, "a revoked key was confirmed as working");
    assert!(confirms(&promoted, &owner, revoked.stamp).await);

    let (stray, _) = creation(&owner, Some(&read.account), 3);
    assert_eq!(promoted.commit(&stray).await, Err(CommitError::Conflict));
    assert_eq!(promoted.read_account(&owner).await.unwrap().as_ref(), Some(&revoked.account));
    promoted.commit(&creation(&owner, Some(&revoked.account), 3).0).await.unwrap();
    assert_eq!(found(&promoted, 3).await.unwrap().key.environment, environment());
}

#[tokio::test]
async fn data_that_was_turned_back_to_the_very_state_that_was_read_is_that_state() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    let first = made(&store, &owner, 1).await;
    assert_eq!(server.cli(&["COPY", "kg1:{recurr/acme}:a", "{recurr/acme}saved"]), "1");
    let second = made(&store, &owner, 2).await;
    assert!(!confirms(&store, &owner, first.stamp).await);
    assert_eq!(server.cli(&["COPY", "{recurr/acme}saved", "kg1:{recurr/acme}:a", "REPLACE"]), "1");
    assert!(confirms(&store, &owner, first.stamp).await);
    assert!(!confirms(&store, &owner, second.stamp).await);
}
