//! Contract row A3: whoever tries keys learns neither from an answer nor from what it costs whether a key exists, existed
//! or never did.

use crate::{
    on_both_stores,
    support::{
        calls::{Answered, by_bearer, charged, key_for, seconds, well_formed},
        files::{ConfigFile, PATIENT},
        redis::RedisServer,
        stack::Stack,
    },
};
use keygate::{
    app::authenticate::FLAW_REMEMBERED,
    proto::v1::{AuthenticateRequest, AuthenticateResponse, CreateKey, Denied, DenyReason, KeyState, UpdateKey},
};
use prost::Message;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Longer than any knowledge of a flaw is kept.
const LATER: Duration = Duration::from_millis(1_500);

/// How a request comes.
type Shape = fn(AuthenticateRequest) -> AuthenticateRequest;
const BARE: Shape = |request| request;
const CHARGED: Shape = |request| charged(request, "GET", "/v1/invoices", 1);

/// One credential for each flaw, none of which was ever presented. The first never was a key.
async fn flawed(stack: &Stack, set: &str) -> Vec<(DenyReason, String)> {
    let of = |name: &str| key_for(&format!("{set}-{name}"), "live");
    let brief =
        CreateKey { expires_in: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }), ..of("expired") };
    let expired = stack.create("recurr", brief).await.secret;
    let expiry = Instant::now() + Duration::from_millis(350);
    let (id, revoked) = stack.new_key("recurr", &format!("{set}-revoked"), "live").await;
    stack.revoke("recurr", &id).await;
    let (id, rotated) = stack.new_key("recurr", &format!("{set}-rotated"), "live").await;
    stack.rotate("recurr", &id, Some(seconds(0))).await;
    let (key_id, suspended) = stack.new_key("recurr", &format!("{set}-suspended"), "live").await;
    stack.update("recurr", UpdateKey { key_id, state: KeyState::Suspended.into(), ..Default::default() }).await;
    tokio::time::sleep_until(expiry.into()).await;
    vec![
        (DenyReason::UnknownKey, well_formed("rk_live_", &format!("{set:0<26}"))),
        (DenyReason::RevokedKey, revoked),
        (DenyReason::ExpiredKey, expired),
        (DenyReason::RetiredSecret, rotated),
        (DenyReason::SuspendedKey, suspended),
    ]
}

/// The same credential with another last character, which no longer fits its checksum.
fn misspelt(key: &str) -> String {
    let (rest, last) = key.split_at(key.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

async fn present(stack: &Stack, key: &str, shape: Shape) -> AuthenticateResponse {
    stack.authenticate(shape(by_bearer("recurr", key))).await
}

/// Everything of an answer that goes to the end client.
fn told(denied: &Denied) -> Vec<u8> {
    let Denied { http_status, headers, body, retry_after, .. } = denied.clone();
    Denied { http_status, headers, body, retry_after, ..Default::default() }.encode_to_vec()
}

on_both_stores! {
    async fn a3_seconds_later_every_flaw_is_still_answered_byte_for_byte_like_a_key_that_never_was(stack) {
        let credentials = flawed(&stack, "later").await;
        let never_was = told(&present(&stack, &credentials[0].1, BARE).await.denied());
        for (reason, key) in &credentials {
            present(&stack, key, CHARGED).await.denied_for(*reason);
        }
        // What was learnt then is too old now and has to be found out again.
        for _ in 0..2 {
            tokio::time::sleep(LATER).await;
            for (reason, key) in &credentials {
                for shape in [CHARGED, BARE] {
                    let answer = present(&stack, key, shape).await;
                    assert_eq!(answer.limits, [], "{reason:?}");
                    let denied = answer.denied_for(*reason);
                    let of_limits = |name: &str| name.contains("ratelimit") || name == "retry-after";
                    let limits: Vec<_> = denied.headers.iter().filter(|header| of_limits(&header.name)).collect();
                    assert!(limits.is_empty(), "{reason:?}: {limits:?}");
                    assert_eq!(told(&denied), never_was, "{reason:?}");
                }
            }
        }
    }
}

/// A server that writes down nothing of its acts: one that does looks every second whether its store still knows of them.
async fn alone() -> (ConfigFile, Stack) {
    let settings = ConfigFile::settings(&format!("[recovery]\njournal = \"\"\n{PATIENT}"));
    let stack = Stack::redis(&["--config", &settings.path()]).await;
    (settings, stack)
}

/// The commands that Redis ran since the counts were set back, without those of the harness and of the watch over health.
fn commands(redis: &RedisServer) -> BTreeMap<String, u64> {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let count = |line: &str| {
        let (name, rest) = line.trim().strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let others = ["info", "config", "time"].iter().any(|other| name.split('|').next() == Some(other));
        if others { None } else { Some((name.to_owned(), rest.split(',').next()?.parse().ok()?)) }
    };
    stats.lines().filter_map(count).collect()
}

fn forget_commands(redis: &RedisServer) {
    assert_eq!(redis.cli(&["CONFIG", "RESETSTAT"]), "OK");
}

/// What it takes to judge one credential.
async fn cost(stack: &Stack, (reason, key): &(DenyReason, String), shape: Shape) -> BTreeMap<String, u64> {
    let redis = stack.redis.as_ref().unwrap();
    forget_commands(redis);
    present(stack, key, shape).await.denied_for(*reason);
    commands(redis)
}

/// Waits until nothing is written in the background any more, such as the last use of the operator's key.
async fn until_quiet(redis: &RedisServer) {
    for _ in 0..10 {
        forget_commands(redis);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        if commands(redis).is_empty() {
            return;
        }
    }
    panic!("Redis is never left alone: {:?}", commands(redis));
}

/// Asks for each credential what it costs, and fails unless all cost the same.
async fn same_cost(
    when: &str,
    stack: &Stack,
    credentials: &[(DenyReason, String)],
    shape: Shape,
) -> BTreeMap<String, u64> {
    let never_was = cost(stack, &credentials[0], shape).await;
    for credential in &credentials[1..] {
        assert_eq!(cost(stack, credential, shape).await, never_was, "{:?}, {when}", credential.0);
    }
    never_was
}

#[tokio::test]
async fn a3_every_flaw_costs_redis_the_same_commands_at_first_and_ever_after() {
    let (_settings, stack) = alone().await;
    for (set, shape) in [("bare", BARE), ("charged", CHARGED)] {
        let credentials = flawed(&stack, set).await;
        until_quiet(stack.redis.as_ref().unwrap()).await;
        let first = same_cost("at first", &stack, &credentials, shape).await;
        assert!(!first.is_empty(), "nothing was asked at all");
        tokio::time::sleep(LATER).await;
        let again = same_cost("seconds later", &stack, &credentials, shape).await;
        assert_eq!(again, first);
    }
}

#[tokio::test]
async fn a3_every_flaw_that_was_just_found_costs_redis_nothing() {
    let (_settings, stack) = alone().await;
    let credentials = flawed(&stack, "repeated").await;
    until_quiet(stack.redis.as_ref().unwrap()).await;
    // A machine that is busy with something else may take longer than the knowledge lasts: then once more.
    for _ in 0..10 {
        tokio::time::sleep(LATER).await;
        let began = Instant::now();
        for (reason, key) in &credentials {
            present(&stack, key, CHARGED).await.denied_for(*reason);
        }
        let mut costs = Vec::new();
        for credential in &credentials {
            costs.push(cost(&stack, credential, CHARGED).await);
        }
        if began.elapsed() < FLAW_REMEMBERED {
            assert!(costs.iter().all(BTreeMap::is_empty), "{costs:?}");
            return;
        }
    }
    panic!("ten answers never came within {FLAW_REMEMBERED:?}");
}

#[tokio::test]
async fn a3_a_credential_that_fails_its_checksum_is_judged_without_redis() {
    let (_settings, stack) = alone().await;
    let credentials = flawed(&stack, "misspelt").await;
    until_quiet(stack.redis.as_ref().unwrap()).await;
    for (_, key) in &credentials {
        for shape in [BARE, CHARGED, BARE] {
            let wrong = (DenyReason::MalformedKey, misspelt(key));
            assert_eq!(cost(&stack, &wrong, shape).await, BTreeMap::new());
        }
    }
    assert!(!cost(&stack, &credentials[0], BARE).await.is_empty(), "the right one is asked for, so this test counts");
}
