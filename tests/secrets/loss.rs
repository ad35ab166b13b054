//! A version that is missing is named: at the start, by a look at the store, at a reload.

use crate::{
    run::{done, watchful},
    support::{
        calls::{Answered, by_key},
        keygate::{BINARY, DataDir, Keygate},
        stack::Stack,
    },
};
use std::{fs, process::Command};

const MISSING: &str = "server secret version 1 is missing, or is not the secret that it was: keys and records that were made with it, \
                       audit events among them, cannot be read without it";
const REMEDY: &str = "put the line back into the `secrets` file from your copy";

async fn a_missing_version_is_named(mut stack: Stack, config: &str) {
    let file = stack.data_dir().join("secrets");
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    done(&file, &["rotate", "--use-from", "now"]);
    stack.wait_for_output("is used from now on").await;
    let whole = fs::read_to_string(&file).unwrap();
    let without = |version: &str| -> String {
        whole.lines().filter(|line| !line.starts_with(version)).map(|line| format!("{line}\n")).collect()
    };

    // A running server goes on with what it has, and says what is wrong.
    fs::write(&file, without("1 ")).unwrap();
    stack.wait_for_output("no longer holds version 1 as this server knows it").await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();

    stack.keygate.kill();
    let url = stack.redis.as_ref().map(|redis| redis.url()).unwrap_or_default();
    let mut arguments = vec!["--config", config];
    if stack.redis.is_some() {
        arguments.extend(["--store", "redis", "--redis-url", &url]);
    }
    let data = stack.data_dir().to_owned();
    let ended = Keygate::try_start(DataDir::Given(data.clone()), &arguments).await.err().expect("it must not start");
    assert!(ended.output.contains(MISSING) && ended.output.contains(REMEDY), "{}", ended.output);
    let look = |text: &str| {
        fs::write(&file, text).unwrap();
        let mut command = Command::new(BINARY);
        command.args(["serve", "--check-store", "--data-dir"]).arg(&data).args(&arguments);
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (well, told) = look(&without("1 "));
    assert!(!well && told.contains(MISSING) && told.contains(REMEDY), "{told}");
    let (well, told) = look(&without("2 "));
    assert!(!well && told.contains("server secret version 2 is missing"), "{told}");
    // Another secret under the same number is no better.
    let changed = whole.replacen(
        whole.lines().find(|line| line.starts_with("1 ")).unwrap(),
        &format!("1 {}", "ab".repeat(32)),
        1,
    );
    let (well, told) = look(&changed);
    assert!(!well && told.contains(MISSING) && !told.contains("abab"), "{told}");

    let (well, told) = look(&whole);
    assert!(well, "{told}");
    stack.keygate.restart().await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();
}

#[tokio::test]
async fn a_missing_version_is_named_embedded() {
    let settings = watchful();
    let stack = Stack::embedded(&["--config", &settings.path()]).await;
    a_missing_version_is_named(stack, &settings.path()).await;
}

#[tokio::test]
async fn a_missing_version_is_named_redis() {
    let settings = watchful();
    let stack = Stack::redis(&["--config", &settings.path()]).await;
    a_missing_version_is_named(stack, &settings.path()).await;
}

#[tokio::test]
async fn what_was_never_used_is_not_missed() {
    let settings = watchful();
    let mut stack = Stack::embedded(&["--config", &settings.path()]).await;
    let file = stack.data_dir().join("secrets");
    let old = fs::read_to_string(&file).unwrap();
    done(&file, &["rotate", "--use-from", "1h"]);
    stack.wait_for_output("and used later").await;
    fs::write(&file, old).unwrap();
    stack.wait_for_output("generation=3").await;
    stack.keygate.restart().await;
}
