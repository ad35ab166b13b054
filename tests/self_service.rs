//! Keys that their owners manage: what a key or a token may make of itself, and what it may not.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    CreateKey, DenyReason, GetKey, ImportKeys, KeyWithSecret, ListKeys, RemoveMemberRequest, RevokeAccountKeys,
    RevokeKey, RotateKey, ScopeList, UpdateKey, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use serde_json::json;
use std::fs;
use support::{
    calls::{Answered, assert_invalid, by_key, now, seconds, signed, texts},
    issuer::{Issuer, claims_with},
    stack::Stack,
};
use tempfile::TempDir;
use tonic::Code;

const REALM: &str = r#"
realm = "product"
[[environments]]
name = "live"
prefix = "prod_live_"
[[environments]]
name = "test"
prefix = "prod_test_"
[[credentials]]
header = "authorization"
scheme = "Bearer"
accepts = ["key", "token"]
[[scopes]]
name = "read"
default = true
[[scopes]]
name = "write"
implies = ["read"]
[management]
by = "owners"
[[tokens]]
issuer = "https://issuer.test"
audiences = ["the-app"]
jwks_file = "jwks.json"
algorithms = ["ES256"]
environment = "live"
[[tokens]]
issuer = "https://scoped.test"
audiences = ["the-app"]
jwks_file = "jwks.json"
algorithms = ["ES256"]
environment = "test"
scopes_claim = "scope"
"#;

/// A server of the realm on Redis or on the embedded store, and who issues its tokens.
async fn product(on_redis: bool, more: &str) -> (TempDir, Issuer, Stack) {
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::new());
    let file = folder.path().join("product.toml");
    fs::write(&file, format!("{REALM}{more}")).unwrap();
    fs::write(folder.path().join("jwks.json"), issuer.key_set()).unwrap();
    let arguments = ["--realm-file", file.to_str().unwrap()];
    let stack = if on_redis { Stack::redis(&arguments).await } else { Stack::embedded(&arguments).await };
    (folder, issuer, stack)
}

fn named(scopes: &[&str]) -> CreateKey {
    CreateKey { name: "a key".to_owned(), scopes: texts(scopes), ..Default::default() }
}

async fn create(stack: &Stack, credential: &str, create: CreateKey) -> Result<KeyWithSecret, tonic::Status> {
    match stack.try_manage_as(Some(credential), "product", Operation::Create(create)).await {
        Ok(Done::Created(made)) => Ok(made),
        Ok(other) => panic!("not created: {other:?}"),
        Err(status) => Err(status),
    }
}

#[tokio::test]
async fn a_key_makes_no_key_that_is_wider_than_itself() {
    for on_redis in [false, true] {
        let (_folder, issuer, stack) = product(on_redis, "").await;
        let token = issuer.token("ann");
        // The owner in person gives any scope; a token that says what it is good for gives that.
        let writer = create(&stack, &token, named(&["write"])).await.unwrap();
        let reader =
            create(&stack, &token, CreateKey { expires_in: Some(seconds(600)), ..named(&["read"]) }).await.unwrap();
        let scoped = json!({ "iss": "https://scoped.test", "scope": "read" });
        let scoped = issuer.signed("es256", "ES256", &claims_with("ann", scoped));
        assert_invalid(&create(&stack, &scoped, named(&["write"])).await.unwrap_err(), &["create.scopes"]);
        let tested = create(&stack, &scoped, named(&["read"])).await.unwrap();
        assert_eq!(tested.key.as_ref().unwrap().environment, "test");

        let by = reader.secret.as_str();
        assert_invalid(&create(&stack, by, named(&["write"])).await.unwrap_err(), &["create.scopes"]);
        let late = CreateKey { expires_in: Some(seconds(3_600)), ..named(&[]) };
        assert_invalid(&create(&stack, by, late).await.unwrap_err(), &["create.expires_at"]);
        let elsewhere = CreateKey { environment: "test".to_owned(), ..named(&[]) };
        assert_invalid(&create(&stack, by, elsewhere).await.unwrap_err(), &["create.environment"]);
        // Without a word of it, it ends with its maker.
        let made = create(&stack, by, named(&[])).await.unwrap().key.unwrap();
        let (end, own) = (made.expires_at.unwrap().seconds, reader.key.as_ref().unwrap().expires_at.unwrap().seconds);
        assert!(end <= own && end > now(), "{made:?}");
        assert_eq!((made.scopes, made.environment.as_str()), (texts(&["read"]), "live"));

        // It neither takes a wider key over nor widens itself, and it may end it.
        let wide = writer.key.as_ref().unwrap().id.clone();
        let act = async |operation| stack.try_manage_as(Some(by), "product", operation).await;
        let rotate = Operation::Rotate(RotateKey { key_id: wide.clone(), ..Default::default() });
        let status = act(rotate).await.unwrap_err();
        assert!(status.code() == Code::PermissionDenied && status.message().contains("may do more"), "{status:?}");
        let rename = UpdateKey { key_id: wide.clone(), name: Some("x".to_owned()), ..Default::default() };
        assert_eq!(act(Operation::Update(rename)).await.unwrap_err().code(), Code::PermissionDenied);
        let own_id = reader.key.as_ref().unwrap().id.clone();
        let widen = |update: UpdateKey| Operation::Update(UpdateKey { key_id: own_id.clone(), ..update });
        let more = UpdateKey { scopes: Some(ScopeList { scopes: texts(&["write"]) }), ..Default::default() };
        assert_invalid(&act(widen(more)).await.unwrap_err(), &["update.scopes"]);
        for longer in [
            UpdateKey { never_expires: true, ..Default::default() },
            UpdateKey { expires_in: Some(seconds(86_400)), ..Default::default() },
        ] {
            assert_invalid(&act(widen(longer)).await.unwrap_err(), &["update.expires_at"]);
        }
        // Keys of the other environment are not there for it.
        let other = tested.key.unwrap().id;
        assert_eq!(act(Operation::Get(GetKey { key_id: other.clone() })).await.unwrap_err().code(), Code::NotFound);
        let Ok(Done::Page(page)) = act(Operation::List(ListKeys::default())).await else { panic!("no page") };
        assert!(page.keys.len() == 3 && page.keys.iter().all(|key| key.id != other), "{page:?}");
        let end = RevokeAccountKeys { account_id: "ann".to_owned(), reason: "all".to_owned(), ..Default::default() };
        let Ok(Done::Revoked(ended)) = act(Operation::RevokeAccount(end)).await else { panic!("not ended") };
        assert_eq!(ended.keys.len(), 3, "{ended:?}");
        stack.authenticate(by_key("product", &tested.secret)).await.allowed();
    }
}

#[tokio::test]
async fn imports_are_for_operators_where_the_realm_says_so() {
    for on_redis in [false, true] {
        let (_folder, issuer, stack) = product(on_redis, "").await;
        let import = || Operation::Import(ImportKeys::default());
        for (credential, told) in
            [(issuer.token("ann"), "by operators"), (stack.operator().to_owned(), "belong to their owners")]
        {
            let status = stack.try_manage_as(Some(&credential), "product", import()).await.unwrap_err();
            assert!(status.code() == Code::PermissionDenied && status.message().contains(told), "{status:?}");
        }
    }
}

#[tokio::test]
async fn a_revoker_ends_keys_and_another_role_does_not() {
    for on_redis in [false, true] {
        let (_folder, issuer, stack) = product(on_redis, "").await;
        let made = create(&stack, &issuer.token("ann"), named(&[])).await.unwrap();
        let id = made.key.unwrap().id;
        let mut roles = Vec::new();
        for role in ["reader", "revoker@product"] {
            let key = CreateKey { scopes: texts(&[role]), ..support::calls::key_for("staff", "") };
            roles.push(stack.create("keygate", key).await.secret);
        }
        let end =
            || Operation::Revoke(RevokeKey { key_id: id.clone(), reason: "leaked".to_owned(), ..Default::default() });
        let status = stack.try_manage_as(Some(&roles[0]), "product", end()).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        stack.try_manage_as(Some(&roles[1]), "product", end()).await.unwrap();
        // Who did what is in the log, a token's owner by name.
        let events = stack.chain("product", "ann").await;
        let actors: Vec<&str> = events.iter().map(|event| event.actor.as_str()).collect();
        assert!(actors.contains(&"token:https://issuer.test#ann"), "{actors:?}");
        assert!(actors.last().is_some_and(|actor| actor.starts_with("key_")), "{actors:?}");
    }
}

#[tokio::test]
async fn owners_issue_keys_in_the_names_of_members_of_their_own_account() {
    for on_redis in [false, true] {
        let members = "[members]\nroles = [\"viewer\", \"developer\"]\nissuers = [\"developer\"]\n";
        let (_folder, issuer, stack) = product(on_redis, members).await;
        let (ann, bob) = (issuer.token("ann"), issuer.token("bob"));
        for (account, owner) in [("ann", &ann), ("bob", &bob)] {
            create(&stack, owner, named(&[])).await.unwrap();
            stack.add_member("product", account, "reads", &["viewer"]).await;
        }
        stack.add_member("product", "ann", "writes", &["developer"]).await;
        let of = |member: &str| CreateKey { member_id: member.to_owned(), ..named(&[]) };
        let made = create(&stack, &ann, of("writes")).await.unwrap();
        assert_eq!(
            made.key.as_ref().map(|key| (key.account_id.as_str(), key.member_id.as_str())),
            Some(("ann", "writes"))
        );
        stack.authenticate(by_key("product", &made.secret)).await.allowed();
        for (owner, member) in [(&ann, "reads"), (&ann, "nobody"), (&bob, "writes"), (&bob, "reads")] {
            assert_eq!(create(&stack, owner, of(member)).await.unwrap_err().code(), Code::PermissionDenied, "{member}");
        }
        // Members are the operators' business, and end with their keys, whoever made those.
        let removing = RemoveMemberRequest {
            realm: "product".to_owned(),
            account_id: "ann".to_owned(),
            member_id: "writes".to_owned(),
            ..Default::default()
        };
        for credential in [&ann, &made.secret] {
            let refused =
                stack.directory().remove_member(signed(Some(credential), removing.clone())).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
        }
        let removed =
            stack.directory().remove_member(signed(Some(stack.operator()), removing)).await.unwrap().into_inner();
        assert_eq!(removed.ended_key_ids, [made.key.unwrap().id]);
        stack.authenticate(by_key("product", &made.secret)).await.denied_for(DenyReason::RevokedKey);
        create(&stack, &ann, named(&[])).await.unwrap();
    }
}
