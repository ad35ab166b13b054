//! Guards against what was forgotten: every call, every act and every reason is listed from the API's own description,
//! and fails here when it has no test or no line in the documentation.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, CreateKey, DESCRIPTORS, GetKey, ImportKeys, KeyState, ListKeys, RevokeAccountKeys, RevokeKey,
    RotateKey, UpdateKey, manage_keys_request::Operation,
};
use prost::Message;
use prost_types::{FileDescriptorSet, MethodDescriptorProto};
use std::{fs, path::Path, time::Duration};
use support::{
    calls::{Answered, at, by_headers, by_key, charged, key_for, now, seconds, texts, well_formed},
    keygate::Keygate,
};
use tonic::Code;

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors are ours")
}

/// `Service/Method` of every call.
fn calls() -> Vec<String> {
    let set = descriptors();
    let services = set.file.iter().filter(|file| file.package() == "keygate.v1").flat_map(|file| &file.service);
    services
        .flat_map(|service| {
            let name = |method: &MethodDescriptorProto| format!("{}/{}", service.name(), method.name());
            service.method.iter().map(name).collect::<Vec<_>>()
        })
        .collect()
}

/// Values of an enum.
fn values(name: &str) -> Vec<String> {
    let set = descriptors();
    let found = set.file.iter().flat_map(|file| &file.enum_type).find(|kind| kind.name() == name);
    found.expect("the enum exists").value.iter().map(|value| value.name().to_owned()).collect()
}

/// Names of the acts on keys.
fn acts() -> Vec<String> {
    let set = descriptors();
    let request = set.file.iter().flat_map(|file| &file.message_type).find(|m| m.name() == "ManageKeysRequest");
    let fields = request.expect("the message exists").field.iter().filter(|field| field.oneof_index.is_some());
    fields.map(|field| field.name().to_owned()).collect()
}

fn read(folder: &str, kind: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = fs::read_dir(&folder) else { return String::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts =
        paths.filter(|path| path.extension().is_some_and(|k| k == kind)).map(|path| fs::read_to_string(path).unwrap());
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_call_is_known_here() {
    // A new call fails here until it has its denied test (below, or in its own file) and its place in this list.
    let known = [
        "Authorization/Authenticate",
        "Authorization/CheckRateLimit",
        "Authorization/ManageKeys",
        "AuditLog/List",
        "AuditLog/Follow",
        "AuditLog/Checkpoint",
        "AuditLog/PublicKeys",
        "Backup/Take",
        "Directory/CreateAccount",
        "Directory/GetAccount",
        "Directory/SetAccountStatus",
        "Directory/JoinOrganization",
        "Directory/LeaveOrganization",
        "Directory/AddMember",
        "Directory/SetMemberRoles",
        "Directory/RemoveMember",
        "Directory/GetMember",
        "Directory/ListMembers",
        "EmbedTokens/Mint",
        "EmbedTokens/KeySet",
        "Onboarding/Signup",
        "Onboarding/Verify",
        "Realms/RenderError",
        "Secrets/Survey",
        "Webhooks/ListDeadLetters",
        "Webhooks/Redeliver",
        "Webhooks/Test",
        "Vault/PutCredential",
        "Vault/ListCredentials",
        "Vault/DeleteCredential",
        "Vault/RewrapCredentials",
    ];
    let (mut calls, mut known) = (calls(), known.map(str::to_owned).to_vec());
    calls.sort();
    known.sort();
    assert_eq!(calls, known);
}

#[test]
fn every_reason_and_every_call_is_documented() {
    let docs = read("docs", "md");
    for reason in values("DenyReason").iter().filter(|reason| !reason.ends_with("_UNSPECIFIED")) {
        let name = reason["DENY_REASON_".len()..].to_lowercase();
        assert!(docs.contains(reason) || docs.contains(&format!("`{name}`")), "`{reason}` stands in no file of docs/");
    }
    for call in calls() {
        let (_, method) = call.split_once('/').unwrap();
        assert!(docs.contains(method), "`{call}` stands in no file of docs/");
    }
}

/// One request for every act, with the mightiest role that may not do it.
fn every_act(key_id: &str) -> Vec<(&'static str, Operation, &'static [&'static str])> {
    let key_id = key_id.to_owned();
    let account_id = "acme".to_owned();
    vec![
        ("create", Operation::Create(key_for("acme", "live")), &["reader", "revoker"]),
        ("get", Operation::Get(GetKey { key_id: key_id.clone() }), &["revoker"]),
        ("list", Operation::List(ListKeys::default()), &["revoker"]),
        (
            "update",
            Operation::Update(UpdateKey {
                key_id: key_id.clone(),
                state: KeyState::Suspended.into(),
                ..Default::default()
            }),
            &["reader", "revoker"],
        ),
        (
            "rotate",
            Operation::Rotate(RotateKey { key_id: key_id.clone(), ..Default::default() }),
            &["reader", "revoker"],
        ),
        ("revoke", Operation::Revoke(RevokeKey { key_id, ..Default::default() }), &["reader"]),
        (
            "revoke_account",
            Operation::RevokeAccount(RevokeAccountKeys { account_id, ..Default::default() }),
            &["reader"],
        ),
        ("import", Operation::Import(ImportKeys::default()), &["reader", "revoker"]),
    ]
}

async fn manager(keygate: &Keygate, scope: &str) -> String {
    let key = CreateKey { scopes: texts(&[scope]), ..key_for("staff", "") };
    keygate.create("keygate", key).await.secret
}

/// One request for every reason, each made as its comment in the API tells.
async fn one_for_every_reason(keygate: &Keygate) -> Vec<AuthenticateRequest> {
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    let brief = CreateKey { expires_in: Some(seconds(1)), ..key_for("acme", "live") };
    let (expired, began) = (keygate.create("recurr", brief).await.secret, now());
    let (revoked_id, revoked) = keygate.new_key("recurr", "acme", "live").await;
    keygate.revoke("recurr", &revoked_id).await;
    let (rotated_id, retired) = keygate.new_key("recurr", "acme", "live").await;
    keygate.rotate("recurr", &rotated_id, Some(seconds(0))).await;
    let (suspended_id, suspended) = keygate.new_key("recurr", "acme", "live").await;
    let state = KeyState::Suspended.into();
    keygate.update("recurr", UpdateKey { key_id: suspended_id, state, ..Default::default() }).await;
    let reads_only = keygate.create("recurr", key_for("acme", "live")).await.secret;
    let (_, spent) = keygate.new_key("recurr", "spent", "live").await;
    let whole_limit = charged(by_key("recurr", &spent), "GET", "/", 1_000);
    keygate.authenticate(whole_limit).await.allowed();
    while now() < began + 2 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let unknown = well_formed("rk_live_", "Unknown0Unknown0Unknown012");
    let later = CreateKey { not_before: Some(at(now() + 600)), ..key_for("acme", "live") };
    let early = keygate.create("recurr", later).await.secret;
    let here = CreateKey { allowed_networks: texts(&["198.51.100.0/24"]), ..key_for("acme", "live") };
    let bound = keygate.create("recurr", here).await.secret;
    vec![
        by_headers("recurr", &[]),
        by_headers("recurr", &[("authorization", "Bearer a"), ("authorization", "Bearer b")]),
        by_key("recurr", "no key of this realm"),
        by_key("recurr", &unknown),
        by_key("recurr", &revoked),
        by_key("recurr", &expired),
        by_key("recurr", &retired),
        by_key("recurr", &suspended),
        AuthenticateRequest { environment: "test".to_owned(), ..by_key("recurr", &key) },
        AuthenticateRequest { account_id: "other".to_owned(), ..by_key("recurr", &key) },
        charged(by_key("recurr", &reads_only), "POST", "/", 1),
        charged(by_key("keygate", keygate.operator()), "GET", "/", 1),
        charged(by_key("recurr", &spent), "GET", "/", 1),
        charged(by_key("recurr", &key), "GET", "/", 1_001),
        by_key("recurr", &early),
        AuthenticateRequest { source_address: "192.0.2.1".to_owned(), ..by_key("recurr", &bound) },
    ]
}

on_both_stores! {
    async fn every_reason_is_given_or_has_its_excuse(stack) {
        // What makes accounts inactive or lets them be reached comes with organizations and members. Only a proxy hands
        // requests on that have no canonical form: `envoy_check` provokes that reason in Envoy's dialect. That too many keys do not work
        // takes a great number of them: `service::misses` sends it. Until nobody used a key for too long takes an hour: `resting` has
        // a clock of its own. Tokens take an issuer: `tokens` and `embed_tokens` have them. Providers' credentials take a server with a
        // vault: `contract_recovea` has one. A code is no key: `onboarding` sends a wrong one.
        const EXCUSED: [&str; 12] = [
            "DENY_REASON_UNUSED_KEY",
            "DENY_REASON_INVALID_TOKEN",
            "DENY_REASON_EXPIRED_TOKEN",
            "DENY_REASON_EXPIRED_EMBED_TOKEN",
            "DENY_REASON_UNSPECIFIED",
            "DENY_REASON_MALFORMED_REQUEST",
            "DENY_REASON_TOO_MANY_MISSES",
            "DENY_REASON_SUSPENDED_ACCOUNT",
            "DENY_REASON_DEACTIVATED_ACCOUNT",
            "DENY_REASON_UNKNOWN_ACCOUNT",
            "DENY_REASON_NO_PROVIDER_CREDENTIAL",
            "DENY_REASON_INVALID_CODE",
        ];
        let mut given = Vec::new();
        for request in one_for_every_reason(&stack).await {
            given.push(stack.authenticate(request).await.denied().reason().as_str_name().to_owned());
        }
        let mut wanted = values("DenyReason");
        wanted.retain(|reason| !EXCUSED.contains(&reason.as_str()));
        assert_eq!(given, wanted);
    }

    async fn every_act_is_refused_without_a_key_and_with_too_small_a_role(stack) {
        let (id, _) = stack.new_key("recurr", "acme", "live").await;
        let table = every_act(&id);
        assert_eq!(table.iter().map(|(name, ..)| *name).collect::<Vec<_>>(), acts(), "an act is missing in this table");

        let (_, guarded) = stack.new_key("recurr", "other", "live").await;
        let reader = manager(&stack, "reader").await;
        let revoker = manager(&stack, "revoker").await;
        let elsewhere = manager(&stack, "key-manager@recover").await;
        let mighty = manager(&stack, "key-manager").await;
        let (dead_id, dead) = {
            let made = stack.create("keygate", CreateKey { scopes: texts(&["operator"]), ..key_for("staff", "") }).await;
            (made.key.unwrap().id, made.secret)
        };
        stack.revoke("keygate", &dead_id).await;

        let before = stack.get("recurr", &id).await;
        for (name, operation, too_small) in table {
            // Nobody, somebody of another kind, somebody who was somebody once.
            for credential in [None, Some(guarded.as_str()), Some(dead.as_str()), Some("nonsense")] {
                let status = stack.try_manage_as(credential, "recurr", operation.clone()).await.unwrap_err();
                assert_eq!(status.code(), Code::Unauthenticated, "{name}: {status:?}");
            }
            // Somebody, for another realm.
            let status = stack.try_manage_as(Some(&elsewhere), "recurr", operation.clone()).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{name}: {status:?}");
            // Somebody whose role is too small.
            for role in too_small {
                let key = if *role == "reader" { &reader } else { &revoker };
                let status = stack.try_manage_as(Some(key), "recurr", operation.clone()).await.unwrap_err();
                assert_eq!(status.code(), Code::PermissionDenied, "{name} as {role}: {status:?}");
            }
            // Keys that manage are for operators alone.
            for key in [&mighty, &reader, &revoker] {
                let status = stack.try_manage_as(Some(key), "keygate", operation.clone()).await.unwrap_err();
                assert_eq!(status.code(), Code::PermissionDenied, "{name} in `keygate`: {status:?}");
            }
        }
        // Nothing was done.
        assert_eq!(stack.get("recurr", &id).await, before);
        assert_eq!(stack.list("recurr", ListKeys::default()).await.keys.len(), 2);
    }

    async fn every_act_is_done_with_the_role_for_it(stack) {
        let everywhere = [manager(&stack, "key-manager").await, manager(&stack, "operator").await];
        let here = manager(&stack, "key-manager@recurr").await;
        for key in everywhere.iter().chain([&here]) {
            let (id, _) = stack.new_key("recurr", "acme", "live").await;
            for (name, operation, _) in every_act(&id).into_iter().filter(|(name, ..)| *name != "import") {
                let done = stack.try_manage_as(Some(key), "recurr", operation).await;
                // The one key was revoked when its account's turn comes; that is no refusal.
                assert!(done.is_ok(), "{name}: {done:?}");
            }
        }
        let (id, _) = stack.new_key("recurr", "acme", "live").await;
        let reader = manager(&stack, "reader@recurr").await;
        let revoker = manager(&stack, "revoker@recurr").await;
        let get = Operation::Get(GetKey { key_id: id.clone() });
        stack.try_manage_as(Some(&reader), "recurr", get).await.unwrap();
        let revoke = Operation::Revoke(RevokeKey { key_id: id, ..Default::default() });
        stack.try_manage_as(Some(&revoker), "recurr", revoke).await.unwrap();
    }
}
