//! What a realm may say of the requests that a proxy asks about, and of what the proxy passes on: through a real Envoy, with a
//! realm that says all of it in its own way.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use support::{
    front::{Front, SETTINGS},
    stack::Stack,
};

/// Takes the place of the shipped realm of that name, whose host Envoy's files know.
const REALM: &str = r#"
realm = "recover"
[[environments]]
name = "live"
prefix = "own_live_"
[[credentials]]
header = "X-Key"
[[operations]]
name = "signup"
routes = ["POST /signup"]
public = true
[[operations]]
name = "by-header"
routes = ["GET /by-header"]
account = { header = "X-Account" }
organization = { header = "X-Org" }
[[operations]]
name = "by-query"
routes = ["GET /by-query"]
account = { query = "account" }
[[operations]]
name = "rest"
fallback = true
[upstream]
account = "X-User"
target_account = "X-On-Behalf-Of"
key_id = ""
credential = "keep"
"#;

async fn front() -> Front {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    fs::write(&file, REALM).unwrap();
    let stack = Stack::embedded(&[&SETTINGS[..], &["--realm-file", file.to_str().unwrap()]].concat()).await;
    Front::before(stack, &[]).await
}

#[tokio::test]
async fn the_service_gets_what_the_realm_names_and_the_credential_where_it_keeps_it() {
    let front = front().await;
    let (_, key) = front.stack.new_key("recover", "acme", "live").await;
    // Envoy's own belt knows nothing of these names.
    let forged = [("x-user", "forged"), ("x-on-behalf-of", "forged"), ("X-User", "forged again")];
    front.passes("recover", "GET /x", &[&[("x-key", key.as_str())], &forged[..]].concat()).await;
    let received = front.upstream.last();
    for (name, value) in [
        ("x-user", Some("acme")),
        ("x-on-behalf-of", Some("acme")),
        ("x-key", Some(key.as_str())),
        ("x-auth-environment", Some("live")),
        ("x-auth-operation", Some("rest")),
        ("x-auth-account", None),
        ("x-auth-target-account", None),
        ("x-auth-key-id", None),
    ] {
        assert_eq!(received.header(name), value, "`{name}`: {received:?}");
    }
    // Where nobody is known, nobody is told.
    front.passes("recover", "POST /signup", &forged).await;
    let received = front.upstream.last();
    assert_eq!((received.header("x-user"), received.header("x-on-behalf-of")), (None, None));
    assert_eq!(received.header("x-auth-operation"), Some("signup"));
}

#[tokio::test]
async fn account_and_organization_come_from_where_the_operation_says() {
    let front = front().await;
    let (_, key) = front.stack.new_key("recover", "acme", "live").await;
    let credential = ("x-key", key.as_str());
    for (path, named, status) in [
        ("/by-header", &[][..], 200),
        ("/by-header", &[("x-account", "acme"), ("x-org", "acme")], 200),
        ("/by-header", &[("x-account", "other")], 403),
        ("/by-header", &[("x-account", "acme"), ("x-org", "other")], 403),
        ("/by-header", &[("x-account", "acme"), ("x-account", "acme")], 400),
        ("/by-header", &[("x-account", "acme, acme")], 400),
        ("/by-header", &[("x-account", "")], 400),
        ("/by-header", &[("x-account-bin", "acme")], 400),
        ("/by-query?account=acme", &[], 200),
        ("/by-query?account=other", &[], 403),
        ("/by-query?account=acme&account=other", &[], 400),
        // Named where the operation does not look.
        ("/by-query", &[("x-account", "other")], 200),
        ("/by-header?account=other", &[], 200),
    ] {
        let (head, headers) = (format!("GET {path}"), [&[credential], named].concat());
        if status == 200 {
            front.passes("recover", &head, &headers).await;
            assert_eq!(front.upstream.last().header("x-on-behalf-of"), Some("acme"), "{path} {named:?}");
        } else {
            front.stops("recover", &head, &headers, status).await;
        }
    }
}
