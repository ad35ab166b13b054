//! `keygate authenticate` and `keygate limit check`: the answer, and the exit code that scripts go by.

use crate::{run::fields, support::keygate::Keygate};
use serde_json::{Value, json};

#[tokio::test]
async fn an_allowed_request_ends_with_0_and_a_denied_one_with_3() {
    let server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    let allowed = server.present(&secret).ends(0);
    assert_eq!(allowed.stderr, "");
    let answer = allowed.json();
    assert_eq!(fields(&answer), ["allowed", "limits", "data_age", "degraded", "explanation", "request_id"]);
    let it = &answer["allowed"];
    assert_eq!((&it["key_id"], &it["account_id"], &it["scopes"]), (&json!(id), &json!("acme"), &json!(["read-write"])));

    let unknown = format!("rk_live_{}", "A".repeat(32));
    let denied = server.present(&unknown).ends(3);
    assert_eq!(denied.stderr, "", "a denial is an answer, not a failure");
    let answer = denied.json();
    assert_eq!(fields(&answer), ["denied", "limits", "data_age", "degraded", "explanation", "request_id"]);
    let it = &answer["denied"];
    assert_eq!(it["http_status"], 401);
    let body: Value = serde_json::from_str(it["body"].as_str().unwrap()).unwrap();
    assert_eq!(body, json!({ "error": { "type": "unauthorized", "message": "Invalid or missing API key." } }));
    let words = server.ran(server.call(&["authenticate", "--realm", "recurr", "--key-stdin"]).stdin(&unknown)).ends(3);
    assert!(words.stdout.starts_with("denied: ") && words.stderr.is_empty(), "{words:#?}");
}

#[tokio::test]
async fn a_request_is_called_in_the_log_what_its_sender_calls_it() {
    let server = Keygate::start(&["--log-level", "debug"]).await;
    let (_, secret) = server.key_of("acme");
    let ask = |id: &str, more: &[&str], key: &str| {
        let ask = ["authenticate", "--realm", "recurr", "--key-stdin", "--request-id", id];
        server.ran(server.call(&[&ask[..], more].concat()).stdin(key))
    };
    let longest = "x".repeat(128);
    for (id, key, code) in [("r-1", &*secret, 0), ("r-2", "no key", 3), (&longest, &*secret, 0)] {
        assert_eq!(ask(id, &["--output", "json"], key).ends(code).json()["request_id"], id);
        server.wait_for_output(&format!("request_id=\"{id}\"")).await;
        let words = ask(id, &[], key).ends(code);
        let line = words.stdout.lines().find_map(|line| line.strip_prefix("request id"));
        assert_eq!(line.map(str::trim), Some(id), "{words:#?}");
    }
    let unnamed = server.present(&secret).ends(0);
    assert_eq!(unnamed.json()["request_id"], Value::Null);

    // What is as long as a key is not repeated: it may be one that was put in the wrong place.
    for (id, shown) in [("", ""), ("a b", "a b"), ("ä", "ä"), ("a\tb", "a\tb"), (&"x".repeat(129), "…")] {
        let refused = ask(id, &[], &secret).ends(2);
        let expected = format!(
            "error: invalid value '{shown}' for '--request-id <ID>': allowed are 1 to 128 printable ASCII characters, no spaces"
        );
        assert_eq!(refused.stderr.lines().next(), Some(&*expected), "{refused:#?}");
    }
}

#[tokio::test]
async fn the_key_comes_from_standard_input_a_variable_an_argument_or_a_header() {
    let server = Keygate::start(&[]).await;
    let (_, secret) = server.key_of("acme");
    let ask = ["authenticate", "--realm", "recurr"];
    server.ran(server.call(&[&ask[..], &["--key-stdin"]].concat()).stdin(&secret)).ends(0);
    server.ran(server.call(&ask).env("KEYGATE_API_KEY", &secret)).ends(0);
    server.ask(&[&ask[..], &[secret.as_str()]].concat()).ends(0);
    server.ask(&[&ask[..], &["--header", &format!("authorization: Bearer {secret}")]].concat()).ends(0);
    server.ask(&[&ask[..], &["--header", &format!("x-api-key: {secret}")]].concat()).ends(3);
    server.ask(&ask).ends(2).complains("--key-stdin");
    server.ask(&[&ask[..], &[secret.as_str(), "--key-stdin"]].concat()).ends(2);
    server.ran(server.call(&[&ask[..], &["--key-stdin"]].concat()).stdin("")).ends(2).complains("standard input");
}

#[tokio::test]
async fn a_request_is_judged_by_its_operation_and_the_steps_can_be_seen() {
    let server = Keygate::start(&[]).await;
    let create = ["keys", "create", "--realm", "recurr", "--account", "acme", "--environment", "live", "--name", "r"];
    let (_, secret) = server.made(&[&create[..], &["--scope", "read-only"]].concat());
    let judge = |method: &str, more: &[&str]| {
        let ask = ["authenticate", "--realm", "recurr", "--key-stdin", "--method", method, "--path", "/v1/invoices"];
        server.ran(server.call(&[&ask[..], &["--output", "json"], more].concat()).stdin(&secret))
    };
    let read = judge("GET", &["--explain", "--check-rate-limit"]).ends(0).json();
    assert_eq!(read["allowed"]["operation"], "read");
    assert_eq!((&read["limits"][0]["name"], &read["limits"][0]["remaining"]), (&json!("requests"), &json!(999)));
    assert_eq!(read["limits"][0]["window"], "60s");
    let stages: Vec<_> =
        read["explanation"].as_array().unwrap().iter().map(|step| step["stage"].as_str().unwrap()).collect();
    assert!(stages.contains(&"credential") && stages.contains(&"operation"), "{stages:?}");
    assert_eq!(judge("POST", &[]).ends(3).json()["denied"]["reason"], "insufficient_scope");
    assert_eq!(judge("GET", &["--environment", "test"]).ends(3).json()["denied"]["reason"], "wrong_environment");
    let costly = judge("GET", &["--check-rate-limit", "--cost", "1001"]).ends(3).json();
    assert_eq!(
        (&costly["denied"]["reason"], &costly["denied"]["limit"]),
        (&json!("cost_above_limit"), &json!("requests"))
    );
}

#[tokio::test]
async fn every_mistake_of_a_question_is_named_once() {
    let server = Keygate::start(&[]).await;
    let ask = ["authenticate", "--realm", "recurr", "rk_live_x", "--environment", "nowhere", "--cost", "-5"];
    let ask = [&ask[..], &["--source-address", "1.2.3"]].concat();
    let words = server.ask(&ask).ends(2);
    // `Ran` fails where a line stands twice; here each problem must also stand in one line only.
    assert_eq!(words.stderr.lines().count(), 4, "{words:#?}");
    for field in ["environment", "source_address", "cost"] {
        assert_eq!(words.stderr.matches(&format!("  {field}: ")).count(), 1, "{words:#?}");
    }
    assert_eq!(words.stderr.matches("must be").count(), 3, "{words:#?}");
    assert_eq!(words.stdout, "");

    let error = server.ask(&[&ask[..], &["--output", "json"]].concat()).ends(2).error();
    assert_eq!(fields(&error), ["code", "exit_code", "message", "violations", "hint"]);
    assert_eq!((&error["code"], error["violations"].as_array().unwrap().len()), (&json!("invalid_argument"), 3));
    let field = &error["violations"][0];
    assert_eq!(fields(field), ["field", "problem"]);
    assert!(!error["message"].as_str().unwrap().contains(field["problem"].as_str().unwrap()), "{error}");

    let realm = server.ask(&["authenticate", "--realm", "nowhere", "rk_live_x"]).ends(2);
    realm.complains("realm of this server");
    assert_eq!(realm.stderr.matches("must be").count(), 1, "{realm:#?}");
}

#[tokio::test]
async fn limits_are_charged_and_looked_at() {
    let server = Keygate::start(&[]).await;
    let check = |more: &[&str]| {
        let ask = ["limit", "check", "--realm", "recover", "--account", "partner-7", "--output", "json"];
        server.ask(&[&ask[..], more].concat())
    };
    let by_name = ["--limit", "message-sends"];
    let first = check(&[&by_name[..], &["--cost", "60"]].concat()).ends(0).json();
    assert_eq!(fields(&first), ["allowed", "denied", "limits", "headers", "degraded"]);
    assert_eq!((&first["allowed"], &first["denied"]), (&json!(true), &json!(null)));
    assert_eq!((&first["limits"][0]["limit"], &first["limits"][0]["remaining"]), (&json!(100), &json!(40)));

    for _ in 0..2 {
        let peek = check(&[&by_name[..], &["--peek"]].concat()).ends(0).json();
        assert_eq!(peek["limits"][0]["remaining"], 40, "looking costs nothing");
    }
    let beyond = check(&[&by_name[..], &["--cost", "60", "--peek"]].concat()).ends(3).json();
    assert_eq!(beyond["allowed"], false);
    let refused = check(&[&by_name[..], &["--cost", "60"]].concat()).ends(3).json();
    let denied = &refused["denied"];
    assert_eq!((&denied["reason"], &denied["http_status"]), (&json!("rate_limited"), &json!(429)));
    assert!(denied["retry_after"].as_str().unwrap().ends_with('s'), "{denied}");
    assert_eq!(check(&["--operation", "messages.send", "--cost", "40"]).ends(0).json()["limits"][0]["remaining"], 0);
    check(&[&by_name[..], &["--peek", "--cost", "0"]].concat()).ends(0);

    let words =
        server.ask(&["limit", "check", "--realm", "recover", "--account", "partner-7", "--limit", "message-sends"]);
    let words = words.ends(3);
    assert!(words.stdout.starts_with("denied: rate_limited\n") && words.stderr.is_empty(), "{words:#?}");
    server.ask(&["limit", "check", "--realm", "recover", "--limit", "nothing"]).ends(2).complains("`message-sends`");
    server.ask(&["limit", "check", "--realm", "recover"]).ends(2).complains("--limit");
}
