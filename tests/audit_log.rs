//! V9 of Recovea's contract, over the API: every create, rotate and revoke is in an append-only audit log that shows
//! tampering. What an export shows is tested with the command line (`tests/cli/audit.rs`).

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for a server takes a real clock")]

mod support;

use data_encoding::HEXLOWER;
use ed25519_dalek::{Signature, VerifyingKey};
use keygate::proto::v1::{
    AccountStatus, AuditAct, AuditEvent, CheckpointRequest, CreateKey, FollowEventsRequest, HashAlgorithm,
    HashEncoding, HashedPart, ImportKeys, ImportRow, ImportedHash, KeyState, ListEventsRequest, PublicKeysRequest,
    UpdateKey, import_row::Secret, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use support::{
    audit::next,
    calls::{Answered, assert_invalid, at, by_key, key_for, now, texts, violations, well_formed},
    keygate::Keygate,
    stack::Stack,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

const LEGACY: &str = "rk_live_LegacyLegacyLegacy000009";

async fn import(stack: &Stack, account: &str, secret: Secret) -> String {
    let row = ImportRow {
        secret: Some(secret),
        account_id: account.to_owned(),
        environment: "live".to_owned(),
        name: "taken over".to_owned(),
        scopes: texts(&["read-write"]),
        ..Default::default()
    };
    let hash = ImportedHash {
        algorithm: HashAlgorithm::Sha256.into(),
        encoding: HashEncoding::Hex.into(),
        part: HashedPart::Whole.into(),
    };
    let batch = ImportKeys { rows: vec![row], hash: Some(hash), ..Default::default() };
    let Done::Imported(report) = stack.manage("recurr", Operation::Import(batch)).await else { panic!("no report") };
    assert_eq!(report.imported, 1, "{report:?}");
    report.verdicts[0].key_id.clone()
}

async fn set_state(stack: &Stack, id: &str, state: KeyState) {
    stack.update("recurr", UpdateKey { key_id: id.to_owned(), state: state.into(), ..Default::default() }).await;
}

/// Does everything that can be done to keys of `acme`, and gives what the log should say: act, key, and actor's kind.
async fn every_act(stack: &Stack) -> Vec<(AuditAct, String, bool)> {
    let (first, _) = stack.new_key("recurr", "acme", "live").await;
    let raw = import(stack, "acme", Secret::RawKey(well_formed("rk_live_", "Audited0Audited0Audited012"))).await;
    let hashed = import(stack, "acme", Secret::Hash(HEXLOWER.encode(&Sha256::digest(LEGACY)))).await;
    stack.remember(LEGACY);
    let name = Some("Renamed".to_owned());
    stack.update("recurr", UpdateKey { key_id: first.clone(), name, ..Default::default() }).await;
    set_state(stack, &first, KeyState::Suspended).await;
    set_state(stack, &first, KeyState::Active).await;
    stack.rotate("recurr", &first, None).await;
    stack.revoke("recurr", &first).await;
    stack.authenticate(by_key("recurr", LEGACY)).await.allowed();
    vec![
        (AuditAct::AccountCreated, String::new(), true),
        (AuditAct::MemberAdded, String::new(), true),
        (AuditAct::KeyCreated, first.clone(), true),
        (AuditAct::KeyImported, raw, true),
        (AuditAct::KeyImported, hashed.clone(), true),
        (AuditAct::KeyUpdated, first.clone(), true),
        (AuditAct::KeySuspended, first.clone(), true),
        (AuditAct::KeyResumed, first.clone(), true),
        (AuditAct::KeyRotated, first.clone(), true),
        (AuditAct::KeyRevoked, first, true),
        (AuditAct::KeyRekeyed, hashed, false),
    ]
}

/// Fields, each with its length before it.
fn joined(fields: &[&[u8]]) -> Vec<u8> {
    fields.iter().flat_map(|field| [&(field.len() as u64).to_be_bytes()[..], field].concat()).collect()
}

fn micros(at: Option<&prost_types::Timestamp>) -> u64 {
    let at = at.unwrap();
    u64::try_from(at.seconds).unwrap() * 1_000_000 + u64::try_from(at.nanos).unwrap() / 1_000
}

/// The hash of an event, made as docs/audit.md says and with nothing of keygate's.
fn hash_of(event: &AuditEvent) -> Vec<u8> {
    const CROCKFORD: &str = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let digits = event.key_id.strip_prefix("key_").unwrap_or_default();
    let id = digits.chars().fold(0_u128, |id, digit| id << 5 | CROCKFORD.find(digit).unwrap() as u128).to_be_bytes();
    let key: &[u8] = if digits.is_empty() { &[] } else { &id };
    let (sequence, at) = (event.sequence.to_be_bytes(), micros(event.at.as_ref()).to_be_bytes());
    let act = u64::try_from(event.act).unwrap().to_be_bytes();
    let count = (event.fields.len() as u64).to_be_bytes();
    let mut fields: Vec<&[u8]> = vec![&sequence, &at, event.actor.as_bytes(), &act, event.environment.as_bytes(), key];
    fields.extend([event.other_account_id.as_bytes(), &count]);
    fields.extend(event.fields.iter().map(String::as_bytes));
    fields.push(&event.previous_hash);
    if !event.member_id.is_empty() {
        fields.extend([b"member_id", event.member_id.as_bytes()]);
    }
    Sha256::digest(joined(&fields)).to_vec()
}

/// Fails unless this is a whole chain, and gives its end.
#[track_caller]
fn assert_chain(events: &[AuditEvent]) -> Vec<u8> {
    let mut head = vec![0; 32];
    for (number, event) in (1..).zip(events) {
        assert_eq!((event.sequence, &event.previous_hash), (number, &head), "{event:?}");
        assert_eq!(event.hash, hash_of(event), "{event:?}");
        head.clone_from(&event.hash);
    }
    head
}

#[track_caller]
fn assert_signed(key: &[u8], stated: &[u8], signature: &[u8]) {
    let key = VerifyingKey::from_bytes(key.try_into().unwrap()).unwrap();
    key.verify_strict(stated, &Signature::from_slice(signature).unwrap()).unwrap();
}

fn list(account: &str) -> ListEventsRequest {
    ListEventsRequest { realm: "recurr".to_owned(), account_id: account.to_owned(), ..Default::default() }
}

/// A filter, and which events it should let through.
type Filter<'f> = (ListEventsRequest, Box<dyn Fn(&AuditEvent) -> bool + 'f>);

/// Waits until the account has so many events.
async fn chain_of(stack: &Stack, length: usize) -> Vec<AuditEvent> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let chain = stack.chain("recurr", "acme").await;
        if chain.len() >= length {
            return chain;
        }
        assert!(Instant::now() < deadline, "{chain:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

on_both_stores! {
    async fn v9_every_act_on_an_account_is_in_the_log(stack) {
        stack.new_account("recurr", "band", "").await;
        stack.new_account("recurr", "acme", "band").await;
        stack.join("recurr", "acme", "band").await;
        stack.leave("recurr", "acme", "band").await;
        let (key, _) = stack.new_key("recurr", "acme", "live").await;
        use AccountStatus::{Active, Deactivated, Offboarded, Suspended};
        for status in [Suspended, Deactivated, Active, Offboarded] {
            stack.set_status("recurr", "acme", status).await;
        }
        let chain = chain_of(&stack, 10).await;
        let told: Vec<_> = chain.iter().map(|one| (one.act(), one.other_account_id.as_str(), one.key_id.as_str())).collect();
        assert_eq!(told, [
            (AuditAct::AccountCreated, "", ""),
            (AuditAct::OrganizationJoined, "band", ""),
            (AuditAct::OrganizationLeft, "band", ""),
            (AuditAct::MemberAdded, "", ""),
            (AuditAct::KeyCreated, "", key.as_str()),
            (AuditAct::AccountSuspended, "", ""),
            (AuditAct::AccountDeactivated, "", ""),
            (AuditAct::AccountActivated, "", ""),
            (AuditAct::AccountOffboarded, "", ""),
            (AuditAct::KeyRevoked, "", key.as_str()),
        ]);
        assert_chain(&chain);
    }

    async fn v9_every_act_is_in_the_log_with_all_that_verifies_it(stack) {
        let (began, wanted) = (now(), every_act(&stack).await);
        // Re-keying is done behind the answer.
        let chain = chain_of(&stack, wanted.len()).await;
        let operator = chain[0].actor.clone();
        assert!(operator.starts_with("key_"), "{operator}");
        let told: Vec<_> = chain.iter().map(|one| (one.act(), one.key_id.clone(), one.actor == operator)).collect();
        assert_eq!(told, wanted);
        let acts: std::collections::BTreeSet<i32> = chain.iter().map(|event| event.act).collect();
        assert_eq!(acts.len(), 10, "every act on keys, and the coming of who issued them");
        for event in &chain {
            assert_eq!((event.realm.as_str(), event.account_id.as_str()), ("recurr", "acme"));
            assert_eq!(event.environment, if event.key_id.is_empty() { "" } else { "live" });
            assert!((began..=now() + 1).contains(&event.at.unwrap().seconds), "{event:?}");
        }
        assert_eq!((&chain[5].fields, &chain[8].fields), (&texts(&["name"]), &texts(&["secrets"])));
        assert_eq!(chain[10].actor, "keygate");
        let head = assert_chain(&chain);

        let keys = stack.audit().public_keys(PublicKeysRequest {}).await.unwrap().into_inner().keys;
        assert_eq!((keys.len(), keys[0].secret_version), (1, 1));
        let (checkpoints, seal) = stack.try_checkpoints(Some(stack.operator()), "recurr", "acme").await.unwrap();
        let [checkpoint] = &checkpoints[..] else { panic!("{checkpoints:?}") };
        assert_eq!((checkpoint.length, &checkpoint.head), (11, &head));
        assert_eq!((&checkpoint.public_key, &seal.public_key), (&keys[0].public_key, &keys[0].public_key));
        let (length, made) = (checkpoint.length.to_be_bytes(), micros(checkpoint.at.as_ref()).to_be_bytes());
        let stated = joined(&[b"keygate audit checkpoint 1", b"recurr", b"acme", &length, &head, &made]);
        assert_signed(&keys[0].public_key, &stated, &checkpoint.signature);
        assert_eq!((seal.accounts, &seal.account_id, &seal.digest), (1, &"acme".to_owned(), &Sha256::digest(&stated).to_vec()));
        let (one, made) = (1_u64.to_be_bytes(), micros(seal.at.as_ref()).to_be_bytes());
        let sealed = joined(&[b"keygate audit seal 1", b"recurr", b"acme", &one, &seal.digest, &made]);
        assert_signed(&keys[0].public_key, &sealed, &seal.signature);

        // The log outlives the server, and goes on where it was; the key that signs does too.
        stack.keygate.restart().await;
        assert_eq!(stack.chain("recurr", "acme").await, chain);
        let (id, _) = stack.new_key("recurr", "acme", "test").await;
        let longer = stack.chain("recurr", "acme").await;
        assert_chain(&longer);
        assert_eq!((longer.len(), &longer[11].key_id, longer[11].environment.as_str()), (12, &id, "test"));
        assert_eq!(stack.audit().public_keys(PublicKeysRequest {}).await.unwrap().into_inner().keys, keys);
    }

    async fn v9_acts_that_were_refused_leave_no_event(stack) {
        let (id, _) = stack.new_key("recurr", "acme", "live").await;
        stack.revoke("recurr", &id).await;
        let before = stack.chain("recurr", "acme").await;
        stack.revoke("recurr", &id).await;
        let renew = UpdateKey { key_id: id.clone(), never_expires: true, ..Default::default() };
        stack.try_manage("recurr", Operation::Update(renew)).await.unwrap_err();
        stack.try_manage("recurr", Operation::Create(CreateKey { name: String::new(), ..key_for("acme", "live") })).await.unwrap_err();
        assert_eq!(stack.chain("recurr", "acme").await, before);
    }

    async fn v9_events_are_listed_by_account_and_filtered_page_by_page(stack) {
        let mut ids = Vec::new();
        for account in ["b", "a-1", "a.1", "a"] {
            for environment in ["live", "test", "live"] {
                ids.push(stack.new_key("recurr", account, environment).await.0);
            }
        }
        let mighty = CreateKey { scopes: texts(&["key-manager"]), ..key_for("staff", "") };
        let mighty = stack.create("keygate", mighty).await;
        let (manager, rename) = (mighty.key.unwrap().id, UpdateKey { key_id: ids[3].clone(), name: Some("x".to_owned()), ..Default::default() });
        stack.try_manage_as(Some(&mighty.secret), "recurr", Operation::Update(rename)).await.unwrap();
        stack.revoke("recurr", &ids[4]).await;
        stack.new_key("recover", "a", "live").await;

        let (all, _) = stack.events(&list("")).await;
        assert_eq!(all.len(), 4 * 5 + 2);
        let places: Vec<(&str, u64)> = all.iter().map(|one| (one.account_id.as_str(), one.sequence)).collect();
        assert!(places.is_sorted(), "{places:?}");
        for account in ["a", "a-1", "a.1", "b"] {
            let chain: Vec<_> = all.iter().filter(|one| one.account_id == account).cloned().collect();
            assert_chain(&chain);
            assert_eq!(stack.chain("recurr", account).await, chain);
        }
        let middle = all[9].at;
        let filters: Vec<Filter<'_>> = vec![
            (list(""), Box::new(|_| true)),
            (list("a-1"), Box::new(|one| one.account_id == "a-1")),
            (ListEventsRequest { acts: vec![2, 8], ..list("") }, Box::new(|one| [2, 8].contains(&one.act))),
            (ListEventsRequest { acts: vec![9], ..list("") }, Box::new(|_| false)),
            (ListEventsRequest { environment: "test".to_owned(), ..list("") }, Box::new(|one| one.environment == "test")),
            (ListEventsRequest { actor: manager.clone(), ..list("") }, Box::new(|one| one.actor == manager)),
            (ListEventsRequest { actor: "keygate".to_owned(), ..list("") }, Box::new(|_| false)),
            (ListEventsRequest { key_id: ids[3].clone(), ..list("") }, Box::new(|one| one.key_id == ids[3])),
            (ListEventsRequest { key_id: ids[3].clone(), ..list("b") }, Box::new(|_| false)),
            (ListEventsRequest { since: middle, ..list("") }, Box::new(|one| micros(one.at.as_ref()) >= micros(middle.as_ref()))),
            (ListEventsRequest { until: middle, ..list("") }, Box::new(|one| micros(one.at.as_ref()) < micros(middle.as_ref()))),
        ];
        for (filter, matches) in filters {
            let wanted: Vec<AuditEvent> = all.iter().filter(|one| matches(one)).cloned().collect();
            for page_size in [0, 1, 2, 5, 1_000] {
                let filter = ListEventsRequest { page_size, ..filter.clone() };
                assert_eq!(stack.events(&filter).await.0, wanted, "{filter:?}");
            }
        }
        let (checkpoints, seal) = stack.try_checkpoints(Some(stack.operator()), "recurr", "").await.unwrap();
        let stated: Vec<_> = checkpoints.iter().map(|one| (one.account_id.as_str(), one.length)).collect();
        assert_eq!(stated, [("a", 5), ("a-1", 7), ("a.1", 5), ("b", 5)]);
        assert_eq!((seal.accounts, seal.account_id.as_str()), (4, ""));
        let (none, seal) = stack.try_checkpoints(Some(stack.operator()), "recotap", "").await.unwrap();
        assert_eq!((none.len(), seal.accounts), (0, 0));
    }

    async fn v9_events_come_to_whoever_follows_and_end_with_the_key_and_with_the_server(stack) {
        let reader = CreateKey { scopes: texts(&["reader@recurr"]), ..key_for("staff", "") };
        let reader = stack.create("keygate", reader).await;
        let (id, _) = stack.new_key("recurr", "acme", "live").await;
        let mut whole = stack.follow(Some(&reader.secret), "recurr", "acme", Some(0)).await.unwrap();
        let mut new = stack.follow(Some(stack.operator()), "recurr", "acme", None).await.unwrap();
        let mut after = stack.follow(Some(stack.operator()), "recurr", "acme", Some(2)).await.unwrap();
        let first = [next(&mut whole).await, next(&mut whole).await, next(&mut whole).await];
        assert_eq!(first.to_vec(), stack.chain("recurr", "acme").await);
        assert_eq!(next(&mut after).await, first[2]);
        // Nobody asks again: what happens comes.
        stack.rotate("recurr", &id, None).await;
        for stream in [&mut whole, &mut new, &mut after] {
            let event = next(stream).await;
            assert_eq!((event.act(), event.sequence, &event.previous_hash), (AuditAct::KeyRotated, 4, &first[2].hash));
        }
        // Another account's events do not.
        stack.new_key("recurr", "other", "live").await;
        stack.revoke("keygate", &reader.key.unwrap().id).await;
        let ended = whole.message().await.unwrap_err();
        assert_eq!(ended.code(), Code::Unauthenticated, "{ended:?}");
        stack.revoke("recurr", &id).await;
        assert_eq!(next(&mut new).await.act(), AuditAct::KeyRevoked);

        let lost = stack.follow(Some(stack.operator()), "recurr", "acme", Some(6)).await.unwrap_err();
        assert_invalid(&lost, &["after"]);
        assert_eq!(violations(&lost)[0].1, "must be at most 5, the account's last event");
        stack.follow(Some(stack.operator()), "recurr", "acme", Some(5)).await.unwrap();
        let nobody = stack.follow(Some(stack.operator()), "recurr", "nobody", None).await.unwrap_err();
        assert_eq!(nobody.code(), Code::NotFound, "{nobody:?}");

        // A server that goes does not wait for those who follow.
        let (ended, status) = tokio::join!(new.message(), stack.keygate.terminate());
        assert!(status.success(), "{status:?}");
        let ended = ended.unwrap_err();
        assert_eq!((ended.code(), ended.message()), (Code::Unavailable, "keygate is shutting down"));
        // However often a stream asks, the log tells once who follows.
        let output = stack.output();
        let ends: Vec<&str> = output.lines().filter(|line| line.contains("followed to the end")).collect();
        assert!(!ends.is_empty() && ends.iter().all(|line| line.matches("actor=").count() == 1), "{ends:#?}");
    }

    async fn v9_the_log_is_read_by_readers_and_by_nobody_else(stack) {
        stack.new_key("recurr", "acme", "live").await;
        let (_, guarded) = stack.new_key("recurr", "other", "live").await;
        for (scope, recurr, recover, keygate) in [
            ("operator", true, true, true),
            ("key-manager", true, true, false),
            ("key-manager@recurr", true, false, false),
            ("reader", true, true, false),
            ("reader@recurr", true, false, false),
            ("revoker", false, false, false),
            ("revoker@recurr", false, false, false),
        ] {
            let key = CreateKey { scopes: texts(&[scope]), ..key_for("staff", "") };
            let key = stack.create("keygate", key).await.secret;
            for (realm, may) in [("recurr", recurr), ("recover", recover), ("keygate", keygate)] {
                for (call, answer) in each_call(&stack, Some(&key), realm).await {
                    let wanted = if may { None } else { Some(Code::PermissionDenied) };
                    assert_eq!(answer.err().map(|status| status.code()), wanted, "{call} of {realm} as {scope}");
                }
            }
        }
        for key in [None, Some(guarded.as_str()), Some("nonsense")] {
            for (call, answer) in each_call(&stack, key, "recurr").await {
                assert_eq!(answer.unwrap_err().code(), Code::Unauthenticated, "{call}");
            }
        }
        // What a reader may not see is also not told to be missing.
        stack.audit().public_keys(PublicKeysRequest {}).await.unwrap();
    }

    async fn v9_wrong_requests_are_told_exactly(stack) {
        stack.new_key("recurr", "acme", "live").await;
        let acts = |acts: &[i32]| ListEventsRequest { acts: acts.to_vec(), ..list("") };
        let token = |token: &str| ListEventsRequest { page_token: token.to_owned(), ..list("") };
        let unchanged = "must be `next_page_token` of the page before, unchanged";
        let account = "must be 1 to 128 of `A-Z a-z 0-9 . _ - @ : ~`";
        let instant = "must be an instant from 1970 to 9999";
        let key = "must be `key_` and 26 characters, as given when the key was created";
        let size = |page_size| ListEventsRequest { page_size, ..list("") };
        let actor = "must be the id of a key, `token:ISSUER#SUBJECT`, `certificate:NAME`, or `keygate`";
        let too_many = format!("must be at most {} acts", keygate::domain::audit::Act::ALL.len());
        for (request, field, problem) in [
            (list("a/b"), "account_id", account),
            (acts(&[0]), "acts[0]", "must be an act that this version knows"),
            (acts(&[2, 9_999]), "acts[1]", "must be an act that this version knows"),
            (acts(&[-1]), "acts[0]", "must be an act that this version knows"),
            (acts(&[2; 100]), "acts", &too_many),
            (ListEventsRequest { key_id: "key_0".to_owned(), ..list("") }, "key_id", key),
            (ListEventsRequest { actor: "me".to_owned(), ..list("") }, "actor", actor),
            (ListEventsRequest { since: Some(at(-1)), ..list("") }, "since", instant),
            (ListEventsRequest { until: Some(at(253_402_300_800)), ..list("") }, "until", instant),
            (ListEventsRequest { since: Some(at(9)), until: Some(at(8)), ..list("") }, "until", "must not lie before `since`"),
            (ListEventsRequest { environment: "moon".to_owned(), ..list("") }, "environment", "must be an environment of the realm: `live`, `test`"),
            (size(-1), "page_size", "must be 1 to 1000, or 0 for 100"),
            (size(1_001), "page_size", "must be 1 to 1000, or 0 for 100"),
            (token("acme"), "page_token", unchanged),
            (token("x.acme"), "page_token", unchanged),
            (token("1.a/b"), "page_token", unchanged),
            (ListEventsRequest { page_token: "1.other".to_owned(), ..list("acme") }, "page_token", "must come from a page with the same filters"),
        ] {
            let status = stack.try_events(Some(stack.operator()), request).await.unwrap_err();
            assert_invalid(&status, &[field]);
            assert_eq!(violations(&status)[0].1, problem);
        }
        // All that is wrong is told together.
        let wrong = ListEventsRequest { acts: vec![0], page_size: -1, actor: "me".to_owned(), ..list("a b") };
        let status = stack.try_events(Some(stack.operator()), wrong).await.unwrap_err();
        assert_invalid(&status, &["account_id", "acts[0]", "actor", "page_size"]);

        for (call, answer) in each_call(&stack, Some(stack.operator()), "nowhere").await {
            let status = answer.unwrap_err();
            assert_invalid(&status, &["realm"]);
            assert!(violations(&status)[0].1.contains("`recurr`"), "{call}: {status:?}");
        }
        let nobody = stack.try_events(Some(stack.operator()), list("nobody")).await.unwrap_err();
        assert_eq!((nobody.code(), nobody.message()), (Code::NotFound, "there is no such account in this realm"));
        let nobody = stack.try_checkpoints(Some(stack.operator()), "recurr", "nobody").await.unwrap_err();
        assert_eq!((nobody.code(), nobody.message()), (Code::NotFound, "there is no such account in this realm"));
        let unknown = "key_00000000000000000000000000";
        let nothing = ListEventsRequest { key_id: unknown.to_owned(), ..list("") };
        let nothing = stack.try_events(Some(stack.operator()), nothing).await.unwrap_err();
        assert_eq!((nothing.code(), nothing.message()), (Code::NotFound, &*format!("there is no key `{unknown}` in this realm")));
        for account in ["", "a/b"] {
            let status = stack.follow(Some(stack.operator()), "recurr", account, None).await.unwrap_err();
            assert_invalid(&status, &["account_id"]);
        }
        let status = stack.try_checkpoints(Some(stack.operator()), "recurr", "a/b").await.unwrap_err();
        assert_invalid(&status, &["account_id"]);
    }
}

/// What every call that needs a management key answers.
async fn each_call(keygate: &Keygate, key: Option<&str>, realm: &str) -> [(&'static str, Result<(), Status>); 3] {
    let (account_id, realm) = ("acme".to_owned(), realm.to_owned());
    let list = ListEventsRequest { realm: realm.clone(), ..Default::default() };
    let listed = keygate.audit().list(Keygate::with_key(key, list)).await.map(drop);
    let follow = FollowEventsRequest { realm: realm.clone(), account_id, after: None };
    let followed = match keygate.audit().follow(Keygate::with_key(key, follow)).await {
        // Who may read is told that there is no such account in this realm.
        Err(status) if status.code() == Code::NotFound => Ok(()),
        answer => answer.map(drop),
    };
    let checkpoint = CheckpointRequest { realm, ..Default::default() };
    let stated = keygate.audit().checkpoint(Keygate::with_key(key, checkpoint)).await.map(drop);
    [("List", listed), ("Follow", followed), ("Checkpoint", stated)]
}

#[tokio::test]
async fn v9_streams_are_bounded_and_a_place_is_free_again_when_one_ends() {
    let stack = Stack::embedded(&[]).await;
    stack.new_key("recurr", "acme", "live").await;
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(stack.follow(Some(stack.operator()), "recurr", "acme", None).await.unwrap());
    }
    let refused = stack.follow(Some(stack.operator()), "recurr", "acme", None).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
    assert_eq!(refused.get_details_error_info().expect("it says why").reason, "TOO_MANY_STREAMS");
    // Other calls do not need a place.
    assert_eq!(stack.chain("recurr", "acme").await.len(), 3);
    open.truncate(60);
    let deadline = Instant::now() + Duration::from_secs(10);
    while stack.follow(Some(stack.operator()), "recurr", "acme", None).await.is_err() {
        assert!(Instant::now() < deadline, "no place came free");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
