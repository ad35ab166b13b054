//! Stores that go back in time: by a backup, by a copy that is put back, under a server that runs. It is noticed, and what had been
//! ended stays dead.

use crate::{
    bench::{Kind, Place, Ran, allowed, backup, command, folder},
    support::{
        calls::{Answered, by_key, seconds},
        keygate::Keygate,
    },
};
use keygate::proto::v1::{AccountStatus, AuditAct, DenyReason, KeyState, ListEventsRequest, UpdateKey};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

/// What has keys before the store is copied.
struct Before {
    working: String,
    revoked: (String, String),
    rotated: (String, String),
    held: (String, String),
    suspended: String,
    offboarded: String,
}

async fn before(server: &Keygate) -> Before {
    Before {
        working: server.new_key("recovea", "acme", "live").await.1,
        revoked: server.new_key("recovea", "acme", "live").await,
        rotated: server.new_key("recovea", "acme", "live").await,
        held: server.new_key("recovea", "acme", "live").await,
        suspended: server.new_key("recovea", "late-payer", "live").await.1,
        offboarded: server.new_key("recovea", "leaver", "live").await.1,
    }
}

impl Before {
    /// What is done after the store was copied.
    async fn then(&self, server: &Keygate) {
        server.revoke("recovea", &self.revoked.0).await;
        server.rotate("recovea", &self.rotated.0, Some(seconds(0))).await;
        let suspend =
            UpdateKey { key_id: self.held.0.clone(), state: KeyState::Suspended.into(), ..Default::default() };
        server.update("recovea", suspend).await;
        server.set_status("recovea", "late-payer", AccountStatus::Suspended).await;
        server.set_status("recovea", "leaver", AccountStatus::Offboarded).await;
    }

    /// What is dead stays dead, what works goes on, and the log of the store tells why.
    async fn stays(&self, server: &Keygate) {
        let denied = async |key: &str, reason| server.authenticate(by_key("recovea", key)).await.denied_for(reason);
        denied(&self.revoked.1, DenyReason::RevokedKey).await;
        denied(&self.rotated.1, DenyReason::RetiredSecret).await;
        denied(&self.held.1, DenyReason::SuspendedKey).await;
        denied(&self.suspended, DenyReason::SuspendedAccount).await;
        server.authenticate(by_key("recovea", &self.offboarded)).await.denied();
        allowed(server, "recovea", &self.working).await;
        let ended = server.get("recovea", &self.revoked.0).await;
        assert_eq!(ended.revoke_reason, "ended before the store went back in time");
        let chain = server.chain("recovea", "leaver").await;
        let acts: Vec<AuditAct> = chain.iter().map(keygate::proto::v1::AuditEvent::act).collect();
        assert_eq!(acts[acts.len() - 2..], [AuditAct::AccountOffboarded, AuditAct::KeyRevoked]);
        assert!(chain[acts.len() - 2..].iter().all(|event| event.actor == "keygate"));
        let told = "the store went back in time: accounts that are behind what this server wrote down of them: 3";
        server.wait_for_output(told).await;
    }
}

/// The problems that `serve --check-store` tells.
fn problems(place: &Place) -> Vec<String> {
    let mut looking = command(&["serve", "--check-store", "--output", "json", "--data-dir"]);
    looking.arg(place.data.path()).args(place.store());
    let found = Ran::of(looking).json();
    found["problems"].as_array().unwrap().iter().map(|one| one["problem"].as_str().unwrap().to_owned()).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        fs::copy(from, to).unwrap();
    }
}

#[tokio::test]
async fn a_copy_of_the_file_that_is_put_back() {
    let (place, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let data = place.data.path().join("keygate.redb");
    let server = place.serve().await;
    let keys = before(&server).await;
    drop(server);
    fs::copy(&data, file("copy")).unwrap();
    let server = place.serve().await;
    keys.then(&server).await;
    drop(server);
    assert_eq!(problems(&place), Vec::<String>::new());
    fs::copy(file("copy"), &data).unwrap();
    assert_eq!(problems(&place), ["went_back"]);
    let server = place.serve().await;
    keys.stays(&server).await;
    drop(server);
    // It is mended, and so it is told once.
    assert_eq!(problems(&place), Vec::<String>::new());
    // And again, from the same copy.
    fs::copy(file("copy"), &data).unwrap();
    keys.stays(&place.serve().await).await;
}

async fn an_older_backup(kind: Kind) {
    let (place, (_folder, file)) = (Place::new(kind), folder());
    let server = place.serve().await;
    let keys = before(&server).await;
    backup(&server, &file("early"));
    keys.then(&server).await;
    drop(server);
    match &place.redis {
        Some(redis) => assert_eq!(redis.cli(&["FLUSHALL"]), "OK"),
        None => fs::remove_file(place.data.path().join("keygate.redb")).unwrap(),
    }
    assert_eq!(place.restore(&file("early"), &[]).ends(0).counts()[0], 4);
    keys.stays(&place.serve().await).await;
}

#[tokio::test]
async fn an_older_backup_in_an_embedded_store() {
    an_older_backup(Kind::Embedded).await;
}

#[tokio::test]
async fn an_older_backup_in_redis() {
    an_older_backup(Kind::Redis).await;
}

#[tokio::test]
async fn a_redis_that_goes_back_under_a_server_that_runs() {
    let (mut place, (_folder, file)) =
        (Place::with(Kind::Redis, &["--operations-listen".to_owned(), "127.0.0.1:0".to_owned()]), folder());
    let server = place.serve().await;
    let keys = before(&server).await;
    let redis = place.redis.as_mut().unwrap();
    let directory = redis.dir().to_owned();
    redis.kill();
    copy(&directory.join("appendonlydir"), &file("copy"));
    redis.restart();
    let list = ListEventsRequest { realm: "recovea".to_owned(), ..Default::default() };
    let deadline = Instant::now() + Duration::from_secs(20);
    while server.try_events(Some(server.operator()), list.clone()).await.is_err() {
        assert!(Instant::now() < deadline, "it does not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    keys.then(&server).await;
    let redis = place.redis.as_mut().unwrap();
    redis.kill();
    fs::remove_dir_all(directory.join("appendonlydir")).unwrap();
    copy(&file("copy"), &directory.join("appendonlydir"));
    redis.restart();
    server.wait_for_output("the store went back in time").await;
    keys.stays(&server).await;
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let ready = server.operations("GET /readyz", "").await;
        if ready.body.contains("went_back") {
            assert_eq!(ready.status, 200, "{}", ready.body);
            break;
        }
        assert!(Instant::now() < deadline, "{}", ready.body);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let page = server.metrics().await;
    assert_eq!(
        (page.sum("keygate_accounts_gone_back_total", &[]), page.sum("keygate_keys_ended_again_total", &[])),
        (3.0, 4.0)
    );
}

#[tokio::test]
async fn a_line_that_was_spoilt_or_left_out_is_told_and_the_others_are_heeded() {
    let (place, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let data = place.data.path().join("keygate.redb");
    let journal = place.data.path().join("journal");
    let server = place.serve().await;
    let (first, one) = server.new_key("recovea", "acme", "live").await;
    let (second, other) = server.new_key("recovea", "beta", "live").await;
    drop(server);
    fs::copy(&data, file("copy")).unwrap();
    let server = place.serve().await;
    server.revoke("recovea", &first).await;
    server.revoke("recovea", &second).await;
    drop(server);
    fs::copy(file("copy"), &data).unwrap();
    let text = fs::read_to_string(&journal).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let spoilt = lines.len() - 2;
    let other_letter = if &lines[spoilt][30..31] == "A" { "B" } else { "A" };
    lines[spoilt].replace_range(30..31, other_letter);
    // And a last one that was not written to its end.
    fs::write(&journal, format!("{}\nAAAA", lines.join("\n"))).unwrap();
    let server = place.serve().await;
    server.wait_for_output("lines of the journal are missing, or not what keygate wrote").await;
    server.authenticate(by_key("recovea", &other)).await.denied_for(DenyReason::RevokedKey);
    allowed(&server, "recovea", &one).await;
}
