//! `keygate keys …`: every act on a key, and what the key is worth afterwards.

use crate::{
    run::{fields, keygate},
    support::keygate::Keygate,
};
use serde_json::json;
use std::fs;

/// The fields of a key, as docs and proto name them.
const KEY: [&str; 23] = [
    "id",
    "realm",
    "environment",
    "account_id",
    "name",
    "hint",
    "scopes",
    "metadata",
    "state",
    "created_at",
    "updated_at",
    "expires_at",
    "version",
    "secrets",
    "created_by",
    "revoked_at",
    "revoke_reason",
    "last_used_at",
    "last_used_address",
    "not_before",
    "allowed_networks",
    "suspends_at",
    "member_id",
];

const CREATE: [&str; 8] = ["keys", "create", "--realm", "recurr", "--account", "acme", "--environment", "live"];

#[tokio::test]
async fn a_made_key_is_one_object_with_key_and_secret() {
    let server = Keygate::start(&[]).await;
    let more = ["--name", "ci", "--scope", "read-only", "--metadata", "team=core", "--metadata", "note=a=b"];
    let (made, secret) = server.made(&[&CREATE[..], &more, &["--expires-in", "90d"]].concat());
    assert_eq!(fields(&made), ["key", "secret", "repeated", "replaced_key_ids"]);
    assert_eq!((&made["repeated"], &made["replaced_key_ids"]), (&json!(false), &json!([])));
    let key = &made["key"];
    assert_eq!(fields(key), KEY);
    assert!(key["id"].as_str().unwrap().starts_with("key_") && key["id"].as_str().unwrap().len() == 30);
    assert_eq!(key["hint"], format!("rk_live_…{}", &secret[secret.len() - 4..]));
    assert_eq!(
        (&key["realm"], &key["environment"], &key["account_id"]),
        (&json!("recurr"), &json!("live"), &json!("acme"))
    );
    assert_eq!((&key["name"], &key["scopes"], &key["state"]), (&json!("ci"), &json!(["read-only"]), &json!("active")));
    assert_eq!((&key["metadata"], &key["version"]), (&json!({ "note": "a=b", "team": "core" }), &json!(1)));
    assert!(key["expires_at"].as_str().unwrap().ends_with('Z') && key["revoked_at"].is_null());
    assert_eq!(
        fields(&key["secrets"][0]),
        ["hint", "created_at", "retires_at", "imported", "number", "last_used_at", "last_used_address", "uses"]
    );

    let id = key["id"].as_str().unwrap();
    let mut got = server.json(&["keys", "get", "--realm", "recurr", id]);
    got["last_used_at"] = json!(null);
    assert_eq!(&got, key, "what was shown is what is stored");
}

#[tokio::test]
async fn in_a_table_the_secret_stands_alone_on_the_last_line() {
    let server = Keygate::start(&[]).await;
    let ran = server.call(&[&CREATE[..], &["--name", "ci"]].concat()).run().ends(0);
    let secret = ran.stdout.lines().last().unwrap();
    assert!(secret.starts_with("rk_live_") && secret.len() == 40, "{ran:#?}");
    server.remember(secret);
    server.assert_no_secret("standard error", &ran.stderr);
    assert_eq!(ran.stdout.matches(secret).count(), 1);
    assert!(ran.stderr.contains("once"), "{ran:#?}");
    server.present(secret).ends(0);
    let request =
        |method| ["authenticate", "--realm", "recurr", "--key-stdin", "--method", method, "--path", "/v1/invoices"];
    assert!(server.ran(server.call(&request("GET")).stdin(secret)).ends(0).stdout.starts_with("allowed\n"));
    let denied = server.ran(server.call(&request("POST")).stdin(secret)).ends(3);
    assert!(denied.stdout.starts_with("denied: insufficient_scope\n"), "{denied:#?}");
}

#[tokio::test]
async fn a_repeat_under_an_idempotency_key_makes_no_second_key_and_shows_no_secret() {
    let server = Keygate::start(&[]).await;
    let create = [&CREATE[..], &["--name", "ci", "--idempotency-key", "build-7"]].concat();
    let (made, _) = server.made(&create);
    let again = server.json(&create);
    assert_eq!((&again["key"]["id"], &again["secret"]), (&made["key"]["id"], &json!("")));
    assert_eq!(again["repeated"], true);
    let other = server.ask(&[&CREATE[..], &["--name", "other", "--idempotency-key", "build-7"]].concat()).ends(2);
    other.complains("different request");
}

#[tokio::test]
async fn lists_are_filtered_and_read_page_by_page() {
    let server = Keygate::start(&[]).await;
    let ids: Vec<String> = (0..5).map(|n| server.key_of(&format!("acme-{n}")).0).collect();
    server.ask(&["keys", "suspend", "--realm", "recurr", &ids[0]]).ends(0);
    let list = |more: &[&str]| server.json(&[&["keys", "list", "--realm", "recurr"], more].concat());
    let found = |page: &serde_json::Value| -> Vec<String> {
        page["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(&[]);
    assert_eq!(fields(&all), ["keys", "next_page_token"]);
    assert_eq!(fields(&all["keys"][0]), KEY);
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    assert_eq!(sorted(found(&all)), sorted(ids.clone()));
    assert_eq!(found(&list(&["--account", "acme-3"])), [ids[3].clone()]);
    assert_eq!(found(&list(&["--state", "suspended"])), [ids[0].clone()]);
    assert_eq!(found(&list(&["--environment", "test"])), Vec::<String>::new());

    let mut pages = Vec::new();
    let mut token = String::new();
    loop {
        let page = list(&["--page-size", "2", "--page-token", &token]);
        assert!(found(&page).len() <= 2);
        pages.extend(found(&page));
        token = page["next_page_token"].as_str().unwrap().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, found(&all));
    let whole = list(&["--all", "--page-size", "2"]);
    assert_eq!((found(&whole), &whole["next_page_token"]), (found(&all), &json!("")));

    let table = server.ask(&["keys", "list", "--realm", "recurr", "--page-size", "2"]).ends(0);
    assert!(table.stdout.starts_with("ID ") && table.stdout.lines().count() == 3, "{table:#?}");
    table.complains("--page-token");
}

#[tokio::test]
async fn a_rotated_key_works_under_both_secrets_until_the_grace_ends() {
    let server = Keygate::start(&[]).await;
    let (id, old) = server.key_of("acme");
    let rotate = ["keys", "rotate", "--realm", "recurr", id.as_str(), "--grace"];
    let (made, new) = server.made(&[&rotate[..], &["1h"]].concat());
    assert_eq!((&made["key"]["id"], &made["key"]["version"]), (&json!(id), &json!(2)));
    assert_eq!(made["key"]["secrets"].as_array().unwrap().len(), 2);
    assert!(new != old);
    server.present(&old).ends(0);
    server.present(&new).ends(0);

    let (_, newest) = server.made(&[&rotate[..], &["0s", "--expected-version", "2"]].concat());
    server.present(&newest).ends(0);
    server.assert_denied(&new, "retired_secret");
    server.ask(&[&rotate[..], &["0s", "--expected-version", "2"]].concat()).ends(6).complains("version");
    server.ask(&[&rotate[..], &["90d"]].concat()).ends(2).complains("grace");
}

#[tokio::test]
async fn an_update_changes_what_it_names_and_nothing_else() {
    let server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    let update = |more: &[&str]| server.json(&[&["keys", "update", "--realm", "recurr", &id], more].concat());
    let before = server.json(&["keys", "get", "--realm", "recurr", &id]);
    let named = update(&["--name", "deploy", "--metadata", "a=1", "--metadata", "b=2"]);
    assert_eq!((&named["name"], &named["metadata"]), (&json!("deploy"), &json!({ "a": "1", "b": "2" })));
    assert_eq!((&named["scopes"], &named["secrets"]), (&before["scopes"], &before["secrets"]));
    let patched = update(&["--remove-metadata", "a", "--metadata", "c=3", "--expires-at", "2100-01-31T12:00:00+02:00"]);
    assert_eq!(patched["metadata"], json!({ "b": "2", "c": "3" }));
    assert_eq!(patched["expires_at"], "2100-01-31T10:00:00Z");
    assert_eq!(update(&["--never-expires"])["expires_at"], json!(null));
    assert_eq!(update(&["--scope", "read-only"])["scopes"], json!(["read-only"]));
    let write = ["authenticate", "--realm", "recurr", "--key-stdin", "--method", "POST", "--path", "/v1/invoices"];
    let denied = server.ran(server.call(&write).stdin(&secret)).ends(3);
    assert!(denied.stdout.starts_with("denied: insufficient_scope\n"), "{denied:#?}");
    assert_eq!(update(&["--no-scopes"])["scopes"], json!([]));
    server.ask(&["keys", "update", "--realm", "recurr", &id]).ends(2).complains("--name");
    server.ask(&["keys", "update", "--realm", "recurr", &id, "--scope", "admin"]).ends(2).complains("`read-write`");
}

#[tokio::test]
async fn a_suspended_key_rests_and_a_revoked_one_is_gone() {
    let server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    assert_eq!(server.json(&["keys", "suspend", "--realm", "recurr", &id])["state"], "suspended");
    server.assert_denied(&secret, "suspended_key");
    assert_eq!(server.json(&["keys", "resume", "--realm", "recurr", &id])["state"], "active");
    server.present(&secret).ends(0);

    let revoked = server.json(&["keys", "revoke", "--realm", "recurr", &id, "--reason", "seen in public"]);
    assert_eq!((fields(&revoked), &revoked["more"]), (vec!["keys", "more"], &json!(false)));
    let key = &revoked["keys"][0];
    assert_eq!((&key["state"], &key["revoke_reason"]), (&json!("revoked"), &json!("seen in public")));
    server.assert_denied(&secret, "revoked_key");
    server.ask(&["keys", "resume", "--realm", "recurr", &id]).ends(6).complains("revoked");
    assert_eq!(server.json(&["keys", "get", "--realm", "recurr", &id])["state"], "revoked");
}

#[tokio::test]
async fn all_keys_of_an_account_end_and_no_others() {
    let server = Keygate::start(&[]).await;
    let acme: Vec<_> = (0..3).map(|_| server.key_of("acme")).collect();
    let (_, other) = server.key_of("other");
    let revoke = ["keys", "revoke-account", "--realm", "recurr", "--account", "acme"];
    let none = server.json(&[&revoke[..], &["--environment", "test"]].concat());
    assert_eq!(none, json!({ "keys": [], "more": false }));
    let ended = server.json(&[&revoke[..], &["--reason", "left"]].concat());
    let mut ids: Vec<_> = ended["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut made: Vec<_> = acme.iter().map(|(id, _)| id.as_str()).collect();
    made.sort_unstable();
    assert_eq!(ids, made);
    for (_, secret) in &acme {
        server.assert_denied(secret, "revoked_key");
    }
    server.present(&other).ends(0);
    server.ask(&revoke).ends(0).complains("no key");
}

#[tokio::test]
async fn the_management_key_is_taken_from_the_file_before_the_variable() {
    let server = Keygate::start(&[]).await;
    let list = ["keys", "list", "--realm", "recurr"];
    let file = server.data_dir().join("operator.key");
    let named = [&list[..], &["--key-file", file.to_str().unwrap()]].concat();
    server.ran(server.call(&named).env("KEYGATE_KEY", "kgop_nonsense")).ends(0);
    server.ran(server.call(&list).env("KEYGATE_KEY", "kgop_nonsense")).ends(4);

    let nowhere = tempfile::tempdir().unwrap();
    let none = server.ran(server.call(&list).env("KEYGATE_KEY", "").within(nowhere.path())).ends(2);
    none.complains("KEYGATE_KEY");
    none.complains("--key-file");
    let two = nowhere.path().join("two.key");
    fs::write(&two, format!("{}\n{}\n", server.operator(), server.operator())).unwrap();
    server.ask(&[&list[..], &["--key-file", two.to_str().unwrap()]].concat()).ends(2).complains("one line");
    let gone = nowhere.path().join("gone.key");
    server.ask(&[&list[..], &["--key-file", gone.to_str().unwrap()]].concat()).ends(1).complains("gone.key");
}

/// Acts on keys do not tell uses, and what they answer is not taken for a key that nobody used.
#[tokio::test]
async fn only_what_was_told_is_said_of_uses() {
    let server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    let of_key = |act| server.call(&["keys", act, "--realm", "recurr", &id]).run().ends(0).stdout;
    assert!(of_key("get").contains("not used yet"));
    server.present(&secret).ends(0);
    let rotated = server.call(&["keys", "rotate", "--realm", "recurr", &id, "--grace", "1h"]).run().ends(0).stdout;
    server.remember(rotated.lines().last().unwrap());
    for told in [rotated, of_key("suspend"), of_key("resume"), of_key("revoke")] {
        assert!(told.contains(" made ") && !told.contains("not used yet"), "{told}");
    }
    let (_, _) = server.key_of("other");
    let ended = server.ask(&["keys", "revoke-account", "--realm", "recurr", "--account", "other"]).ends(0).stdout;
    assert!(ended.contains("EXPIRES") && !ended.contains("LAST USED"), "{ended}");
    assert!(server.ask(&["keys", "list", "--realm", "recurr"]).ends(0).stdout.contains("LAST USED"));
}

#[test]
fn help_says_where_a_reason_is_seen_and_which_fields_a_row_has() {
    for act in ["revoke", "revoke-account"] {
        let help = keygate(&["keys", act, "--help"]).run().ends(0).stdout;
        assert!(help.contains("`keys get`") && !help.contains("audit log"), "{help}");
    }
    let help = keygate(&["keys", "import", "--help"]).run().ends(0).stdout;
    let row = include_str!("../../src/cli/keys/import_row.rs");
    let (_, fields) = row.split_once("const FIELDS: &str =").unwrap();
    let (fields, _) = fields.split_once(';').unwrap();
    let names: Vec<&str> = fields.split('`').skip(1).step_by(2).collect();
    assert!(names.len() == 12 && names.iter().all(|name| help.contains(&format!("`{name}`"))), "{names:?}\n{help}");
}
