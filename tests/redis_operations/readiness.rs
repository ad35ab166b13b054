//! What is wrong with a Redis is told by name, when it comes and when it goes.

use crate::{
    SOON, open, options, refusal,
    support::{
        calls::{Answered, by_key, charged, key_for},
        files::ConfigFile,
        keygate::{DataDir, Keygate},
        redis::RedisServer,
        stack::Stack,
    },
    until,
};
use keygate::{
    app::ports::Store,
    proto::v1::{ListKeys, manage_keys_request::Operation},
    store::redis::{Redis, RedisOptions},
};
use std::fs;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

/// The problems that a store tells of, by their codes; those in capitals keep the server from serving.
async fn codes(store: &Redis) -> Vec<String> {
    let problems = store.examine().await;
    let code = |problem: &keygate::app::ports::Problem| {
        assert!(!problem.remedy.is_empty() && problem.what.contains("127.0.0.1"), "{problem:?}");
        let name = problem.code.name();
        if problem.stops { name.to_uppercase() } else { name.to_owned() }
    };
    problems.iter().map(code).collect()
}

/// Every command that the shipped user may run is one that it needs, and one that is missing is told by its name.
#[tokio::test]
async fn a_command_that_the_user_may_not_run_is_named() {
    let server = RedisServer::start();
    let users = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/users.acl")).unwrap();
    let rule = users.lines().find(|line| line.starts_with("user keygate ")).unwrap();
    let commands: Vec<&str> = rule.split(' ').filter_map(|word| word.strip_prefix('+')).collect();
    assert!(commands.len() > 15, "{rule}");
    let waiting = || RedisOptions { wait_replicas: 1, ..options(&server.url()) };
    for command in commands {
        // Redis 6.2 names no part of a command that may not be run.
        let whole = command.split('|').next().unwrap();
        assert_eq!(server.cli(&["ACL", "SETUSER", "keygate", &format!("-{whole}")]), "OK");
        let text = refusal(waiting()).await;
        assert!(text.contains(&format!("`+{command}`")) && text.contains("ACL SETUSER"), "{command}: {text}");
        assert_eq!(server.cli(&["ACL", "SETUSER", "keygate", &format!("+{command}")]), "OK");
    }
    server.cli(&["ACL", "SETUSER", "keygate", "-hset", "-zadd"]);
    assert!(refusal(options(&server.url())).await.contains("`+hset +zadd`"));
    server.cli(&["ACL", "SETUSER", "keygate", "+hset", "+zadd", "resetkeys", "~other:*"]);
    assert!(refusal(options(&server.url())).await.contains("`~kg1:*`"));
    server.cli(&["ACL", "SETUSER", "keygate", "~kg1:*"]);
    let store = open(options(&server.url())).await.unwrap();
    assert_eq!(codes(&store).await, [""; 0]);
    assert_eq!(server.cli(&["EXISTS", "kg1:probe"]), "0", "trying left something behind");
    server.cli(&["ACL", "SETUSER", "keygate", "-setrange"]);
    assert_eq!(codes(&store).await, ["PERMISSION"]);
    server.cli(&["ACL", "SETUSER", "keygate", "+setrange", "-info"]);
    assert_eq!(codes(&store).await, ["PERMISSION"]);
}

#[tokio::test]
async fn what_changes_while_it_runs_is_seen() {
    let mut server = RedisServer::start();
    let store = open(options(&server.url())).await.unwrap();
    assert_eq!(codes(&store).await, [""; 0]);
    server.config_set("maxmemory-policy", "allkeys-lru");
    assert_eq!(codes(&store).await, ["eviction"]);
    server.config_set("appendonly", "no");
    assert_eq!(codes(&store).await, ["eviction", "persistence"]);
    server.config_set("maxmemory-policy", "noeviction");
    server.config_set("appendonly", "yes");
    assert_eq!(codes(&store).await, [""; 0]);

    let info = server.cli(&["INFO", "memory"]);
    let used: u64 = info.lines().find_map(|line| line.strip_prefix("used_memory:")?.trim().parse().ok()).unwrap();
    server.config_set("maxmemory", &(used + used / 20).to_string());
    assert_eq!(codes(&store).await, ["nearly-full"]);
    server.config_set("maxmemory", "1");
    assert_eq!(codes(&store).await, ["full"]);
    server.config_set("maxmemory", "0");

    // A snapshot cannot take the place of a folder, and Redis then takes no writes.
    let in_the_way = server.dir().join("dump.rdb");
    fs::create_dir_all(in_the_way.join("full")).unwrap();
    server.config_set("save", "3600 1");
    until("the snapshot fails", async || {
        server.cli(&["BGSAVE"]);
        codes(&store).await == ["DISK"]
    })
    .await;
    fs::remove_dir_all(&in_the_way).unwrap();
    until("the snapshot succeeds", async || {
        server.cli(&["BGSAVE"]);
        codes(&store).await.is_empty()
    })
    .await;
    server.config_set("save", "");

    let other = RedisServer::start();
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]), "OK");
    until("it is a replica", async || codes(&store).await.contains(&"REPLICA".to_owned())).await;
    server.cli(&["REPLICAOF", "NO", "ONE"]);
    until("it is the primary again", async || codes(&store).await.is_empty()).await;

    server.kill();
    until("it is away", async || codes(&store).await == ["UNREACHABLE"]).await;
    server.restart();
    until("it is back", async || codes(&store).await.is_empty()).await;
}

#[tokio::test]
async fn the_log_tells_a_problem_once_and_health_follows_what_cannot_be_served_with() {
    let stack = Stack::redis(&["--operations-listen", "127.0.0.1:0"]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    let redis = stack.redis.as_ref().unwrap();
    let shown = async |code| stack.metrics().await.sum("keygate_store_problem", &[("problem", code)]);
    assert_eq!(shown("eviction").await, 0.0);
    redis.config_set("maxmemory-policy", "allkeys-lru");
    stack.wait_for_output("problem=\"eviction\"").await;
    assert_eq!(stack.health().await, ServingStatus::Serving);
    until("metrics tell it", async || shown("eviction").await == 1.0).await;
    assert_eq!(shown("permission").await, 0.0);

    redis.cli(&["ACL", "SETUSER", "keygate", "-evalsha"]);
    stack.wait_for_health(ServingStatus::NotServing, SOON).await;
    stack.wait_for_output("lacks `+evalsha`").await;
    let status = stack.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    redis.cli(&["ACL", "SETUSER", "keygate", "+evalsha"]);
    stack.wait_for_health(ServingStatus::Serving, SOON).await;
    redis.config_set("maxmemory-policy", "noeviction");
    until("both are over", async || stack.output().matches("no longer a problem of the store").count() == 2).await;
    until("metrics tell that too", async || shown("eviction").await == 0.0).await;
    for (code, told) in [("eviction", 2), ("permission", 2)] {
        assert_eq!(stack.output().matches(&format!("problem=\"{code}\"")).count(), told, "{}", stack.output());
    }
    stack.authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await;
}

/// Too few replicas: nothing is changed, and it is said so.
#[tokio::test]
async fn acts_that_must_reach_replicas_are_refused_while_there_are_none() {
    let primary = RedisServer::start();
    let settings = ConfigFile::settings(&format!(
        "[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{}\"\nwait_replicas = 1\nwait_timeout = \"300ms\"\ndeadline = \"1s\"\n",
        primary.url()
    ));
    let arguments = ["--config", &settings.path()];
    // The operator key is such an act too.
    let folder = tempfile::tempdir().unwrap();
    let data = || DataDir::Given(folder.path().to_owned());
    let Err(ended) = Keygate::try_start(data(), &arguments).await else { panic!("it started") };
    assert!(ended.output.contains("nothing was changed: 0 of the 1 replicas"), "{ended:#?}");

    let port = primary.port().to_string();
    let replica = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    // As the primary sees it: a replica that has just come has acknowledged nothing yet.
    until("the replica follows", async || primary.cli(&["WAIT", "1", "100"]).trim() == "1").await;
    let keygate = Keygate::try_start(data(), &arguments).await.unwrap();
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    assert!(replica.cli(&["DBSIZE"]).parse::<u32>().unwrap() > 3, "what was acknowledged is there");

    replica.pause();
    let status = keygate.try_manage("recurr", Operation::Create(key_for("acme", "live"))).await.unwrap_err();
    assert!(
        status.code() == Code::Unavailable && status.message().contains("it was done, and may be undone"),
        "{status:?}"
    );
    // From then on nothing is begun that could not be kept.
    let status = keygate.try_manage("recurr", Operation::Create(key_for("acme", "live"))).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    // Decisions do not wait.
    assert_eq!(keygate.authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await.allowed().key_id, id);
    replica.resume();
    until("the replica follows again", async || {
        keygate.try_manage("recurr", Operation::Create(key_for("acme", "live"))).await.is_ok()
    })
    .await;
    let found = keygate.list("recurr", ListKeys::default()).await.keys.len();
    assert!((3..=4).contains(&found), "{found}");
    keygate.wait_for_output("nothing was changed: replicas still lack what was changed before").await;
}
