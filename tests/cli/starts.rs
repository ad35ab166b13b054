//! Starting a server again, or where another one is in the way.

use crate::{
    run::keygate,
    support::keygate::{DataDir, Keygate},
};
use std::{fs, net::TcpListener};
use tempfile::TempDir;

#[tokio::test]
async fn keys_outlive_a_restart() {
    let mut server = Keygate::start(&[]).await;
    let (id, secret) = server.key_of("acme");
    let before = server.json(&["keys", "get", "--realm", "recurr", &id]);
    for how in ["killed", "asked to end"] {
        if how == "asked to end" {
            assert!(server.terminate().await.success());
        }
        server.restart().await;
        assert_eq!(server.present(&secret).ends(0).json()["allowed"]["key_id"], id.as_str(), "{how}");
        let mut after = server.json(&["keys", "get", "--realm", "recurr", &id]);
        for used in ["last_used_at", "last_used_address", "uses"] {
            after["secrets"][0][used] = before["secrets"][0][used].clone();
        }
        after["last_used_at"].take();
        assert_eq!(after, before, "{how}");
    }
}

#[tokio::test]
async fn a_second_server_on_the_same_data_directory_is_told_so() {
    let server = Keygate::start(&[]).await;
    let (_, secret) = server.key_of("acme");
    let given = DataDir::Given(server.data_dir().to_owned());
    let ended = Keygate::try_start(given, &[]).await.err().expect("the directory is taken");
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let directory = server.data_dir().display().to_string();
    assert!(ended.output.contains("in use by another keygate") && ended.output.contains(&directory), "{ended:#?}");
    assert_eq!(ended.output.lines().count(), 1, "{ended:#?}");
    server.present(&secret).ends(0);
}

#[tokio::test]
async fn a_second_server_on_the_same_port_is_told_so() {
    let server = Keygate::start(&[]).await;
    let directory = TempDir::new().unwrap();
    let data = directory.path().join("data");
    let serve = ["serve", "--listen", server.address(), "--data-dir", data.to_str().unwrap()];
    let ran = keygate(&serve).run().ends(1);
    ran.complains(&format!("cannot listen on {}", server.address()));
    ran.complains("in use");
    ran.complains("--listen");
    assert_eq!(keygate(&[&serve[..], &["--output", "json"]].concat()).run().ends(1).error()["code"], "server");
    assert!(!data.exists(), "a server that cannot listen makes nothing");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap().to_string();
    let named = ["serve", "--listen", "localhost:50051", "--data-dir", data.to_str().unwrap()];
    keygate(&named).run().ends(2).complains("such as `127.0.0.1:50051`");
    for (endpoint, said) in [
        ("collector:4318", "must be `https://…` or `http://…`, without user, query and fragment"),
        ("http://a:hunter2@collector", "must be `https://…` or `http://…`"),
        ("http://collector?x=1", "without a query"),
    ] {
        let ran = keygate(&["serve", "--traces-endpoint", endpoint]).run().ends(2);
        ran.complains(said);
        assert!(!format!("{ran:?}").contains("hunter2"), "{ran:?}");
    }
    keygate(&["serve", "--listen", &taken, "--data-dir", data.to_str().unwrap()]).run().ends(1).complains(&taken);
}

/// The data of a server that ended.
async fn left_data() -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let server = Keygate::try_start(DataDir::Given(directory.path().to_owned()), &[]).await.expect("it starts");
    let operator = server.operator().to_owned();
    drop(server);
    (directory, operator)
}

#[tokio::test]
async fn a_secrets_file_that_belongs_to_other_data_is_told_plainly() {
    let ((mine, _), (theirs, _)) = (left_data().await, left_data().await);
    let foreign = fs::read(theirs.path().join("secrets")).unwrap();
    fs::write(mine.path().join("secrets"), &foreign).unwrap();
    let ended = Keygate::try_start(DataDir::Given(mine.path().to_owned()), &[]).await.err().expect("it must not start");
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    assert!(ended.output.contains("another server secret"), "{ended:#?}");
    let secret = String::from_utf8(foreign).unwrap();
    let hex = secret.lines().last().unwrap().trim_start_matches("1 ");
    assert!(hex.len() == 64 && !ended.output.contains(hex), "{ended:#?}");
}

#[tokio::test]
async fn a_damaged_secrets_file_is_told_by_its_line() {
    let (directory, _) = left_data().await;
    let file = directory.path().join("secrets");
    fs::write(&file, "# mine\n1 c0ffee\n").unwrap();
    let ended =
        Keygate::try_start(DataDir::Given(directory.path().to_owned()), &[]).await.err().expect("it is damaged");
    assert!(ended.output.contains("line 2") && !ended.output.contains("c0ffee"), "{ended:#?}");
}

#[tokio::test]
async fn a_new_operator_key_stands_beside_the_old_one() {
    let (directory, old) = left_data().await;
    let data = DataDir::Given(directory.path().to_owned());
    let server = Keygate::try_start(data, &["--reissue-operator-key"]).await.expect("it starts");
    assert_ne!(server.operator(), old);
    server.remember(&old);
    let list = ["keys", "list", "--realm", "keygate", "--output", "json"];
    for key in [old.as_str(), server.operator()] {
        let keys = server.ran(server.call(&list).env("KEYGATE_KEY", key)).ends(0).json();
        assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    }
    // Whoever lost a key to somebody ends it.
    let keys = server.json(&["keys", "list", "--realm", "keygate"]);
    let hint = &old[old.len() - 4..];
    let lost =
        keys["keys"].as_array().unwrap().iter().find(|key| key["hint"].as_str().unwrap().ends_with(hint)).unwrap();
    server.ask(&["keys", "revoke", "--realm", "keygate", lost["id"].as_str().unwrap()]).ends(0);
    server.ran(server.call(&list).env("KEYGATE_KEY", &old)).ends(4);
}

const SHOP: &str = r#"
realm = "shop"
credentials = [{ header = "x-api-key" }]
[[environments]]
name = "live"
prefix = "sh_live_"
[[limits]]
name = "signups"
limit = 5
window = "1h"
per = ["address"]
[onboarding]
delivery = "webhook"
webhook_url = "http://127.0.0.1:9/codes"
webhook_secret_file = "secrets/codes"
signup_limits = ["signups"]
verify_limits = ["signups"]
[[webhooks]]
name = "billing"
url = "http://127.0.0.1:9/"
secret_file = "../hook.secret"
"#;

/// Wherever the server was started, and wherever it keeps its data.
#[tokio::test]
async fn files_of_a_realm_lie_beside_its_file() {
    let folder = TempDir::new().unwrap();
    let realms = folder.path().join("realms");
    fs::create_dir_all(realms.join("secrets")).unwrap();
    let file = realms.join("shop.toml");
    fs::write(&file, SHOP).unwrap();
    let arguments = ["--realm-file", file.to_str().unwrap()];
    let ended = Keygate::try_start(DataDir::new(), &arguments).await.err().expect("the secret is missing");
    let tried = realms.join("../hook.secret").display().to_string();
    assert!(ended.output.contains(&format!("its secret is missing: `{tried}` must hold it")), "{ended:#?}");

    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ";
    fs::write(folder.path().join("hook.secret"), secret).unwrap();
    let server = Keygate::start(&arguments).await;
    server.wait_for_output("nobody can sign up").await;
    let tried = realms.join("secrets/codes").display().to_string();
    assert!(server.output().contains(&tried), "{}", server.output());
    drop(server);
    fs::write(realms.join("secrets/codes"), secret).unwrap();
    assert!(!Keygate::start(&arguments).await.output().contains("nobody can sign up"));
    // A relative path of the realm's file leads to the same place.
    let data = folder.path().join("data");
    fs::write(realms.join("secrets/codes"), "no secret").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap(), "--realm-file", "shop.toml"];
    keygate(&serve).within(&realms).run().ends(1).complains(&format!("`{tried}` must hold"));
}

/// Those that come with the program have no file.
#[tokio::test]
async fn files_of_the_shipped_realms_lie_in_the_data_directory() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    let secret = data.join("recoup-codes.secret");
    fs::write(&secret, "no secret").unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    keygate(&serve).run().ends(1).complains(&format!("`{}` must hold", secret.display()));
}
