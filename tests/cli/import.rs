//! `keygate keys import`: keys that were made elsewhere, raw and as hashes, and what they are worth afterwards.

use crate::{
    run::{Ran, fields},
    support::keygate::Keygate,
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{fs, thread, time::Duration};

/// Keys of the form that recurr made before: the prefix and 24 characters.
const RAW: &str = "rk_live_Kp3vXq8ZtLm2RwYb7NcDs5Hf";
const HASHED: &str = "rk_live_Jd9aUe4GoTi6FxWk1VnBr3Qz";
const BODY_HASHED: &str = "rk_test_Mz2yLh7CsEj5PgVu8XoTa4Rw";

fn sha256(text: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(text))
}

/// A server, a file with these rows, and the import of it.
struct Importing {
    server: Keygate,
    directory: tempfile::TempDir,
}

impl Importing {
    async fn new() -> Self {
        let server = Keygate::start(&[]).await;
        for secret in [RAW, HASHED, BODY_HASHED] {
            server.remember(secret);
        }
        Self { server, directory: tempfile::tempdir().unwrap() }
    }

    fn import(&self, rows: &[String], more: &[&str]) -> Ran {
        let file = self.directory.path().join("old.jsonl");
        fs::write(&file, rows.join("\n")).unwrap();
        let import = ["keys", "import", "--realm", "recurr", file.to_str().unwrap()];
        self.server.ask(&[&import[..], more].concat())
    }

    /// How many keys the realm has.
    fn count(&self) -> usize {
        self.server.json(&["keys", "list", "--realm", "recurr", "--all"])["keys"].as_array().unwrap().len()
    }
}

fn row(secret: (&str, &str), more: &Value) -> String {
    let mut row = json!({ secret.0: secret.1, "account_id": "old", "environment": "live", "name": "taken over" });
    for (name, value) in more.as_object().unwrap() {
        row[name] = value.clone();
    }
    row.to_string()
}

fn outcomes(report: &Value) -> Vec<(u64, &str)> {
    let verdicts = report["verdicts"].as_array().unwrap();
    verdicts.iter().map(|one| (one["line"].as_u64().unwrap(), one["outcome"].as_str().unwrap())).collect()
}

fn sums(report: &Value) -> Value {
    json!([report["imported"], report["already_present"], report["refused"], report["dry_run"]])
}

#[tokio::test]
async fn raw_and_hashed_keys_work_once_they_are_imported() {
    let it = Importing::new().await;
    let rows = [
        row(("raw_key", RAW), &json!({ "scopes": ["read-write"], "metadata": { "from": "old" } })),
        // A blank line counts as a line, and is none.
        String::new(),
        row(("hash", &sha256(HASHED)), &json!({ "scopes": ["read-write"], "hint": "rk_live_…r3Qz" })),
    ];
    let flags = ["--hash", "sha256", "--output", "json"];

    let dry = it.import(&rows, &[&flags[..], &["--dry-run"]].concat()).ends(0).json();
    assert_eq!(fields(&dry), ["verdicts", "imported", "already_present", "refused", "dry_run"]);
    assert_eq!((outcomes(&dry), sums(&dry)), (vec![(1, "imported"), (3, "imported")], json!([2, 0, 0, true])));
    assert_eq!(it.count(), 0, "a dry run writes nothing");
    it.server.assert_denied(RAW, "unknown_key");

    let done = it.import(&rows, &flags).ends(0).json();
    assert_eq!((outcomes(&done), sums(&done)), (outcomes(&dry), json!([2, 0, 0, false])));
    assert_eq!(fields(&done["verdicts"][0]), ["line", "outcome", "key_id", "problem"]);
    assert_eq!(it.count(), 2);
    let again = it.import(&rows, &flags).ends(0).json();
    assert_eq!(outcomes(&again), [(1, "already_present"), (3, "already_present")]);
    assert_eq!((sums(&again), it.count()), (json!([0, 2, 0, false]), 2));
    assert_eq!(again["verdicts"][0]["key_id"], done["verdicts"][0]["key_id"]);
    let words = it.import(&rows, &["--hash", "sha256"]).ends(0);
    assert_eq!(words.stdout, "0 imported, 2 already present, 0 refused\n");

    for (index, secret) in [RAW, HASHED].into_iter().enumerate() {
        let allowed = it.server.present(secret).ends(0).json()["allowed"].take();
        assert_eq!((&allowed["key_id"], &allowed["account_id"]), (&done["verdicts"][index]["key_id"], &json!("old")));
        assert_eq!((&allowed["name"], &allowed["environment"]), (&json!("taken over"), &json!("live")));
    }
}

#[tokio::test]
async fn a_repeat_after_the_first_use_finds_the_key_present_and_revives_nothing() {
    let it = Importing::new().await;
    let rows = [row(("hash", &sha256(HASHED)), &json!({ "scopes": ["read-write"] }))];
    let flags = ["--hash", "sha256", "--output", "json"];
    let done = it.import(&rows, &flags).ends(0).json();
    it.server.present(HASHED).ends(0);
    thread::sleep(Duration::from_millis(500));
    let again = it.import(&rows, &flags).ends(0).json();
    assert_eq!((outcomes(&again), it.count()), (vec![(1, "already_present")], 1));
    let id = done["verdicts"][0]["key_id"].as_str().unwrap();
    it.server.ask(&["keys", "revoke", "--realm", "recurr", id]).ends(0);
    it.import(&rows, &flags).ends(0);
    it.server.assert_denied(HASHED, "revoked_key");
}

#[tokio::test]
async fn a_hash_of_the_body_alone_is_found_under_the_whole_key() {
    let it = Importing::new().await;
    let body = sha256(BODY_HASHED.strip_prefix("rk_test_").unwrap());
    let rows = [row(("hash", &body), &json!({ "environment": "test", "scopes": ["read-write"] }))];
    let report = it.import(&rows, &["--hash", "sha256", "--part", "body", "--output", "json"]).ends(0).json();
    assert_eq!(outcomes(&report), [(1, "imported")]);
    let id = report["verdicts"][0]["key_id"].as_str().unwrap();
    let imported = || it.server.json(&["keys", "get", "--realm", "recurr", id])["secrets"][0]["imported"].clone();
    assert_eq!(imported(), true);
    let found = it.server.present(BODY_HASHED).ends(0).json();
    assert_eq!(found["allowed"]["environment"], "test");
    // Once it was used it is stored as keygate stores its own.
    for _ in 0..100 {
        if imported() == false {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(imported(), false);
    it.server.present(BODY_HASHED).ends(0);
}

#[tokio::test]
async fn rows_come_from_standard_input_too() {
    let it = Importing::new().await;
    let call = it.server.call(&["keys", "import", "--realm", "recurr", "-"]);
    let ran = it.server.ran(call.stdin(&row(("raw_key", RAW), &json!({})))).ends(0);
    assert_eq!(ran.stdout, "1 imported, 0 already present, 0 refused\n");
}

#[tokio::test]
async fn wrong_rows_are_refused_by_their_line_and_the_others_go_in() {
    let it = Importing::new().await;
    let rows = [
        row(("raw_key", RAW), &json!({})),
        row(("raw_key", RAW), &json!({})),
        "not JSON".to_owned(),
        json!({ "account_id": "old", "environment": "live", "name": "no secret" }).to_string(),
        row(("raw_key", "rk_live_short"), &json!({})),
        row(("raw_key", HASHED), &json!({ "environment": "nowhere" })),
        row(("raw_key", HASHED), &json!({ "acount": "misspelt" })),
        row(("raw_key", HASHED), &json!({ "expires_at": "tomorrow" })),
        row(("raw_key", HASHED), &json!({ "account_id": "" })),
        row(("raw_key", HASHED), &json!({ "scopes": ["admin"] })),
        row(("hash", &sha256(HASHED)), &json!({})),
    ];
    let report = it.import(&rows, &["--output", "json"]).ends(1).json();
    let expected: Vec<_> = (1..=11).map(|line| (line, if line == 1 { "imported" } else { "refused" })).collect();
    assert_eq!((outcomes(&report), sums(&report)), (expected, json!([1, 0, 10, false])));
    let problems: Vec<&str> =
        report["verdicts"].as_array().unwrap().iter().map(|one| one["problem"].as_str().unwrap()).collect();
    let parts = [
        "",
        "earlier row",
        "not JSON",
        "`raw_key`",
        "form",
        "`live`, `test`",
        "not known",
        "`expires_at`",
        "`account_id`",
        "`read-only`, `read-write`",
        "`--hash`",
    ];
    for (index, (problem, part)) in problems.iter().zip(parts).enumerate() {
        assert!(problem.contains(part), "line {}: no `{part}` in `{problem}`", index + 1);
    }
    assert_eq!(it.count(), 1);

    let words = it.import(&rows, &[]).ends(1);
    assert!(words.stdout.contains("line 3: refused: the line is not JSON"), "{words:#?}");
    assert!(words.stdout.ends_with("0 imported, 1 already present, 10 refused\n"), "{words:#?}");
}

#[tokio::test]
async fn hashes_that_could_never_be_found_are_refused() {
    let it = Importing::new().await;
    let rows = [row(("hash", &"ab".repeat(64)), &json!({}))];
    let ran = it.import(&rows, &["--hash", "sha512"]).ends(1);
    assert!(ran.stdout.contains("sha512") && ran.stdout.contains("legacy_formats"), "{ran:#?}");
    let rows = [row(("hash", "abcd"), &json!({}))];
    let ran = it.import(&rows, &["--hash", "sha256"]).ends(1);
    assert!(ran.stdout.starts_with("line 1: refused: "), "{ran:#?}");
    assert_eq!(it.count(), 0);
}

#[tokio::test]
async fn more_rows_than_fit_into_a_batch_are_all_sent() {
    let it = Importing::new().await;
    let rows: Vec<String> = (0..1_203)
        .map(|n| {
            row(("hash", &sha256(&format!("rk_live_{n:024}"))), &json!({ "account_id": format!("old-{}", n % 7) }))
        })
        .collect();
    let report = it.import(&rows, &["--hash", "sha256", "--output", "json"]).ends(0).json();
    assert_eq!((sums(&report), it.count()), (json!([1_203, 0, 0, false]), 1_203));
    assert_eq!(report["verdicts"][1_202]["line"], 1_203);
    let last = it.server.call(&["authenticate", "--realm", "recurr", "--key-stdin", "--method", "GET", "--path", "/x"]);
    it.server.ran(last.stdin("rk_live_000000000000000000001202")).ends(0);
}
