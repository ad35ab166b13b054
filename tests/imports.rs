//! Keys that come from elsewhere are stored once, whatever they come as and however often.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use data_encoding::HEXLOWER;
use keygate::proto::v1::{
    DenyReason, HashAlgorithm, HashEncoding, HashedPart, ImportKeys, ImportOutcome, ImportReport, ImportRow,
    ImportedHash, ListKeys, import_row::Secret, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use sha2::{Digest, Sha256};
use std::{fs::OpenOptions, io::Write};
use support::{
    calls::{Answered, assert_invalid, by_key, well_formed},
    keygate::Keygate,
};

fn row(account: &str, secret: Secret) -> ImportRow {
    ImportRow {
        secret: Some(secret),
        account_id: account.to_owned(),
        environment: "live".to_owned(),
        name: "taken over".to_owned(),
        ..Default::default()
    }
}

fn raw(account: &str, key: &str) -> ImportRow {
    row(account, Secret::RawKey(key.to_owned()))
}

fn hashed(account: &str, covered: &str) -> ImportRow {
    row(account, Secret::Hash(HEXLOWER.encode(&Sha256::digest(covered))))
}

/// Rows whose hashes, if there are any, are SHA-256 of that part in hexadecimal.
fn batch(part: HashedPart, rows: Vec<ImportRow>) -> ImportKeys {
    let hash =
        ImportedHash { algorithm: HashAlgorithm::Sha256.into(), encoding: HashEncoding::Hex.into(), part: part.into() };
    ImportKeys { rows, hash: Some(hash), ..Default::default() }
}

async fn import(keygate: &Keygate, batch: ImportKeys) -> ImportReport {
    match keygate.manage("recurr", Operation::Import(batch)).await {
        Done::Imported(report) => report,
        other => panic!("no report: {other:?}"),
    }
}

/// Outcome and key id of each row.
fn told(report: &ImportReport) -> Vec<(ImportOutcome, &str)> {
    report.verdicts.iter().map(|one| (one.outcome(), one.key_id.as_str())).collect()
}

on_both_stores! {
    async fn a_revoked_hash_does_not_come_back_as_the_key_itself(stack) {
        for (part, key) in [
            (HashedPart::Whole, "rk_live_LegacyLegacyLegacy000001"),
            (HashedPart::Body, "rk_live_LegacyLegacyLegacy000002"),
        ] {
            let covered = if part == HashedPart::Whole { key } else { &key["rk_live_".len()..] };
            let report = import(&stack, batch(part, vec![hashed("acme", covered)])).await;
            assert_eq!(report.imported, 1, "{report:?}");
            let id = report.verdicts[0].key_id.clone();
            stack.revoke("recurr", &id).await;
            for account in ["acme", "other"] {
                let report = import(&stack, batch(part, vec![raw(account, key)])).await;
                assert_eq!(told(&report), [(ImportOutcome::AlreadyPresent, id.as_str())]);
            }
            stack.authenticate(by_key("recurr", key)).await.denied_for(DenyReason::RevokedKey);
        }
    }

    async fn a_secret_stands_once_in_a_batch_raw_or_hashed(stack) {
        let (one, two) = ("rk_live_LegacyLegacyLegacy000003", "rk_live_LegacyLegacyLegacy000004");
        let rows = vec![hashed("acme", one), raw("acme", one), raw("acme", two), hashed("acme", two)];
        let report = import(&stack, batch(HashedPart::Whole, rows)).await;
        let outcomes: Vec<ImportOutcome> = told(&report).into_iter().map(|(outcome, _)| outcome).collect();
        use ImportOutcome::{Imported, Refused};
        assert_eq!(outcomes, [Imported, Refused, Imported, Refused]);
    }

    async fn a_rotated_server_secret_makes_no_import_new(stack) {
        let own = well_formed("rk_live_", "Imported0Imported0Imported");
        let (ended, legacy) = ("rk_live_LegacyLegacyLegacy000005", "rk_live_LegacyLegacyLegacy000006");
        let hash_only = "rk_live_LegacyLegacyLegacy000007";
        let rows =
            vec![raw("acme", &own), raw("acme", ended), raw("acme", legacy), hashed("acme", hash_only)];
        let all = batch(HashedPart::Whole, rows);
        let first = import(&stack, all.clone()).await;
        assert_eq!(first.imported, 4, "{first:?}");
        stack.revoke("recurr", &first.verdicts[1].key_id).await;

        assert!(stack.keygate.terminate().await.success());
        let mut secrets = OpenOptions::new().append(true).open(stack.data_dir().join("secrets")).unwrap();
        writeln!(secrets, "2 {}", "5a".repeat(32)).unwrap();
        stack.keygate.restart().await;

        let again = import(&stack, all).await;
        let known: Vec<_> =
            first.verdicts.iter().map(|one| (ImportOutcome::AlreadyPresent, one.key_id.as_str())).collect();
        assert_eq!(told(&again), known);
        stack.authenticate(by_key("recurr", ended)).await.denied_for(DenyReason::RevokedKey);
        for (at, key) in [(0, own.as_str()), (2, legacy), (3, hash_only)] {
            let allowed = stack.authenticate(by_key("recurr", key)).await.allowed();
            assert_eq!(allowed.key_id, first.verdicts[at].key_id);
        }
    }

    async fn a_batch_that_comes_again_is_told_the_same(stack) {
        let key = |n| format!("rk_live_LegacyLegacyLegacy00001{n}");
        let rows = vec![raw("acme", &key(0)), raw("zeta", &key(1)), raw("acme", "no key of this realm"), raw("acme", &key(0))];
        let all = ImportKeys { idempotency_key: "batch-7".to_owned(), ..batch(HashedPart::Whole, rows) };
        // Trying it first spoils nothing.
        assert_eq!(import(&stack, ImportKeys { dry_run: true, ..all.clone() }).await.imported, 2);
        let first = import(&stack, all.clone()).await;
        assert_eq!((first.imported, first.refused), (2, 2), "{first:?}");
        assert_eq!(import(&stack, all.clone()).await, first);
        // Also when a key was ended since, which stays ended; and without the idempotency key it is told as it is.
        stack.revoke("recurr", &first.verdicts[0].key_id).await;
        assert_eq!(import(&stack, all.clone()).await, first);
        stack.authenticate(by_key("recurr", &key(0))).await.denied_for(DenyReason::RevokedKey);
        assert_eq!(import(&stack, ImportKeys { idempotency_key: String::new(), ..all }).await.already_present, 2);
    }

    async fn another_batch_under_a_used_idempotency_key_writes_nothing(stack) {
        let key = |n| format!("rk_live_LegacyLegacyLegacy00002{n}");
        let named = |rows| ImportKeys { idempotency_key: "batch-7".to_owned(), ..batch(HashedPart::Whole, rows) };
        import(&stack, named(vec![raw("zeta", &key(0))])).await;
        // Accounts are written in order: `acme` would be before the account that was written then.
        let other = named(vec![raw("acme", &key(1)), raw("zeta", &key(2))]);
        let status = stack.try_manage("recurr", Operation::Import(other)).await.unwrap_err();
        assert_invalid(&status, &["import.idempotency_key"]);
        let of_acme = ListKeys { account_id: "acme".to_owned(), ..Default::default() };
        assert_eq!(stack.list("recurr", of_acme).await.keys, []);
    }
}
