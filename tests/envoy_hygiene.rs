//! What a client may try with headers and paths, through a real Envoy with the shipped files.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{
    envoy::IDENTITY,
    front::{Front, SETTINGS},
    http,
    stack::Stack,
};

async fn key(front: &Front) -> String {
    format!("Bearer {}", front.stack.new_key("recurr", "acme", "live").await.1)
}

behind_envoy! {
    async fn a_forged_identity_header_never_arrives(front) {
        let key = key(&front).await;
        for name in IDENTITY.into_iter().chain(["x-auth-anything", "X-AUTH-ACCOUNT"]) {
            for times in [1, 2] {
                let forged = vec![(name, "forged"); times];
                let headers = [&[("authorization", key.as_str())], &forged[..]].concat();
                front.passes("recurr", "GET /v1/x", &headers).await;
                let received = format!("{:?}", front.upstream.last());
                assert!(!received.contains("forged"), "`{name}`: {received}");
            }
        }
        // What looks like one, to a service that reads headers as variables, is refused.
        for name in ["x_auth_account", "X_Auth_Account", "x-auth_account"] {
            front.stops("recurr", "GET /v1/x", &[("authorization", &key), (name, "forged")], 400).await;
        }
        for name in IDENTITY {
            front.passes("recurr", "GET /v1/x", &[("authorization", &key)]).await;
            assert_eq!(front.upstream.last().all(name).len(), 1, "`{name}`");
        }
    }

    async fn two_credentials_are_none(front) {
        let key = key(&front).await;
        let joined = format!("{key}, {key}");
        let odd = key.replace("Bearer ", "Bearer,");
        for headers in [
            vec![("authorization", key.as_str()), ("authorization", key.as_str())],
            vec![("authorization", key.as_str()), ("Authorization", "Bearer x")],
            vec![("authorization", "Bearer x"), ("authorization", key.as_str())],
            vec![("authorization", joined.as_str())],
            vec![("authorization", odd.as_str())],
        ] {
            front.stops("recurr", "GET /v1/x", &headers, 401).await;
        }
        front.passes("recurr", "GET /v1/x", &[("authorization", &key)]).await;

        // An empty line is a line.
        let (_, plain) = front.stack.new_key("recoup", "acme", "live").await;
        for headers in [
            [("x-api-key", ""), ("x-api-key", plain.as_str())],
            [("x-api-key", plain.as_str()), ("x-api-key", " ")],
            [("x-api-key", plain.as_str()), ("authorization", "")],
        ] {
            front.stops("recoup", "GET /api/keys", &headers, 401).await;
        }
        // But of `authorization` Envoy makes one line before anybody sees it, and empty ones leave no trace in that: keygate
        // gets one credential, and the service none.
        for headers in [[("authorization", ""), ("authorization", key.as_str())], [("authorization", key.as_str()), ("authorization", " ")]] {
            front.passes("recurr", "GET /v1/x", &headers).await;
            let received = front.upstream.last();
            assert_eq!((received.header("x-auth-account"), received.header("authorization")), (Some("acme"), None));
        }
    }

    async fn what_a_client_calls_a_header_of_the_connection_is_gone_before_anybody_looks(front) {
        let (_, key) = front.stack.new_key("recover", "p1", "live").await;
        let (bearer, hop) = (format!("Bearer {key}"), ("connection", "x-partner-key"));
        front.stops("recover", "GET /v1/accounts/p1", &[("x-partner-key", &key), hop], 401).await;
        front.passes("recover", "GET /v1/accounts/p1", &[("x-partner-key", &key), ("authorization", &bearer), hop]).await;
        let received = front.upstream.last();
        assert_eq!(received.all("x-partner-key").len() + received.all("authorization").len(), 0, "{received:?}");
        // What keygate sets is set later.
        front.passes("recover", "GET /v1/accounts/p1", &[("x-partner-key", &key), ("connection", "x-auth-account")]).await;
        assert_eq!(front.upstream.last().header("x-auth-account"), Some("p1"));
    }

    async fn no_header_puts_another_host_path_or_method_in_place_of_the_one_that_was_judged(front) {
        let key = key(&front).await;
        for name in ["x-forwarded-host", "x-original-url", "x-rewrite-url", "x-http-method-override", "x-http-method", "x-method-override"] {
            front.passes("recurr", "GET /v1/x", &[("authorization", &key), (name, "DELETE")]).await;
            assert_eq!(front.upstream.last().header(name), None);
        }
    }

    async fn the_service_gets_the_path_that_was_judged_or_none(front) {
        let key = key(&front).await;
        let header = [("authorization", key.as_str())];
        for (sent, received) in [
            ("/a/../b", "/b"),
            ("/a/./b", "/a/b"),
            ("//a///b", "/a/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/%61bc", "/abc"),
            ("/a?x=/../y", "/a?x=/../y"),
        ] {
            front.passes("recurr", &format!("GET {sent}"), &header).await;
            assert_eq!(front.upstream.last().path, received, "{sent}");
        }
        for sent in ["/a%2fb", "/a%2Fb", "/a%5cb", "/%00", "/a%0ab", "/a%252fb", "/%252e%252e/b", "/a%ff"] {
            front.stops("recurr", &format!("GET {sent}"), &header, 400).await;
        }
    }

    async fn an_account_that_is_not_the_callers_is_refused_however_its_path_is_spelt(front) {
        let (_, key) = front.stack.new_key("recover", "p1", "live").await;
        front.stack.new_key("recover", "p2", "live").await;
        let header = [("x-partner-key", key.as_str())];
        for path in [
            "/v1/accounts/p2",
            "/v1/accounts/p1/../p2",
            "/v1//accounts/p2",
            "/v1/accounts/%702",
            "/v1/accounts/p1/%2e%2e/p2/messages",
            "/x/../v1/accounts/p2",
        ] {
            front.stops("recover", &format!("GET {path}"), &header, 403).await;
        }
        // What only a server that ignores case, or cuts parameters off, takes for that account's.
        for path in ["/V1/accounts/p2", "/v1/Accounts/p2", "/v1/accounts;x/p2", "/v1/accounts/p2;x=1", "/v1;a=b/accounts/p2/x"] {
            front.stops("recover", &format!("GET {path}"), &header, 404).await;
        }
        // Nor does such a spelling lead around the limit of an operation.
        for path in ["/v1/accounts/p1/Messages", "/v1/accounts/p1/messages;x"] {
            front.stops("recover", &format!("POST {path}"), &header, 404).await;
        }
        front.passes("recover", "GET /v1/accounts/p2/../p1", &header).await;
    }

    async fn the_access_log_tells_who_did_what(front) {
        let key = key(&front).await;
        front.passes("recurr", "GET /v1/logged?secret=hunter2", &[("authorization", &key)]).await;
        front.envoy.wait_for_output("/v1/logged").await;
        let log = front.envoy.output();
        let line: serde_json::Value = serde_json::from_str(log.lines().find(|line| line.contains("/v1/logged")).unwrap()).unwrap();
        for (field, value) in [
            ("realm", "recurr"), ("account", "acme"), ("target_account", "acme"), ("environment", "live"), ("operation", "read"),
            ("path", "/v1/logged"), ("method", "GET"),
        ] {
            assert_eq!(line[field], value, "{line}");
        }
        assert!(line["key_id"].as_str().unwrap().starts_with("key_") && line["reason"].is_null(), "{line}");
        assert!(!log.contains("hunter2"));
    }

    async fn what_is_not_http_is_refused_before_it_costs_anything(front) {
        let key = key(&front).await;
        let before = front.upstream.calls();
        let host = ("host", "recurr.localhost");
        for (head, headers) in [
            ("GET /x", vec![host, ("host", "recover.localhost"), ("authorization", key.as_str())]),
            ("GET /x", vec![host, ("transfer-encoding", "chunked"), ("content-length", "5"), ("authorization", key.as_str())]),
            ("GET x", vec![host, ("authorization", key.as_str())]),
        ] {
            if let Ok(answer) = http::try_send(front.envoy.port(), head, &headers, "").await {
                assert_eq!(answer.status, 400, "{head} {headers:?}: {answer:?}");
            }
        }
        assert_eq!(front.upstream.calls(), before);
    }
}

/// Without the belt that Envoy's file wears.
#[tokio::test]
async fn keygate_alone_lets_no_forged_identity_header_arrive() {
    let stack = Stack::embedded(&SETTINGS).await;
    let front = Front::before(stack, &[("prefix: x-auth- ", "prefix: x-nothing- ")]).await;
    let key = key(&front).await;
    for name in IDENTITY {
        for times in [1, 2] {
            let forged = vec![(name, "forged"); times];
            front.passes("recurr", "GET /v1/x", &[&[("authorization", key.as_str())], &forged[..]].concat()).await;
            let received = front.upstream.last();
            assert_eq!(received.all(name).len(), 1, "`{name}`: {received:?}");
            assert!(!format!("{received:?}").contains("forged"), "`{name}`: {received:?}");
        }
    }
    // Where nobody is known, as on a public route, nothing is told at all.
    let public = "POST /api/agents/signup";
    let forged: Vec<(&str, &str)> = IDENTITY.into_iter().map(|name| (name, "forged")).collect();
    front.passes("recoup", public, &forged).await;
    let received = front.upstream.last();
    assert!(!format!("{received:?}").contains("forged"), "{received:?}");
    assert_eq!(received.header("x-auth-account"), None);
}

/// Envoy believes clients of its own network more than others.
#[tokio::test]
async fn an_insider_cannot_choose_the_address_that_limits_count() {
    let inside = "use_remote_address: true\n                internal_address_config: { cidr_ranges: [{ address_prefix: 127.0.0.0, prefix_len: 8 }] }";
    let stack = Stack::embedded(&SETTINGS).await;
    let front = Front::before(stack, &[("use_remote_address: true", inside)]).await;
    for n in 0..20 {
        let forged = format!("192.0.2.{n}");
        front.passes("recoup", "POST /api/agents/signup", &[("x-envoy-external-address", &forged)]).await;
    }
    front.stops("recoup", "POST /api/agents/signup", &[("x-envoy-external-address", "192.0.2.77")], 429).await;
}

#[tokio::test]
async fn a_line_of_envoys_log_leads_to_one_of_keygates() {
    let stack = Stack::embedded(&[&SETTINGS[..], &["--log-level", "debug"]].concat()).await;
    let front = Front::before(stack, &[]).await;
    let key = key(&front).await;
    front.passes("recurr", "GET /v1/passed", &[("authorization", &key)]).await;
    front.stops("recurr", "GET /v1/stopped", &[("x-request-id", "forged")], 401).await;
    for (path, decision) in [("/v1/passed", "allowed"), ("/v1/stopped", "denied")] {
        front.envoy.wait_for_output(path).await;
        let log = front.envoy.output();
        let line: serde_json::Value =
            serde_json::from_str(log.lines().find(|line| line.contains(path)).unwrap()).unwrap();
        let id = format!("request_id={}", line["request_id"]);
        front.stack.wait_for_output(&id).await;
        let log = front.stack.output();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains(&id)).collect();
        assert!(lines.len() == 1 && lines[0].contains(decision), "{lines:?}");
    }
    // One line for each decision, and none of what lies below.
    let log = front.stack.output();
    assert!(!log.contains("frame="), "{log}");
}
