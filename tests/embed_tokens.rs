//! Embed tokens: minted from a key for one account, never wider than the key, and dead when the key is.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for a token to expire takes a real clock")]

mod support;

use data_encoding::BASE64URL_NOPAD;
use keygate::proto::v1::{
    AccountStatus, AuthenticateRequest, DenyReason, EmbedKeySetRequest, KeyState, MintEmbedTokenRequest,
    MintEmbedTokenResponse, UpdateKey, embed_tokens_client::EmbedTokensClient,
};
use std::time::Duration;
use support::{
    calls::{
        Answered, assert_invalid, by_bearer, by_headers, by_key, charged, key_for, seconds, signed, texts, violations,
    },
    front::Front,
    keygate::Keygate,
    stack::Stack,
};
use tonic::{Code, Status};

/// Mints for `client-a`, unless it says otherwise.
fn wanted(key_id: &str) -> MintEmbedTokenRequest {
    MintEmbedTokenRequest {
        realm: "recover".to_owned(),
        key_id: key_id.to_owned(),
        account_id: "client-a".to_owned(),
        ..Default::default()
    }
}

async fn mint_as(
    keygate: &Keygate,
    credential: Option<&str>,
    request: MintEmbedTokenRequest,
) -> Result<MintEmbedTokenResponse, Status> {
    let mut client = EmbedTokensClient::new(keygate.channel());
    client.mint(signed(credential, request)).await.map(tonic::Response::into_inner)
}

async fn mint(keygate: &Keygate, request: MintEmbedTokenRequest) -> String {
    mint_as(keygate, Some(keygate.operator()), request).await.expect("a token is minted").token
}

/// A partner with two clients, and another partner.
async fn partners(keygate: &Keygate) -> (String, String) {
    let made = keygate.new_key("recover", "partner-1", "live").await;
    for client in ["client-a", "client-b"] {
        keygate.new_account("recover", client, "partner-1").await;
    }
    keygate.new_key("recover", "partner-2", "live").await;
    made
}

fn at(token: &str, path: &str) -> AuthenticateRequest {
    charged(by_bearer("recover", token), "GET", path, 1)
}

on_both_stores! {
    async fn r9_a_token_stands_in_for_its_key_at_one_account(stack) {
        let (key_id, key) = partners(&stack).await;
        let token = mint(&stack, wanted(&key_id)).await;
        for request in [
            at(&token, "/v1/accounts/client-a"),
            at(&token, "/v1"),
            charged(by_headers("recover", &[("x-partner-key", &token)]), "GET", "/v1/accounts/client-a/conversations", 1),
        ] {
            let allowed = stack.authenticate(request).await.allowed();
            assert_eq!((allowed.key_id.as_str(), allowed.account_id.as_str()), (key_id.as_str(), "partner-1"));
            assert_eq!((allowed.target_account_id.as_str(), allowed.environment.as_str()), ("client-a", "live"));
            let told = allowed.token.unwrap();
            assert_eq!((told.issuer.as_str(), told.subject.as_str()), ("keygate:recover", "client-a"));
        }
        // What the key reaches and the token was not minted for.
        for account in ["client-b", "partner-1", "partner-2"] {
            let path = format!("/v1/accounts/{account}");
            stack.authenticate(at(&token, &path)).await.denied_for(DenyReason::ForbiddenAccount);
        }
        stack.authenticate(charged(by_key("recover", &key), "GET", "/v1/accounts/client-b", 1)).await.allowed();
        // The key's own limit is charged: two reads by the token, one by the key.
        let read = charged(by_key("recover", &key), "GET", "/v1/accounts/client-a/conversations", 1);
        let limits = stack.authenticate(read).await.limits;
        assert_eq!(limits.iter().map(|limit| limit.remaining).collect::<Vec<_>>(), [4_998]);
    }

    async fn r9_a_token_makes_neither_accounts_nor_tokens(stack) {
        let (key_id, key) = partners(&stack).await;
        let token = mint(&stack, wanted(&key_id)).await;
        for path in ["/v1/accounts", "/v1/accounts/client-a/embed-tokens"] {
            let by_token = charged(by_bearer("recover", &token), "POST", path, 1);
            stack.authenticate(by_token).await.denied_for(DenyReason::InsufficientScope);
            stack.authenticate(charged(by_key("recover", &key), "POST", path, 1)).await.allowed();
        }
    }

    async fn r9_a_token_dies_with_its_key(stack) {
        let (key_id, _) = partners(&stack).await;
        let token = mint(&stack, wanted(&key_id)).await;
        let ask = || at(&token, "/v1/accounts/client-a");
        stack.authenticate(ask()).await.allowed();
        // A new secret changes nothing for it: the key is the same.
        stack.rotate("recover", &key_id, None).await;
        stack.authenticate(ask()).await.allowed();
        let state = |state: KeyState| UpdateKey { key_id: key_id.clone(), state: state.into(), ..Default::default() };
        stack.update("recover", state(KeyState::Suspended)).await;
        stack.authenticate(ask()).await.denied_for(DenyReason::SuspendedKey);
        stack.update("recover", state(KeyState::Active)).await;
        stack.authenticate(ask()).await.allowed();
        stack.set_status("recover", "client-a", AccountStatus::Deactivated).await;
        stack.authenticate(ask()).await.denied_for(DenyReason::DeactivatedAccount);
        stack.set_status("recover", "client-a", AccountStatus::Active).await;
        stack.authenticate(ask()).await.allowed();
        stack.revoke("recover", &key_id).await;
        stack.authenticate(ask()).await.denied_for(DenyReason::RevokedKey);
        let status = mint_as(&stack, Some(stack.operator()), wanted(&key_id)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    }

    async fn r9_a_token_ends_by_itself(stack) {
        let (key_id, _) = partners(&stack).await;
        let token = mint(&stack, MintEmbedTokenRequest { lifetime: Some(seconds(1)), ..wanted(&key_id) }).await;
        let ask = || at(&token, "/v1/accounts/client-a");
        stack.authenticate(ask()).await.allowed();
        tokio::time::sleep(Duration::from_millis(2_000)).await;
        for _ in 0..2 {
            let denied = stack.authenticate(ask()).await.denied_for(DenyReason::ExpiredEmbedToken);
            let body = r#"{"error":{"code":"token_expired","message":"Embed token has expired","status":401}}"#;
            assert_eq!((denied.http_status, denied.body.as_str()), (401, body));
        }
    }

    async fn r9_what_is_not_quite_a_token_is_told_like_a_wrong_key(stack) {
        let (key_id, _) = partners(&stack).await;
        let token = mint(&stack, wanted(&key_id)).await;
        let other = Stack::embedded(&[]).await;
        let (foreign_id, _) = partners(&other).await;
        let foreign = mint(&other, wanted(&foreign_id)).await;
        let (signed_part, signature) = token.rsplit_once('.').unwrap();
        let (header, claims) = signed_part.split_once('.').unwrap();
        let claims = String::from_utf8(BASE64URL_NOPAD.decode(claims.as_bytes()).unwrap()).unwrap();
        let with = |claims: String| format!("{header}.{}.{signature}", BASE64URL_NOPAD.encode(claims.as_bytes()));
        let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"JWT","kid":"x"}"#);
        for wrong in [
            foreign,
            with(claims.replace("client-a", "client-b")),
            with(claims.replace("\"exp\":1", "\"exp\":9")),
            format!("{signed_part}."),
            format!("{none}.{}.", BASE64URL_NOPAD.encode(claims.as_bytes())),
        ] {
            let denied = stack.authenticate(at(&wrong, "/v1/accounts/client-a")).await.denied_for(DenyReason::InvalidToken);
            assert!(denied.body.contains("Invalid or missing Partner API key"), "{denied:?}");
        }
        // Another realm takes none.
        stack.authenticate(by_bearer("recurr", &token)).await.denied_for(DenyReason::MalformedKey);
        stack.authenticate(at(&token, "/v1/accounts/client-a")).await.allowed();
    }

    async fn r9_who_may_mint_and_what_is_wrong_with_a_request_is_told_exactly(stack) {
        let (key_id, key) = partners(&stack).await;
        for (role, may) in [("minter", true), ("minter@recover", true), ("operator", true), ("minter@recurr", false), ("key-manager", false)] {
            let manager = stack.create("keygate", keygate::proto::v1::CreateKey { scopes: texts(&[role]), ..key_for("staff", "") }).await;
            let done = mint_as(&stack, Some(&manager.secret), wanted(&key_id)).await;
            assert_eq!(done.as_ref().err().map(Status::code), if may { None } else { Some(Code::PermissionDenied) }, "{role}");
        }
        for credential in [None, Some(key.as_str()), Some("nonsense")] {
            let status = mint_as(&stack, credential, wanted(&key_id)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        }
        let refused = async |request| mint_as(&stack, Some(stack.operator()), request).await.unwrap_err();
        let lifetime = |lifetime| MintEmbedTokenRequest { lifetime: Some(lifetime), ..wanted(&key_id) };
        let nanos = prost_types::Duration { seconds: 5, nanos: 1 };
        for (request, field, problem) in [
            (MintEmbedTokenRequest { account_id: String::new(), ..wanted(&key_id) }, "account_id", "must be 1 to 128 of"),
            (wanted("key_0"), "key_id", "must be `key_` and 26 characters, as given when the key was created"),
            (lifetime(seconds(0)), "lifetime", "must be 1 to 3600 whole seconds"),
            (lifetime(seconds(3_601)), "lifetime", "must be 1 to 3600 whole seconds"),
            (lifetime(nanos), "lifetime", "must be 1 to 3600 whole seconds"),
            (lifetime(seconds(-1)), "lifetime", "must be 0 seconds to 100 years"),
            (MintEmbedTokenRequest { scopes: texts(&["root"]), ..wanted(&key_id) }, "scopes[0]", ""),
        ] {
            let status = refused(request).await;
            assert_invalid(&status, &[field]);
            assert!(violations(&status)[0].1.starts_with(problem), "{status:?}");
        }
        let unknown = "key_00000000000000000000000000";
        for (request, code) in [
            (wanted(unknown), Code::NotFound),
            (MintEmbedTokenRequest { account_id: "nobody".to_owned(), ..wanted(&key_id) }, Code::NotFound),
            (MintEmbedTokenRequest { account_id: "partner-2".to_owned(), ..wanted(&key_id) }, Code::PermissionDenied),
            (MintEmbedTokenRequest { realm: "recurr".to_owned(), ..wanted(&key_id) }, Code::FailedPrecondition),
        ] {
            let status = refused(request).await;
            assert_eq!(status.code(), code, "{status:?}");
        }
        let mut client = EmbedTokensClient::new(stack.channel());
        let set = client.key_set(EmbedKeySetRequest { realm: "recover".to_owned() }).await.unwrap().into_inner();
        assert!(set.jwk_set.contains(r#""crv":"Ed25519""#), "{set:?}");
        for (realm, code) in [("recurr", Code::FailedPrecondition), ("nowhere", Code::InvalidArgument)] {
            let status = client.key_set(EmbedKeySetRequest { realm: realm.to_owned() }).await.unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
        }
    }

    async fn r9_a_token_outlives_a_restart_of_the_server(stack) {
        let (key_id, _) = partners(&stack).await;
        let token = mint(&stack, wanted(&key_id)).await;
        stack.keygate.restart().await;
        stack.authenticate(at(&token, "/v1/accounts/client-a")).await.allowed();
    }
}

#[tokio::test]
async fn r9_through_envoy() {
    let front = Front::sidecar().await;
    let (key_id, _) = partners(&front.stack).await;
    let token = mint(&front.stack, MintEmbedTokenRequest { lifetime: Some(seconds(2)), ..wanted(&key_id) }).await;
    let header = [("x-partner-key", token.as_str())];
    front.passes("recover", "GET /v1/accounts/client-a", &header).await;
    let received = front.upstream.last();
    for (name, value) in
        [("x-auth-account", "partner-1"), ("x-auth-target-account", "client-a"), ("x-auth-key-id", &key_id)]
    {
        assert_eq!(received.header(name), Some(value), "{received:?}");
    }
    assert_eq!(received.header("x-partner-key"), None);
    front.stops("recover", "GET /v1/accounts/client-b", &header, 403).await;
    front.stops("recover", "POST /v1/accounts/client-a/embed-tokens", &header, 403).await;
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    let answer = front.stops("recover", "GET /v1/accounts/client-a", &header, 401).await;
    assert!(answer.body.contains("token_expired"), "{answer:?}");
}
