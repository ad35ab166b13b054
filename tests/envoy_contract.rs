//! What the five APIs promise, as their clients see it: over HTTP, through a real Envoy with the shipped files.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{CreateKey, KeyState, UpdateKey};
use std::time::Duration;
use support::{
    calls::{RECOVER_CODES, by_key, charged, key_for, now, seconds, texts, well_formed},
    http::Answer,
    upstream::Told,
};

/// Realm, environment, prefix, header, what stands before the key in it.
const REALMS: [(&str, &str, &str, &str, &str); 5] = [
    ("recover", "live", "pk_live_", "x-partner-key", ""),
    ("recoup", "live", "recoup_sk_", "x-api-key", ""),
    ("recotap", "live", "rtap_", "x-api-key", ""),
    ("recurr", "test", "rk_test_", "authorization", "Bearer "),
    ("recovea", "live", "rcv_live_", "authorization", "Bearer "),
];

const PARTNER: &str =
    r#"{"error":{"code":"unauthorized","message":"Invalid or missing Partner API key","status":401}}"#;
const DEVELOPER: &str = r#"{"error":{"type":"unauthorized","message":"Invalid or missing API key."}}"#;
const INCORRECT: &str = concat!(
    r#"{"error":{"message":"Incorrect Recovea API key provided. View and manage your keys at "#,
    r#"https://dashboard.recovea.ai","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
);

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

#[track_caller]
fn says(answer: &Answer, body: &str) {
    assert_eq!((answer.body.as_str(), answer.header("content-type")), (body, Some("application/json")), "{answer:?}");
}

behind_envoy! {
    async fn r1_r4_r8_the_key_comes_in_either_header_and_reaches_its_own_account(front) {
        let (id, key) = front.stack.new_key("recover", "p1", "live").await;
        for header in [("X-Partner-Key", key.as_str()), ("Authorization", &bearer(&key))] {
            front.passes("recover", "GET /v1/accounts/p1?full=1", &[header]).await;
            let received = front.upstream.last();
            assert_eq!((received.method.as_str(), received.path.as_str()), ("GET", "/v1/accounts/p1?full=1"));
            for (name, value) in [
                ("x-auth-account", "p1"),
                ("x-auth-target-account", "p1"),
                ("x-auth-key-id", id.as_str()),
                ("x-auth-environment", "live"),
                ("x-auth-operation", "other"),
            ] {
                assert_eq!(received.header(name), Some(value), "{received:?}");
            }
            assert_eq!(received.all("x-partner-key").len() + received.all("authorization").len(), 0);
        }

        let unknown = well_formed("pk_live_", "Unknown0Unknown0Unknown012");
        for headers in [
            vec![],
            vec![("x-partner-key", "")],
            vec![("x-partner-key", unknown.as_str())],
            vec![("x-partner-key", "pk_live_abc123def456")],
            vec![("x-partner-key", key.as_str()), ("authorization", &bearer(&key))],
        ] {
            let answer = front.stops("recover", "GET /v1/accounts/p1", &headers, 401).await;
            says(&answer, PARTNER);
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        let nowhere = front.stops("recover", "GET /v1/accounts/p2", &[("x-partner-key", &key)], 404).await;
        says(&nowhere, r#"{"error":{"code":"not_found","message":"Account, lead, or resource not found","status":404}}"#);
        front.stack.new_key("recover", "p2", "live").await;
        let answer = front.stops("recover", "GET /v1/accounts/p2", &[("x-partner-key", &key)], 403).await;
        says(&answer, r#"{"error":{"code":"forbidden","message":"Key does not have access to this resource","status":403}}"#);
    }

    async fn r8_every_code_of_the_table_comes_to_the_client_in_the_realms_words(front) {
        let (_, key) = front.stack.new_key("recover", "p1", "live").await;
        front.stack.new_key("recover", "p2", "live").await;
        let header = [("x-partner-key", key.as_str())];
        // Those that keygate raises.
        front.stack.authenticate(charged(by_key("recover", &key), "POST", "/v1/accounts/p1/leads/bulk", 50)).await;
        for (head, headers, code) in [
            ("GET /v1/accounts/p1", &[][..], "unauthorized"),
            ("GET /v1/accounts/p2", &header, "forbidden"),
            ("GET /v1/accounts/%25", &header, "not_found"),
            ("POST /v1/accounts/p1/leads/bulk", &header, "rate_limited"),
        ] {
            let (_, status, message) = RECOVER_CODES.into_iter().find(|(known, ..)| *known == code).unwrap();
            let answer = front.stops("recover", head, headers, u16::try_from(status).unwrap()).await;
            says(&answer, &format!(r#"{{"error":{{"code":"{code}","message":"{message}","status":{status}}}}}"#));
        }
        // Every code, raised by the API behind, which asks keygate for the words. The caller's limit is told there too.
        for (code, status, message) in RECOVER_CODES {
            let rendered = front.stack.render("recover", code, "").await;
            let headers = rendered.headers.into_iter().map(|header| (header.name, header.value)).collect();
            let status = u16::try_from(status).unwrap();
            front.upstream.tell(Told { status, headers, body: rendered.body });
            let before = front.upstream.calls();
            let answer = front.ask("recover", "GET /v1/accounts/p1", &header).await;
            assert_eq!((answer.status, front.upstream.calls() - before), (status, 1), "{answer:?}");
            says(&answer, &format!(r#"{{"error":{{"code":"{code}","message":"{message}","status":{status}}}}}"#));
            assert_eq!(answer.header("x-ratelimit-limit"), Some("1000"));
        }
    }

    async fn r5_the_old_key_works_until_its_grace_is_over(front) {
        let (id, first) = front.stack.new_key("recover", "p1", "live").await;
        let second = front.stack.rotate("recover", &id, Some(seconds(2))).await.secret;
        for key in [&first, &second] {
            front.passes("recover", "GET /v1/accounts/p1", &[("x-partner-key", key)]).await;
        }
        tokio::time::sleep(Duration::from_millis(2_050)).await;
        says(&front.stops("recover", "GET /v1/accounts/p1", &[("x-partner-key", &first)], 401).await, PARTNER);
        front.passes("recover", "GET /v1/accounts/p1", &[("x-partner-key", &second)]).await;
    }

    async fn r6_r7_every_class_of_requests_has_its_limit_and_every_answer_tells_it(front) {
        let (_, key) = front.stack.new_key("recover", "p1", "live").await;
        for (head, limit, window) in [
            ("POST /v1/accounts", 100, 3_600),
            ("POST /v1/accounts/p1/leads", 1_000, 60),
            ("POST /v1/accounts/p1/leads/bulk", 50, 60),
            ("POST /v1/accounts/p1/embed-tokens", 500, 3_600),
            ("GET /v1/accounts/p1/conversations", 5_000, 60),
            ("POST /v1/accounts/p1/messages", 100, 60),
            ("GET /v1/accounts/p1", 1_000, 60),
        ] {
            let told = |answer: &Answer| {
                let number = |name: &str| answer.header(name).and_then(|value| value.parse::<i64>().ok());
                let reset = number("x-ratelimit-reset").expect("the reset is told") - now();
                assert!((0..=window + window / 60 + 1).contains(&reset), "{head}: {reset} s ahead");
                (number("x-ratelimit-limit"), number("x-ratelimit-remaining"))
            };
            let header = [("x-partner-key", key.as_str())];
            let first = front.passes("recover", head, &header).await;
            assert_eq!(told(&first), (Some(limit), Some(limit - 1)), "{head}");
            // All but the last, in one step, on the same counter.
            let (method, path) = head.split_once(' ').unwrap();
            front.stack.authenticate(charged(by_key("recover", &key), method, path, limit - 2)).await;
            let last = front.passes("recover", head, &header).await;
            assert_eq!(told(&last), (Some(limit), Some(0)), "{head}");
            let refused = front.stops("recover", head, &header, 429).await;
            assert_eq!(told(&refused), (Some(limit), Some(0)), "{head}");
            says(&refused, r#"{"error":{"code":"rate_limited","message":"Too many requests","status":429}}"#);
            let wait: i64 = refused.header("retry-after").expect("it says when to come again").parse().unwrap();
            assert!((1..=window + window / 60 + 1).contains(&wait), "{head}: {wait} s");
        }
    }

    async fn p1_one_of_two_headers_and_never_both(front) {
        let (_, key) = front.stack.new_key("recoup", "a1", "live").await;
        front.passes("recoup", "GET /api/keys", &[("x-api-key", &key)]).await;
        assert_eq!(front.upstream.last().header("x-auth-account"), Some("a1"));
        for headers in [vec![], vec![("x-api-key", key.as_str()), ("authorization", &bearer(&key))]] {
            front.stops("recoup", "GET /api/keys", &headers, 401).await;
        }
    }

    async fn p8_whoever_has_no_key_yet_passes_where_that_is_public_and_is_counted_by_address(front) {
        for left in (0..20).rev() {
            let answer = front.passes("recoup", "POST /api/agents/signup", &[("x-api-key", "whatever")]).await;
            assert_eq!(answer.header("x-ratelimit-remaining"), Some(left.to_string().as_str()));
            assert_eq!(front.upstream.last().header("x-api-key"), None);
        }
        // Nobody gets more by pretending to come from elsewhere.
        for forged in ["x-forwarded-for", "x-envoy-external-address", "x-real-ip"] {
            front.stops("recoup", "POST /api/agents/signup", &[(forged, "192.0.2.77")], 429).await;
        }
        front.stops("recoup", "GET /api/keys", &[], 401).await;
    }

    async fn t1_t3_t5_one_key_for_each_user_and_a_new_one_replaces_it_at_once(front) {
        says(&front.stops("recotap", "GET /x", &[], 401).await, r#"{"status":401,"message":"X-Api-Key header is required"}"#);
        let (_, other) = front.stack.new_key("recotap", "user-2", "live").await;
        let (_, first) = front.stack.new_key("recotap", "user-1", "live").await;
        front.passes("recotap", "GET /x", &[("X-Api-Key", &first)]).await;
        let (_, second) = front.stack.new_key("recotap", "user-1", "live").await;
        let answer = front.stops("recotap", "GET /x", &[("X-Api-Key", &first)], 401).await;
        says(&answer, r#"{"status":401,"message":"Invalid API key"}"#);
        for key in [&second, &other] {
            front.passes("recotap", "GET /x", &[("X-Api-Key", key)]).await;
        }
    }

    async fn u1_u2_u3_the_key_decides_the_environment_on_the_same_urls(front) {
        for environment in ["live", "test"] {
            let (id, key) = front.stack.new_key("recurr", "acme", environment).await;
            let answer = front.passes("recurr", "GET /v1/subscribers", &[("authorization", &bearer(&key))]).await;
            // Each environment counts for itself.
            assert_eq!(answer.header("x-ratelimit-remaining"), Some("999"));
            let received = front.upstream.last();
            assert_eq!((received.header("x-auth-environment"), received.header("x-auth-key-id")), (Some(environment), Some(id.as_str())));
            let other = if environment == "live" { "test" } else { "live" };
            let dressed = key.replacen(environment, other, 1);
            for headers in [vec![], vec![("x-api-key", key.as_str())], vec![("authorization", &bearer(&dressed))], vec![("authorization", &key)]] {
                says(&front.stops("recurr", "GET /v1/subscribers", &headers, 401).await, DEVELOPER);
            }
        }
    }

    async fn u5_a_key_that_reads_only_cannot_write(front) {
        let scoped = |scope: &str| CreateKey { scopes: texts(&[scope]), ..key_for("acme", "live") };
        let reader = bearer(&front.stack.create("recurr", scoped("read-only")).await.secret);
        let writer = bearer(&front.stack.create("recurr", scoped("read-write")).await.secret);
        front.passes("recurr", "GET /v1/subscribers/7", &[("authorization", &reader)]).await;
        assert_eq!(front.upstream.last().header("x-auth-scopes"), Some("read-only"));
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let head = format!("{method} /v1/subscribers/7");
            let answer = front.stops("recurr", &head, &[("authorization", &reader)], 403).await;
            says(&answer, r#"{"error":{"type":"forbidden","message":"This API key does not have access to this resource."}}"#);
            front.passes("recurr", &head, &[("authorization", &writer)]).await;
        }
    }

    async fn u7_u8_two_keys_overlap_and_a_revoked_one_ends_at_once(front) {
        for _ in 0..5 {
            let (first_id, first) = front.stack.new_key("recurr", "acme", "live").await;
            let (_, second) = front.stack.new_key("recurr", "acme", "live").await;
            for key in [&first, &second] {
                front.passes("recurr", "GET /v1/x", &[("authorization", &bearer(key))]).await;
            }
            front.stack.revoke("recurr", &first_id).await;
            says(&front.stops("recurr", "GET /v1/x", &[("authorization", &bearer(&first))], 401).await, DEVELOPER);
            front.passes("recurr", "GET /v1/x", &[("authorization", &bearer(&second))]).await;
        }
    }

    async fn v1_a_key_in_the_query_or_in_another_header_is_none(front) {
        for environment in ["live", "test"] {
            let (_, key) = front.stack.new_key("recovea", "project", environment).await;
            front.passes("recovea", "GET /v1/models", &[("authorization", &bearer(&key))]).await;
            assert_eq!(front.upstream.last().header("x-auth-environment"), Some(environment));
            says(&front.stops("recovea", "GET /v1/models", &[("x-api-key", &key)], 401).await, INCORRECT);
            // A path that stays out of the log, unlike the query string of a client that errs so.
            says(&front.stops("recovea", &format!("GET /v1/models?api_key={key}"), &[], 401).await, INCORRECT);
        }
    }

    async fn v6_v7_a_rotated_secret_and_a_revoked_key_end_for_ever(front) {
        let (id, first) = front.stack.new_key("recovea", "project", "live").await;
        let second = front.stack.rotate("recovea", &id, None).await.secret;
        says(&front.stops("recovea", "GET /v1/models", &[("authorization", &bearer(&first))], 401).await, INCORRECT);
        front.passes("recovea", "GET /v1/models", &[("authorization", &bearer(&second))]).await;
        assert_eq!(front.upstream.last().header("x-auth-key-id"), Some(id.as_str()));
        front.stack.revoke("recovea", &id).await;
        says(&front.stops("recovea", "GET /v1/models", &[("authorization", &bearer(&second))], 401).await, INCORRECT);
    }

    async fn a1_a_key_of_one_realm_is_unknown_to_every_other(front) {
        let mut keys = Vec::new();
        for (realm, environment, ..) in REALMS {
            keys.push((realm, front.stack.new_key(realm, "the-same-account", environment).await.1));
        }
        for (realm, _, _, header, before) in REALMS {
            for (owner, key) in &keys {
                let header = [(header, &*format!("{before}{key}"))];
                if *owner == realm {
                    front.passes(realm, "GET /x", &header).await;
                } else {
                    front.stops(realm, "GET /x", &header, 401).await;
                }
            }
        }
        // A host that no route names is nobody's.
        front.stops("nobody", "GET /x", &[("x-api-key", &keys[2].1)], 404).await;
    }

    async fn a3_unknown_wrong_revoked_and_expired_keys_cannot_be_told_apart(front) {
        for (realm, environment, prefix, header, before) in REALMS {
            let (revoked_id, revoked) = front.stack.new_key(realm, "revoked", environment).await;
            front.stack.revoke(realm, &revoked_id).await;
            let brief = CreateKey {
                expires_in: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }),
                ..key_for("expired", environment)
            };
            let expired = front.stack.create(realm, brief).await.secret;
            let (suspended_id, suspended) = front.stack.new_key(realm, "suspended", environment).await;
            let suspend = UpdateKey { key_id: suspended_id, state: KeyState::Suspended.into(), ..Default::default() };
            front.stack.update(realm, suspend).await;
            let unknown = well_formed(prefix, "Unknown0Unknown0Unknown012");
            let wrong = format!("{}x", &unknown[..unknown.len() - 1]);
            tokio::time::sleep(Duration::from_millis(350)).await;
            let mut told = Vec::new();
            for key in [&unknown, &wrong, &revoked, &expired, &suspended] {
                let value = format!("{before}{key}");
                let answer = front.stops(realm, "GET /v1/accounts/x", &[(header, &value)], 401).await;
                told.push((answer.telling(), answer.body));
            }
            assert!(told.iter().all(|one| *one == told[0]), "{realm}: {told:#?}");
        }
        // Whoever runs Envoy sees the true reason in its log.
        for reason in ["unknown_key", "malformed_key", "revoked_key", "expired_key", "suspended_key"] {
            front.envoy.wait_for_output(&format!("\"reason\":\"{reason}\"")).await;
        }
    }
}
