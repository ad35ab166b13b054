//! A realm that lets requests pass while the store is silent: what silence is, and what is none.

use crate::support::{
    calls::{Answered, by_key, charged},
    stack::Stack,
};
use keygate::proto::v1::{CheckRateLimitRequest, DenyReason, Subject, check_rate_limit_request};
use std::{fs, time::Duration};
use tempfile::TempDir;
use tonic::Code;

/// recurr, which denies in silence, changed to allow.
async fn lenient(folder: &TempDir) -> Stack {
    let file = folder.path().join("recurr.toml");
    let shipped = fs::read_to_string("deploy/realms/recurr.toml").unwrap();
    let lenient = shipped.replacen("realm = \"recurr\"", "realm = \"recurr\"\nmax_staleness = \"1h\"", 1).replacen(
        "name = \"requests\"",
        "name = \"requests\"\non_store_failure = \"allow\"",
        1,
    );
    assert_eq!(lenient.matches("on_store_failure").count(), 1);
    fs::write(&file, lenient).unwrap();
    Stack::redis(&["--realm-file", file.to_str().unwrap()]).await
}

#[tokio::test]
async fn a_silent_store_is_passed_over_for_keys_that_were_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let stack = lenient(&folder).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    let (_, unseen) = stack.new_key("recurr", "zeta", "live").await;
    let ask = |key: &str| charged(by_key("recurr", key), "GET", "/", 1);
    let answer = stack.authenticate(ask(&key)).await;
    assert!(!answer.degraded);
    stack.redis.as_ref().unwrap().pause();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let answer = stack.authenticate(ask(&key)).await;
    assert!(answer.degraded && answer.data_age.is_some_and(|age| (age.seconds, age.nanos) > (0, 50_000_000)));
    assert_eq!(answer.allowed().key_id, id);
    assert_eq!(stack.try_authenticate(ask(&unseen)).await.unwrap_err().code(), Code::Unavailable);
    stack.redis.as_ref().unwrap().resume();
}

#[tokio::test]
async fn a_spoilt_counter_is_never_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let stack = lenient(&folder).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    let ask = || charged(by_key("recurr", &key), "GET", "/", 1);
    let check = || CheckRateLimitRequest {
        realm: "recurr".to_owned(),
        environment: "live".to_owned(),
        selection: Some(check_rate_limit_request::Selection::Operation("read".to_owned())),
        subject: Some(Subject { account_id: "acme".to_owned(), ..Default::default() }),
        ..Default::default()
    };
    stack.authenticate(ask()).await.allowed();
    stack.check(check()).await;
    let spoil =
        "local k = redis.call('KEYS', 'kg1:*:c:*')[1] redis.call('DEL', k) return redis.call('HSET', k, 'a', 'b')";
    assert_eq!(stack.redis.as_ref().unwrap().cli(&["EVAL", spoil, "0"]), "1");
    assert_eq!(stack.try_authenticate(ask()).await.unwrap_err().code(), Code::DataLoss);
    assert_eq!(stack.try_check(check()).await.unwrap_err().code(), Code::DataLoss);
    // Without a limit there is no counter to trust.
    assert_eq!(stack.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
    stack.revoke("recurr", &id).await;
    stack.authenticate(ask()).await.denied_for(DenyReason::RevokedKey);
}
