//! What the store sees of a decision must not tell a key that is flawed from one that never was.

use crate::{
    cost::calls,
    support::{
        calls::{Answered, by_key},
        stack::Stack,
    },
};
use keygate::proto::v1::{DenyReason, KeyState, UpdateKey};
use std::{collections::BTreeMap, time::Duration};

/// What Redis was asked by one decision on this key, more than a second after the last.
async fn asked(stack: &Stack, realm: &str, key: &str, reason: DenyReason) -> BTreeMap<String, u64> {
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let redis = stack.redis.as_ref().unwrap();
    redis.cli(&["CONFIG", "RESETSTAT"]);
    stack.authenticate(by_key(realm, key)).await.denied_for(reason);
    let mut calls = calls(redis);
    // Health asks for the time once a second, and uses are written then.
    calls.retain(|name, _| !name.starts_with("config") && !["info", "time", "hset"].contains(&name.as_str()));
    calls
}

#[tokio::test]
async fn a_flawed_key_costs_what_an_unknown_one_costs() {
    let stack = Stack::redis(&[]).await;
    let (ended, revoked) = stack.new_key("recurr", "acme", "live").await;
    let (_, never_used) = stack.new_key("recurr", "acme", "live").await;
    let (paused, suspended) = stack.new_key("recurr", "zeta", "live").await;
    for key in [&revoked, &suspended] {
        stack.authenticate(by_key("recurr", key)).await.allowed();
    }
    stack.revoke("recurr", &ended).await;
    let pause = UpdateKey { key_id: paused, state: KeyState::Suspended.into(), ..Default::default() };
    stack.update("recurr", pause).await;
    let elsewhere = {
        let other = Stack::redis(&[]).await;
        other.new_key("recurr", "acme", "live").await.1
    };
    let reading: BTreeMap<String, u64> =
        [("evalsha", 1), ("get", 2), ("hget", 2)].map(|(name, calls)| (name.to_owned(), calls)).into();
    stack.authenticate(by_key("recurr", &revoked)).await.denied_for(DenyReason::RevokedKey);
    stack.authenticate(by_key("recurr", &suspended)).await.denied_for(DenyReason::SuspendedKey);
    for round in 1..=2 {
        for (key, reason) in [
            (&elsewhere, DenyReason::UnknownKey),
            (&revoked, DenyReason::RevokedKey),
            (&suspended, DenyReason::SuspendedKey),
        ] {
            assert_eq!(asked(&stack, "recurr", key, reason).await, reading, "{reason:?}, round {round}");
        }
    }
    stack.authenticate(by_key("recurr", &never_used)).await.allowed();
}
