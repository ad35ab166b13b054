//! A restore only goes forward: again and again, after it was killed, into a store that others used meanwhile.

use crate::{
    bench::{Kind, Place, Ran, allowed, assert_same, backup, folder},
    support::{
        calls::{Answered, by_key, key_for, well_formed},
        keygate::Keygate,
    },
};
use keygate::proto::v1::{
    DenyReason, ImportKeys, ImportRow, import_row::Secret, manage_keys_request::Operation,
    manage_keys_response::Result as Done,
};
use std::{
    thread,
    time::{Duration, Instant},
};

/// Takes over so many keys.
pub async fn import(server: &Keygate, account: &str, first: usize, count: usize) {
    for start in (first..first + count).step_by(500) {
        let row = |number: usize| ImportRow {
            secret: Some(Secret::RawKey(raw(number))),
            account_id: account.to_owned(),
            environment: "live".to_owned(),
            name: format!("number {number}"),
            ..Default::default()
        };
        let rows = (start..(start + 500).min(first + count)).map(row).collect();
        let done = server.manage("recovea", Operation::Import(ImportKeys { rows, ..Default::default() })).await;
        let Done::Imported(report) = done else { panic!("no report") };
        assert_eq!(report.refused, 0, "{:?}", report.verdicts[0]);
    }
}

pub fn raw(number: usize) -> String {
    well_formed("rcv_live_", &format!("{number:0>26}"))
}

async fn again_and_again(kind: Kind) {
    let (old, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let server = old.serve().await;
    let (first, early) = server.new_key("recovea", "acme", "live").await;
    let (_, other) = server.new_key("recovea", "beta", "live").await;
    backup(&server, &file("early"));
    let new = old.sibling(kind);
    assert_eq!(new.restore(&file("early"), &[]).ends(0).counts(), [3, 0, 0, 0, 0]);
    let refused = new.restore(&file("early"), &[]).ends(1);
    assert!(
        refused.message().starts_with("the store holds accounts of realm `keygate` already; `--merge`"),
        "{refused:?}"
    );
    assert_eq!(new.restore(&file("early"), &["--merge"]).ends(0).counts(), [0, 0, 3, 0, 0]);

    server.revoke("recovea", &first).await;
    let (_, late) = server.new_key("recovea", "gamma", "live").await;
    backup(&server, &file("late"));
    assert_eq!(new.restore(&file("late"), &["--merge"]).ends(0).counts(), [1, 1, 2, 0, 0]);
    // What the store has in a newer state stays so: the key that was ended stays dead.
    assert_eq!(new.restore(&file("early"), &["--merge"]).ends(0).counts(), [0, 0, 2, 1, 0]);
    drop(server);
    let server = new.serve().await;
    backup(&server, &file("again"));
    assert_same(&file("late"), &file("again"));
    server.authenticate(by_key("recovea", &early)).await.denied_for(DenyReason::RevokedKey);
    allowed(&server, "recovea", &other).await;
    allowed(&server, "recovea", &late).await;

    // The two part.
    server.create("recovea", key_for("beta", "live")).await;
    drop(server);
    let server = old.serve().await;
    server.create("recovea", key_for("beta", "test")).await;
    server.create("recovea", key_for("beta", "test")).await;
    backup(&server, &file("parted"));
    drop(server);
    let parted = new.restore(&file("parted"), &["--merge"]).ends(6);
    assert_eq!(parted.counts(), [0, 0, 3, 0, 1]);
    let why = "its audit chain in the store is another than in the backup";
    let named = serde_json::json!([{ "realm": "recovea", "account_id": "beta", "why": why }]);
    assert_eq!(parted.json()["left_out_accounts"], named);
    let server = new.serve().await;
    backup(&server, &file("unparted"));
    assert_eq!(server.chain("recovea", "beta").await.len(), 3, "nothing of the other way was written");
}

#[tokio::test]
async fn again_and_again_into_embedded() {
    again_and_again(Kind::Embedded).await;
}

#[tokio::test]
async fn again_and_again_into_redis() {
    again_and_again(Kind::Redis).await;
}

#[tokio::test]
async fn a_restore_that_was_killed_goes_on_and_a_part_of_an_account_does_not_work() {
    let (old, (_folder, file)) = (Place::new(Kind::Embedded), folder());
    let server = old.serve().await;
    import(&server, "large", 0, 6_000).await;
    backup(&server, &file("whole"));
    drop(server);
    let new = old.sibling(Kind::Redis);
    let redis = new.redis.as_ref().unwrap();
    let mut child = new.restoring(&file("whole"), &[]).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    let live = || redis.cli(&["HLEN", "kg1:{recovea/large}:k"]).parse::<u64>().unwrap();
    while live() == 0 {
        assert!(Instant::now() < deadline && child.try_wait().unwrap().is_none(), "it was never half done");
        thread::sleep(Duration::from_millis(1));
    }
    redis.pause();
    child.kill().unwrap();
    child.wait().unwrap();
    redis.resume();
    // What was on its way still arrives.
    thread::sleep(Duration::from_millis(200));
    let found = live();
    assert!((1..6_000).contains(&found), "{found} keys were written before it was killed");

    let server = new.serve().await;
    server.authenticate(by_key("recovea", &raw(0))).await.denied_for(DenyReason::SuspendedAccount);
    drop(server);
    let done: Ran = new.restore(&file("whole"), &["--merge"]).ends(0);
    assert_eq!(done.counts()[4], 0, "{done:?}");
    let server = new.serve().await;
    backup(&server, &file("again"));
    assert_same(&file("whole"), &file("again"));
    for number in [0, 1_234, 5_999] {
        allowed(&server, "recovea", &raw(number)).await;
    }
}
