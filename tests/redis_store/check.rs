//! What keygate says of a server that it must not rest on.

use crate::{
    support::redis::{RedisServer, binary},
    world::{made, open, open_with, owner},
};
use keygate::{
    app::ports::{ProblemCode, Store, StoreError},
    store::redis::{OpenError, RedisOptions},
};
use std::time::Duration;

async fn refusal(server: &RedisServer, versions: &[u32]) -> String {
    match open_with(RedisOptions::new(&server.url()), versions).await {
        Err(refusal @ OpenError::Unfit { .. }) => refusal.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_evicts_or_forgets_is_refused_unless_that_is_allowed() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"]);
    let text = refusal(&server, &[1]).await;
    println!("{text}");
    assert!(text.contains("`maxmemory-policy` is `allkeys-lru`") && text.contains("`appendonly yes`"), "{text}");
    let lax = RedisOptions { allow_eviction: true, allow_no_persistence: true, ..RedisOptions::new(&server.url()) };
    open_with(lax, &[1]).await.unwrap();
    let half = RedisOptions { allow_eviction: true, ..RedisOptions::new(&server.url()) };
    assert!(matches!(open_with(half, &[1]).await, Err(OpenError::Unfit { faults, .. }) if faults.len() == 1));
}

#[tokio::test]
async fn cluster_mode_is_refused() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let text = refusal(&server, &[1]).await;
    println!("{text}");
    assert!(text.contains("cluster mode"), "{text}");
}

#[tokio::test]
async fn a_server_of_another_secret_is_told_so() {
    let server = RedisServer::start();
    let options = || RedisOptions::new(&server.url());
    open_with(options(), &[1]).await.unwrap();
    open_with(options(), &[1]).await.unwrap();
    let text = refusal(&server, &[2]).await;
    println!("{text}");
    assert!(text.contains("server secret"), "{text}");

    // Rotation: whoever knows both versions comes first; from then on neither alone is enough, and the missing one is named.
    let (store, _) = open(&server).await;
    open_with(options(), &[1, 2]).await.unwrap();
    for (alone, missing) in [(1, 2), (2, 1)] {
        let text = refusal(&server, &[alone]).await;
        assert!(text.contains(&format!("server secret version {missing} is missing")), "{text}");
        assert!(text.contains("put the line back into the `secrets` file from your copy"), "{text}");
    }
    // Whoever runs without it hears of it too.
    let found = store.examine().await;
    assert!(found.iter().any(|problem| problem.code == ProblemCode::Secret && problem.stops), "{found:?}");
    open_with(options(), &[1, 2, 3]).await.unwrap();
    assert!(refusal(&server, &[3]).await.contains("server secret versions 1, 2 are missing"));
    assert_eq!(server.cli(&["SET", "kg1:ring", "garbage"]), "OK");
    assert!(refusal(&server, &[2]).await.contains("server secret"));
}

#[tokio::test]
async fn a_primary_that_became_a_replica_is_left() {
    let (primary, server) = (RedisServer::start(), RedisServer::start());
    let (store, _) = open(&server).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]), "OK");
    let mut refused = String::new();
    for seed in 1..100 {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let (change, _) = crate::world::creation(&owner(&format!("account-{seed}")), None, seed);
        if let Err(error) = store.commit(&change).await {
            refused = error.to_string();
            if refused.contains("primary") {
                break;
            }
        }
    }
    println!("{refused}");
    assert!(refused.contains("address of the primary"), "{refused}");
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    tokio::time::sleep(Duration::from_secs(1)).await;
    made(&store, &owner("acme"), 200).await;
}

#[tokio::test]
async fn addresses_are_judged_and_passwords_never_told() {
    for url in
        ["", "127.0.0.1:6379", "http://127.0.0.1", "rediss://127.0.0.1#insecure", "redis://", "redis+sentinel://h"]
    {
        let opened = open_with(RedisOptions::new(url), &[1]).await;
        assert!(matches!(opened, Err(OpenError::Address)), "`{url}`: {opened:?}");
    }
    let server = RedisServer::start();
    server.config_set("requirepass", "hunter2");
    for user in ["", ":hunter3@"] {
        let url = format!("redis://{user}127.0.0.1:{}", server.port());
        let text = open_with(RedisOptions::new(&url), &[1]).await.unwrap_err().to_string();
        println!("{text}");
        assert!(text.contains("127.0.0.1") && !text.contains("hunter"), "{text}");
    }
    let store =
        open_with(RedisOptions::new(&format!("redis://:hunter2@127.0.0.1:{}", server.port())), &[1]).await.unwrap();
    store.ping().await.unwrap();
    assert!(!format!("{store:?}").contains("hunter"));

    let nobody = RedisServer::start();
    let url = nobody.url();
    drop(nobody);
    let refused = open_with(RedisOptions::new(&url), &[1]).await;
    assert!(
        matches!(&refused, Err(OpenError::Unreachable(StoreError::Unavailable(text))) if text.contains("127.0.0.1")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_shipped_user_may_do_what_keygate_does_and_nothing_else() {
    let server = RedisServer::start();
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut run = async |words: &[&str]| {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async::<redis::Value>(&mut connection).await.map_err(|error| error.to_string())
    };
    for allowed in [&["SET", "kg1:x", "1"][..], &["GET", "kg1:x"], &["INFO"], &["TIME"], &["DEL", "kg1:x"]] {
        assert!(run(allowed).await.is_ok(), "{allowed:?}");
    }
    for refused in [
        &["FLUSHALL"][..],
        &["KEYS", "*"],
        &["CONFIG", "GET", "maxmemory"],
        &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"],
        &["ACL", "LIST"],
        &["EVAL", "return 1", "0"],
        &["SCRIPT", "FLUSH"],
        &["SHUTDOWN", "NOSAVE"],
        &["PUBLISH", "kg1:x", "1"],
        &["GET", "another"],
        &["SET", "another", "1"],
    ] {
        let error = run(refused).await.unwrap_err();
        assert!(error.contains("NoPerm") || error.contains("NOPERM"), "{refused:?}: {error}");
    }
}

/// The file as it is shipped opens to nobody: Redis does not start with it.
#[test]
fn the_shipped_users_are_refused_until_a_password_is_made_up() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/users.acl");
    let Err(reason) = RedisServer::start_binary(&binary(), &["--aclfile", file]) else { panic!("it started") };
    assert!(reason.contains("ACL"), "{reason}");
}
