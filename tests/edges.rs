//! What crosses the edge of the server: failures and what is told of them, to the caller and to the log.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, CheckRateLimitRequest, DenyReason, Subject, check_rate_limit_request::Selection,
    manage_keys_request::Operation,
};
use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};
use support::{
    calls::{Answered, assert_invalid, by_key, charged, key_for},
    envoy,
    stack::Stack,
};
use tonic::{Code, Request, Status};

/// Spoils the record of the account `acme` of recurr in Redis. A key that was remembered is confirmed, not read: a server
/// that shall notice has to be a new one.
async fn spoil_acme(stack: &mut Stack) {
    let answer = stack.redis.as_ref().unwrap().cli(&["SETRANGE", "kg1:{recurr/acme}:a", "40", "x"]);
    assert!(answer.parse::<u32>().unwrap() > 41, "{answer}");
    stack.keygate.restart().await;
}

/// The error tells its caller nothing of what stands behind keygate.
#[track_caller]
fn assert_tells_nothing(status: &Status, code: Code, inner: &[&str]) {
    assert_eq!(status.code(), code, "{status:?}");
    assert!(!status.message().is_empty());
    let told = format!("{} {}", status.message(), String::from_utf8_lossy(status.details()));
    for word in inner.iter().chain(&["127.0.0.1", "Redis", "redis", "kg1", "`"]) {
        assert!(!told.contains(word), "`{word}` is told: {told}");
    }
}

#[tokio::test]
async fn a_caller_is_not_told_what_stands_behind_a_failure() {
    let mut stack = Stack::redis(&[]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    spoil_acme(&mut stack).await;
    let status = stack.try_authenticate(by_key("recurr", &key)).await.unwrap_err();
    assert_tells_nothing(&status, Code::DataLoss, &["acme", "recurr"]);
    let status = stack.try_manage("recurr", Operation::Create(key_for("acme", "live"))).await.unwrap_err();
    assert_tells_nothing(&status, Code::DataLoss, &["acme", "recurr"]);

    let address = stack.redis.as_ref().unwrap().port().to_string();
    stack.redis.as_mut().unwrap().kill();
    for _ in 0..3 {
        let status = stack.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await.unwrap_err();
        assert_tells_nothing(&status, Code::Unavailable, &[&address]);
    }
}

/// What the server printed that holds all of these; nothing if that does not come. It is written before the caller is
/// answered, and arrives here in its own time.
async fn lines(stack: &Stack, holding: &[&str]) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let output = stack.output();
        let held = |line: &&str| holding.iter().all(|word| line.contains(word));
        let found: Vec<String> = output.lines().filter(held).map(str::to_owned).collect();
        if !found.is_empty() || Instant::now() > deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn with_id<T>(message: T, id: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-request-id", id.parse().unwrap());
    request
}

#[tokio::test]
async fn the_log_tells_what_the_caller_is_not_told_under_the_id_that_both_hear() {
    let mut stack = Stack::redis(&[]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    spoil_acme(&mut stack).await;
    let status = stack.client().authenticate(with_id(by_key("recurr", &key), "find-me-7")).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss);
    assert_eq!(status.metadata().get("x-request-id").unwrap(), "find-me-7");
    let told =
        lines(&stack, &["ERROR", "find-me-7", "recurr", "Authenticate", "account `acme` of realm `recurr`"]).await;
    assert_eq!(told.len(), 1, "{}", stack.output());

    // Of failures that go on, a line a second is written, and the ids of the others lead nowhere.
    stack.redis.as_mut().unwrap().kill();
    let (began, asked) = (Instant::now(), 40);
    let mut joined = 0;
    for _ in 0..asked {
        let status = stack.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        let Some(id) = status.metadata().get("x-request-id") else { continue };
        assert_eq!(lines(&stack, &["WARN", id.to_str().unwrap()]).await.len(), 1);
        joined += 1;
    }
    // Each kind of failure has a line of its own: silence first, then a connection that is refused.
    let most = 2 * (began.elapsed().as_secs() + 1);
    assert!((1..=most).contains(&joined), "{joined} of {asked} in {:?}", began.elapsed());
    assert_eq!(lines(&stack, &["WARN", "Authenticate", "failed"]).await.len() as u64, joined);
    assert!(!lines(&stack, &["WARN", "the store is unavailable: Redis at"]).await.is_empty(), "{}", stack.output());
}

on_both_stores! {
    async fn an_act_is_logged_with_who_did_it_and_to_what(stack) {
        let (id, _) = stack.new_key("recurr", "acme", "live").await;
        let operator = lines(&stack, &["act=\"create\"", &id, "done"]).await;
        assert_eq!(operator.len(), 1, "{}", stack.output());
        assert!(operator[0].contains("actor=\"key_"), "{}", operator[0]);
        stack.revoke("recurr", &id).await;
        let line = lines(&stack, &["act=\"revoke\"", &id, "actor=\"key_", "done"]).await;
        assert_eq!(line.len(), 1, "{}", stack.output());
    }
}

#[tokio::test]
async fn every_decision_carries_its_request_id_in_the_log() {
    let stack = Stack::embedded(&["--log-level", "debug"]).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    stack.client().authenticate(with_id(by_key("recurr", &key), "good-1")).await.unwrap();
    stack.client().authenticate(with_id(by_key("recurr", "junk"), "bad-2")).await.unwrap();
    stack.client().authenticate(with_id(by_key("nowhere", "junk"), "wrong-3")).await.unwrap_err();
    stack.client().authenticate(with_id(by_key("recurr", "junk"), "an id")).await.unwrap();
    let check = CheckRateLimitRequest {
        realm: "recurr".to_owned(),
        environment: "live".to_owned(),
        selection: Some(Selection::Operation("read".to_owned())),
        subject: Some(Subject { account_id: "acme".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    stack.client().check_rate_limit(with_id(check, "check-4")).await.unwrap();
    for words in [
        &["good-1", "decision=\"allowed\"", &*id][..],
        &["bad-2", "decision=\"denied\"", "malformed_key"],
        &["wrong-3", "refused", "realm"],
        &["check-4", "decision=\"allowed\""],
    ] {
        assert_eq!(lines(&stack, words).await.len(), 1, "{words:?} in:\n{}", stack.output());
    }
    // An id that is none is replaced.
    assert!(!stack.output().contains("an id"));
    assert_eq!(lines(&stack, &["malformed_key", "request_id="]).await.len(), 2);
}

/// The fields of the decision line that `docs/operations.md` promises.
fn promised() -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once("**The decision line.**").expect("it is documented");
    let table = section.split("The sampled line").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_line_of_a_decision_has_the_fields_that_are_promised() {
    let stack = Stack::embedded(&["--log-level", "debug", "--log-format", "json"]).await;
    let (_, key) = stack.new_key("recover", "acme", "live").await;
    stack.authenticate(charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1)).await.allowed();
    stack.authenticate(charged(by_key("recover", &key), "POST", "/v1/accounts/acme/leads/bulk", 51)).await.denied();
    stack.authenticate(by_key("recover", "no key")).await.denied();
    stack.envoy_check(envoy::check("recover", "GET", "/a/../b%", &[("x-partner-key", &key)])).await;
    stack.envoy_limit(envoy::limit("recover", &[envoy::descriptor(&[("path", "/a")])])).await;
    stack.wait_for_output("should_rate_limit").await;
    let promised = promised();
    let own = ["timestamp", "level", "target", "message", "span", "spans"];
    let mut found = BTreeSet::new();
    let mut verbs = BTreeSet::new();
    for line in stack.output().lines() {
        let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) else { continue };
        if !fields.contains_key("decision") {
            continue;
        }
        for needed in ["request_id", "realm", "verb", "decision", "degraded"] {
            assert!(fields.contains_key(needed), "`{needed}` in {line}");
        }
        verbs.insert(fields["verb"].as_str().unwrap().to_owned());
        found.extend(fields.keys().filter(|name| !own.contains(&name.as_str())).cloned());
    }
    assert_eq!(verbs.len(), 3, "{verbs:?}");
    let unknown: Vec<_> = found.difference(&promised).collect();
    let missing: Vec<_> = promised.difference(&found).map(String::as_str).collect();
    assert!(unknown.is_empty(), "not in docs/operations.md: {unknown:?}");
    // What takes tokens, and traces: other tests see them.
    assert_eq!(missing, ["issuer", "trace_id"], "{}", stack.output());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_crash_leaves_no_memory_behind() {
    let stack = Stack::embedded(&[]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", stack.process_id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let numbers: Vec<&str> = line["Max core file size".len()..].split_whitespace().collect();
    assert_eq!(numbers[..2], ["0", "0"], "{line}");
}

on_both_stores! {
    async fn a_key_acts_within_its_own_organization_and_no_other(stack) {
        let (id, key) = stack.new_key("recurr", "acme", "live").await;
        let within = |organization: &str| AuthenticateRequest {
            organization_id: organization.to_owned(),
            ..by_key("recurr", &key)
        };
        assert_eq!(stack.authenticate(within("acme")).await.allowed().key_id, id);
        let denied = stack.authenticate(within("other")).await.denied_for(DenyReason::ForbiddenAccount);
        assert_eq!((denied.http_status, denied.key_id), (403, id.clone()));
        let both = AuthenticateRequest { account_id: "acme".to_owned(), ..within("other") };
        stack.authenticate(both).await.denied_for(DenyReason::ForbiddenAccount);
        let status = stack.try_authenticate(within("a/b")).await.unwrap_err();
        assert_invalid(&status, &["organization_id"]);
    }

    async fn nobody_else_may_read_what_the_server_keeps(stack) {
        for entry in std::fs::read_dir(stack.data_dir()).unwrap() {
            let entry = entry.unwrap();
            let mode = std::os::unix::fs::PermissionsExt::mode(&entry.metadata().unwrap().permissions());
            assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", entry.path().display());
        }
    }
}
