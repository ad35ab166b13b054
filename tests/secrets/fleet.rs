//! Two servers on one Redis, of which one reads the file later than the other.

use crate::{
    run::{done, status, until, version, watchful},
    support::{
        calls::{Answered, by_key, key_for},
        files::{ConfigFile, PATIENT},
        keygate::Keygate,
        stack::Stack,
    },
};
use keygate::proto::v1::{manage_keys_request::Operation, manage_keys_response::Result as Done};
use std::{
    fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tonic_health::pb::health_check_response::ServingStatus;

const TURNED: &str = "this version of the server secret is used from now on";

/// How a server of the fleet is set up.
fn looking(every: &str) -> ConfigFile {
    ConfigFile::settings(&format!("[reload]\ncheck_every = \"{every}\"\n{PATIENT}"))
}

/// Reads its files only when it is told to.
fn deaf() -> ConfigFile {
    looking("0s")
}

fn tell(server: &Keygate) {
    let told = format!("kill -HUP {}", server.process_id());
    assert!(Command::new("sh").args(["-c", &told]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_rotates_without_a_denied_call() {
    let (early, late) = (looking("100ms"), looking("0s"));
    let stack = Stack::redis(&["--config", &early.path()]).await;
    let second = stack.second(&["--config", &late.path()]).await;
    let mut keys = Vec::new();
    for _ in 0..12 {
        keys.push(stack.new_key("recurr", "acme", "live").await.1);
    }
    // The last four are not used before the rotation, nor by the load.
    let idle = keys.split_off(8);
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut load = Vec::new();
    for server in [&*stack, &second] {
        for first in 0..2 {
            let (mut client, keys) = (server.client(), keys.clone());
            let (stop, asked) = (Arc::clone(&stop), Arc::clone(&asked));
            load.push(tokio::spawn(async move {
                for key in keys.iter().cycle().skip(first) {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let answer =
                        client.authenticate(by_key("recurr", key)).await.expect("it can be judged").into_inner();
                    answer.allowed();
                    asked.fetch_add(1, Ordering::SeqCst);
                }
            }));
        }
    }

    let file = stack.data_dir().join("secrets");
    done(&file, &["rotate", "--use-from", "5s"]);
    until("one knows it", || status(&stack, &[])["versions"].as_array().unwrap().len() == 2).await;
    // The other's clock comes last: copied whole, and read when it is told to.
    tokio::time::sleep(Duration::from_secs(1)).await;
    fs::copy(&file, second.data_dir().join("secrets")).unwrap();
    tell(&second);
    until("both know it", || second.output().contains("and used later")).await;
    for server in [&*stack, &second] {
        assert!(!server.output().contains(TURNED), "nobody uses it before both know it");
    }
    for server in [&*stack, &second] {
        server.wait_for_output(TURNED).await;
    }
    // What one makes with it the other finds at once, and the other way round.
    for (maker, finder) in [(&*stack, &second), (&second, &*stack)] {
        let create = Operation::Create(key_for("acme", "live"));
        let Done::Created(made) = maker.try_manage_as(Some(stack.operator()), "recurr", create).await.unwrap() else {
            panic!("a key is made")
        };
        finder.authenticate(by_key("recurr", &made.secret)).await.allowed();
    }
    until("those in use have moved", || {
        let told = status(&stack, &["--realm", "recurr"]);
        version(&told, 1)["keys"] == 4 && version(&told, 2)["keys"] == 10 && told["percent"] == 71
    })
    .await;
    for key in &idle {
        second.authenticate(by_key("recurr", key)).await.allowed();
    }
    until("all have moved", || status(&stack, &["--realm", "recurr"])["percent"] == 100).await;
    stop.store(true, Ordering::SeqCst);
    for calls in load {
        calls.await.expect("no call was denied");
    }
    println!("{} calls, none denied", asked.load(Ordering::SeqCst));
    assert!(asked.load(Ordering::SeqCst) > 100);
}

#[tokio::test]
async fn a_server_that_was_forgotten_says_what_it_lacks_and_serves_again_when_it_has_it() {
    let (early, late) = (watchful(), deaf());
    let stack = Stack::redis(&["--config", &early.path()]).await;
    let second = stack.second(&["--config", &late.path()]).await;
    let file = stack.data_dir().join("secrets");
    done(&file, &["rotate", "--use-from", "now"]);
    stack.wait_for_output(TURNED).await;
    second.wait_for_output("server secret version 2 is missing").await;
    second.wait_for_health(ServingStatus::NotServing, Duration::from_secs(20)).await;
    fs::copy(&file, second.data_dir().join("secrets")).unwrap();
    tell(&second);
    second.wait_for_health(ServingStatus::Serving, Duration::from_secs(20)).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    second.authenticate(by_key("recurr", &key)).await.allowed();
    assert!(second.output().contains("no longer a problem of the store"));
}
