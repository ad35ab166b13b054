//! What is logged changes while a server runs, and with a mistake it does not.

use super::world::{NEVER, REFUSED, World, read, realm};
use crate::support::calls::Answered;
use keygate::proto::v1::DenyReason;
use std::{fs, time::Duration};
use tonic_health::pb::health_check_response::ServingStatus;

const DECISION: &str = "decision=\"allowed\"";

fn set(world: &World, log: &str) {
    fs::write(world.at("keygate.toml"), format!("{log}\n[reload]\ncheck_every = \"{NEVER}\"\n")).unwrap();
}

#[tokio::test]
async fn the_level_changes_under_a_running_server() {
    let world = World::with(None, NEVER, &[("one", realm("one", 100))], "[log]\nlevel = \"info\"").await;
    let (_, key) = world.stack.new_key("one", "acme", "live").await;
    let ask = async || drop(world.stack.authenticate(read("one", &key)).await.allowed());
    ask().await;
    set(&world, "[log]\nlevel = \"debug\"");
    world.reload().await;
    assert_eq!(world.count(DECISION), 0, "{}", world.stack.output());
    assert!(world.stack.output().contains("changed: `[log]`"), "{}", world.stack.output());
    ask().await;
    world.until_count(DECISION, 1).await;

    // A mistake is named, and changes nothing.
    set(&world, "[log]\nlevel = \"chatty\"");
    world.told().await;
    assert_eq!(world.count(REFUSED), 1);
    let named = "log.level: `chatty` is not known; allowed are `error`, `warn`, `info`, `debug` and `trace`";
    assert!(world.stack.output().contains(named), "{}", world.stack.output());
    ask().await;
    world.until_count(DECISION, 2).await;

    while world.configuration().await == ServingStatus::Serving {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // At `error` even the reload says nothing; whoever asks again hears when it is done.
    set(&world, "[log]\nlevel = \"error\"");
    world.told_silently().await;
    ask().await;
    set(&world, "[log]\nlevel = \"info\"\ndenials_per_second = 0");
    world.reload().await;
    world.stack.authenticate(read("one", "no key")).await.denied_for(DenyReason::MalformedKey);
    set(&world, "[log]\nlevel = \"info\"\ndenials_per_second = 1");
    world.reload().await;
    assert_eq!((world.count(DECISION), world.count("malformed_key")), (2, 0), "{}", world.stack.output());
    world.stack.authenticate(read("one", "no key")).await.denied_for(DenyReason::MalformedKey);
    world.until_count("malformed_key", 1).await;
}
