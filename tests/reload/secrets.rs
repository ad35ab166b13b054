//! The server secrets and the keys of token issuers, while the server runs.

use crate::{
    support::{
        calls::{Answered, by_key},
        issuer::Issuer,
        keygate::{DataDir, Keygate},
    },
    world::{NEVER, REFUSED, RELOADED, World, read, realm},
};
use keygate::proto::v1::{AuthenticateRequest, DenyReason, authenticate_request::Credential};
use std::fs;

async fn a_version_that_comes_is_used_and_one_that_goes_is_missed(world: World) {
    let path = world.stack.data_dir().join("secrets");
    let old = fs::read_to_string(&path).unwrap();
    let (_, before) = world.stack.new_key("one", "acme", "live").await;
    world.stack.authenticate(read("one", &before)).await.allowed();
    let second = "5e".repeat(32);
    world.stack.remember(&second);
    let both = format!("{old}2 {second}\n");
    fs::write(&path, &both).unwrap();
    world.reload().await;
    assert!(world.line(RELOADED).contains("the server secrets (the newest version is 2)"));
    if let Some(redis) = &world.stack.redis {
        // Whoever starts without the new version is turned away from now on, not only from the next connection on.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("secrets"), &old).unwrap();
        let data = DataDir::Given(folder.path().to_owned());
        let started = Keygate::try_start(data, &["--store", "redis", "--redis-url", &redis.url()]).await;
        let ended = started.err().expect("it must not start");
        assert!(ended.output.contains("server secret version 2 is missing"), "{ended:?}");
    }
    let (id, after) = world.stack.new_key("one", "acme", "live").await;
    for key in [&before, &after] {
        world.stack.authenticate(read("one", key)).await.allowed();
    }
    world.stack.rotate("one", &id, None).await;

    // Lost, changed, unreadable: nothing of it is taken over.
    let third = format!("3 {}\n", "6f".repeat(32));
    for (text, said) in [
        (format!("2 {second}\n"), "no longer holds version 1 as this server knows it"),
        (old.clone(), "no longer holds version 2 as this server knows it"),
        (third.clone(), "no longer holds versions 2, 1 as this server knows it"),
        (both.replace("5e5e", "5f5f"), "no longer holds version 2 as this server knows it"),
        (format!("{both}3 dead\n"), "must be `VERSION SECRET`"),
        (String::new(), "must hold at least one secret"),
    ] {
        let refused = world.count(REFUSED);
        fs::write(&path, text).unwrap();
        world.told().await;
        assert_eq!(world.count(REFUSED), refused + 1);
        assert!(world.stack.output().contains(said), "`{said}` was not said:\n{}", world.stack.output());
        world.stack.authenticate(read("one", &before)).await.allowed();
    }
    fs::write(&path, format!("{both}{third}")).unwrap();
    world.reload().await;
    let (_, third) = world.stack.new_key("one", "acme", "live").await;

    // What was written under the newest version is there after a restart, and before one it never was anywhere else.
    let World { mut stack, folder } = world;
    stack.keygate.restart().await;
    for key in [&before, &third] {
        stack.authenticate(by_key("one", key)).await.allowed();
    }
    fs::write(&path, &both).unwrap();
    drop(folder);
}

#[tokio::test]
async fn a_version_that_comes_is_used_and_one_that_goes_is_missed_embedded() {
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    a_version_that_comes_is_used_and_one_that_goes_is_missed(world).await;
}

#[tokio::test]
async fn a_version_that_comes_is_used_and_one_that_goes_is_missed_redis() {
    let world = World::on_redis(NEVER, &[("one", realm("one", 100))]).await;
    a_version_that_comes_is_used_and_one_that_goes_is_missed(world).await;
}

fn with_tokens(limit: u32) -> String {
    let tokens = r#"
[[tokens]]
issuer = "https://issuer.test"
audiences = ["the-app"]
jwks_file = "../jwks.json"
algorithms = ["ES256"]
"#;
    let accepts = "header = \"x-key\"\naccepts = [\"key\", \"token\"]";
    realm("one", limit).replace("header = \"x-key\"", accepts) + tokens
}

#[tokio::test]
async fn a_token_that_was_found_good_stays_so_while_its_issuer_has_the_key_and_no_longer() {
    let (first, second) = (Issuer::new(), Issuer::new());
    let world = World::start(NEVER, &[("one", realm("one", 100))]).await;
    fs::write(world.at("jwks.json"), first.key_set()).unwrap();
    world.write("one", &with_tokens(100));
    world.reload().await;
    assert!(world.line(RELOADED).contains("the issuers of tokens"), "{}", world.line(RELOADED));
    let ask = |token: &str| {
        let credential = Some(Credential::AccessToken(token.to_owned()));
        world.stack.authenticate(AuthenticateRequest { realm: "one".to_owned(), credential, ..Default::default() })
    };
    let (old, new) = (first.token("ann"), second.token("ann"));
    ask(&old).await.allowed();
    ask(&new).await.denied_for(DenyReason::InvalidToken);
    // Something else changes in the realm, and then nothing at all.
    for _ in 0..2 {
        world.write("one", &with_tokens(90));
        world.reload().await;
        ask(&old).await.allowed();
    }
    // The issuer has another key under the same name.
    fs::write(world.at("jwks.json"), second.key_set()).unwrap();
    world.reload().await;
    ask(&old).await.denied();
    ask(&new).await.allowed();
    // Another audience: what was good for the old one is good no more.
    world.write("one", &with_tokens(90).replace("the-app", "another-app"));
    world.reload().await;
    ask(&new).await.denied();
}
