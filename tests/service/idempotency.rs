//! Idempotency keys: an act that comes again is done once, and what is told of it is told again, but for the secret.

use crate::{
    on_both_stores,
    support::{
        calls::{Answered, assert_invalid, by_bearer, key_for, seconds, texts, violations, well_formed},
        keygate::{DataDir, Keygate},
        stack::Stack,
    },
};
use keygate::proto::v1::{
    CreateKey, DenyReason, ImportKeys, ImportOutcome, ImportReport, ImportRow, Key, KeyState, KeyWithSecret, ListKeys,
    RotateKey, import_row::Secret, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use std::{collections::BTreeSet, fs};
use tonic::Status;

/// What is said of an idempotency key that was used for something else.
const USED: &str = "was used for a different request within the last 24 hours";

/// A key for `acme` of recurr, made under this idempotency key. Its map has several entries, so that their order shows.
fn creation(idempotency_key: &str) -> CreateKey {
    let metadata = ["a", "b", "c", "d", "e"].map(|name| (name.to_owned(), format!("value of {name}")));
    let idempotency_key = idempotency_key.to_owned();
    CreateKey {
        metadata: metadata.into(),
        expires_in: Some(seconds(3_600)),
        idempotency_key,
        ..key_for("acme", "live")
    }
}

fn rotation(key_id: &str, idempotency_key: &str) -> RotateKey {
    let (key_id, idempotency_key) = (key_id.to_owned(), idempotency_key.to_owned());
    RotateKey { key_id, grace: Some(seconds(3_600)), idempotency_key, ..Default::default() }
}

/// A batch of keys for `acme` of recurr whose raw text is made from these names.
fn batch(idempotency_key: &str, names: &[&str]) -> ImportKeys {
    let row = |name: &&str| ImportRow {
        secret: Some(Secret::RawKey(imported(name))),
        account_id: "acme".to_owned(),
        environment: "live".to_owned(),
        name: (*name).to_owned(),
        ..Default::default()
    };
    let rows = names.iter().map(row).collect();
    ImportKeys { rows, idempotency_key: idempotency_key.to_owned(), ..Default::default() }
}

fn imported(name: &str) -> String {
    well_formed("rk_live_", &format!("{name:0<26}"))
}

async fn create(keygate: &Keygate, create: CreateKey) -> Result<KeyWithSecret, Status> {
    match keygate.try_manage("recurr", Operation::Create(create)).await? {
        Done::Created(made) => Ok(made),
        other => panic!("not created: {other:?}"),
    }
}

async fn rotate(keygate: &Keygate, rotate: RotateKey) -> Result<KeyWithSecret, Status> {
    match keygate.try_manage("recurr", Operation::Rotate(rotate)).await? {
        Done::Rotated(made) => Ok(made),
        other => panic!("not rotated: {other:?}"),
    }
}

async fn import(keygate: &Keygate, import: ImportKeys) -> Result<ImportReport, Status> {
    match keygate.try_manage("recurr", Operation::Import(import)).await? {
        Done::Imported(report) => Ok(report),
        other => panic!("not imported: {other:?}"),
    }
}

async fn keys_of(keygate: &Keygate, realm: &str, account: &str) -> Vec<Key> {
    keygate.list(realm, ListKeys { account_id: account.to_owned(), ..Default::default() }).await.keys
}

/// Fails unless the answer is that of a repeat: the key as it is now, no secret, and word of it.
#[track_caller]
fn assert_repeats(repeat: &KeyWithSecret, key: &Key) {
    assert_eq!((repeat.secret.as_str(), repeat.repeated), ("", true));
    assert_eq!(repeat.key.as_ref(), Some(key));
    assert_eq!(repeat.replaced_key_ids, Vec::<String>::new());
}

#[track_caller]
fn assert_used(status: &Status, act: &str) {
    assert_invalid(status, &[&format!("{act}.idempotency_key")]);
    assert_eq!(violations(status)[0].1, USED);
}

on_both_stores! {
    async fn a_create_that_comes_again_gives_the_same_key_and_says_that_its_secret_cannot_be_shown_again(stack) {
        let first = create(&stack, creation("order-1")).await.unwrap();
        assert!(!first.repeated && !first.secret.is_empty());
        let key = first.key.unwrap();
        for _ in 0..2 {
            assert_repeats(&create(&stack, creation("order-1")).await.unwrap(), &key);
        }
        assert_eq!(keys_of(&stack, "recurr", "acme").await, std::slice::from_ref(&key));
        assert_eq!(stack.authenticate(by_bearer("recurr", &first.secret)).await.allowed().key_id, key.id);
        // Without one, or under another one, the same request is another act.
        for other in ["", "", "order-2"] {
            let made = create(&stack, creation(other)).await.unwrap();
            assert!(!made.repeated && !made.secret.is_empty() && made.key.unwrap().id != key.id);
        }
        assert_eq!(keys_of(&stack, "recurr", "acme").await.len(), 4);
    }

    async fn a_create_that_comes_again_tells_the_key_as_it_is_now(stack) {
        let first = create(&stack, creation("order-1")).await.unwrap();
        let id = first.key.unwrap().id;
        stack.revoke("recurr", &id).await;
        let repeat = create(&stack, creation("order-1")).await.unwrap();
        assert_repeats(&repeat, &stack.get("recurr", &id).await);
        assert_eq!(repeat.key.unwrap().state(), KeyState::Revoked);
        stack.authenticate(by_bearer("recurr", &first.secret)).await.denied_for(DenyReason::RevokedKey);
    }

    async fn a_create_that_comes_again_replaces_no_key(stack) {
        // Of recotap's keys an account has one: the next one ends it.
        let create = CreateKey { idempotency_key: "first".to_owned(), ..key_for("user-1", "live") };
        let first = stack.create("recotap", create.clone()).await;
        let repeat = stack.create("recotap", create).await;
        assert_repeats(&repeat, first.key.as_ref().unwrap());
        stack.authenticate(crate::support::calls::by_key("recotap", &first.secret)).await.allowed();
        let second = stack.create("recotap", key_for("user-1", "live")).await;
        assert_eq!(second.replaced_key_ids, [first.key.unwrap().id]);
        assert_eq!(keys_of(&stack, "recotap", "user-1").await.len(), 2);
    }

    async fn a_rotation_that_comes_again_gives_no_second_secret(stack) {
        let made = create(&stack, creation("")).await.unwrap();
        let id = made.key.unwrap().id;
        let first = rotate(&stack, rotation(&id, "turn-1")).await.unwrap();
        let key = first.key.unwrap();
        assert_eq!((first.repeated, key.id.as_str(), key.version, key.secrets.len()), (false, id.as_str(), 2, 2));
        for _ in 0..2 {
            assert_repeats(&rotate(&stack, rotation(&id, "turn-1")).await.unwrap(), &key);
        }
        for secret in [&made.secret, &first.secret] {
            assert_eq!(stack.authenticate(by_bearer("recurr", secret)).await.allowed().key_id, id);
        }
        let next = rotate(&stack, rotation(&id, "turn-2")).await.unwrap();
        assert!(!next.repeated && !next.secret.is_empty() && next.key.unwrap().version == 3);
    }

    async fn an_import_that_comes_again_makes_no_second_key(stack) {
        let ids = |report: &ImportReport| report.verdicts.iter().map(|row| row.key_id.clone()).collect::<Vec<_>>();
        // A dry run does nothing, and so nothing of it is remembered.
        let dry = import(&stack, ImportKeys { dry_run: true, ..batch("batch-1", &["one", "two"]) }).await.unwrap();
        assert_eq!((dry.imported, ids(&dry)), (2, texts(&["", ""])));
        let first = import(&stack, batch("batch-1", &["one", "two"])).await.unwrap();
        assert_eq!((first.imported, first.refused), (2, 0), "{first:?}");
        for _ in 0..2 {
            let repeat = import(&stack, batch("batch-1", &["one", "two"])).await.unwrap();
            assert_eq!((ids(&repeat), repeat.refused), (ids(&first), 0), "{repeat:?}");
        }
        let keys = keys_of(&stack, "recurr", "acme").await;
        assert_eq!(keys.iter().map(|key| key.id.clone()).collect::<BTreeSet<_>>(), ids(&first).into_iter().collect());
        assert_eq!(stack.authenticate(by_bearer("recurr", &imported("one"))).await.allowed().key_id, ids(&first)[0]);
    }

    async fn an_idempotency_key_that_was_used_for_another_request_is_refused_and_nothing_is_done(stack) {
        let id = create(&stack, creation("used")).await.unwrap().key.unwrap().id;
        let mut other_metadata = creation("used");
        other_metadata.metadata.insert("a".to_owned(), "another value".to_owned());
        for other in [
            CreateKey { name: "another name".to_owned(), ..creation("used") },
            CreateKey { environment: "test".to_owned(), ..creation("used") },
            CreateKey { scopes: texts(&["read-write"]), ..creation("used") },
            CreateKey { expires_in: Some(seconds(3_601)), ..creation("used") },
            CreateKey { expires_in: None, ..creation("used") },
            other_metadata,
        ] {
            assert_used(&create(&stack, other).await.unwrap_err(), "create");
        }
        // Each kind of act has idempotency keys of its own, and so has each account.
        let rotated = rotate(&stack, rotation(&id, "used")).await.unwrap().key.unwrap();
        for other in [
            RotateKey { grace: None, ..rotation(&id, "used") },
            RotateKey { grace: Some(seconds(0)), ..rotation(&id, "used") },
            RotateKey { expected_version: rotated.version, ..rotation(&id, "used") },
        ] {
            assert_used(&rotate(&stack, other).await.unwrap_err(), "rotate");
        }
        assert_eq!(import(&stack, batch("used", &["one"])).await.unwrap().imported, 1);
        for other in [&["two"][..], &["one", "two"], &["two", "one"]] {
            assert_used(&import(&stack, batch("used", other)).await.unwrap_err(), "import");
        }
        assert_eq!(stack.get("recurr", &id).await, rotated);
        assert_eq!(keys_of(&stack, "recurr", "acme").await.len(), 2, "something was done");
        let elsewhere = CreateKey { account_id: "umbrella".to_owned(), ..creation("used") };
        assert!(!create(&stack, elsewhere).await.unwrap().repeated);
    }

    async fn an_idempotency_key_of_a_wrong_form_is_refused(stack) {
        let (id, _) = stack.new_key("recurr", "acme", "live").await;
        for wrong in ["x".repeat(129), "a b".to_owned(), "tab\t".to_owned(), "\u{e4}".to_owned(), "\u{7f}".to_owned()] {
            assert_invalid(&create(&stack, creation(&wrong)).await.unwrap_err(), &["create.idempotency_key"]);
            assert_invalid(&rotate(&stack, rotation(&id, &wrong)).await.unwrap_err(), &["rotate.idempotency_key"]);
            assert_invalid(&import(&stack, batch(&wrong, &["one"])).await.unwrap_err(), &["import.idempotency_key"]);
        }
        assert_eq!(keys_of(&stack, "recurr", "acme").await.len(), 1, "something was done");
        let longest = "~".repeat(128);
        let key = create(&stack, creation(&longest)).await.unwrap().key.unwrap();
        assert_repeats(&create(&stack, creation(&longest)).await.unwrap(), &key);
    }

    async fn the_same_act_many_times_at_once_is_done_once(stack) {
        let keygate = &stack.keygate;
        let made = at_once(&[keygate], async |keygate| create(keygate, creation("race")).await).await;
        let id = done_once(&made);
        assert_eq!(keys_of(keygate, "recurr", "acme").await.len(), 1);
        let turned = at_once(&[keygate], async |keygate| rotate(keygate, rotation(&id, "race")).await).await;
        assert_eq!(done_once(&turned), id);
        assert_eq!(keygate.get("recurr", &id).await.version, 2);
    }

    async fn an_act_that_was_acknowledged_is_remembered_after_a_kill(stack) {
        let first = create(&stack, creation("order-1")).await.unwrap();
        let id = first.key.unwrap().id;
        let turned = rotate(&stack, rotation(&id, "turn-1")).await.unwrap();
        let rows = import(&stack, batch("batch-1", &["one"])).await.unwrap();
        stack.keygate.restart().await;

        let key = stack.get("recurr", &id).await;
        assert_repeats(&create(&stack, creation("order-1")).await.unwrap(), &key);
        assert_repeats(&rotate(&stack, rotation(&id, "turn-1")).await.unwrap(), &key);
        let again = import(&stack, batch("batch-1", &["one"])).await.unwrap();
        assert_eq!(again.verdicts[0].key_id, rows.verdicts[0].key_id);
        assert_ne!(again.verdicts[0].outcome(), ImportOutcome::Refused);
        assert_used(&create(&stack, CreateKey { expires_in: None, ..creation("order-1") }).await.unwrap_err(), "create");
        assert_eq!(keys_of(&stack, "recurr", "acme").await.len(), 2);
        for secret in [&first.secret, &turned.secret] {
            assert_eq!(stack.authenticate(by_bearer("recurr", secret)).await.allowed().key_id, id);
        }
    }
}

#[tokio::test]
async fn the_same_act_on_two_servers_at_once_is_done_once() {
    let stack = Stack::redis(&[]).await;
    let data = DataDir::new();
    fs::copy(stack.data_dir().join("secrets"), data.path().join("secrets")).unwrap();
    // It is the same operator who asks the other server.
    fs::copy(stack.data_dir().join("operator.key"), data.path().join("operator.key")).unwrap();
    let url = stack.redis.as_ref().unwrap().url();
    let second = Keygate::try_start(data, &["--store", "redis", "--redis-url", &url]).await.unwrap();
    let both = [&stack.keygate, &second];

    for round in ["first", "second", "third"] {
        let made = at_once(&both, async |keygate| create(keygate, creation(round)).await).await;
        let id = done_once(&made);
        let turned = at_once(&both, async |keygate| rotate(keygate, rotation(&id, round)).await).await;
        assert_eq!(done_once(&turned), id);
        for keygate in both {
            assert_eq!(keygate.get("recurr", &id).await.version, 2);
        }
    }
    assert_eq!(keys_of(&second, "recurr", "acme").await.len(), 3);
}

/// Sends the same act to these servers many times before any of it is answered.
async fn at_once(
    servers: &[&Keygate],
    act: impl AsyncFn(&Keygate) -> Result<KeyWithSecret, Status>,
) -> Vec<KeyWithSecret> {
    let [a, b] = [servers[0], servers[servers.len() - 1]];
    let (one, two, three, four, five, six) = tokio::join!(act(a), act(b), act(a), act(b), act(a), act(b));
    [one, two, three, four, five, six]
        .into_iter()
        .map(|made| made.unwrap_or_else(|status| panic!("{status:?}")))
        .collect()
}

/// The key that all of them tell of, whose secret one of them was given.
fn done_once(made: &[KeyWithSecret]) -> String {
    let ids: BTreeSet<&str> = made.iter().map(|made| made.key.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(made.iter().filter(|made| !made.secret.is_empty()).count(), 1);
    assert!(made.iter().all(|made| made.repeated == made.secret.is_empty()));
    ids.into_iter().next().unwrap().to_owned()
}
