//! What the Recover Partner API promises its partners, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, CheckRateLimitRequest, DenyReason, ListKeys, RevokeKey, RotateKey, Subject,
    check_rate_limit_request::Selection, manage_keys_request::Operation,
};
use std::time::Duration;
use support::{
    calls::{
        Answered, RECOVER_CODES, by_bearer, by_headers, by_key, charged, has_checksum, header, header_list, key_for,
        millis, now, seconds, well_formed,
    },
    issuer::Issuer,
    keygate::Keygate,
};
use tonic::Code;

const UNAUTHORIZED: &str =
    r#"{"error":{"code":"unauthorized","message":"Invalid or missing Partner API key","status":401}}"#;

/// What an end client gets whose credential is not good, whatever is wrong with it.
#[track_caller]
fn assert_unauthorized(denied: &keygate::proto::v1::Denied) {
    assert_eq!((denied.http_status, denied.body.as_str()), (401, UNAUTHORIZED), "{denied:?}");
    assert_eq!(denied.headers, header_list(&[("content-type", "application/json"), ("www-authenticate", "Bearer")]));
}

on_both_stores! {
    async fn r1_the_key_comes_in_either_header_and_anything_else_is_401(stack) {
        let (id, key) = stack.new_key("recover", "partner-1", "live").await;
        let bearer = format!("Bearer {key}");
        for headers in [[("X-Partner-Key", key.as_str())], [("x-partner-key", key.as_str())], [("Authorization", bearer.as_str())]] {
            let allowed = stack.authenticate(by_headers("recover", &headers)).await.allowed();
            assert_eq!((allowed.key_id.as_str(), allowed.account_id.as_str()), (id.as_str(), "partner-1"));
            assert_eq!((allowed.environment.as_str(), allowed.target_account_id.as_str()), ("live", "partner-1"));
        }

        let unknown = well_formed("pk_live_", "Unknown0Unknown0Unknown012");
        let mut malformed = key.clone();
        malformed.pop();
        let (revoked_id, revoked) = stack.new_key("recover", "partner-1", "live").await;
        stack.revoke("recover", &revoked_id).await;
        for (headers, reason) in [
            (vec![], DenyReason::MissingCredential),
            (vec![("X-Partner-Key", "")], DenyReason::MissingCredential),
            (vec![("X-Partner-Key", unknown.as_str())], DenyReason::UnknownKey),
            // The header takes embed tokens too: what is no key may have been one.
            (vec![("X-Partner-Key", malformed.as_str())], DenyReason::InvalidToken),
            (vec![("X-Partner-Key", "pk_live_abc123def456")], DenyReason::InvalidToken),
            (vec![("X-Partner-Key", revoked.as_str())], DenyReason::RevokedKey),
            (vec![("X-Partner-Key", key.as_str()), ("Authorization", bearer.as_str())], DenyReason::AmbiguousCredential),
        ] {
            let denied = stack.authenticate(by_headers("recover", &headers)).await.denied_for(reason);
            assert_unauthorized(&denied);
        }
        // The other form of a missing credential: no credential in the request at all.
        let nothing = keygate::proto::v1::AuthenticateRequest { credential: None, ..by_key("recover", "") };
        assert_unauthorized(&stack.authenticate(nothing).await.denied_for(DenyReason::MissingCredential));
        // And the key is good still.
        stack.authenticate(by_key("recover", &key)).await.allowed();
    }

    async fn r2_keys_are_pk_live_and_32_characters(stack) {
        let mut made = std::collections::HashSet::new();
        for _ in 0..20 {
            let (_, key) = stack.new_key("recover", "partner-1", "live").await;
            let body = key.strip_prefix("pk_live_").expect("the prefix is `pk_live_`");
            assert!(body.len() == 32 && body.bytes().all(|b| b.is_ascii_alphanumeric()), "{key}");
            assert!(has_checksum(&key), "{key}");
            assert!(made.insert(key), "a key came twice");
        }
    }

    async fn r3_an_operator_provisions_keys_and_a_partner_key_manages_none(stack) {
        let (id, partner) = stack.new_key("recover", "partner-1", "live").await;
        let revoke = Operation::Revoke(RevokeKey { key_id: id.clone(), ..Default::default() });
        let rotate = Operation::Rotate(RotateKey { key_id: id.clone(), ..Default::default() });
        for operation in [
            Operation::Create(key_for("partner-1", "live")),
            Operation::List(ListKeys::default()),
            rotate,
            revoke,
        ] {
            let unknown = well_formed("pk_live_", "Unknown0Unknown0Unknown012");
            let token = Issuer::shared().token("partner-1");
            for (credential, told) in [
                (None, "a management key is needed"),
                (Some(token.as_str()), "a management key is needed"),
                (Some("nonsense"), "a management key is needed"),
                // Whether the key is one is not said.
                (Some(partner.as_str()), "a key of the realm itself manages none"),
                (Some(unknown.as_str()), "a key of the realm itself manages none"),
            ] {
                let status = stack.try_manage_as(credential, "recover", operation.clone()).await.unwrap_err();
                assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
                assert!(status.message().contains(told), "{status:?}");
            }
        }
        let page = stack.list("recover", ListKeys::default()).await;
        assert_eq!(page.keys.iter().map(|key| (key.id.as_str(), key.version)).collect::<Vec<_>>(), [(id.as_str(), 1)]);
        stack.authenticate(by_key("recover", &partner)).await.allowed();
    }

    async fn r4_a_key_reaches_the_sub_accounts_of_its_partner_and_no_others(stack) {
        let (_, key) = stack.new_key("recover", "partner-1", "live").await;
        let (_, other) = stack.new_key("recover", "partner-2", "live").await;
        stack.new_account("recover", "client-a", "partner-1").await;
        stack.new_account("recover", "client-a-1", "client-a").await;
        let (_, below) = stack.new_key("recover", "client-a", "live").await;
        let reach = async |key: &str, account: &str| {
            let path = format!("/v1/accounts/{account}/leads");
            stack.authenticate(charged(by_key("recover", key), "POST", &path, 1)).await
        };
        for account in ["partner-1", "client-a", "client-a-1"] {
            let allowed = reach(&key, account).await.allowed();
            assert_eq!((allowed.account_id.as_str(), allowed.target_account_id.as_str()), ("partner-1", account));
        }
        // From below upwards there is no way, nor from one partner to another's.
        reach(&below, "client-a-1").await.allowed();
        for (key, account) in [(&below, "partner-1"), (&other, "partner-1"), (&other, "client-a"), (&other, "client-a-1")] {
            let denied = reach(key, account).await.denied_for(DenyReason::ForbiddenAccount);
            let body = r#"{"error":{"code":"forbidden","message":"Key does not have access to this resource","status":403}}"#;
            assert_eq!((denied.http_status, denied.body.as_str()), (403, body));
        }
        let denied = reach(&key, "nobody").await.denied_for(DenyReason::UnknownAccount);
        let body = r#"{"error":{"code":"not_found","message":"Account, lead, or resource not found","status":404}}"#;
        assert_eq!((denied.http_status, denied.body.as_str()), (404, body));
        // What was not there is there as soon as it was made.
        stack.new_account("recover", "nobody", "partner-1").await;
        reach(&key, "nobody").await.allowed();

        stack.set_status("recover", "client-a", AccountStatus::Deactivated).await;
        let denied = reach(&key, "client-a").await.denied_for(DenyReason::DeactivatedAccount);
        let body = r#"{"error":{"code":"account_deactivated","message":"Account has been deactivated","status":403}}"#;
        assert_eq!((denied.http_status, denied.body.as_str()), (403, body));
        // Only whoever reaches an account learns that it is deactivated.
        reach(&other, "client-a").await.denied_for(DenyReason::ForbiddenAccount);
        reach(&below, "client-a").await.denied_for(DenyReason::DeactivatedAccount);
        stack.set_status("recover", "client-a", AccountStatus::Active).await;
        reach(&key, "client-a").await.allowed();
    }

    async fn r5_the_old_key_stays_valid_for_24_hours_and_ends_by_itself(stack) {
        // The realm's default: 24 hours.
        let (id, first) = stack.new_key("recover", "partner-1", "live").await;
        let rotated = stack.rotate("recover", &id, None).await;
        let key = rotated.key.as_ref().unwrap();
        assert_eq!((key.id.as_str(), key.version, key.secrets.len()), (id.as_str(), 2, 2));
        let (new, old) = (&key.secrets[0], &key.secrets[1]);
        let issued = new.created_at.unwrap();
        assert_eq!(old.retires_at, Some(prost_types::Timestamp { seconds: issued.seconds + 86_400, ..issued }));
        assert_eq!(new.retires_at, None);
        assert_ne!(first, rotated.secret);
        for secret in [&first, &rotated.secret] {
            assert_eq!(stack.authenticate(by_key("recover", secret)).await.allowed().key_id, id);
        }

        // With a grace short enough to wait for. Both work while it lasts, then nobody has to do anything.
        let (id, first) = stack.new_key("recover", "partner-2", "live").await;
        let second = stack.rotate("recover", &id, Some(seconds(2))).await.secret;
        for secret in [&first, &second] {
            stack.authenticate(by_key("recover", secret)).await.allowed();
        }
        tokio::time::sleep(Duration::from_millis(2_050)).await;
        let denied = stack.authenticate(by_key("recover", &first)).await.denied_for(DenyReason::RetiredSecret);
        assert_unauthorized(&denied);
        stack.authenticate(by_key("recover", &second)).await.allowed();
    }

    async fn r6_every_class_of_requests_has_its_own_limit(stack) {
        let (_, key) = stack.new_key("recover", "p1", "live").await;
        let (_, other) = stack.new_key("recover", "p2", "live").await;
        for (operation, method, path, limit, window) in LIMITS {
            let request = |cost| charged(by_key("recover", &key), method, path, cost);
            let answer = stack.authenticate(request(limit)).await;
            let states: Vec<_> = answer.limits.iter().map(|l| (l.limit, millis(l.window.as_ref()), l.remaining)).collect();
            assert_eq!(states, [(limit as u64, window * 1_000, 0)], "{operation}");
            assert_eq!(answer.allowed().operation, operation);
            let denied = stack.authenticate(request(1)).await.denied_for(DenyReason::RateLimited);
            assert_eq!(denied.http_status, 429, "{operation}");
            // Another partner is not affected.
            let theirs = path.replace("p1", "p2");
            stack.authenticate(charged(by_key("recover", &other), method, &theirs, 1)).await.allowed();
        }
        // What names no request is one of all others.
        stack.authenticate(charged(by_key("recover", &key), "", "", 1)).await.denied_for(DenyReason::RateLimited);
    }

    async fn r6_no_other_way_to_write_a_path_leads_around_a_limit(stack) {
        let (_, key) = stack.new_key("recover", "p1", "live").await;
        for (plain, path) in [
            ("accounts.create", "/v1/accounts/"),
            ("leads.import-bulk", "/v1/accounts/p1/leads/bulk/"),
            ("leads.import-bulk", "/v1/accounts/p1/leads/bulk?sort=/"),
        ] {
            let allowed = stack.authenticate(charged(by_key("recover", &key), "POST", path, 1)).await.allowed();
            assert_eq!(allowed.operation, plain, "{path}");
        }
        stack.new_account("recover", "p2", "").await;
        for path in ["/v1/accounts/p2", "/v1/accounts/p2/", "/v1/accounts/p2/leads/bulk/"] {
            let request = charged(by_key("recover", &key), "POST", path, 1);
            stack.authenticate(request).await.denied_for(DenyReason::ForbiddenAccount);
        }
        for path in ["/v1/%61ccounts", "/v1/accounts/p1/leads/%62ulk", "/v1//accounts", "/v1/accounts/p1/../p2"] {
            let refused = stack.try_authenticate(charged(by_key("recover", &key), "POST", path, 1)).await;
            assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{path}");
        }
    }

    async fn r6_message_sends_are_counted_for_each_account(stack) {
        let send = |account: &str, cost| CheckRateLimitRequest {
            realm: "recover".to_owned(),
            selection: Some(Selection::Operation("messages.send".to_owned())),
            subject: Some(Subject {
                account_id: "partner".to_owned(),
                target_account_id: account.to_owned(),
                ..Default::default()
            }),
            cost: Some(cost),
            ..Default::default()
        };
        assert!(stack.check(send("sub-1", 100)).await.allowed);
        let refused = stack.check(send("sub-1", 1)).await;
        assert!(!refused.allowed && refused.denied.unwrap().http_status == 429);
        assert!(stack.check(send("sub-2", 100)).await.allowed);
        assert!(!stack.check(send("sub-2", 1)).await.allowed);
    }

    async fn r7_rate_limit_headers_are_in_every_response(stack) {
        let (_, key) = stack.new_key("recover", "p1", "live").await;
        for used in 1..=3 {
            let request = charged(by_key("recover", &key), "GET", "/v1/accounts/p1", 1);
            let headers = stack.authenticate(request).await.allowed().headers;
            let names: Vec<_> = headers.iter().map(|header| header.name.as_str()).collect();
            assert_eq!(names, ["X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"]);
            assert_eq!(header(&headers, "x-ratelimit-limit"), Some("1000"));
            assert_eq!(header(&headers, "x-ratelimit-remaining"), Some((1_000 - used).to_string().as_str()));
            assert_reset(&headers, 60);
        }

        let request = |cost| charged(by_key("recover", &key), "POST", "/v1/accounts/p1/leads/bulk", cost);
        stack.authenticate(request(50)).await.allowed();
        let answer = stack.authenticate(request(1)).await;
        assert!(answer.limits[0].exceeded && answer.limits[0].remaining == 0);
        let denied = answer.denied_for(DenyReason::RateLimited);
        let body = r#"{"error":{"code":"rate_limited","message":"Too many requests","status":429}}"#;
        assert_eq!((denied.http_status, denied.body.as_str(), denied.limit.as_str()), (429, body, "lead-import-bulk"));
        assert_eq!(header(&denied.headers, "content-type"), Some("application/json"));
        assert_eq!(header(&denied.headers, "X-RateLimit-Limit"), Some("50"));
        assert_eq!(header(&denied.headers, "X-RateLimit-Remaining"), Some("0"));
        assert_reset(&denied.headers, 60);
        // Whole seconds, rounded up: who waits so long does not come too early.
        let wait = millis(denied.retry_after.as_ref());
        let told: i64 = header(&denied.headers, "Retry-After").expect("a 429 says when to come again").parse().unwrap();
        assert!((1..=61_000).contains(&wait) && told * 1_000 >= wait && (told - 1) * 1_000 <= wait, "{told} s, {wait} ms");

        // A cost that can never be admitted is told so: nothing to wait for.
        let denied = stack.authenticate(request(51)).await.denied_for(DenyReason::CostAboveLimit);
        assert_eq!((denied.http_status, denied.retry_after), (429, None));
        assert_eq!(header(&denied.headers, "Retry-After"), None);
    }

    async fn r7_a_403_carries_the_rate_limit_headers_too(stack) {
        let (_, key) = stack.new_key("recover", "p1", "live").await;
        stack.new_account("recover", "p2", "").await;
        let request = charged(by_key("recover", &key), "GET", "/v1/accounts/p2", 1);
        let denied = stack.authenticate(request).await.denied_for(DenyReason::ForbiddenAccount);
        let body = r#"{"error":{"code":"forbidden","message":"Key does not have access to this resource","status":403}}"#;
        assert_eq!((denied.http_status, denied.body.as_str()), (403, body));
        assert_eq!(header(&denied.headers, "X-RateLimit-Limit"), Some("1000"));
        // A denied request costs nothing.
        assert_eq!(header(&denied.headers, "X-RateLimit-Remaining"), Some("1000"));
    }

    async fn r8_the_whole_code_table_is_rendered(stack) {
        for (code, status, message) in RECOVER_CODES {
            let rendered = stack.render("recover", code, "").await;
            let body = format!(r#"{{"error":{{"code":"{code}","message":"{message}","status":{status}}}}}"#);
            assert_eq!((rendered.http_status, rendered.body), (status, body));
            assert_eq!(header(&rendered.headers, "content-type"), Some("application/json"));
        }
        let rendered = stack.render("recover", "validation_error", "`name` must be a \"string\"").await;
        let body = r#"{"error":{"code":"validation_error","message":"`name` must be a \"string\"","status":422}}"#;
        assert_eq!((rendered.http_status, rendered.body.as_str()), (422, body));
    }
}

/// Operation, method, path, limit, window in seconds: the API's own table.
const LIMITS: [(&str, &str, &str, i64, i64); 7] = [
    ("accounts.create", "POST", "/v1/accounts", 100, 3_600),
    ("leads.import", "POST", "/v1/accounts/p1/leads", 1_000, 60),
    ("leads.import-bulk", "POST", "/v1/accounts/p1/leads/bulk", 50, 60),
    ("embed-tokens.create", "POST", "/v1/accounts/p1/embed-tokens", 500, 3_600),
    ("conversations.read", "GET", "/v1/accounts/p1/conversations", 5_000, 60),
    ("messages.send", "POST", "/v1/accounts/p1/messages", 100, 60),
    ("other", "GET", "/v1/accounts/p1", 1_000, 60),
];

/// The reset header is in epoch seconds, ahead of now by at most the window and one sixtieth.
#[track_caller]
fn assert_reset(headers: &[keygate::proto::v1::Header], window: i64) {
    let reset: i64 = header(headers, "X-RateLimit-Reset").expect("the reset is told").parse().expect("epoch seconds");
    let ahead = reset - now();
    assert!((1..=window + window / 60 + 1).contains(&ahead), "{ahead} s ahead");
}

#[tokio::test]
async fn r5_a_grace_counts_while_keygate_is_down() {
    let mut keygate = Keygate::start(&[]).await;
    let (id, first) = keygate.new_key("recover", "partner-1", "live").await;
    let second = keygate.rotate("recover", &id, Some(seconds(1))).await.secret;
    keygate.kill();
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    keygate.restart().await;
    keygate.authenticate(by_bearer("recover", &first)).await.denied_for(DenyReason::RetiredSecret);
    keygate.authenticate(by_bearer("recover", &second)).await.allowed();
}
