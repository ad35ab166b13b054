//! What bad input gets: the exact error, and never a panic, a hang or something half written.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, CheckRateLimitRequest, CreateKey, DenyReason, GetKey, LimitNames, ListKeys, ManageKeysRequest,
    RevokeAccountKeys, RotateKey, Subject, UpdateKey, check_rate_limit_request::Selection,
    manage_keys_request::Operation,
};
use prost_types::Duration;
use support::{
    calls::{
        Answered, assert_invalid, at, by_bearer, by_headers, by_key, charged, key_for, seconds, texts, violations,
        well_formed,
    },
    files::ConfigFile,
    keygate::Keygate,
    raw::raw_call,
};
use tonic::Code;

const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";

fn check(selection: Selection) -> CheckRateLimitRequest {
    CheckRateLimitRequest {
        realm: "recover".to_owned(),
        selection: Some(selection),
        subject: Some(Subject { account_id: "p1".to_owned(), ..Default::default() }),
        ..Default::default()
    }
}

fn limits(names: &[&str]) -> Selection {
    Selection::Limits(LimitNames { names: texts(names) })
}

/// Clients take 8 KiB of trailers or more; the message is percent-encoded there, the details base 64.
#[track_caller]
fn assert_small(status: &tonic::Status) {
    let message: usize = status.message().bytes().map(|byte| if byte.is_ascii_alphanumeric() { 1 } else { 3 }).sum();
    let bytes = message + status.details().len() / 3 * 4;
    assert!(bytes < 7_500, "{bytes} bytes: {status:?}");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
}

on_both_stores! {
    async fn keys_of_a_wrong_form_are_denied_without_asking_the_store(stack) {
        let (_, key) = stack.new_key("recurr", "acme", "live").await;
        let mut flipped = key.clone().into_bytes();
        let last = flipped.len() - 1;
        flipped[last] = if flipped[last] == b'0' { b'1' } else { b'0' };
        for (what, text) in [
            ("non-ASCII", key.replacen("rk_", "rk_\u{e4}", 1)),
            ("non-ASCII of the same length", format!("{}\u{e4}", &key[..key.len() - 2])),
            ("control character", format!("{}\n", &key[..key.len() - 1])),
            ("NUL", format!("{}\0", &key[..key.len() - 1])),
            ("wrong prefix", key.replacen("rk_", "sk_", 1)),
            ("another realm's prefix", key.replacen("rk_live_", "pk_live_", 1)),
            ("too short", key[..key.len() - 1].to_owned()),
            ("too long", format!("{key}0")),
            ("only the prefix", "rk_live_".to_owned()),
            ("bad checksum", String::from_utf8(flipped).unwrap()),
            ("space before", format!(" {key}")),
            ("512 bytes", "x".repeat(512)),
        ] {
            let answer = stack.authenticate(by_key("recurr", &text)).await;
            let denied = answer.denied();
            assert_eq!(denied.reason(), DenyReason::MalformedKey, "{what}");
            assert_eq!((denied.http_status, denied.key_id.as_str()), (401, ""), "{what}");
        }
        stack.authenticate(by_key("recurr", "")).await.denied_for(DenyReason::MissingCredential);
        stack.authenticate(by_key("recurr", &key)).await.allowed();
    }

    async fn huge_keys_headers_and_messages_are_refused(stack) {
        let huge = stack.try_authenticate(by_key("recurr", &"x".repeat(513))).await.unwrap_err();
        assert_invalid(&huge, &["api_key"]);
        let value = "x".repeat(33_000);
        let huge = stack.try_authenticate(by_headers("recurr", &[("authorization", &value)])).await.unwrap_err();
        assert_invalid(&huge, &["headers"]);
        let many = vec![("a", "b"); 129];
        assert_invalid(&stack.try_authenticate(by_headers("recurr", &many)).await.unwrap_err(), &["headers"]);
        // Larger than any message may be: refused by its length, before it is read.
        let status = stack.try_authenticate(by_key("recurr", &"x".repeat(2_000_000))).await.unwrap_err();
        assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
        stack.authenticate(by_key("recurr", "")).await.denied();
    }

    async fn an_error_stays_small_enough_for_every_client(stack) {
        let scopes: Vec<String> = (0..32).map(|number| format!("unknown-{number}")).collect();
        let metadata = [("x".repeat(65), String::new())].into();
        let wide = CreateKey { scopes: scopes.clone(), metadata, ..CreateKey::default() };
        let mut many = vec!["create.account_id".to_owned(), "create.name".to_owned()];
        many.extend((0..32).map(|at| format!("create.scopes[{at}]")));
        many.push("create.metadata".to_owned());
        let status = stack.try_manage("keygate", Operation::Create(wide)).await.unwrap_err();
        assert_invalid(&status, &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert_small(&status);
        // What is allowed is told once.
        let told = violations(&status).iter().filter(|(_, problem)| problem.contains("`operator`")).count();
        assert_eq!(told, 1, "{status:?}");

        // Names as long as a message lets them be change nothing: what was sent is not repeated.
        let ask = AuthenticateRequest { required_scopes: vec!["x".repeat(1_000); 32], ..by_key("keygate", "k") };
        assert_small(&stack.try_authenticate(ask).await.unwrap_err());
        let limits = limits(&["no-such-limit"; 16]);
        assert_small(&stack.try_check(check(limits)).await.unwrap_err());
    }

    async fn two_credentials_and_repeated_headers_are_never_first_wins(stack) {
        let (_, key) = stack.new_key("recover", "p1", "live").await;
        let bearer = format!("Bearer {key}");
        let both = format!("{key}, {key}");
        let twice = format!("{bearer},{bearer}");
        for headers in [
            vec![("x-partner-key", key.as_str()), ("authorization", bearer.as_str())],
            vec![("x-partner-key", key.as_str()), ("X-PARTNER-KEY", key.as_str())],
            vec![("authorization", bearer.as_str()), ("Authorization", bearer.as_str())],
            vec![("x-partner-key", key.as_str()), ("authorization", "Basic dTpw")],
            vec![("x-partner-key", key.as_str()), ("x-partner-key", "")],
            vec![("x-partner-key", both.as_str())],
            vec![("authorization", twice.as_str())],
            vec![("x-partner-key-bin", key.as_str())],
            vec![("x_partner_key", key.as_str())],
        ] {
            let denied = stack.authenticate(by_headers("recover", &headers)).await.denied();
            assert_eq!((denied.reason(), denied.http_status), (DenyReason::AmbiguousCredential, 401), "{headers:?}");
        }
        // Two management credentials are no better.
        let mut request = tonic::Request::new(ManageKeysRequest {
            realm: "recover".to_owned(),
            operation: Some(Operation::List(ListKeys::default())),
        });
        for _ in 0..2 {
            request.metadata_mut().append("authorization", format!("Bearer {}", stack.operator()).parse().unwrap());
        }
        assert_eq!(stack.client().manage_keys(request).await.unwrap_err().code(), Code::Unauthenticated);
    }

    async fn unknown_names_are_told_with_what_is_allowed(stack) {
        let (_, key) = stack.new_key("recurr", "acme", "live").await;
        for realm in ["", "nowhere", "Recurr", "recurr ", "../recurr"] {
            let status = stack.try_authenticate(by_key(realm, &key)).await.unwrap_err();
            assert_invalid(&status, &["realm"]);
            // Which realms there are is told to those who may manage one, and to nobody else.
            assert_eq!(violations(&status)[0].1, "must be a realm of this server");
            let status = stack.try_manage(realm, Operation::List(ListKeys::default())).await.unwrap_err();
            assert_invalid(&status, &["realm"]);
            assert!(violations(&status)[0].1.contains("`recotap`"), "{status:?}");
            let stranger = stack.try_manage_as(None, realm, Operation::List(ListKeys::default())).await.unwrap_err();
            assert_eq!(stranger.code(), Code::Unauthenticated, "{stranger:?}");
        }
        let moon = AuthenticateRequest { environment: "moon".to_owned(), ..by_bearer("recurr", &key) };
        let status = stack.try_authenticate(moon).await.unwrap_err();
        assert_invalid(&status, &["environment"]);
        assert_eq!(violations(&status)[0].1, "must be an environment of the realm: `live`, `test`");

        let scopes = texts(&["read-only", "admin", "", "read,write"]);
        let many = AuthenticateRequest { required_scopes: scopes, ..by_bearer("recurr", &key) };
        let status = stack.try_authenticate(many).await.unwrap_err();
        assert_invalid(&status, &["required_scopes[1]", "required_scopes[2]", "required_scopes[3]"]);
        assert_eq!(violations(&status)[0].1, "must be a scope of the realm: `read-only`, `read-write`");

        for account in ["a/b", "a b", "\u{e4}", &"x".repeat(129), "a\n"] {
            let request = AuthenticateRequest { account_id: account.to_owned(), ..by_bearer("recurr", &key) };
            assert_invalid(&stack.try_authenticate(request).await.unwrap_err(), &["account_id"]);
            let create = Operation::Create(key_for(account, "live"));
            assert_invalid(&stack.try_manage("recurr", create).await.unwrap_err(), &["create.account_id"]);
        }
        let nobody = RevokeAccountKeys { account_id: "nobody".to_owned(), ..Default::default() };
        let status = stack.try_manage("recurr", Operation::RevokeAccount(nobody)).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_eq!(stack.list("recurr", ListKeys { account_id: "nobody".to_owned(), ..Default::default() }).await.keys, []);
        let get = |id: &str| Operation::Get(GetKey { key_id: id.to_owned() });
        let status = stack.try_manage("recurr", get("key_00000000000000000000000000")).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound);
        assert_invalid(&stack.try_manage("recurr", get("key_0")).await.unwrap_err(), &["get.key_id"]);

        assert_invalid(&stack.try_check(check(limits(&["lead-import", "nothing"]))).await.unwrap_err(), &["limits.names[1]"]);
        assert_invalid(&stack.try_check(check(limits(&["other", "other"]))).await.unwrap_err(), &["limits.names[0]", "limits.names[1]"]);
        assert_invalid(&stack.try_check(check(limits(&["lead-import", "lead-import"]))).await.unwrap_err(), &["limits.names[1]"]);
        assert_invalid(&stack.try_check(check(limits(&[]))).await.unwrap_err(), &["limits.names"]);
        assert_invalid(&stack.try_check(check(Selection::Operation("fly".to_owned()))).await.unwrap_err(), &["operation"]);
        let nobody = CheckRateLimitRequest { subject: None, ..check(limits(&["lead-import"])) };
        assert_invalid(&stack.try_check(nobody).await.unwrap_err(), &["subject.account_id"]);
        let nothing = CheckRateLimitRequest { selection: None, ..check(limits(&[])) };
        assert_invalid(&stack.try_check(nothing).await.unwrap_err(), &["selection"]);
    }

    async fn numbers_out_of_range_are_refused_and_charge_nothing(stack) {
        let (id, key) = stack.new_key("recover", "p1", "live").await;
        for cost in [-1, i64::MIN, 1_000_000_001, 4_294_967_296, i64::MAX] {
            let request = AuthenticateRequest { cost: Some(cost), ..by_key("recover", &key) };
            assert_invalid(&stack.try_authenticate(request).await.unwrap_err(), &["cost"]);
            let request = CheckRateLimitRequest { cost: Some(cost), ..check(limits(&["lead-import"])) };
            assert_invalid(&stack.try_check(request).await.unwrap_err(), &["cost"]);
        }
        // The largest that is legal can never be admitted here, and is told so; nothing looks and charges nothing.
        let largest = charged(by_key("recover", &key), "GET", "/v1/accounts/p1", 1_000_000_000);
        stack.authenticate(largest).await.denied_for(DenyReason::CostAboveLimit);
        let look = charged(by_key("recover", &key), "GET", "/v1/accounts/p1", 0);
        assert_eq!(stack.authenticate(look).await.limits[0].remaining, 1_000);

        for page_size in [-1, i32::MIN, 1_001, i32::MAX] {
            let list = Operation::List(ListKeys { page_size, ..Default::default() });
            assert_invalid(&stack.try_manage("recover", list).await.unwrap_err(), &["list.page_size"]);
        }
        let rotate = |grace| Operation::Rotate(RotateKey { key_id: id.clone(), grace: Some(grace), ..Default::default() });
        for grace in [
            seconds(-1),
            seconds(i64::MIN),
            seconds(i64::MAX),
            Duration { seconds: 0, nanos: -1 },
            Duration { seconds: 1, nanos: i32::MAX },
            seconds(7 * 86_400 + 1),
        ] {
            assert_invalid(&stack.try_manage("recover", rotate(grace)).await.unwrap_err(), &["rotate.grace"]);
        }
        let key = stack.get("recover", &id).await;
        assert_eq!((key.version, key.secrets.len()), (1, 1), "something was half written");
    }

    async fn a_wrong_create_names_every_wrong_field_and_makes_nothing(stack) {
        let create = CreateKey {
            account_id: String::new(),
            environment: "moon".to_owned(),
            name: "x".repeat(129),
            scopes: texts(&["fly"]),
            metadata: [("n".repeat(65), String::new())].into(),
            expires_at: Some(at(i64::MAX)),
            expires_in: None,
            idempotency_key: "a b".to_owned(),
            not_before: Some(at(-1)),
            allowed_networks: texts(&["192.0.2.0/24", "acme", "192.0.2.7/24"]),
            member_id: "a b".to_owned(),
        };
        let status = stack.try_manage("recurr", Operation::Create(create)).await.unwrap_err();
        let found = violations(&status);
        let mut named: Vec<&str> = found.iter().map(|(field, _)| field.as_str()).collect();
        named.sort_unstable();
        let mut wanted = ["account_id", "environment", "name", "scopes[0]", "metadata", "expires_at", "idempotency_key",
            "not_before", "allowed_networks[1]", "allowed_networks[2]", "member_id"]
            .map(|field| format!("create.{field}"));
        wanted.sort_unstable();
        assert_eq!(named, wanted, "{found:?}");

        for (create, field) in [
            (CreateKey { expires_at: Some(at(1)), ..key_for("acme", "live") }, "create.expires_at"),
            (CreateKey { expires_at: Some(at(-1)), ..key_for("acme", "live") }, "create.expires_at"),
            (CreateKey { expires_in: Some(seconds(-1)), ..key_for("acme", "live") }, "create.expires_in"),
            (CreateKey { expires_at: Some(at(9e9 as i64)), expires_in: Some(seconds(1)), ..key_for("acme", "live") }, "create.expires_in"),
            (CreateKey { name: String::new(), ..key_for("acme", "live") }, "create.name"),
            (CreateKey { name: "a\u{7}b".to_owned(), ..key_for("acme", "live") }, "create.name"),
            (key_for("acme", ""), "create.environment"),
        ] {
            assert_invalid(&stack.try_manage("recurr", Operation::Create(create)).await.unwrap_err(), &[field]);
        }
        let update = UpdateKey { state: keygate::proto::v1::KeyState::Revoked.into(), ..Default::default() };
        let status = stack.try_manage("recurr", Operation::Update(update)).await.unwrap_err();
        assert_invalid(&status, &["update.key_id", "update.state"]);
        assert_eq!(stack.list("recurr", ListKeys::default()).await.keys, []);
    }

    async fn odd_requests_are_refused_before_they_are_matched(stack) {
        let (_, key) = stack.new_key("recover", "p1", "live").await;
        for (method, path, field) in [
            ("GET", "v1/accounts", "path"),
            ("GET", "/v1//accounts", "path"),
            ("GET", "/v1/../accounts", "path"),
            ("GET", "/v1/accounts%2fp1", "path"),
            ("GET", "/v1/\u{e4}", "path"),
            ("GET", "/v1/acc ounts", "path"),
            ("GET", "", "path"),
            ("", "/v1/accounts", "method"),
            ("get", "/v1/accounts", "method"),
            ("G T", "/v1/accounts", "method"),
        ] {
            let status = stack.try_authenticate(charged(by_key("recover", &key), method, path, 1)).await.unwrap_err();
            assert_invalid(&status, &[field]);
        }
        for address in ["localhost", "192.0.2.7:80", "[::1]", "1.2.3"] {
            let request = AuthenticateRequest { source_address: address.to_owned(), ..by_key("recover", &key) };
            assert_invalid(&stack.try_authenticate(request).await.unwrap_err(), &["source_address"]);
        }
    }

    async fn unknown_fields_are_ignored_and_truncated_messages_refused(stack) {
        let (_, key) = stack.new_key("recurr", "acme", "live").await;
        let mut message = prost::Message::encode_to_vec(&by_key("recurr", &key));
        let whole = message.len();
        // Field 1999 as a varint, field 2000 as bytes.
        message.extend([0xf8, 0x7c, 0x05, 0x82, 0x7d, 0x03, b'a', b'b', b'c']);
        assert_eq!(raw_call(&stack, AUTHENTICATE, message.clone()).await.map(|answer| answer.is_empty()), Ok(false));
        for (what, bytes) in [
            ("cut in the realm", message[..4].to_vec()),
            ("cut in the key", message[..whole - 1].to_vec()),
            ("a length without end", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("a length beyond the end", vec![0x0a, 0x7f, b'a']),
            ("not UTF-8", vec![0x0a, 0x02, 0xff, 0xfe]),
            ("field number 0", vec![0x02, 0x01, 0x00]),
            ("a wire type that there is none of", vec![0x0f]),
        ] {
            let status = raw_call(&stack, AUTHENTICATE, bytes).await.unwrap_err();
            assert!(matches!(status, Code::Internal | Code::InvalidArgument), "{what}: {status:?}");
        }
        // Nothing at all is a message too: one without a realm.
        assert_eq!(raw_call(&stack, AUTHENTICATE, Vec::new()).await, Err(Code::InvalidArgument));
        stack.authenticate(by_key("recurr", &key)).await.allowed();
    }
}

#[tokio::test]
async fn a_request_that_matches_no_operation_is_404_where_the_realm_names_all_of_them() {
    let realm = r#"
        realm = "narrow"
        title = "A realm without a fallback"
        hint = "none"
        [[environments]]
        name = "live"
        prefix = "nw_"
        body_length = 28
        [[credentials]]
        header = "x-key"
        [[operations]]
        name = "read"
        routes = ["GET /things/{id}"]
    "#;
    let file = ConfigFile::new("narrow.toml", realm);
    let keygate = Keygate::start(&["--realm-file", &file.path()]).await;
    let (_, key) = keygate.new_key("narrow", "acme", "live").await;
    let request = |method, path| charged(by_key("narrow", &key), method, path, 1);
    assert_eq!(keygate.authenticate(request("GET", "/things/7")).await.allowed().operation, "read");
    for (method, path) in [("POST", "/things/7"), ("GET", "/things"), ("GET", "/things/7/8")] {
        let denied = keygate.authenticate(request(method, path)).await.denied_for(DenyReason::UnknownOperation);
        assert_eq!(denied.http_status, 404);
        // The default envelope: problem details.
        let content = support::calls::header(&denied.headers, "content-type");
        assert_eq!(content, Some("application/problem+json"));
        let body: serde_json::Value = serde_json::from_str(&denied.body).unwrap();
        assert_eq!((&body["status"], &body["code"]), (&serde_json::json!(404), &serde_json::json!("not_found")));
    }
    // Who they are goes before what they want: without a key nobody learns which operations there are.
    let stranger = well_formed("nw_", "Unknown0Unknown0Unknow");
    keygate
        .authenticate(charged(by_key("narrow", &stranger), "POST", "/nowhere", 1))
        .await
        .denied_for(DenyReason::UnknownKey);
}
