//! `keygate vault …`: what goes in is never shown, and rewrapping says what it did.

use crate::{
    run::{fields, keygate},
    support::{
        keygate::{DataDir, Keygate},
        vault::{VaultFiles, in_file},
    },
};
use serde_json::json;
use std::{fs, process::Command, process::Stdio};

const SECRET: &str = "sk-canary-Kp3vXq8ZtLm2RwYb7NcDs5Hf";

#[tokio::test]
async fn a_credential_goes_in_and_is_listed_moved_and_removed_but_never_shown() {
    let files = VaultFiles::new(&[&in_file("k1", true)]);
    let arguments = files.arguments();
    let mut server = Keygate::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    server.remember(SECRET);
    let place = ["--realm", "recovea", "--account", "project-1", "--environment", "live", "--provider", "openai"];
    let put = [&["vault", "put"][..], &place].concat();
    server.ran(server.call(&put).stdin(SECRET)).ends(5).complains("there is no such account");
    server.ask(&["accounts", "create", "--realm", "recovea", "--account", "project-1"]).ends(0);
    server.ran(server.call(&put)).ends(2).complains("standard input does not hold a key");
    server.ran(server.call(&put).stdin("two words")).ends(2).complains("credential");
    let done = server
        .ran(server.call(&[&put[..], &["--output", "json"]].concat()).stdin(&format!("{SECRET}\n")))
        .ends(0)
        .json();
    let names = [
        "realm",
        "account_id",
        "environment",
        "provider",
        "created_at",
        "updated_at",
        "updated_by",
        "key_encryption_key",
        "can_open",
    ];
    assert_eq!(fields(&done), names);
    let path = files.path("openai.key");
    fs::write(&path, SECRET).unwrap();
    server.ask(&[&put[..], &["--file", path.to_str().unwrap()]].concat()).ends(0);

    let list = ["vault", "list", "--realm", "recovea", "--account", "project-1"];
    let listed = server.json(&list);
    assert_eq!(
        (&listed["credentials"][0]["provider"], &listed["credentials"][0]["can_open"]),
        (&json!("openai"), &json!(true))
    );
    assert!(server.ask(&list).ends(0).stdout.contains("openai"));

    let rewrap = ["vault", "rewrap", "--realm", "recovea"];
    let told = |rewrapped: u64, kept: u64, key: &str| json!({ "key_encryption_key": key, "accounts": 1, "rewrapped": rewrapped, "kept": kept, "lost": [] });
    assert_eq!(server.json(&rewrap), told(0, 1, "k1"));
    assert_eq!(server.json(&[&rewrap[..], &["--all"]].concat()), told(1, 0, "k1"));
    files.settings(&[&in_file("k2", true)], &["listen"]);
    server.restart().await;
    server.ask(&rewrap).ends(6).complains("1 credential hangs on `k1`, which the server does not have");
    files.settings(&[&in_file("k2", true), &in_file("k1", false)], &["listen"]);
    server.restart().await;
    assert_eq!(server.json(&rewrap), told(1, 0, "k2"));

    let delete = [&["vault", "delete"][..], &place].concat();
    assert_eq!(server.json(&delete), json!({ "deleted": true }));
    server.ask(&delete).ends(5);
    assert_eq!(server.json(&list), json!({ "credentials": [] }));
}

#[tokio::test]
async fn a_server_without_a_key_says_so() {
    let server = Keygate::start(&[]).await;
    server.ask(&["vault", "rewrap", "--realm", "recovea"]).ends(6).complains("this server has no key-encryption key");
}

#[tokio::test]
async fn every_key_that_cannot_be_read_is_told_before_anything_listens() {
    let files = VaultFiles::new(&[
        &in_file("absent", true),
        "name = \"variable\"\nenv = \"NO_SUCH_VARIABLE_HERE\"",
        "name = \"service\"\ntransit = { url = \"https://127.0.0.1:1\", key = \"k\", token_file = \"t\", ca_file = \"absent.pem\" }",
    ]);
    let arguments = files.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Err(ended) = Keygate::try_start(DataDir::new(), &arguments).await else { panic!("it started") };
    for part in
        ["absent` does not exist", "NO_SUCH_VARIABLE_HERE is not set", "absent.pem` cannot be read as certificates"]
    {
        assert!(ended.output.contains(part), "{ended:#?}");
    }
    assert!(!ended.output.contains("listening on "));
}

/// A key in a variable is one like any other.
#[test]
fn a_key_may_come_from_the_environment() {
    let files = VaultFiles::new(&["name = \"variable\"\nprimary = true\nenv = \"KEK_OF_THE_TESTS\""]);
    let data = DataDir::new();
    let serve = |value: &str| {
        let mut command = Command::new(crate::support::keygate::BINARY);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data.path()).args(files.arguments());
        command.env("KEK_OF_THE_TESTS", value).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the binary can be started")
    };
    let refused = serve("12345").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        said.contains("the variable KEK_OF_THE_TESTS must hold 64 hexadecimal digits") && !said.contains("12345"),
        "{said}"
    );
    let mut child = serve(&"5a".repeat(32));
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("listening on ") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut out, &mut line).unwrap() > 0, "it ended");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // No flag takes a credential.
    keygate(&["vault", "put", "--realm", "recovea", "--account", "a", "--provider", "p", "--credential", SECRET])
        .run()
        .ends(2);
}
