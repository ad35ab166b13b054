//! What an operator may rely on while the store is away, when the server secret is rotated, and when too much is asked.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "how old an answer is, and when a connection ends, is what is tested")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, AuthenticateResponse, CheckRateLimitRequest, CreateKey, DenyReason, ListKeys, Subject,
    check_rate_limit_request::Selection, manage_keys_request::Operation,
};
use std::{
    fs,
    future::Future,
    io::Read,
    net::TcpStream,
    time::{Duration, Instant},
};
use support::{
    calls::{Answered, by_key, charged, key_for, millis},
    files::ConfigFile,
    keygate::{DataDir, Keygate},
    redis::RedisServer,
    stack::Stack,
};
use tonic::{Code, Status};

const REALM: &str = r#"
realm = "lenient"
title = "A realm that goes on for a while"
hint = "HINT"
max_staleness = "4s"
[[environments]]
name = "live"
prefix = "ln_live_"
[[credentials]]
header = "x-key"
[[operations]]
name = "read"
routes = ["GET /things"]
[[operations]]
name = "write"
routes = ["POST /things"]
[[operations]]
name = "watched"
routes = ["PUT /things"]
[[limits]]
name = "reads"
limit = 100
window = "1m"
per = ["account"]
operations = ["read"]
on_store_failure = "allow"
[[limits]]
name = "writes"
limit = 100
window = "1m"
per = ["account"]
operations = ["write"]
[[limits]]
name = "shadows"
limit = 100
window = "1m"
per = ["account"]
operations = ["watched"]
shadow = true
"#;

/// How old an answer of the realm may be.
const MAX_STALENESS: Duration = Duration::from_secs(4);

fn realm(hint: &str) -> String {
    REALM.replace("HINT", hint)
}

fn ask(key: &str, method: &str) -> AuthenticateRequest {
    charged(by_key("lenient", key), method, "/things", 1)
}

fn check(operation: &str) -> CheckRateLimitRequest {
    CheckRateLimitRequest {
        realm: "lenient".to_owned(),
        selection: Some(Selection::Operation(operation.to_owned())),
        subject: Some(Subject { account_id: "acme".to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

/// Asks until the answer is as wanted.
async fn until<T, F: Future<Output = T>>(mut asked: impl FnMut() -> F, wanted: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = asked().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "not as wanted in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_realm_that_says_so_goes_on_with_what_is_remembered_and_tells_how_old_it_is() {
    let file = ConfigFile::new("lenient.toml", &realm("none"));
    let arguments = ["--realm-file", &file.path(), "--threads", "1"];
    let mut stack = Stack::redis(&arguments).await;
    let (id, key) = stack.new_key("lenient", "acme", "live").await;
    let (_, unused) = stack.new_key("lenient", "acme", "live").await;
    // Before it is confirmed: however long an answer travels, what it tells is no older than this.
    let asked = Instant::now();
    let fresh = stack.authenticate(ask(&key, "GET")).await;
    assert_eq!((fresh.degraded, millis(fresh.data_age.as_ref())), (false, 0));
    assert_eq!(fresh.limits[0].remaining, 99);

    stack.redis.as_mut().unwrap().kill();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut ages = Vec::new();
    for method in ["GET", "PUT"] {
        let answer = stack.authenticate(ask(&key, method)).await;
        assert!(answer.degraded && answer.limits[0].degraded, "{answer:?}");
        ages.push(millis(answer.data_age.as_ref()));
        assert_eq!(answer.allowed().key_id, id);
    }
    let most = i64::try_from(asked.elapsed().as_millis()).unwrap();
    assert!(ages[0] >= 100 && ages[1] >= ages[0] && ages[1] <= most, "{ages:?} within {most} ms");
    // No header tells of limits that nobody counted.
    let answer = stack.authenticate(ask(&key, "GET")).await.allowed();
    assert!(!answer.headers.iter().any(|header| header.name.to_lowercase().contains("ratelimit")), "{answer:?}");

    // A limit that must be counted, and a key that nobody remembers, wait for the store.
    for refused in [ask(&key, "POST"), ask(&unused, "GET")] {
        assert_eq!(stack.try_authenticate(refused).await.unwrap_err().code(), Code::Unavailable);
    }
    for (operation, passes) in [("read", true), ("watched", true), ("write", false)] {
        let answer = stack.try_check(check(operation)).await;
        assert_eq!(answer.as_ref().is_ok_and(|answer| answer.allowed && answer.degraded), passes, "{answer:?}");
        assert_eq!(answer.is_err(), !passes, "{answer:?}");
    }

    // Nothing older than the realm allows decides.
    let ask_again = || stack.try_authenticate(ask(&key, "GET"));
    let too_old = |answer: &Result<AuthenticateResponse, Status>| {
        let age = answer.as_ref().map(|answer| millis(answer.data_age.as_ref())).unwrap_or_default();
        assert!(age <= i64::try_from(MAX_STALENESS.as_millis()).unwrap(), "{answer:?}");
        answer.is_err()
    };
    assert_eq!(until(ask_again, too_old).await.unwrap_err().code(), Code::Unavailable);
    assert!(asked.elapsed() >= MAX_STALENESS, "refused too early: {:?}", asked.elapsed());

    stack.redis.as_mut().unwrap().restart();
    let ask_again = || stack.try_authenticate(ask(&key, "GET"));
    let back = until(ask_again, Result::is_ok).await.unwrap();
    assert_eq!((back.degraded, millis(back.data_age.as_ref())), (false, 0));
    // What passed while the store was away was not charged.
    assert_eq!(back.limits[0].remaining, 98);
}

/// A rotated server secret moves a key to it when the key is next let through. It shows in the hint, which is made anew.
async fn a_new_server_secret_takes_over(redis: Option<&RedisServer>) {
    let file = ConfigFile::new("lenient.toml", &realm("none"));
    let (path, url) = (file.path(), redis.map(RedisServer::url));
    let store = url.as_ref().map(|url| vec!["--store", "redis", "--redis-url", url]).unwrap_or_default();
    let arguments = [&["--realm-file", path.as_str()], &store[..]].concat();
    let mut keygate = Keygate::start(&arguments).await;
    let (id, key) = keygate.new_key("lenient", "acme", "live").await;
    let (ended, revoked) = keygate.new_key("lenient", "acme", "live").await;
    keygate.revoke("lenient", &ended).await;
    assert_eq!(keygate.get("lenient", &id).await.hint, "");

    keygate.kill();
    let secrets = keygate.data_dir().join("secrets");
    let old = fs::read_to_string(&secrets).unwrap();
    fs::write(&secrets, format!("{old}2 {}\n", "5e".repeat(32))).unwrap();
    file.rewrite(&realm("prefix-last4"));
    keygate.restart().await;
    assert_eq!(keygate.get("lenient", &id).await.hint, "", "nothing was moved before it was used");
    assert_eq!(keygate.authenticate(by_key("lenient", &key)).await.allowed().key_id, id);
    keygate.authenticate(by_key("lenient", &revoked)).await.denied_for(DenyReason::RevokedKey);
    let hint = format!("ln_live_…{}", &key[key.len() - 4..]);
    until(|| keygate.get("lenient", &id), |found| found.hint == hint).await;
    for _ in 0..2 {
        assert_eq!(keygate.authenticate(by_key("lenient", &key)).await.allowed().key_id, id);
        keygate.authenticate(by_key("lenient", &revoked)).await.denied_for(DenyReason::RevokedKey);
        keygate.restart().await;
    }
    // Of several servers, one that lacks the new secret could not read what the others write, and does not start.
    keygate.kill();
    if redis.is_none() {
        return;
    }
    fs::write(&secrets, old).unwrap();
    let started = Keygate::try_start(DataDir::Given(keygate.data_dir().to_owned()), &arguments).await;
    assert!(started.is_err_and(|ended| ended.output.contains("secret")), "it started");
}

#[tokio::test]
async fn a_new_server_secret_takes_over_on_the_embedded_store() {
    a_new_server_secret_takes_over(None).await;
}

#[tokio::test]
async fn a_new_server_secret_takes_over_on_redis() {
    a_new_server_secret_takes_over(Some(&RedisServer::start())).await;
}

/// A server with these lines under `[limits]`.
async fn limited(limits: &str) -> Keygate {
    let settings = ConfigFile::settings(&format!("threads = 1\n[limits]\n{limits}\n"));
    Keygate::start(&["--config", &settings.path()]).await
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_said_is_closed() {
    let keygate = limited("arrival_timeout = \"200ms\"").await;
    let began = Instant::now();
    let mut silent = TcpStream::connect(keygate.address()).unwrap();
    silent.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    // Its settings may come first; then the end.
    let mut heard = Vec::new();
    let ended = silent.read_to_end(&mut heard);
    assert!(ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
}

#[tokio::test]
async fn half_a_request_takes_no_place_and_does_not_stay_for_ever() {
    let keygate = limited("calls = 2\nacts = 1\narrival_timeout = \"2s\"").await;
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    let mut halves = Vec::new();
    for path in ["Authenticate", "CheckRateLimit", "ManageKeys", "Authenticate", "ManageKeys"] {
        halves.push((path, support::raw::half_a_call(&keygate, &format!("/keygate.v1.Authorization/{path}")).await));
    }
    // There is room for those whose requests are there.
    keygate.authenticate(by_key("recurr", &key)).await.allowed();
    keygate.list("recurr", ListKeys::default()).await;
    assert_eq!(keygate.health().await, tonic_health::pb::health_check_response::ServingStatus::Serving);
    // The half requests end, each with its reason.
    for (path, half) in halves {
        assert_eq!(half.ended().await, Code::DeadlineExceeded, "{path}");
    }
    keygate.authenticate(by_key("recurr", &key)).await.allowed();
}

#[tokio::test]
async fn a_decision_takes_a_small_message_and_management_a_large_one() {
    let keygate = Keygate::start(&[]).await;
    let path = format!("/{}", "x".repeat(70_000));
    let large = AuthenticateRequest { path, method: "GET".to_owned(), ..by_key("recurr", "k") };
    assert_eq!(keygate.try_authenticate(large).await.unwrap_err().code(), Code::OutOfRange);
    let subject = Some(Subject { custom: "x".repeat(70_000), ..Default::default() });
    let large = CheckRateLimitRequest { subject, realm: "recurr".to_owned(), ..Default::default() };
    assert_eq!(keygate.try_check(large).await.unwrap_err().code(), Code::OutOfRange);
    // Refused for what it says, not for its size.
    let large = CreateKey { name: "x".repeat(900_000), ..key_for("acme", "live") };
    let status = keygate.try_manage("recurr", Operation::Create(large)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let larger = CreateKey { name: "x".repeat(1_100_000), ..key_for("acme", "live") };
    let status = keygate.try_manage("recurr", Operation::Create(larger)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
}
