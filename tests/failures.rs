//! What happens when what keygate stands on is missing, wrong, full, slow or gone.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "how long an answer takes is what is tested")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, CheckRateLimitRequest, CreateKey, DenyReason, ListKeys, RevokeKey, Subject,
    check_rate_limit_request::Selection, manage_keys_request::Operation,
};
use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};
use support::{
    calls::{Answered, by_key, charged, key_for, texts},
    files::ConfigFile,
    keygate::{DataDir, Ended, Keygate},
    redis::RedisServer,
    stack::Stack,
};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

/// How long an answer may take when the store gives none: the deadline of 300 ms, and far more than a busy machine adds.
const PROMPT: Duration = Duration::from_secs(3);

async fn refused(data: DataDir, arguments: &[&str]) -> Ended {
    let Err(ended) = Keygate::try_start(data, arguments).await else { panic!("keygate started") };
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.after < Duration::from_secs(8), "{ended:#?}");
    assert!(!ended.output.contains("panicked"), "{ended:#?}");
    ended
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a-file");
    fs::write(&file, "").unwrap();
    // Below a file nobody can make a directory, not even root; and in /proc nobody can make a file.
    for path in [file.join("data"), PathBuf::from("/proc/keygate-data")] {
        let ended = refused(DataDir::Given(path.clone()), &[]).await;
        assert!(ended.output.contains(path.to_str().unwrap()), "{ended:#?}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"", "the file was changed");
}

#[tokio::test]
async fn a_second_server_on_a_data_directory_is_told_and_the_first_goes_on() {
    let first = Keygate::start(&[]).await;
    let (_, key) = first.new_key("recurr", "acme", "live").await;
    let ended = refused(DataDir::Given(first.data_dir().to_owned()), &[]).await;
    let told = format!("data directory `{}` is in use by another keygate process", first.data_dir().display());
    assert!(ended.output.contains(&told), "{ended:#?}");
    first.authenticate(by_key("recurr", &key)).await.allowed();
}

#[tokio::test]
async fn a_data_directory_of_a_newer_version_is_left_as_it_is() {
    let mut keygate = Keygate::start(&[]).await;
    let data = keygate.data_dir().to_owned();
    assert!(keygate.terminate().await.success());
    let file = data.join("keygate.redb");
    {
        let table: redb::TableDefinition<'_, &str, &[u8]> = redb::TableDefinition::new("meta");
        let database = redb::Database::open(&file).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(table).unwrap().insert("format", 4_000_000_000u32.to_be_bytes().as_slice()).unwrap();
        transaction.commit().unwrap();
    }
    let ended = refused(DataDir::Given(data), &[]).await;
    assert!(ended.output.contains("format 4000000000") && ended.output.contains("keygate.redb"), "{ended:#?}");
}

#[tokio::test]
async fn a_store_that_is_none_and_a_secret_that_is_lost_are_told() {
    let mut keygate = Keygate::start(&[]).await;
    let data = keygate.data_dir().to_owned();
    assert!(keygate.terminate().await.success());
    let secrets = fs::read_to_string(data.join("secrets")).unwrap();
    fs::remove_file(data.join("secrets")).unwrap();
    let ended = refused(DataDir::Given(data.clone()), &[]).await;
    assert!(ended.output.contains("secrets` is missing") && !data.join("secrets").exists(), "{ended:#?}");
    fs::write(data.join("secrets"), format!("1 {}\n", "ab".repeat(32))).unwrap();
    let ended = refused(DataDir::Given(data.clone()), &[]).await;
    assert!(ended.output.contains("was written with another server secret"), "{ended:#?}");
    fs::write(data.join("secrets"), secrets).unwrap();
    fs::write(data.join("keygate.redb"), "this is no database").unwrap();
    let ended = refused(DataDir::Given(data.clone()), &[]).await;
    assert!(ended.output.contains("cannot be read as a keygate store"), "{ended:#?}");
    assert_eq!(fs::read(data.join("keygate.redb")).unwrap(), b"this is no database", "what was there is gone");
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(support::keygate::BINARY);
    command.args(["serve", "--listen", &address, "--data-dir"]).arg(folder.path());
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("cannot listen on {address}")), "{told}");
}

/// The store answers while it is opened, and has no connection left for the workers.
#[tokio::test]
async fn a_redis_that_is_gone_before_the_workers_reach_it_is_told_before_anything_listens() {
    let redis = RedisServer::start();
    redis.config_set("maxclients", "1");
    let url = redis.url();
    let ended = refused(DataDir::new(), &["--store", "redis", "--redis-url", &url]).await;
    assert!(ended.output.contains("max number of clients"), "{ended:#?}");
    assert!(!ended.output.contains("listening on"), "{ended:#?}");
}

#[tokio::test]
async fn redis_absent_at_start_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("redis://:hunter2hunter2hunter2@{free}");
    let ended = refused(DataDir::new(), &["--store", "redis", "--redis-url", &url]).await;
    assert!(ended.output.to_lowercase().contains("redis") && ended.output.contains(&free.to_string()), "{ended:#?}");
    assert!(!ended.output.contains("hunter2"), "{ended:#?}");
}

#[tokio::test]
async fn a_redis_that_must_not_be_rested_on_is_told() {
    let redis = RedisServer::start_with(&["--appendonly", "no", "--maxmemory-policy", "allkeys-lru"]);
    let ended = refused(DataDir::new(), &["--store", "redis", "--redis-url", &redis.url()]).await;
    for told in ["appendonly yes", "maxmemory-policy noeviction"] {
        assert!(ended.output.contains(told), "{ended:#?}");
    }
}

#[tokio::test]
async fn redis_gone_in_the_middle_is_unavailable_and_mends_itself() {
    let mut stack = Stack::redis(&[]).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();

    stack.redis.as_mut().unwrap().kill();
    unavailable(&stack, &id, &key).await;
    stack.wait_for_health(ServingStatus::NotServing, Duration::from_secs(5)).await;

    stack.redis.as_mut().unwrap().restart();
    stack.wait_for_health(ServingStatus::Serving, Duration::from_secs(10)).await;
    assert_eq!(stack.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
    stack.new_key("recurr", "acme", "live").await;
}

#[tokio::test]
async fn a_paused_redis_is_answered_for_within_the_deadline() {
    let settings = ConfigFile::settings("[store.redis]\ndeadline = \"300ms\"\n");
    let stack = Stack::redis(&["--config", &settings.path()]).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();
    let redis = stack.redis.as_ref().unwrap();
    redis.pause();
    unavailable(&stack, &id, &key).await;
    stack.wait_for_health(ServingStatus::NotServing, Duration::from_secs(5)).await;
    redis.resume();
    stack.wait_for_health(ServingStatus::Serving, Duration::from_secs(10)).await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();
}

/// Everything that needs the store is UNAVAILABLE, and soon; what does not is judged still.
async fn unavailable(stack: &Stack, id: &str, key: &str) {
    for round in 0..5 {
        for request in [by_key("recurr", key), charged(by_key("recurr", key), "GET", "/", 1)] {
            let began = Instant::now();
            let status = stack.try_authenticate(request).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            assert!(began.elapsed() < PROMPT, "round {round} took {:?}: {status:?}", began.elapsed());
        }
    }
    stack.authenticate(by_key("recurr", "malformed")).await.denied_for(DenyReason::MalformedKey);
    for operation in [
        Operation::Create(key_for("acme", "live")),
        Operation::List(ListKeys::default()),
        Operation::Revoke(RevokeKey { key_id: id.to_owned(), ..Default::default() }),
    ] {
        let began = Instant::now();
        let status = stack.try_manage("recurr", operation).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(began.elapsed() < 2 * PROMPT, "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_full_redis_refuses_new_keys_and_revokes_old_ones() {
    let stack = Stack::redis(&[]).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    let redis = stack.redis.as_ref().unwrap();
    redis.config_set("maxmemory", "1");

    let status = stack.try_manage("recurr", Operation::Create(key_for("acme", "live"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.message().contains("full"), "{status:?}");
    // Who is calling can be told still; a limit that cannot be counted is one that cannot be judged.
    assert_eq!(stack.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
    let status = stack.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");

    stack.revoke("recurr", &id).await;
    stack.authenticate(by_key("recurr", &key)).await.denied_for(DenyReason::RevokedKey);

    redis.config_set("maxmemory", "0");
    let keys = stack.list("recurr", ListKeys::default()).await.keys;
    assert_eq!(keys.len(), 1, "something was half written: {keys:?}");
    stack.new_key("recurr", "acme", "live").await;
}

#[tokio::test]
async fn where_there_is_no_room_for_a_counter_those_that_are_kept_go_on() {
    const ROOM: usize = 1_000;
    let settings = ConfigFile::settings(&format!("[limits]\ncounters = {ROOM}\n"));
    let keygate = Keygate::start(&["--config", &settings.path()]).await;
    let send = |account: &str| CheckRateLimitRequest {
        realm: "recover".to_owned(),
        selection: Some(Selection::Operation("messages.send".to_owned())),
        subject: Some(Subject { account_id: account.to_owned(), ..Default::default() }),
        ..Default::default()
    };
    for invented in 0..ROOM {
        assert!(keygate.check(send(&format!("a{invented}"))).await.allowed);
    }
    for invented in 0..10 {
        let status = keygate.try_check(send(&format!("b{invented}"))).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.message().contains("full"), "{status:?}");
    }
    // Nobody's counter was given up for another's, and nobody who had one is turned away.
    for known in [0, ROOM / 2, ROOM - 1] {
        let answer = keygate.check(send(&format!("a{known}"))).await;
        assert!(answer.allowed && !answer.degraded, "{answer:?}");
        assert_eq!(answer.limits[0].remaining + 2, answer.limits[0].limit, "{answer:?}");
    }
    let output = keygate.output();
    assert!(output.contains("no room for a new counter"), "{output}");
    assert!(output.matches("no room for a new counter").count() < 10, "not seldom: {output}");
    // Which keys there are has nothing to do with it.
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    assert_eq!(keygate.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
}

#[tokio::test]
async fn a_use_that_could_not_be_written_is_written_with_the_next_one() {
    let stack = Stack::redis(&[]).await;
    let (id, key) = stack.new_key("recurr", "acme", "live").await;
    let redis = stack.redis.as_ref().unwrap();
    redis.config_set("maxmemory", "1");
    let used = AuthenticateRequest { source_address: "192.0.2.7".to_owned(), ..by_key("recurr", &key) };
    stack.authenticate(used.clone()).await.allowed();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !stack.output().contains("uses of keys could not be written") {
        assert!(Instant::now() < deadline, "nothing was tried:\n{}", stack.output());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    redis.config_set("maxmemory", "0");
    assert_eq!(stack.get("recurr", &id).await.last_used_address, "");

    // The same address, soon after: what was written before would not be written again for a minute.
    stack.authenticate(used).await.allowed();
    let deadline = Instant::now() + Duration::from_secs(10);
    while stack.get("recurr", &id).await.last_used_address != "192.0.2.7" {
        assert!(Instant::now() < deadline, "the use was forgotten:\n{}", stack.output());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_knows_no_key() {
    let mut stack = Stack::redis(&[]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();
    stack.redis.as_mut().unwrap().restart_empty();
    stack.wait_for_health(ServingStatus::Serving, Duration::from_secs(10)).await;
    // Health is looked at once a second and may speak of before; the connection mends itself.
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(status) = stack.try_authenticate(by_key("recurr", &key)).await {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(Instant::now() < deadline, "{status:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A key is valid only while a record says so: nobody passes on what is remembered.
    stack.authenticate(by_key("recurr", &key)).await.denied_for(DenyReason::UnknownKey);
    // Management has a connection of its own, which mends itself too.
    let status = loop {
        let status = stack.try_manage("recurr", Operation::Create(key_for("acme", "live"))).await.unwrap_err();
        if status.code() != Code::Unavailable || Instant::now() > deadline {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status.code(), Code::Unauthenticated, "the operator key is gone too: {status:?}");
}

#[tokio::test]
async fn whatever_was_acknowledged_before_a_kill_is_there_after_it() {
    let mut keygate = Keygate::start(&[]).await;
    for _ in 0..3 {
        let acknowledged = Mutex::new((Vec::new(), Vec::new()));
        let act = async {
            // Ends when the server is gone.
            loop {
                let create = CreateKey { scopes: texts(&["read-write"]), ..key_for("acme", "live") };
                let create = Operation::Create(create);
                let Ok(keygate::proto::v1::manage_keys_response::Result::Created(made)) =
                    keygate.try_manage("recurr", create).await
                else {
                    return;
                };
                let id = made.key.unwrap().id;
                acknowledged.lock().unwrap().0.push((id.clone(), made.secret.clone()));
                if id.ends_with(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F']) {
                    let revoke = RevokeKey { key_id: id.clone(), ..Default::default() };
                    if keygate.try_manage("recurr", Operation::Revoke(revoke)).await.is_err() {
                        // Whether this one was done nobody knows.
                        acknowledged.lock().unwrap().0.retain(|(known, _)| *known != id);
                        return;
                    }
                    let mut lists = acknowledged.lock().unwrap();
                    lists.0.retain(|(known, _)| *known != id);
                    lists.1.push((id, made.secret));
                }
            }
        };
        let id = keygate.process_id();
        let kill = async {
            // In the middle of the next act, whichever that is.
            let done = |lists: &(Vec<_>, Vec<_>)| lists.0.len() + lists.1.len();
            let deadline = Instant::now() + Duration::from_secs(60);
            while done(&acknowledged.lock().unwrap()) < 20 {
                assert!(Instant::now() < deadline, "acts are not acknowledged");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let killed = std::process::Command::new("sh").args(["-c", &format!("kill -KILL {id}")]).status().unwrap();
            assert!(killed.success());
        };
        tokio::join!(act, kill);
        keygate.restart().await;
        let (live, revoked) = acknowledged.into_inner().unwrap();
        for (id, secret) in live {
            assert_eq!(keygate.authenticate(by_key("recurr", &secret)).await.allowed().key_id, id);
        }
        for (_, secret) in revoked {
            keygate.authenticate(by_key("recurr", &secret)).await.denied_for(DenyReason::RevokedKey);
        }
    }
}

#[tokio::test]
async fn told_to_end_it_ends_in_good_order_and_forgets_nothing() {
    let mut keygate = Keygate::start(&[]).await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    assert!(keygate.terminate().await.success());
    keygate.restart().await;
    assert_eq!(keygate.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
}
