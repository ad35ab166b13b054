//! What Recoup promises its users, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use keygate::{
    config::{self, Settings},
    domain::key::{SecretRing, ServerSecret},
    proto::v1::{CreateKey, ImportKeys, ImportRow, import_row, manage_keys_request::Operation},
};
use prost::Message;
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
        for (algorithm, hash) in
            [("SHA-256", Sha256::digest(text).to_vec()), ("SHA-512", Sha512::digest(text).to_vec())]
        {
            for encoding in [BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER] {
                forms.push((format!("{algorithm} of {what}, encoded"), encoding.encode(&hash).into_bytes()));
            }
            forms.push((format!("{algorithm} of {what}"), hash));
        }
    }
    forms
}

/// What anybody could compute of a request, and so confirm a guess at the keys in it.
fn unkeyed_marks(act: &str, idempotency_key: &str, request: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let with_lengths = |fields: &[&[u8]]| -> Vec<u8> {
        let framed: Vec<Vec<u8>> =
            fields.iter().map(|field| [&(field.len() as u64).to_be_bytes()[..], field].concat()).collect();
        Sha256::digest(framed.concat()).to_vec()
    };
    vec![
        ("the request", request.to_vec()),
        ("SHA-256 of the request", Sha256::digest(request).to_vec()),
        ("SHA-256 of act and request", with_lengths(&[act.as_bytes(), request])),
        ("SHA-256 of act and idempotency key", with_lengths(&[act.as_bytes(), idempotency_key.as_bytes()])),
    ]
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

        // An import holds raw keys, and its idempotency key makes keygate remember the whole request.
        let imported = support::calls::well_formed("recoup_sk_", "Imported0Imported0Imported");
        let batch = ImportKeys {
            rows: vec![ImportRow {
                secret: Some(import_row::Secret::RawKey(imported.clone())),
                account_id: "account-of-p9".to_owned(),
                environment: "live".to_owned(),
                name: "Taken Over".to_owned(),
                ..Default::default()
            }],
            idempotency_key: "batch-7".to_owned(),
            ..Default::default()
        };
        stack.manage("recoup", Operation::Import(batch.clone())).await;
        stack.authenticate(by_key("recoup", &imported)).await.allowed();

        stack.keygate.terminate().await;
        let stored = Stored::read(&stack);
        // What is looked through is the store indeed.
        for there in ["account-of-p9", "Production Server", "Taken Over"] {
            assert!(stored.holds(there.as_bytes()), "`{there}` is not in the store");
        }
        for secret in [&made.secret, &rotated, &imported] {
            for (what, bytes) in careless_forms(secret) {
                assert!(!stored.holds(&bytes), "the store holds {what}");
            }
        }
        for (what, bytes) in unkeyed_marks("import", "batch-7", &batch.encode_to_vec()) {
            assert!(!stored.holds(&bytes), "the store holds {what}");
        }
    }

    async fn p9_the_hash_is_keyed_with_the_servers_own_secret(stack) {
        let (_, key) = stack.new_key("recoup", "account", "live").await;
        stack.authenticate(by_key("recoup", &key)).await.allowed();
        stack.keygate.terminate().await;
        let (stored, secret) = (Stored::read(&stack), server_secret(stack.data_dir()));
        assert!(stored.holds(&digest(secret, &key)), "the keyed hash is not what is stored");
        let mut other = secret;
        other[0] ^= 1;
        assert!(!stored.holds(&digest(other, &key)), "another server secret gives the same hash");
    }
}

/// The secret that the server made for itself.
fn server_secret(data: &std::path::Path) -> [u8; 32] {
    let text = std::fs::read_to_string(data.join("secrets")).unwrap();
    let hex = text.lines().find_map(|line| line.strip_prefix("1 ")).expect("the first version of the secret");
    HEXLOWER.decode(hex.as_bytes()).unwrap().try_into().unwrap()
}

/// The keyed hash of a key of the realm.
fn digest(secret: [u8; 32], key: &str) -> [u8; 32] {
    let ring = SecretRing::new(vec![ServerSecret::new(1, secret.into())]).expect("one version is a ring");
    let realms = config::load(&Settings::default()).expect("the shipped realms are right");
    *ring
        .digester(realms.get("recoup").expect("recoup is shipped"))
        .newest(0, key)
        .expect("it has an environment")
        .1
        .as_bytes()
}
