//! Redis over a Unix socket.

use crate::support::{
    calls::{Answered, by_bearer, charged},
    keygate::Keygate,
    redis::RedisServer,
    stack::Stack,
};
use keygate::proto::v1::{DenyReason, ListKeys, manage_keys_request::Operation};
use std::time::Duration;
use tempfile::TempDir;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

/// Redis at a socket in `folder`, and keygate with nothing but its path.
async fn stack(folder: &TempDir) -> Stack {
    let path = folder.path().join("redis.sock");
    let path = path.to_str().unwrap();
    let redis = RedisServer::start_with(&["--unixsocket", path]);
    let url = redis.url();
    // A user and a password, where the harness gives them, stand in the query of such an address.
    let login = url.strip_prefix("redis://").and_then(|rest| rest.split_once('@')).map(|(login, _)| login);
    let query = login.and_then(|login| login.split_once(':')).map(|(user, pass)| format!("?user={user}&pass={pass}"));
    let url = format!("unix://{path}{}", query.unwrap_or_default());
    let keygate = Keygate::start(&["--store", "redis", "--redis-url", &url]).await;
    Stack { keygate, redis: Some(redis) }
}

#[tokio::test]
async fn over_a_unix_socket_everything_works_and_mends_itself() {
    let folder = tempfile::tempdir().unwrap();
    let mut stack = stack(&folder).await;
    let clients = stack.redis.as_ref().unwrap().cli(&["CLIENT", "LIST"]);
    let of_keygate: Vec<&str> = clients.lines().filter(|line| !line.contains("cmd=client")).collect();
    // A worker and the management at the least; `U` marks a client at a socket.
    assert!(of_keygate.len() >= 2 && of_keygate.iter().all(|line| line.contains("flags=U")), "{clients}");

    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    let request = || charged(by_bearer("recurr", &key), "GET", "/v1/invoices", 400);
    for remaining in [600, 200] {
        let answer = stack.authenticate(request()).await;
        assert_eq!(answer.limits[0].remaining, remaining);
        assert_eq!(answer.allowed().key_id, id);
    }
    let denied = stack.authenticate(request()).await.denied_for(DenyReason::RateLimited);
    assert!(denied.retry_after.is_some());
    assert_eq!(stack.list("recurr", ListKeys::default()).await.keys[0].id, id);

    stack.redis.as_mut().unwrap().kill();
    let status = stack.try_authenticate(request()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    stack.wait_for_health(ServingStatus::NotServing, Duration::from_secs(5)).await;
    stack.redis.as_mut().unwrap().restart();
    stack.wait_for_health(ServingStatus::Serving, Duration::from_secs(10)).await;
    assert_eq!(stack.authenticate(by_bearer("recurr", &key)).await.allowed().key_id, id);
    stack.revoke("recurr", &id).await;
    stack.authenticate(request()).await.denied_for(DenyReason::RevokedKey);
    stack.try_manage("recurr", Operation::List(ListKeys::default())).await.unwrap();
}
