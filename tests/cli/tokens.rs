//! Access tokens on the command line: judged, and as the credential of whoever manages keys of their own.

use crate::support::{issuer::Issuer, keygate::Keygate};

#[tokio::test]
async fn a_token_is_judged_from_standard_input_a_variable_or_a_header() {
    let server = Keygate::start(&[]).await;
    let token = Issuer::shared().token("did:privy:ann");
    server.remember(&token);
    let ask = ["authenticate", "--realm", "recoup", "--output", "json"];
    let by_stdin = server.ran(server.call(&[&ask[..], &["--token-stdin"]].concat()).stdin(&token)).ends(0).json();
    assert_eq!(by_stdin["allowed"]["account_id"], "did:privy:ann");
    assert_eq!(by_stdin["allowed"]["token"]["issuer"], crate::support::issuer::ISSUER);
    server.ran(server.call(&ask).env("KEYGATE_ACCESS_TOKEN", &token)).ends(0);
    let header = format!("authorization: Bearer {token}");
    server.ask(&[&ask[..], &["--header", &header]].concat()).ends(0);
    let wrong = server.ran(server.call(&[&ask[..], &["--token-stdin"]].concat()).stdin("a.b.c")).ends(3).json();
    assert_eq!(wrong["denied"]["reason"], "invalid_token");
}

#[tokio::test]
async fn keys_are_managed_with_a_token_or_with_a_key_of_the_realm() {
    let server = Keygate::start(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let token = Issuer::shared().token("ann");
    server.remember(&token);
    let token = file("access.token", &token);
    let create = ["keys", "create", "--realm", "recoup", "--name", "laptop", "--key-file"];
    let (made, secret) = server.made(&[&create[..], &[&token]].concat());
    assert_eq!(made["key"]["account_id"], "ann");
    let key = file("laptop.key", &secret);
    let with_key = ["--key-file", &key, "--key-header", "X-Api-Key"];
    let list =
        server.ask(&[&["keys", "list", "--realm", "recoup", "--output", "json"], &with_key[..]].concat()).ends(0);
    assert!(list.stdout.contains(made["key"]["id"].as_str().unwrap()));
    server.ask(&[&["keys", "list", "--realm", "recoup", "--key-file"], &[key.as_str()][..]].concat()).ends(4);
    let named = [&create[..], &[&token, "--account", "bob"]].concat();
    server.ask(&named).complains("create.account_id");
    let others = server.ask(&["keys", "list", "--realm", "recoup", "--account", "bob", "--key-file", &token]).ends(5);
    others.complains("or it is another's");
    // What was done with a token is found under whom it is about.
    let actor = format!("token:{}#ann", crate::support::issuer::ISSUER);
    let list = ["audit", "list", "--realm", "recoup", "--actor"];
    let found = server.json(&[&list[..], &[actor.as_str()]].concat());
    let acts: Vec<_> = found["events"].as_array().unwrap().iter().map(|event| &event["act"]).collect();
    assert_eq!(acts, ["account_created", "key_created"], "{found}");
    for wrong in ["ann", "token:ann", "key_1"] {
        server.ask(&[&list[..], &[wrong]].concat()).ends(2).complains("`token:ISSUER#SUBJECT`");
    }
    // The operator's key, which the environment holds, neither makes nor sees them.
    server.ask(&["keys", "list", "--realm", "recoup"]).complains("belong to their owners");
}
