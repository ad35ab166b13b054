//! What Recoup promises its users, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use keygate::{
    config::{self, Settings},
    domain::key::{SecretRing, ServerSecret},
    proto::v1::{
        AccountStatus, AuditAct, CreateKey, DenyReason, GetKey, ImportKeys, ImportRow, ListKeys, ManageKeysRequest,
        RevokeAccountKeys, RevokeKey, RotateKey, SignupRequest, UpdateKey, VerifyRequest, import_row,
        manage_keys_request::Operation, manage_keys_response::Result as Done, onboarding_client::OnboardingClient,
        signup_response, verify_response,
    },
};
use prost::Message;
use serde_json::json;
use sha2::{Digest, Sha256, Sha512};
use std::collections::BTreeSet;
use support::{
    calls::{Answered, by_bearer, by_headers, by_key, key_for, now},
    issuer::{Issuer, claims, claims_with, compact, hs256},
    keygate::Keygate,
    mailbox::Mailbox,
    stack::Stack,
    stored::Stored,
};
use tonic::{Code, Request, Status};

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

/// A key of that name, of whoever makes it.
fn named(name: &str) -> CreateKey {
    CreateKey { name: name.to_owned(), ..Default::default() }
}

impl Keygate {
    /// Does one act with a credential of the realm in that header.
    async fn own(&self, (header, value): (&'static str, &str), operation: Operation) -> Result<Done, Status> {
        let operation = Some(operation);
        let mut request = Request::new(ManageKeysRequest { realm: "recoup".to_owned(), operation });
        request.metadata_mut().insert(header, value.parse().expect("a credential is ASCII"));
        let done = self.client().manage_keys(request).await.map_err(|status| self.checked(status))?;
        let done = done.into_inner().result.expect("every answer holds a result");
        if let Done::Created(made) | Done::Rotated(made) = &done {
            self.remember(&made.secret);
        }
        Ok(done)
    }
}

#[track_caller]
fn made(done: Result<Done, Status>) -> (String, String) {
    match done {
        Ok(Done::Created(made)) => (made.key.expect("a key comes with its secret").id, made.secret),
        other => panic!("not made: {other:?}"),
    }
}

on_both_stores! {
    async fn p1_a_key_or_an_access_token_and_never_both(stack) {
        let (_, key) = stack.new_key("recoup", "did:privy:ann", "live").await;
        let token = Issuer::shared().token("did:privy:ann");
        stack.remember(&token);
        let bearer = format!("Bearer {token}");
        for header in [("x-api-key", key.as_str()), ("X-API-Key", key.as_str()), ("authorization", &bearer), ("Authorization", &bearer)] {
            let allowed = stack.authenticate(by_headers("recoup", &[header])).await.allowed();
            assert_eq!(allowed.account_id, "did:privy:ann");
            assert_eq!(allowed.key_id.is_empty(), header.1 == bearer);
        }
        let key_as_bearer = format!("Bearer {key}");
        for (headers, reason) in [
            (vec![], DenyReason::MissingCredential),
            (vec![("authorization", "Bearer")], DenyReason::MissingCredential),
            (vec![("x-api-key", key.as_str()), ("authorization", bearer.as_str())], DenyReason::AmbiguousCredential),
            (vec![("x-api-key", key.as_str()), ("x-api-key", key.as_str())], DenyReason::AmbiguousCredential),
            (vec![("authorization", bearer.as_str()), ("authorization", bearer.as_str())], DenyReason::AmbiguousCredential),
            (vec![("x-api-key", key.as_str()), ("authorization", "")], DenyReason::AmbiguousCredential),
            (vec![("x_api_key", key.as_str())], DenyReason::AmbiguousCredential),
            // Neither is taken in the other's place.
            (vec![("x-api-key", token.as_str())], DenyReason::MalformedKey),
            (vec![("authorization", key_as_bearer.as_str())], DenyReason::InvalidToken),
            (vec![("authorization", token.as_str())], DenyReason::InvalidToken),
        ] {
            let denied = stack.authenticate(by_headers("recoup", &headers)).await.denied_for(reason);
            assert_eq!(denied.http_status, 401, "{headers:?}");
        }
    }

    async fn p2_the_access_token_is_the_issuers_and_no_other_will_do(stack) {
        let issuer = Issuer::shared();
        let good = stack.authenticate(by_bearer("recoup", &issuer.token("did:privy:ann"))).await.allowed();
        let told = good.token.expect("the token is told");
        assert_eq!((told.issuer.as_str(), told.subject.as_str()), (support::issuer::ISSUER, "did:privy:ann"));
        assert!(told.expires_at.is_some_and(|at| at.seconds > support::calls::now()));
        let header = |algorithm: &str, key: &str| json!({ "alg": algorithm, "kid": key }).to_string();
        let plain = claims("did:privy:ann").to_string();
        let public: serde_json::Value = serde_json::from_str(&issuer.key_set()).unwrap();
        let changed = |changes| issuer.signed("es256", "ES256", &claims_with("did:privy:ann", changes));
        let unknown = stack.authenticate(by_headers("recoup", &[("x-api-key", &support::calls::well_formed("recoup_sk_", "Unknown0Unknown0Unknown012"))]));
        let unknown = unknown.await.denied_for(DenyReason::UnknownKey);
        for (what, token, reason) in [
            ("none", compact(&header("none", "es256"), &plain, |_| Vec::new()), DenyReason::InvalidToken),
            ("HS256 with a public key", hs256(public["keys"][0]["x"].as_str().unwrap().as_bytes(), &header("HS256", "es256"), &plain), DenyReason::InvalidToken),
            ("wrong audience", changed(json!({ "aud": "another-app" })), DenyReason::InvalidToken),
            ("wrong issuer", changed(json!({ "iss": "https://privy.example" })), DenyReason::InvalidToken),
            ("expired", changed(json!({ "exp": support::calls::now() - 60 })), DenyReason::ExpiredToken),
            ("unknown kid", issuer.pair("es256").sign_as("ES256", &header("ES256", "another"), &plain), DenyReason::InvalidToken),
            ("not on the realm's list", issuer.signed("rsa", "RS256", &claims("did:privy:ann")), DenyReason::InvalidToken),
            ("another issuer's signature", Issuer::new().token("did:privy:ann"), DenyReason::InvalidToken),
        ] {
            let denied = stack.authenticate(by_bearer("recoup", &token)).await.denied();
            assert_eq!(denied.reason(), reason, "{what}");
            assert_eq!((denied.http_status, &denied.headers, &denied.body), (401, &unknown.headers, &unknown.body), "{what}");
        }
    }

    async fn p3_keys_are_personal_and_belong_to_whoever_makes_them(stack) {
        let bearer = |account: &str| format!("Bearer {}", Issuer::shared().token(account));
        let (ann, bob) = (bearer("ann"), bearer("bob"));
        let (ann, bob) = (("authorization", ann.as_str()), ("authorization", bob.as_str()));
        // The first key is made with a token, the next one with the key.
        let (first, key) = made(stack.own(ann, Operation::Create(named("Production Server"))).await);
        let by_key = ("x-api-key", key.as_str());
        let (second, _) = made(stack.own(by_key, Operation::Create(named("CI"))).await);
        let allowed = stack.authenticate(by_headers("recoup", &[by_key])).await.allowed();
        assert_eq!((allowed.account_id.as_str(), allowed.name.as_str()), ("ann", "Production Server"));
        // An account is not named, not even one's own.
        for credential in [ann, by_key] {
            for account in ["ann", "bob"] {
                let create = CreateKey { account_id: account.to_owned(), ..named("a key") };
                let status = stack.own(credential, Operation::Create(create)).await.unwrap_err();
                support::calls::assert_invalid(&status, &["create.account_id"]);
            }
        }
        let status = stack.own(ann, Operation::Create(named(""))).await.unwrap_err();
        support::calls::assert_invalid(&status, &["create.name"]);
        // Nobody sees or changes another one's.
        let (theirs, _) = made(stack.own(bob, Operation::Create(named("Bob's"))).await);
        let on = |id: &str| -> Vec<Operation> {
            let key_id = id.to_owned();
            vec![
                Operation::Get(GetKey { key_id: key_id.clone() }),
                Operation::Update(UpdateKey { key_id: key_id.clone(), name: Some("mine".to_owned()), ..Default::default() }),
                Operation::Rotate(RotateKey { key_id: key_id.clone(), ..Default::default() }),
                Operation::Revoke(RevokeKey { key_id, reason: "not mine".to_owned(), ..Default::default() }),
            ]
        };
        let nobodys = "key_01ARZ3NDEKTSV4RRFFQ69G5FAV";
        for credential in [ann, by_key] {
            for id in [theirs.as_str(), nobodys] {
                for operation in on(id) {
                    let status = stack.own(credential, operation.clone()).await.unwrap_err();
                    assert_eq!(status.code(), Code::NotFound, "{operation:?}: {status:?}");
                    assert_eq!(status.message(), format!("there is no key `{id}` in this realm"));
                }
            }
            let of_bob = ListKeys { account_id: "bob".to_owned(), ..Default::default() };
            assert_eq!(stack.own(credential, Operation::List(of_bob)).await.unwrap_err().code(), Code::NotFound);
            let end = RevokeAccountKeys { account_id: "bob".to_owned(), reason: "no".to_owned(), ..Default::default() };
            assert_eq!(stack.own(credential, Operation::RevokeAccount(end)).await.unwrap_err().code(), Code::NotFound);
            let Done::Page(page) = stack.own(credential, Operation::List(ListKeys::default())).await.unwrap() else { panic!("no page") };
            let listed: BTreeSet<&str> = page.keys.iter().map(|key| key.id.as_str()).collect();
            assert_eq!(listed, BTreeSet::from([first.as_str(), second.as_str()]));
        }
        // Operators neither see nor make them, but may end them.
        let operator = format!("Bearer {}", stack.operator());
        let operator = ("authorization", operator.as_str());
        for operation in on(&theirs).into_iter().take(3).chain([
            Operation::Create(key_for("bob", "live")),
            Operation::List(ListKeys::default()),
        ]) {
            let status = stack.own(operator, operation.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{operation:?}: {status:?}");
            assert!(status.message().contains("belong to their owners"), "{status:?}");
        }
        stack.own(bob, on(&theirs).remove(0)).await.unwrap();
        stack.own(operator, on(&theirs).remove(3)).await.unwrap();
        // Own keys are rotated, changed and ended, and the log tells who did it.
        stack.own(ann, on(&first).remove(1)).await.unwrap();
        stack.own(by_key, on(&second).remove(2)).await.unwrap();
        stack.own(by_key, on(&first).remove(3)).await.unwrap();
        let status = stack.own(by_key, Operation::List(ListKeys::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "a key that ended manages nothing: {status:?}");
        let Ok(Done::Key(seen)) = stack.own(ann, on(&second).remove(0)).await else { panic!("no key") };
        assert_eq!(seen.created_by, first);
        let Ok(Done::Key(seen)) = stack.own(ann, on(&first).remove(0)).await else { panic!("no key") };
        assert_eq!(seen.created_by, format!("token:{}#ann", support::issuer::ISSUER));
        // No credential, two of them, or one that is not good.
        let nonsense = ("authorization", "Bearer nonsense");
        assert_eq!(stack.own(nonsense, Operation::List(ListKeys::default())).await.unwrap_err().code(), Code::Unauthenticated);
        let mut both = Request::new(ManageKeysRequest { realm: "recoup".to_owned(), operation: Some(Operation::List(ListKeys::default())) });
        both.metadata_mut().insert("x-api-key", key.parse().unwrap());
        both.metadata_mut().insert("authorization", ann.1.parse().unwrap());
        assert_eq!(stack.client().manage_keys(both).await.unwrap_err().code(), Code::Unauthenticated);
        // Whose account is suspended manages nothing.
        stack.set_status("recoup", "ann", AccountStatus::Suspended).await;
        assert_eq!(stack.own(ann, Operation::List(ListKeys::default())).await.unwrap_err().code(), Code::Unauthenticated);
    }

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

/// Nobody here has a credential: signup, a code by mail, verify, and a key that works.
async fn first_key(stack: &Stack, mailbox: &Mailbox) {
    let mut onboarding = OnboardingClient::new(stack.channel());
    let source_address = "192.0.2.7".to_owned();
    let signup = SignupRequest {
        realm: "recoup".to_owned(),
        address: " Agent@Example.com".to_owned(),
        name: "My Agent".to_owned(),
        source_address: source_address.clone(),
    };
    let before = now();
    let answer = onboarding.signup(signup).await.unwrap().into_inner().outcome;
    let Some(signup_response::Outcome::Started(started)) = answer else { panic!("{answer:?}") };
    let expires = started.expires_at.unwrap().seconds - before;
    assert!((890..=910).contains(&expires), "{expires} s");
    let letter = mailbox.letters().remove(0);
    assert!(letter.signed, "{letter:?}");
    let told = ["type", "realm", "address", "name"].map(|field| letter.text(field));
    assert_eq!(told, ["onboarding.code", "recoup", "agent@example.com", "My Agent"]);
    let code = mailbox.code();
    assert_eq!(code.len(), 8);

    let verify = |code: &str| VerifyRequest {
        realm: "recoup".to_owned(),
        signup_id: started.signup_id.clone(),
        code: code.to_owned(),
        source_address: source_address.clone(),
    };
    let answer = onboarding.verify(verify("22222222")).await.unwrap().into_inner().outcome;
    let Some(verify_response::Outcome::Denied(denied)) = answer else { panic!("{answer:?}") };
    assert_eq!((denied.reason(), denied.http_status), (DenyReason::InvalidCode, 401));
    let answer = onboarding.verify(verify(&code)).await.unwrap().into_inner().outcome;
    let Some(verify_response::Outcome::Created(made)) = answer else { panic!("{answer:?}") };
    stack.remember(&made.secret);
    let key = made.key.unwrap();
    assert_eq!((key.name.as_str(), key.created_by.as_str(), key.environment.as_str()), ("My Agent", "keygate", "live"));
    assert_eq!(key.metadata["onboarding_address"], "agent@example.com");
    let allowed = stack.authenticate(by_key("recoup", &made.secret)).await.allowed();
    assert_eq!((&allowed.key_id, &allowed.account_id), (&key.id, &key.account_id));
    // Once, and never again: not with the same code, not with another.
    for code in [code.as_str(), "22222222"] {
        let answer = onboarding.verify(verify(code)).await.unwrap().into_inner().outcome;
        assert!(matches!(answer, Some(verify_response::Outcome::Denied(ref again)) if *again == denied), "{answer:?}");
    }
    // Keys are their owners' business here: the first one manages those of its account, which are itself.
    let listed = stack.own(("x-api-key", &made.secret), Operation::List(ListKeys::default())).await;
    let Ok(Done::Page(page)) = listed else { panic!("{listed:?}") };
    assert_eq!(page.keys.iter().map(|one| &one.id).collect::<Vec<_>>(), [&key.id]);
    // Nothing was there of the account before the code came back.
    let chain = stack.chain("recoup", &key.account_id).await;
    let acts: Vec<_> = chain.iter().map(|one| (one.act(), one.actor.as_str(), one.key_id.as_str())).collect();
    assert_eq!(acts, [(AuditAct::AccountCreated, "keygate", ""), (AuditAct::KeyCreated, "keygate", key.id.as_str())]);
    assert_eq!(chain[0].at, chain[1].at);
}

#[tokio::test]
async fn p8_agents_without_a_credential_obtain_their_first_key_on_the_embedded_store() {
    let mailbox = Mailbox::open().await;
    let file = mailbox.realm_file();
    first_key(&Stack::embedded(&["--realm-file", file.to_str().unwrap()]).await, &mailbox).await;
}

#[tokio::test]
async fn p8_agents_without_a_credential_obtain_their_first_key_on_redis() {
    let mailbox = Mailbox::open().await;
    let file = mailbox.realm_file();
    first_key(&Stack::redis(&["--realm-file", file.to_str().unwrap()]).await, &mailbox).await;
}
