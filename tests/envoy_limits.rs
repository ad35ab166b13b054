//! The second part of the Envoy files: rate limits by what Envoy tells of a request.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, path::Path};
use support::{
    front::{Front, SETTINGS},
    proxy::PART_TWO,
    stack::Stack,
};

/// The limit that docs/envoy.md tells to add to a realm.
fn documented() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/envoy.md")).unwrap();
    let (_, rest) = page.split_once("```toml realm\n").expect("the limit");
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test]
async fn the_second_part_counts_before_anybody_is_asked_who_is_calling() {
    let folder = tempfile::tempdir().unwrap();
    let realm = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/realms/recurr.toml")).unwrap();
    let limit = documented();
    assert!(limit.contains("limit = 100"), "{limit}");
    let file = folder.path().join("recurr.toml");
    fs::write(&file, format!("{realm}\n{}", limit.replace("limit = 100", "limit = 3"))).unwrap();
    let arguments = [&SETTINGS[..], &["--realm-file", file.to_str().unwrap()]].concat();
    let stack = Stack::embedded(&arguments).await;
    let mut front = Front::before(stack, &[(PART_TWO, "")]).await;
    let key = format!("Bearer {}", front.stack.new_key("recurr", "acme", "live").await.1);

    front.passes("recurr", "GET /x", &[("authorization", &key)]).await;
    front.stops("recurr", "GET /x", &[], 401).await;
    front.passes("recurr", "GET /x", &[("authorization", &key)]).await;
    for _ in 0..3 {
        let refused = front.stops("recurr", "GET /x", &[("authorization", &key)], 429).await;
        assert_eq!(refused.body, r#"{"error":{"type":"rate_limited","message":"Too many requests."}}"#);
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
    }
    // Three were let on to the question who is calling, and no more.
    let asked = front.envoy.stat("http.public.ext_authz.keygate.ok").await;
    let denied = front.envoy.stat("http.public.ext_authz.keygate.denied").await;
    assert_eq!((asked, denied, front.upstream.calls()), (2, 1, 2));
    // Whoever cannot be counted does not pass.
    front.stack.keygate.kill();
    front.stops("recurr", "GET /x", &[("authorization", &key)], 503).await;
}
