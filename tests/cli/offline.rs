//! Commands that ask nobody: `realm check`, `key inspect`, `completions`.

use crate::run::{fields, keygate};
use serde_json::json;
use std::{fs, path::Path};

const MISTAKEN: &str = r#"realm = "Acme"
hint = "last4"
max_staleness = "2h"
[[environments]]
name = "live"
prefix = "ac_live"
body_length = 27
[[credentials]]
header = "X Key"
[[scopes]]
name = "admin"
implies = ["raed"]
[[operations]]
name = "list"
routes = ["get /y"]
scopes = ["write"]
[[limits]]
name = "burst"
limit = 0
window = "1 minute"
nonsense = true
"#;

/// Where the mistakes of that file are: line, column and setting.
const MISTAKES: [(usize, usize, &str); 12] = [
    (1, 9, "realm"),
    (2, 8, "hint"),
    (3, 17, "max_staleness"),
    (6, 10, "environments[0].prefix"),
    (7, 15, "environments[0].body_length"),
    (9, 10, "credentials[0].header"),
    (12, 12, "scopes[0].implies[0]"),
    (15, 11, "operations[0].routes[0]"),
    (16, 11, "operations[0].scopes[0]"),
    (19, 9, "limits[0].limit"),
    (20, 10, "limits[0].window"),
    (21, 1, "limits[0].nonsense"),
];

fn shipped() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/realms").display().to_string()
}

#[test]
fn good_realm_files_are_summed_up() {
    let table = keygate(&["realm", "check", &shipped()]).run().ends(0);
    assert!(table.stdout.starts_with("REALM ") && table.stdout.lines().count() == 6, "{table:#?}");
    let realms =
        keygate(&["realm", "check", &format!("{}/recurr.toml", shipped()), "--output", "json"]).run().ends(0).json();
    let realm = &realms["realms"][0];
    assert_eq!(fields(realm), ["name", "title", "environments", "scopes", "operations", "limits", "errors", "file"]);
    assert_eq!((&realm["name"], &realm["scopes"]), (&json!("recurr"), &json!(2)));
    assert_eq!(realm["environments"][1], json!({ "name": "test", "prefix": "rk_test_" }));
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once_each_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("acme.toml");
    fs::write(&file, MISTAKEN).unwrap();
    let file = file.to_str().unwrap();
    let expected: Vec<String> =
        MISTAKES.iter().map(|(line, column, path)| format!("{file}:{line}:{column}: {path}")).collect();

    let words = keygate(&["realm", "check", file]).run().ends(2);
    let mut lines = words.stderr.lines();
    assert_eq!(lines.next(), Some("error: the configuration has 12 mistakes"), "{words:#?}");
    for place in &expected {
        let line = lines.next().unwrap_or_default();
        let said = line.strip_prefix(&format!("  {place}: "));
        assert!(said.is_some_and(|problem| !problem.is_empty()), "no `{place}` in `{line}`: {words:#?}");
    }
    assert_eq!((lines.next(), words.stdout.as_str()), (None, ""));

    let error = keygate(&["realm", "check", file, "--output", "json"]).run().ends(2).error();
    assert_eq!(error["code"], "configuration");
    let fields: Vec<_> =
        error["violations"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, expected);
    // A server that is started with it says the same, and makes nothing.
    let data = directory.path().join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--realm-file", file, "--data-dir", data.to_str().unwrap()];
    let refused = keygate(&serve).run().ends(2);
    assert_eq!(refused.stderr, words.stderr);
    assert!(!data.exists());
}

#[test]
fn files_that_are_not_there_or_no_realm_at_all_are_told() {
    keygate(&["realm", "check", "/nowhere/realms"]).run().ends(2).complains("/nowhere/realms");
    keygate(&["realm", "check"]).run().ends(2).complains("<FILE|DIR>");
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a.toml"), "realm = \n").unwrap();
    keygate(&["realm", "check", directory.path().to_str().unwrap()]).run().ends(2).complains("a.toml:1:");
}

#[test]
fn a_key_is_recognized_without_a_server_and_never_shown() {
    let legacy = "rk_live_Kp3vXq8ZtLm2RwYb7NcDs5Hf";
    let inspect = |key: &str| {
        let ran = keygate(&["key", "inspect", "--key-stdin", "--output", "json"]).stdin(key).run();
        assert!(!ran.stdout.contains(&key[8..]) && ran.stderr.is_empty(), "{ran:#?}");
        ran
    };
    let found = inspect(legacy).ends(0).json();
    assert_eq!(fields(&found), ["recognized", "matches", "near"]);
    assert_eq!((&found["recognized"], found["matches"].as_array().unwrap().len()), (&json!(true), 1));
    let one = &found["matches"][0];
    assert_eq!((&one["realm"], &one["environment"], &one["legacy"]), (&json!("recurr"), &json!("live"), &json!(true)));

    let words = keygate(&["key", "inspect", &format!("Bearer {legacy}")]).run().ends(3);
    assert!(words.stdout.contains("a key holds no blank"), "{words:#?}");
    let near = inspect("rk_live_tooshort").ends(3).json();
    assert_eq!((&near["recognized"], &near["near"][0]["realm"]), (&json!(false), &json!("recurr")));
    assert_eq!(inspect("hello, world").ends(3).json()["near"], json!([]));
    let words = keygate(&["key", "inspect", legacy]).run().ends(0);
    assert!(words.stdout.contains("recurr") && !words.stdout.contains(&legacy[8..]), "{words:#?}");
    keygate(&["key", "inspect"]).env("KEYGATE_API_KEY", legacy).run().ends(0);
    keygate(&["key", "inspect"]).run().ends(2).complains("--key-stdin");

    let only = format!("{}/recover.toml", shipped());
    keygate(&["key", "inspect", "--key-stdin", "--realm-file", &only]).stdin(legacy).run().ends(3);
    // Several files are joined in the variable as in `PATH`.
    let by_variable = |files: &str| keygate(&["key", "inspect", "--key-stdin"]).env("KEYGATE_REALM_FILES", files);
    by_variable(&only).stdin(legacy).run().ends(3);
    by_variable(&format!("{only}:{}/recurr.toml", shipped())).stdin(legacy).run().ends(0);
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = keygate(&["completions", shell]).run().ends(0);
        for word in ["revoke-account", "key-stdin", "keygate"] {
            assert!(script.stdout.contains(word), "{shell} knows no `{word}`");
        }
        assert_eq!(script.stderr, "");
    }
    keygate(&["completions", "tcsh"]).run().ends(2).complains("fish");
}
