//! Junk keys: an address beyond its budget costs the store little, learns nothing, and shuts nobody out.

use crate::support::{
    calls::{Answered, by_bearer, well_formed},
    files::{ConfigFile, PATIENT},
    stack::Stack,
};
use keygate::proto::v1::{
    AuthenticateRequest, AuthenticateResponse, Denied, DenyReason, KeyState, UpdateKey, authenticate_response::Outcome,
};
use std::time::Duration;
use tonic_health::pb::health_check_response::ServingStatus;

const BUDGET: usize = 5;
/// Of so many beyond the budget one is looked up.
const LOTTERY: usize = 16;

fn settings() -> ConfigFile {
    ConfigFile::settings(&format!("[limits]\nmisses_per_source = {BUDGET}\n{PATIENT}"))
}

fn from(source: &str, key: &str) -> AuthenticateRequest {
    AuthenticateRequest { source_address: source.to_owned(), ..by_bearer("recurr", key) }
}

fn junk(number: usize) -> String {
    well_formed("rk_live_", &format!("{number:0>26}"))
}

fn reason(answer: &AuthenticateResponse) -> Option<DenyReason> {
    match answer.outcome.as_ref().unwrap() {
        Outcome::Allowed(_) => None,
        Outcome::Denied(denied) => Some(denied.reason()),
    }
}

/// Sends junk, never the same twice, and tells how many of each the store was asked for.
async fn scan(stack: &Stack, source: &str, count: usize, next: &mut usize) -> usize {
    let mut looked_up = 0;
    for _ in 0..count {
        *next += 1;
        match reason(&stack.authenticate(from(source, &junk(*next))).await) {
            Some(DenyReason::UnknownKey) => looked_up += 1,
            other => assert_eq!(other, Some(DenyReason::TooManyMisses)),
        }
    }
    looked_up
}

/// The windows end every ten seconds, whatever goes on: a test that one of them ended in begins again, from another address.
async fn within_a_window(network: u8, mut attempt: impl AsyncFnMut(&str) -> bool) {
    for number in 1..=3 {
        if attempt(&format!("198.51.{network}.{number}")).await {
            return;
        }
    }
    panic!("three times not as wanted");
}

async fn a_scan_is_mostly_not_looked_up(stack: &Stack) {
    let next = &mut 0;
    within_a_window(1, async |source| {
        let beyond = 2 * LOTTERY;
        let first = scan(stack, source, BUDGET, next).await;
        assert_eq!(first, BUDGET, "nobody is held back within the budget");
        let elsewhere = scan(stack, &format!("{source}0"), 1, next).await;
        scan(stack, source, beyond, next).await == 2 && elsewhere == 1
    })
    .await;
    assert_eq!(scan(stack, "", 3 * BUDGET, next).await, 3 * BUDGET, "without an address nothing is counted");
    let output = stack.output();
    assert!(output.contains("too many keys from one address do not work"), "{output}");
}

async fn good_keys_pass_from_an_address_that_scans(stack: &Stack) {
    let next = &mut 1_000;
    let (id, known) = stack.new_key("recurr", "acme", "live").await;
    assert_eq!(stack.authenticate(from("", &known)).await.allowed().key_id, id);
    let (id, fresh) = stack.new_key("recurr", "acme", "live").await;
    let source = "198.51.100.200";
    let mut attempts = 0;
    loop {
        scan(stack, source, 2 * BUDGET, next).await;
        stack.authenticate(from(source, &known)).await.allowed();
        attempts += 1;
        assert!(attempts < 400, "a key that nobody remembers is shut out");
        let answer = stack.authenticate(from(source, &fresh)).await;
        if reason(&answer).is_none() {
            assert_eq!(answer.allowed().key_id, id);
            break;
        }
        answer.denied_for(DenyReason::TooManyMisses);
    }
    scan(stack, source, 2 * BUDGET, next).await;
    stack.authenticate(from(source, &fresh)).await.allowed();
}

async fn beyond_the_budget_every_flaw_is_answered_alike(stack: &Stack) {
    let next = &mut 2_000;
    let (id, revoked) = stack.new_key("recurr", "acme", "live").await;
    stack.revoke("recurr", &id).await;
    let (key_id, suspended) = stack.new_key("recurr", "acme", "live").await;
    stack.update("recurr", UpdateKey { key_id, state: KeyState::Suspended.into(), ..Default::default() }).await;
    *next += 1;
    let flawed = [junk(*next), revoked, suspended];
    within_a_window(2, async |source| {
        scan(stack, source, BUDGET, next).await;
        let mut told: Vec<Denied> = Vec::new();
        for remembered in [false, true] {
            for key in &flawed {
                if remembered {
                    // Found out a moment ago, for somebody else.
                    stack.authenticate(from("", key)).await.denied();
                }
                told.push(stack.authenticate(from(source, key)).await.denied());
            }
        }
        let one = told[0].clone();
        let alike = told.iter().all(|denied| *denied == one);
        let wait = one.headers.iter().any(|header| header.name == "retry-after" && header.value == "1");
        alike && one.reason() == DenyReason::TooManyMisses && one.http_status == 429 && wait && one.key_id.is_empty()
    })
    .await;
}

async fn all(stack: &Stack) {
    a_scan_is_mostly_not_looked_up(stack).await;
    good_keys_pass_from_an_address_that_scans(stack).await;
    beyond_the_budget_every_flaw_is_answered_alike(stack).await;
}

#[tokio::test]
async fn junk_keys_on_the_embedded_store() {
    all(&Stack::embedded(&["--config", &settings().path()]).await).await;
}

#[tokio::test]
async fn junk_keys_on_redis() {
    let settings = settings();
    let stack = Stack::redis(&["--config", &settings.path()]).await;
    all(&stack).await;

    // What is not looked up needs no store.
    let (redis, next) = (stack.redis.as_ref().unwrap(), &mut 3_000);
    within_a_window(3, async |source| {
        scan(&stack, source, BUDGET, next).await;
        redis.pause();
        let answer = stack.try_authenticate(from(source, &junk(9_000))).await;
        redis.resume();
        stack.wait_for_health(ServingStatus::Serving, Duration::from_secs(10)).await;
        answer.is_ok_and(|answer| reason(&answer) == Some(DenyReason::TooManyMisses))
    })
    .await;
}
