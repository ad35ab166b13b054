//! The password of keygate's user changes while requests run.

use crate::{
    SOON, options, refusal,
    support::{
        calls::{Answered, by_key, charged},
        files::ConfigFile,
        keygate::Keygate,
        redis::RedisServer,
    },
    until, without_password,
};
use keygate::{proto::v1::authenticate_response::Outcome, store::redis::RedisOptions};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tonic::Code;

const OLD: &str = "password-of-the-tests";
const NEW: &str = "another-password-of-the-tests";

fn settings(server: &RedisServer, password: &ConfigFile) -> ConfigFile {
    let (url, file) = (without_password(server), password.path());
    ConfigFile::settings(&format!(
        "[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{url}\"\npassword_file = \"{file}\"\ndeadline = \"500ms\"\n"
    ))
}

#[tokio::test]
async fn a_rotation_costs_no_more_than_a_new_connection() {
    let redis = RedisServer::start();
    let password = ConfigFile::new("password", &format!("{OLD}\n"));
    let settings = settings(&redis, &password);
    let keygate = Arc::new(Keygate::start(&["--config", &settings.path()]).await);
    keygate.remember(NEW);
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (keygate, over, id, key) = (Arc::clone(&keygate), Arc::clone(&over), id.clone(), key.clone());
            tokio::spawn(async move {
                let (mut good, mut away, mut last, mut longest) = (0_u32, 0_u32, Instant::now(), Duration::ZERO);
                while !over.load(Ordering::Relaxed) {
                    match keygate.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await {
                        Ok(answer) => {
                            assert!(
                                matches!(&answer.outcome, Some(Outcome::Allowed(a)) if a.key_id == id),
                                "{answer:?}"
                            );
                            longest = longest.max(last.elapsed());
                            (good, last) = (good + 1, Instant::now());
                        }
                        Err(status) => {
                            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                            away += 1;
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                (good, away, longest)
            })
        })
        .collect();

    tokio::time::sleep(Duration::from_millis(300)).await;
    redis.cli(&["ACL", "SETUSER", "keygate", &format!(">{NEW}")]);
    password.rewrite(&format!("{NEW}\n"));
    redis.cli(&["ACL", "SETUSER", "keygate", &format!("<{OLD}")]);
    let killed: u32 = redis.cli(&["CLIENT", "KILL", "USER", "keygate"]).parse().unwrap();
    assert!(killed >= 2, "{killed}");
    tokio::time::sleep(Duration::from_secs(2)).await;
    over.store(true, Ordering::Relaxed);
    for client in clients {
        let (good, away, longest) = client.await.unwrap();
        println!("rotation: {good} answers, {away} without, longest wait between answers {longest:?}");
        assert!(good > 50 && longest < SOON, "{good} {longest:?}");
    }
    keygate.authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await.allowed();
}

#[tokio::test]
async fn a_file_that_comes_late_is_waited_for_and_told() {
    let redis = RedisServer::start();
    let password = ConfigFile::new("password", OLD);
    let settings = settings(&redis, &password);
    let keygate = Keygate::start(&["--config", &settings.path()]).await;
    keygate.remember(NEW);
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    redis.cli(&["ACL", "SETUSER", "keygate", "resetpass", &format!(">{NEW}")]);
    redis.cli(&["CLIENT", "KILL", "USER", "keygate"]);
    keygate.wait_for_output("does not take the user and password").await;
    let status = keygate.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    password.rewrite(NEW);
    let took = until("the new password is read", async || {
        keygate.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await.is_ok()
    })
    .await;
    println!("the new password was used after {took:?}");
    keygate.wait_for_output("no longer a problem of the store").await;
    assert_eq!(keygate.output().matches("problem=\"password\"").count(), 2, "not once each: {}", keygate.output());
}

#[tokio::test]
async fn a_password_file_that_cannot_be_used_is_named() {
    let redis = RedisServer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    let refused = async || {
        let text =
            refusal(RedisOptions { password_file: Some(file.clone()), ..options(&without_password(&redis)) }).await;
        assert!(text.contains(file.to_str().unwrap()) || text.contains("does not take"), "{text}");
        text
    };
    assert!(refused().await.contains("No such file"));
    for (text, told) in [("", "is empty"), ("\nx", "is empty"), ("hunter2", "does not take the user and password")] {
        fs::write(&file, text).unwrap();
        let found = refused().await;
        assert!(found.contains(told), "{found}");
    }
    fs::write(&file, "h".repeat(5_000)).unwrap();
    assert!(refused().await.contains("more than 4096 bytes"));
}
