//! The very messages that Envoy's `ext_authz` sends, and the answers that it acts on.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use keygate::proto::v1::{CheckRateLimitRequest, DenyReason, Subject, check_rate_limit_request::Selection};
use support::{
    calls::{Answered, by_headers, charged, now},
    envoy::{Answer, IDENTITY, check, extensions, http, set, set_address, value},
    keygate::{DataDir, Keygate},
    stack::Stack,
};
use tonic::Code;

fn name_of(reason: DenyReason) -> String {
    reason.as_str_name()["DENY_REASON_".len()..].to_lowercase()
}

fn bearer(key: &str) -> String {
    format!("Bearer {key}")
}

/// What is left of a limit for that account.
async fn left(stack: &Stack, realm: &str, limit: &str, account: &str) -> u64 {
    let names = keygate::proto::v1::LimitNames { names: vec![limit.to_owned()] };
    let subject = Some(Subject { account_id: account.to_owned(), ..Subject::default() });
    let environment = "live".to_owned();
    let request = CheckRateLimitRequest {
        realm: realm.to_owned(),
        environment,
        selection: Some(Selection::Limits(names)),
        subject,
        peek: true,
        ..CheckRateLimitRequest::default()
    };
    stack.check(request).await.limits[0].remaining
}

on_both_stores! {
    async fn a_good_key_passes_with_its_identity_and_without_itself(stack) {
        let (id, key) = stack.new_key("recurr", "acme", "live").await;
        let value_sent = bearer(&key);
        let forged = [("authorization", value_sent.as_str()), ("x-auth-account", "root"), ("X-Auth-Scopes", "all")];
        let answer = stack.envoy_check(check("recurr", "GET", "/v1/invoices?x=1", &forged)).await;
        let ok = answer.passed();
        let expected = [
            ("x-auth-account", "acme"),
            ("x-auth-target-account", "acme"),
            ("x-auth-key-id", id.as_str()),
            ("x-auth-environment", "live"),
            ("x-auth-scopes", "read-write"),
            ("x-auth-operation", "read"),
        ];
        assert_eq!(set(&ok.headers), expected);
        assert_eq!(ok.headers_to_remove, ["authorization"]);
        assert_eq!(value(&ok.response_headers_to_add, "x-ratelimit-limit"), Some("1000"));
        assert_eq!(value(&ok.response_headers_to_add, "x-ratelimit-remaining"), Some("999"));
        let reset: i64 = value(&ok.response_headers_to_add, "x-ratelimit-reset").unwrap().parse().unwrap();
        assert!((now()..=now() + 62).contains(&reset), "{reset}");
        for (name, told) in [
            ("account", "acme"),
            ("target_account", "acme"),
            ("key_id", id.as_str()),
            ("environment", "live"),
            ("scopes", "read-write"),
            ("operation", "read"),
            ("realm", "recurr"),
        ] {
            assert_eq!(answer.told(name).as_deref(), Some(told), "{name}");
        }
    }

    async fn a_denial_is_what_authenticate_tells(stack) {
        let (_, key) = stack.new_key("recover", "acme", "live").await;
        let good = bearer(&key);
        let odd = [
            vec![],
            vec![("authorization", "Bearer nonsense")],
            vec![("authorization", good.as_str()), ("x-partner-key", key.as_str())],
            vec![("x-partner-key", "a,b")],
            vec![("x_partner_key", key.as_str())],
            vec![("x-partner-key-bin", "cGs=")],
            vec![("authorization", good.as_str())],
        ];
        for headers in odd {
            let asked = charged(by_headers("recover", &headers), "POST", "/v1/accounts/other/leads", 1);
            let own = stack.authenticate(asked).await.denied();
            let answer = stack.envoy_check(check("recover", "POST", "/v1/accounts/other/leads", &headers)).await;
            let (status, denied) = answer.refused();
            assert_eq!((status, denied.body.as_str()), (own.http_status as i32, own.body.as_str()), "{headers:?}");
            let told: Vec<_> = own.headers.iter().map(|h| (h.name.as_str(), h.value.as_str())).collect();
            let resets = |headers: Vec<(&str, &str)>| -> Vec<(String, String)> {
                let plain = headers.into_iter().filter(|(name, _)| !name.eq_ignore_ascii_case("x-ratelimit-reset"));
                plain.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
            };
            assert_eq!(resets(set(&denied.headers)), resets(told), "{headers:?}");
            assert_eq!(answer.told("reason"), Some(name_of(own.reason())));
            assert_eq!(answer.told("account").unwrap_or_default(), own.account_id);
        }
        assert_eq!(left(&stack, "recover", "lead-import", "acme").await, 1_000);
    }

    async fn every_limit_is_charged_in_the_same_call_or_none(stack) {
        let (_, key) = stack.new_key("recover", "acme", "live").await;
        let headers = [("x-partner-key", key.as_str())];
        let mut bulk = check("recover", "POST", "/v1/accounts/acme/leads/bulk", &headers);
        extensions(&mut bulk).insert("cost".to_owned(), "49".to_owned());
        assert_eq!(value(&stack.envoy_check(bulk.clone()).await.passed().response_headers_to_add, "X-RateLimit-Remaining"), Some("1"));
        extensions(&mut bulk).insert("cost".to_owned(), "2".to_owned());
        let answer = stack.envoy_check(bulk.clone()).await;
        let (status, denied) = answer.refused();
        assert_eq!(status, 429);
        assert!(denied.body.contains("rate_limited"), "{}", denied.body);
        assert!(value(&denied.headers, "retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(answer.told("limit").as_deref(), Some("lead-import-bulk"));
        // What was denied cost nothing.
        extensions(&mut bulk).insert("cost".to_owned(), "1".to_owned());
        stack.envoy_check(bulk).await.passed();
    }

    async fn a_request_without_a_canonical_form_is_refused_in_the_realms_words(stack) {
        let (_, key) = stack.new_key("recurr", "acme", "live").await;
        let good = bearer(&key);
        let credential = ("authorization", good.as_str());
        let paths = [
            "/v1/../admin", "//v1", "/v1/%2e%2e/x", "/v1%2fx", "/v1\\x", "/v1/\u{e4}", "/v1/a b", "/a%00", "/a#b", "v1",
            "*", "", "/a;/..;/b", "http://api.example.com/v1",
        ];
        for path in paths {
            let answer = stack.envoy_check(check("recurr", "GET", path, &[credential])).await;
            let (status, denied) = answer.refused();
            assert_eq!(status, 400, "{path}");
            assert!(denied.body.starts_with(r#"{"error":{"type":""#), "{}", denied.body);
            assert_eq!(value(&denied.headers, "content-type"), Some("application/json"));
            assert_eq!(answer.told("reason"), Some(name_of(DenyReason::MalformedRequest)), "{path}");
        }
        for method in ["", "get", "G ET", "GET\n"] {
            assert_eq!(stack.envoy_check(check("recurr", method, "/v1", &[credential])).await.refused().0, 400, "{method}");
        }
        for name in ["x_auth_account", "X-Auth_Account", "x-auth-account-bin", "x_auth_scopes-BIN"] {
            let answer = stack.envoy_check(check("recurr", "GET", "/v1", &[credential, (name, "root")])).await;
            assert_eq!(answer.refused().0, 400, "{name}");
        }
        let mut binary = check("recurr", "GET", "/v1", &[credential]);
        let lines = &mut http(&mut binary).header_map.as_mut().unwrap().headers;
        lines.last_mut().unwrap().raw_value = b"Bearer \xff".to_vec();
        assert_eq!(stack.envoy_check(binary).await.refused().0, 400);
        assert_eq!(left(&stack, "recurr", "requests", "acme").await, 1_000);
    }
}

#[tokio::test]
async fn headers_that_envoy_joined_are_read_too() {
    let stack = Stack::embedded(&[]).await;
    let (_, key) = stack.new_key("recoup", "acme", "live").await;
    let joined = |value: &str| {
        let mut request = check("recoup", "GET", "/v1", &[]);
        let http = http(&mut request);
        http.header_map = None;
        http.headers.insert("x-api-key".to_owned(), value.to_owned());
        request
    };
    stack.envoy_check(joined(&key)).await.passed();
    let twice = format!("{key},{key}");
    assert_eq!(stack.envoy_check(joined(&twice)).await.told("reason").as_deref(), Some("ambiguous_credential"));
}

#[tokio::test]
async fn the_realm_comes_from_the_route_or_from_the_host() {
    let data = DataDir::new();
    let settings = data.path().join("keygate.toml");
    let text = "[envoy.hosts]\n\"api.recurr.dev\" = \"recurr\"\n\"*.recotap.com\" = \"recotap\"\n";
    std::fs::write(&settings, text).unwrap();
    let keygate = Keygate::try_start(data, &["--config", settings.to_str().unwrap()]).await.unwrap();
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    let credential = bearer(&key);
    let at = |host: &str, realm: &str| {
        let mut request = check(realm, "GET", "/v1", &[("authorization", &credential)]);
        http(&mut request).host = host.to_owned();
        request
    };
    for host in ["api.recurr.dev", "API.recurr.dev:8443", "api.recurr.dev."] {
        keygate.envoy_check(at(host, "")).await.passed();
    }
    let answer = keygate.envoy_check(at("EAPI.recotap.com", "")).await;
    assert_eq!(answer.refused().1.body, r#"{"status":401,"message":"X-Api-Key header is required"}"#);
    // The route goes before the host.
    keygate.envoy_check(at("eapi.recotap.com", "recurr")).await.passed();

    let mut unguarded = at("elsewhere.example", "");
    let lines = &mut http(&mut unguarded).header_map.as_mut().unwrap().headers;
    lines.push(HeaderValue {
        key: "x-request-id".to_owned(),
        raw_value: b"theirs-7".to_vec(),
        ..HeaderValue::default()
    });
    let nobody = keygate.envoy_check(unguarded).await;
    assert_eq!((nobody.refused().0, nobody.told("reason").as_deref()), (404, Some("no_realm")));
    assert_eq!(value(&nobody.refused().1.headers, "content-type"), Some("application/problem+json"));
    keygate.wait_for_output("elsewhere.example").await;
    keygate.wait_for_output("request_id=\"theirs-7\"").await;
    for host in ["", "a b", "a/b", "a@b", "a,b"] {
        assert_eq!(keygate.envoy_check(at(host, "")).await.refused().0, 400, "{host}");
    }
    for (name, text) in
        [("realm", "nonsense"), ("operation", "nonsense"), ("environment", "moon"), ("cost", "-1"), ("cost", "1e9")]
    {
        let mut request = at("x", "recurr");
        extensions(&mut request).insert(name.to_owned(), text.to_owned());
        let answer = keygate.envoy_check(request).await;
        assert_eq!((answer.refused().0, answer.told("reason").as_deref()), (500, Some("misconfigured")), "{name}");
    }
    keygate.wait_for_output("nonsense").await;
}

#[tokio::test]
async fn a_route_may_name_the_operation() {
    let stack = Stack::embedded(&[]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    let credential = bearer(&key);
    let mut request = check("recurr", "GET", "/v1", &[("authorization", &credential)]);
    extensions(&mut request).insert("operation".to_owned(), "write".to_owned());
    assert_eq!(value(&stack.envoy_check(request).await.passed().headers, "x-auth-operation"), Some("write"));
}

#[tokio::test]
async fn a_route_may_take_keys_of_one_environment_alone() {
    let stack = Stack::embedded(&[]).await;
    for (environment, passes) in [("live", true), ("test", false)] {
        let (_, key) = stack.new_key("recurr", "acme", environment).await;
        let mut request = check("recurr", "GET", "/v1", &[("authorization", &bearer(&key))]);
        extensions(&mut request).insert("environment".to_owned(), "live".to_owned());
        let answer = stack.envoy_check(request).await;
        if passes {
            answer.passed();
        } else {
            assert_eq!((answer.refused().0, answer.told("reason").as_deref()), (401, Some("wrong_environment")));
        }
    }
}

#[tokio::test]
async fn a_message_that_is_no_http_request_is_refused() {
    let stack = Stack::embedded(&[]).await;
    assert_eq!(stack.envoy_check(Default::default()).await.refused().0, 400);
    let mut request = check("recurr", "GET", "/v1", &[]);
    request.attributes.as_mut().unwrap().request = None;
    assert_eq!(stack.envoy_check(request).await.refused().0, 400);
}

#[tokio::test]
async fn what_keygate_cannot_know_is_an_error_and_no_denial() {
    let mut stack = Stack::redis(&[]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    let credential = bearer(&key);
    let request = check("recurr", "GET", "/v1", &[("authorization", &credential)]);
    stack.envoy_check(request.clone()).await.passed();
    stack.redis.as_mut().unwrap().kill();
    assert_eq!(stack.try_envoy_check(request).await.unwrap_err().code(), Code::Unavailable);
    // What needs no store is still told.
    assert_eq!(stack.envoy_check(check("recurr", "GET", "/v1", &[])).await.refused().0, 401);
}

#[tokio::test]
async fn an_identity_that_is_not_told_is_taken_out() {
    let stack = Stack::embedded(&[]).await;
    let (_, key) = stack.new_key("recotap", "acme", "live").await;
    let answer =
        stack.envoy_check(check("recotap", "GET", "/v1", &[("x-api-key", &key), ("x-auth-scopes", "all")])).await;
    let ok = answer.passed();
    let told: Vec<&str> = set(&ok.headers).into_iter().map(|(name, _)| name).collect();
    let everywhere: Vec<&str> = told.into_iter().chain(ok.headers_to_remove.iter().map(String::as_str)).collect();
    for name in IDENTITY.iter().chain(&["x-api-key"]) {
        assert_eq!(everywhere.iter().filter(|other| *other == name).count(), 1, "{name}: {ok:?}");
    }
    assert!(ok.headers_to_remove.contains(&"x-auth-scopes".to_owned()), "a key without scopes tells none");
}

#[tokio::test]
async fn what_not_everyone_would_read_alike_is_read_from_the_raw_line() {
    let stack = Stack::embedded(&[]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    let credential = bearer(&key);
    // Envoy writes `!` for bytes that are no UTF-8, in the field for the path and nowhere else.
    let mut request = check("recurr", "GET", "/v1?x=!", &[("authorization", &credential)]);
    let lines = &mut http(&mut request).header_map.as_mut().unwrap().headers;
    lines.iter_mut().find(|line| line.key == ":path").unwrap().raw_value = b"/v1?x=\xff".to_vec();
    assert_eq!(stack.envoy_check(request).await.told("reason").as_deref(), Some("malformed_request"));
}

#[tokio::test]
async fn an_operation_for_everyone_passes_and_is_limited_by_address() {
    let stack = Stack::embedded(&[]).await;
    let signup = |headers: &[(&str, &str)]| check("recoup", "POST", "/api/agents/signup", headers);
    let forged = [("x-auth-account", "root"), ("x-api-key", "whatever"), ("x-api-key", "twice")];
    for sent in [&[][..], &forged] {
        let answer = stack.envoy_check(signup(sent)).await;
        let ok = answer.passed();
        assert_eq!(set(&ok.headers), [("x-auth-operation", "agents.onboarding")]);
        for name in ["x-auth-account", "x-auth-key-id", "x-auth-scopes", "x-api-key", "authorization"] {
            assert!(ok.headers_to_remove.contains(&name.to_owned()), "{name}");
        }
        assert_eq!(answer.told("operation").as_deref(), Some("agents.onboarding"));
        assert_eq!(answer.told("account"), None);
    }
    for _ in 0..18 {
        stack.envoy_check(signup(&[])).await.passed();
    }
    assert_eq!(stack.envoy_check(signup(&[])).await.refused().0, 429);
    // An address more, and whoever is somebody, are not touched by that.
    let mut elsewhere = signup(&[]);
    set_address(&mut elsewhere, "192.0.2.8");
    stack.envoy_check(elsewhere).await.passed();
    assert_eq!(stack.envoy_check(check("recoup", "GET", "/api/agents/signup", &[])).await.refused().0, 401);
    // Without an address it cannot be counted: a mistake of the set-up, never a way past the limit.
    let mut nowhere = signup(&[]);
    nowhere.attributes.as_mut().unwrap().source = None;
    assert_eq!(stack.envoy_check(nowhere).await.refused().0, 500);
    // Our own dialect lets it pass, too, and tells nobody's name.
    let own = keygate::proto::v1::AuthenticateRequest {
        realm: "recoup".to_owned(),
        method: "POST".to_owned(),
        path: "/api/agents/verify".to_owned(),
        ..Default::default()
    };
    let allowed = stack.authenticate(own.clone()).await.allowed();
    assert_eq!((allowed.operation.as_str(), allowed.account_id.as_str()), ("agents.onboarding", ""));
    // A service that wants to know more gets to know it.
    let pinned = keygate::proto::v1::AuthenticateRequest { environment: "live".to_owned(), ..own.clone() };
    stack.authenticate(pinned).await.denied_for(DenyReason::MissingCredential);
    let named = keygate::proto::v1::AuthenticateRequest { account_id: "acme".to_owned(), ..own };
    stack.authenticate(named).await.denied_for(DenyReason::MissingCredential);
}

#[tokio::test]
async fn an_account_in_the_query_is_acted_on_and_named_once() {
    let stack = Stack::embedded(&[]).await;
    let (_, key) = stack.new_key("recoup", "acme", "live").await;
    let ask = |path: &str| stack.envoy_check(check("recoup", "GET", path, &[("x-api-key", &key)]));
    for path in ["/v1", "/v1?account_id=acme", "/v1?x=1&account_id=%61cme", "/v1?organization_id=acme"] {
        let answer = ask(path).await;
        assert_eq!(value(&answer.passed().headers, "x-auth-target-account"), Some("acme"), "{path}");
    }
    stack.new_key("recoup", "other", "live").await;
    for (path, reason) in [
        ("/v1?account_id=other", "forbidden_account"),
        ("/v1?account_id=nobody", "unknown_account"),
        ("/v1?organization_id=other", "forbidden_account"),
        ("/v1?account_id=acme&organization_id=other", "forbidden_account"),
    ] {
        let answer = ask(path).await;
        assert_eq!((answer.refused().0, answer.told("reason").as_deref()), (403, Some(reason)), "{path}");
    }
    for path in [
        "/v1?account_id=acme&account_id=other",
        "/v1?account_id=acme&account_id=acme",
        "/v1?account_id=",
        "/v1?account_id",
        "/v1?Account_Id=acme",
        "/v1?account_id[]=acme",
        "/v1?x;account_id=other",
        "/v1?account_id=a%00",
        "/v1?account_id=a%2525",
        "/v1?organization_id=a&organization_id=b",
    ] {
        let answer = ask(path).await;
        assert_eq!((answer.refused().0, answer.told("reason").as_deref()), (400, Some("malformed_request")), "{path}");
    }
    // Our own dialect reads the same place, and says that the request is wrong.
    let request = charged(by_headers("recoup", &[("x-api-key", &key)]), "GET", "/v1?account_id=other", 1);
    stack.authenticate(request).await.denied_for(DenyReason::ForbiddenAccount);
    let request = charged(by_headers("recoup", &[("x-api-key", &key)]), "GET", "/v1?account_id=a&account_id=b", 1);
    support::calls::assert_invalid(&stack.try_authenticate(request).await.unwrap_err(), &["path"]);
}

#[tokio::test]
async fn the_client_address_comes_from_a_trusted_header_where_the_settings_say_so() {
    let data = DataDir::new();
    let settings = data.path().join("keygate.toml");
    std::fs::write(&settings, "[envoy]\nclient_address_header = \"x-envoy-external-address\"\n").unwrap();
    let keygate = Keygate::try_start(data, &["--config", settings.to_str().unwrap()]).await.unwrap();
    let signup = |headers: &[(&str, &str)]| check("recoup", "POST", "/api/agents/signup", headers);
    for n in 0..25 {
        let client = format!("198.51.100.{n}");
        keygate.envoy_check(signup(&[("X-Envoy-External-Address", &client)])).await.passed();
    }
    for odd in [&[("x-envoy-external-address", "nonsense")][..], &[("x-envoy-external-address", "192.0.2.1"); 2]] {
        assert_eq!(keygate.envoy_check(signup(odd)).await.refused().0, 400);
    }
    // Without it, the peer counts.
    for _ in 0..20 {
        keygate.envoy_check(signup(&[])).await.passed();
    }
    assert_eq!(keygate.envoy_check(signup(&[])).await.refused().0, 429);
}
