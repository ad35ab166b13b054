//! What Recoup promises its users, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use keygate::proto::v1::CreateKey;
use sha2::{Digest, Sha256, Sha512};
use support::{
    calls::{Answered, by_key, key_for},
    stored::Stored,
};

/// Every form in which a careless store would keep a key.
fn careless_forms(key: &str) -> Vec<(String, Vec<u8>)> {
    let body = key.strip_prefix("recoup_sk_").expect("the prefix is `recoup_sk_`");
    let mut forms = vec![("the key".to_owned(), key.into()), ("its random part".to_owned(), body[..26].into())];
    for (what, text) in [("the key", key), ("its random part", body)] {
        for (algorithm, hash) in [("SHA-256", Sha256::digest(text).to_vec()), ("SHA-512", Sha512::digest(text).to_vec())] {
            for encoding in [BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER] {
                forms.push((format!("{algorithm} of {what}, encoded"), encoding.encode(&hash).into_bytes()));
            }
            forms.push((format!("{algorithm} of {what}"), hash));
        }
    }
    forms
}

on_both_stores! {
    async fn p9_only_a_keyed_hash_of_the_key_is_stored(stack) {
        let key = CreateKey { name: "Production Server".to_owned(), ..key_for("account-of-p9", "live") };
        let made = stack.create("recoup", key).await;
        let id = made.key.unwrap().id;
        let rotated = stack.rotate("recoup", &id, Some(support::calls::seconds(60))).await.secret;
        for secret in [&made.secret, &rotated] {
            stack.authenticate(by_key("recoup", secret)).await.allowed();
        }

        stack.keygate.terminate().await;
        let stored = Stored::read(&stack);
        // What is looked through is the store indeed.
        for there in ["account-of-p9", "Production Server"] {
            assert!(stored.holds(there.as_bytes()), "`{there}` is not in the store");
        }
        for secret in [&made.secret, &rotated] {
            for (what, bytes) in careless_forms(secret) {
                assert!(!stored.holds(&bytes), "the store holds {what}");
            }
        }
    }

    async fn p9_the_hash_is_keyed_with_the_servers_own_secret(stack) {
        let (_, key) = stack.new_key("recoup", "account", "live").await;
        stack.authenticate(by_key("recoup", &key)).await.allowed();
        // The same key on another server, whose secret is another: not one stored byte string of 32 bytes is shared.
        let other = support::keygate::Keygate::start(&[]).await;
        let import = keygate::proto::v1::ImportKeys {
            rows: vec![keygate::proto::v1::ImportRow {
                secret: Some(keygate::proto::v1::import_row::Secret::RawKey(key.clone())),
                account_id: "account".to_owned(),
                environment: "live".to_owned(),
                name: "taken over".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        };
        other.remember(&key);
        other.manage("recoup", keygate::proto::v1::manage_keys_request::Operation::Import(import)).await;
        other.authenticate(by_key("recoup", &key)).await.allowed();
        stack.keygate.terminate().await;
        let mut other = support::stack::Stack { keygate: other, redis: None };
        other.keygate.terminate().await;
        let shared = Stored::read(&stack).random_runs_shared_with(&Stored::read(&other), 32);
        assert_eq!(shared, Vec::<String>::new(), "both stores hold the same random bytes");
    }
}
