//! `keygate accounts …` and `keygate members remove`: what previews and acts tell people.

use crate::support::{files::ConfigFile, keygate::Keygate};

const RECURR: &str = include_str!("../../deploy/realms/recurr.toml");

/// The arguments of an act on the account.
fn on<'a>(act: &'a str, account: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["accounts", act, "--realm", "recurr", "--account", account][..], more].concat()
}

#[tokio::test]
async fn a_preview_changes_nothing_and_tells_the_version_that_it_is_about() {
    let server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    let before = server.json(&on("get", "acme", &[]));
    for act in ["suspend", "deactivate", "activate"] {
        let told = server.ask(&on(act, "acme", &["--preview"])).ends(0);
        told.complains("no key would end");
        let version = server.json(&on(act, "acme", &["--preview"]))["account"]["version"].clone();
        told.complains(&format!("nothing was changed: the account is at version {version}"));
        assert_eq!(told.stdout, "", "{act}");
    }
    let told = server.ask(&on("offboard", "acme", &["--preview"])).ends(0);
    told.complains("1 key would end\n");
    let version = server.json(&on("offboard", "acme", &["--preview"]))["account"]["version"].clone();
    told.complains(&format!("nothing was changed: the account is at version {version}"));
    assert_eq!(told.stdout.split_whitespace().collect::<Vec<_>>(), ["KEY", &id]);
    assert_eq!(server.json(&on("get", "acme", &[])), before);
    server.present(&secret).ends(0);

    let told = server.ask(&on("offboard", "acme", &[])).ends(0);
    told.complains("1 key ended\n");
    assert!(told.stdout.contains("offboarded"), "{told:#?}");
    // Where none ends there is no head of a table without rows.
    let told = server.ask(&on("offboard", "acme", &[])).ends(0);
    told.complains("0 keys ended\n");
    assert!(!told.stdout.contains("KEY"), "{told:#?}");
}

#[tokio::test]
async fn a_stale_version_is_told_without_naming_another_thing() {
    let server = Keygate::start(&[]).await;
    server.ask(&on("create", "acme", &[])).ends(0);
    let stale = server.ask(&on("suspend", "acme", &["--expected-version", "9"])).ends(6);
    stale.complains("the account is at version 1, not 9");
    assert!(!stale.stderr.contains("key"), "{stale:#?}");
}

#[tokio::test]
async fn what_servers_may_remember_is_told_to_people_too() {
    let realm = RECURR.replacen("hint = ", "max_staleness = \"30s\"\nhint = ", 1);
    assert_ne!(realm, RECURR);
    let file = ConfigFile::new("recurr.toml", &realm);
    let server = Keygate::start(&["--realm-file", &file.path()]).await;
    server.key_of("acme");
    let told = "a server that cannot reach the store may go by what it remembers for up to 30s";
    let remove =
        ["members", "remove", "--realm", "recurr", "--account", "acme", "--member", crate::support::calls::SOMEBODY];
    let removed = server.ask(&remove).ends(0);
    removed.complains(told);
    removed.complains("1 key ended");
    for act in ["suspend", "deactivate", "activate", "offboard"] {
        server.ask(&on(act, "acme", &[])).ends(0).complains(told);
    }
    // Where nothing is remembered, nothing is said.
    let server = Keygate::start(&[]).await;
    server.key_of("acme");
    let suspended = server.ask(&on("suspend", "acme", &[])).ends(0);
    assert!(!suspended.stderr.contains("remembers"), "{suspended:#?}");
}
