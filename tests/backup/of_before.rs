//! What an earlier keygate wrote: its data directory is served, and its backup restored into every store.

use crate::{
    bench::{Kind, Place, allowed},
    support::{
        calls::{Answered, by_key},
        keygate::Keygate,
    },
};
use keygate::proto::v1::{DenyReason, KeyState};
use serde_json::Value;
use std::{fs, path::Path, process::Command};

fn written() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/backup/of_0_1_0"))
}

/// A place with the data directory that was written.
fn before(kind: Kind) -> Place {
    let place = Place::new(kind);
    let unpacked =
        Command::new("tar").arg("-xzf").arg(written().join("data.tar.gz")).arg("-C").arg(place.data.path()).status();
    assert!(unpacked.expect("`tar` can be started").success());
    place
}

/// Keys stand as they stood, and their accounts go on from there.
async fn stands(server: &Keygate) {
    let keys: Value = serde_json::from_slice(&fs::read(written().join("keys.json")).unwrap()).unwrap();
    let told = |name: &str, what: &str| keys[name][what].as_str().unwrap().to_owned();
    for name in ["working", "rotated", "of_member"] {
        allowed(server, &told(name, "realm"), &told(name, "secret")).await;
    }
    for (name, reason) in [
        ("former", DenyReason::RetiredSecret),
        ("revoked", DenyReason::RevokedKey),
        ("suspended", DenyReason::SuspendedKey),
    ] {
        server.authenticate(by_key(&told(name, "realm"), &told(name, "secret"))).await.denied_for(reason);
    }
    assert_eq!(server.get("recovea", &told("revoked", "key_id")).await.state(), KeyState::Revoked);
    assert_eq!(server.get_member("recurr", "player", "usr_1").await.unwrap().key_ids, [told("of_member", "key_id")]);
    assert!(server.chain("recovea", "acme").await.len() >= 7);
    // The chain is verified before its head is signed.
    server.try_checkpoints(Some(server.operator()), "recovea", "acme").await.unwrap();
    server.revoke("recovea", &told("working", "key_id")).await;
    let secret = told("working", "secret");
    server.authenticate(by_key("recovea", &secret)).await.denied_for(DenyReason::RevokedKey);
}

#[tokio::test]
async fn a_data_directory_of_0_1_0_is_served() {
    let place = before(Kind::Embedded);
    stands(&place.serve().await).await;
}

#[tokio::test]
async fn a_backup_of_0_1_0_is_restored_into_every_store() {
    for kind in [Kind::Embedded, Kind::Redis] {
        let place = before(kind);
        fs::remove_file(place.data.path().join("keygate.redb")).unwrap();
        // What was written down of acts belongs to the store that they were done on.
        fs::remove_file(place.data.path().join("journal")).unwrap();
        let done = place.restore(&written().join("all.backup"), &[]).ends(0);
        assert_eq!(done.counts(), [4, 0, 0, 0, 0], "{done:?}");
        stands(&place.serve().await).await;
    }
}
