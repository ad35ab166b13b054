//! The closed list of exit codes, each on the way that people meet it.

use crate::{run::keygate, support::keygate::Keygate};
use std::net::TcpListener;

/// A key's id of the right form that nobody has.
const NOBODY: &str = "key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM";

#[test]
fn no_server_is_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let key = "rk_live_Kp3vXq8ZtLm2RwYb7NcDs5Hf";
    for command in [
        &["authenticate", "--realm", "recurr", "--key-stdin"][..],
        &["limit", "check", "--realm", "recover", "--limit", "all-other"],
        &["keys", "list", "--realm", "recurr"],
    ] {
        let call = |more: &[&str]| {
            let call = keygate(&[command, &["--endpoint", &endpoint], more].concat());
            let ran = call.env("KEYGATE_KEY", key).stdin(key).run().ends(1);
            assert!(!ran.stderr.contains(key), "{ran:#?}");
            ran
        };
        let words = call(&[]);
        words.complains(&endpoint);
        words.complains("connection refused");
        words.complains("keygate serve");
        assert_eq!(call(&["--output", "json"]).error()["code"], "unavailable");
    }
}

#[test]
fn a_server_that_never_answers_is_1_after_the_patience_ends() {
    // Takes connections into its queue and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let ask = ["authenticate", "--realm", "recurr", "--key-stdin", "--timeout", "200ms", "--endpoint", &endpoint];
    let ran = keygate(&ask).stdin("rk_live_Kp3vXq8ZtLm2RwYb7NcDs5Hf").run().ends(1);
    ran.complains("200ms");
    ran.complains("--timeout");
}

#[tokio::test]
async fn a_wrong_or_too_small_management_key_is_4() {
    let server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    let list = ["keys", "list", "--realm", "recurr"];
    for wrong in [secret.as_str(), "nonsense", &format!("kgop_{}", "A".repeat(48))] {
        let ran = server.ran(server.call(&list).env("KEYGATE_KEY", wrong)).ends(4);
        ran.complains("management key");
        let ran =
            server.ran(server.call(&[&list[..], &["--output", "json"]].concat()).env("KEYGATE_KEY", wrong)).ends(4);
        assert_eq!(ran.error()["code"], "unauthenticated");
    }

    let create = ["keys", "create", "--realm", "keygate", "--account", "people", "--name", "ann", "--scope"];
    let (_, reader) = server.made(&[&create[..], &["reader@recurr"]].concat());
    let as_reader = |arguments: &[&str]| server.ran(server.call(arguments).env("KEYGATE_KEY", &reader));
    as_reader(&list).ends(0);
    as_reader(&["keys", "get", "--realm", "recurr", &id]).ends(0);
    let refused = as_reader(&["keys", "revoke", "--realm", "recurr", &id]).ends(4);
    refused.complains("revoker");
    for act in ["rotate", "suspend"] {
        as_reader(&["keys", act, "--realm", "recurr", &id]).ends(4).complains("key-manager");
    }
    as_reader(&["keys", "list", "--realm", "recover"]).ends(4);
    as_reader(&["keys", "list", "--realm", "keygate"]).ends(4);
    as_reader(&[&create[..], &["operator"]].concat()).ends(4);
    server.present(&secret).ends(0);
}

#[tokio::test]
async fn what_is_not_there_is_5_and_what_collides_is_6() {
    let server = Keygate::start(&[]).await;
    for act in ["get", "revoke", "rotate", "suspend"] {
        server.ask(&["keys", act, "--realm", "recurr", NOBODY]).ends(5).complains(NOBODY);
    }
    let (id, _) = server.key_of("acme");
    server.ask(&["keys", "get", "--realm", "recover", &id]).ends(5);
    let update = ["keys", "update", "--realm", "recurr", &id, "--name", "x", "--expected-version", "9"];
    let ran = server.ask(&[&update[..], &["--output", "json"]].concat()).ends(6);
    assert_eq!(ran.error()["code"], "aborted");
    server.ask(&update).ends(6).complains("version 1, not 9");
}

#[tokio::test]
async fn wrong_usage_is_2_and_a_key_in_the_wrong_place_is_never_repeated() {
    let server = Keygate::start(&[]).await;
    let (_, secret) = server.key_of("acme");
    let attached = format!("--key-stdin={secret}");
    let key = secret.as_str();
    for arguments in [
        &[key][..],
        &["keys", key],
        &["keys", "get", "--realm", "recurr", key],
        &["keys", "rotate", "--realm", "recurr", key],
        &["keys", "list", "--realm", "recurr", key],
        &["keys", "list", "--realm", "recurr", "--state", key],
        &["keys", "list", "--realm", "recurr", "--page-size", key],
        &["keys", "create", "--realm", "recurr", "--account", "a", "--name", "n", "--metadata", key],
        &["keys", "create", "--realm", "recurr", "--account", "a", "--name", "n", "--expires-in", key],
        &["authenticate", "--realm", "recurr", key, key],
        &["authenticate", "--realm", "recurr", "--key", key],
        &["authenticate", "--realm", "recurr", &attached],
        &["authenticate", "--realm", "recurr", "--header", key],
        &["authenticate", "--realm", "recurr", "x", "--timeout", key],
        &["authenticate", "--realm", key, key],
        &["limit", "check", "--realm", "recover", "--limit", key],
        &["serve", "--listen", key],
        &["completions", key],
    ] {
        let ran = server.ask(arguments).ends(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:#?}");
        let error = server.ask(&[arguments, &["--output=json"]].concat()).ends(2).error();
        assert!(!error["message"].as_str().unwrap().is_empty());
    }
    let endpoint = keygate(&["keys", "list", "--realm", "recurr", "--endpoint", "http://u:hunter2hunter2@h:1"]);
    let ran = endpoint.env("KEYGATE_KEY", "x").run().ends(2);
    assert!(!ran.stderr.contains("hunter2"), "{ran:#?}");
}

#[tokio::test]
async fn the_realm_may_be_named_by_a_variable_and_is_a_name_everywhere() {
    let server = Keygate::start(&[]).await;
    let (_, secret) = server.key_of("acme");
    let with = |arguments: &[&str], realm: &str| server.call(arguments).env("KEYGATE_REALM", realm);
    let list = with(&["keys", "list", "--output", "json"], "recurr").run().ends(0).json();
    assert_eq!(list["keys"].as_array().unwrap().len(), 1);
    with(&["authenticate", "--key-stdin"], "recurr").stdin(&secret).run().ends(0);
    with(&["limit", "check", "--operation", "read", "--environment", "live", "--account", "a"], "recurr").run().ends(0);
    // The flag goes before it, and without either the command says what is missing.
    assert!(with(&["keys", "list", "--realm", "recurr"], "recover").run().ends(0).stdout.contains("rk_live_"));
    server.ask(&["keys", "list"]).ends(2).complains("--realm");
    server.ask(&["serve", "--realm", "recurr"]).ends(2).complains("--realm-file");
}

#[tokio::test]
async fn a_key_in_place_of_a_realm_stays_out_of_the_log() {
    let server = Keygate::start(&[]).await;
    let (_, secret) = server.key_of("acme");
    // What the server logs is searched when it ends.
    server.ask(&["keys", "list", "--realm", &secret]).ends(2);
}
