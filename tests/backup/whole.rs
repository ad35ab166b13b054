//! Everything that a store holds comes through a backup, from every store into every store, and works there as it did.

use crate::{
    bench::{Kind, Place, allowed, assert_same, backup, folder, parts},
    support::{
        calls::{Answered, by_key, key_for, seconds},
        vault::{VaultFiles, in_file, putting, releasing, upstream},
    },
};
use keygate::proto::{
    store_v1::backup_part::Of,
    v1::{AccountStatus, DenyReason, KeyState, UpdateKey},
};
use std::time::{Duration, Instant};

async fn from_to(from: Kind, to: Kind) {
    let (old, (_folder, file)) = (Place::new(from), folder());
    let server = old.serve().await;
    let (_, working) = server.new_key("recovea", "acme", "live").await;
    let (rotated, former) = server.new_key("recovea", "acme", "live").await;
    let newest = server.rotate("recovea", &rotated, Some(seconds(3_600))).await.secret;
    let (ended, dead) = server.new_key("recovea", "acme", "test").await;
    server.revoke("recovea", &ended).await;
    let (resting, asleep) = server.new_key("recovea", "acme", "live").await;
    let suspend = UpdateKey { key_id: resting, state: KeyState::Suspended.into(), ..Default::default() };
    server.update("recovea", suspend).await;
    server.new_account("recurr", "band", "").await;
    let (_, of_member) = server.new_key("recurr", "player", "live").await;
    server.join("recurr", "player", "band").await;
    server.add_member("recurr", "band", "usr_1", &["developer"]).await;
    let (_, held_back) = server.new_key("recovea", "late-payer", "live").await;
    server.set_status("recovea", "late-payer", AccountStatus::Suspended).await;
    let (gone, left) = server.new_key("recovea", "leaver", "live").await;
    server.set_status("recovea", "leaver", AccountStatus::Offboarded).await;
    // That it was used is written behind the answers.
    allowed(&server, "recovea", &working).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    let before = loop {
        let name = file(&format!("{:?}", Instant::now()));
        backup(&server, &name);
        if parts(&name).iter().any(|part| matches!(part, Of::Key(key) if key.last.is_some())) {
            break name;
        }
        assert!(Instant::now() < deadline, "no use is written");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let chain = server.chain("recovea", "acme").await;
    for secret in [&working, &former, &newest, &dead, &asleep, &of_member, &held_back, &left] {
        let bytes = std::fs::read(&before).unwrap();
        let tail = &secret.as_bytes()[secret.len() / 2..];
        assert!(!bytes.windows(tail.len()).any(|found| found == tail), "a plaintext stands in the backup");
    }

    let new = old.sibling(to);
    let done = new.restore(&before, &[]).ends(0);
    assert_eq!(done.counts()[1..], [0, 0, 0, 0], "{done:?}");
    drop(server);
    let server = new.serve().await;
    backup(&server, &file("again"));
    assert_same(&before, &file("again"));
    assert_eq!(server.chain("recovea", "acme").await, chain);
    for secret in [&working, &former, &newest] {
        allowed(&server, "recovea", secret).await;
    }
    allowed(&server, "recurr", &of_member).await;
    let denied = async |key: &str, reason| server.authenticate(by_key("recovea", key)).await.denied_for(reason);
    denied(&dead, DenyReason::RevokedKey).await;
    denied(&asleep, DenyReason::SuspendedKey).await;
    denied(&held_back, DenyReason::SuspendedAccount).await;
    assert_eq!(server.get("recovea", &ended).await.state(), KeyState::Revoked);
    assert_eq!(server.get("recovea", &gone).await.state(), KeyState::Revoked);
    server.get_member("recurr", "band", "usr_1").await.unwrap();
    // And it goes on from there.
    server.create("recovea", key_for("acme", "live")).await;
    server.revoke("recovea", &rotated).await;
    denied(&newest, DenyReason::RevokedKey).await;
}

#[tokio::test]
async fn from_embedded_to_redis() {
    from_to(Kind::Embedded, Kind::Redis).await;
}

#[tokio::test]
async fn from_redis_to_embedded() {
    from_to(Kind::Redis, Kind::Embedded).await;
}

#[tokio::test]
async fn from_embedded_to_embedded() {
    from_to(Kind::Embedded, Kind::Embedded).await;
}

#[tokio::test]
async fn from_redis_to_redis() {
    from_to(Kind::Redis, Kind::Redis).await;
}

#[tokio::test]
async fn a_sealed_credential_comes_through_sealed() {
    const SECRET: &str = "sk-canary-Kp3vXq8ZtLm2RwYb7NcDs5Hf";
    let files = VaultFiles::new(&[&in_file("k1", true)]);
    let (old, (_folder, file)) = (Place::with(Kind::Embedded, &files.arguments()), folder());
    let server = old.serve().await;
    server.remember(SECRET);
    let (_, key) = server.new_key("recovea", "project-1", "live").await;
    let put = putting("project-1", "live", "openai", SECRET);
    server.put(&put.account_id, &put.environment, &put.provider, SECRET).await;
    backup(&server, &file("one"));
    let bytes = std::fs::read(file("one")).unwrap();
    assert!(!bytes.windows(SECRET.len()).any(|found| found == SECRET.as_bytes()));
    let goes_on = async |server: &crate::support::keygate::Keygate| {
        let mut answer = server.client().authenticate(releasing(&key)).await.unwrap().into_inner().allowed();
        answer.headers.clear();
        upstream(&answer)
    };
    let before = goes_on(&server).await;
    assert!(before.concat().contains(SECRET), "{before:?}");
    let new = old.sibling(Kind::Redis);
    new.restore(&file("one"), &[]).ends(0);
    let server = new.serve().await;
    assert_eq!(goes_on(&server).await, before);
}
