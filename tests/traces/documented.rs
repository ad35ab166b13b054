//! What stands in `docs/traces.md` is what is told.

use crate::{
    arguments, ask, settings,
    support::{
        calls::{by_key, charged},
        envoy,
        files::PATIENT,
        otlp::{Mood, Receiver},
        realms,
        stack::Stack,
    },
};
use std::{collections::BTreeSet, fs, path::Path};

/// The rows of the two tables of `docs/traces.md`.
fn documented(heading: &str) -> BTreeSet<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/traces.md")).unwrap();
    let (_, section) = page.split_once(heading).expect("the heading");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// Everything that traffic of many kinds tells stands in the documentation.
#[tokio::test]
async fn every_span_and_attribute_is_documented() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(&receiver, &format!("sample = 1\n{PATIENT}"));
    let arguments = arguments(&settings);
    let shipped = realms::shipped().to_str().unwrap().to_owned();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--realm-file", shipped.as_str()]).collect();
    let stack = Stack::redis(&arguments).await;
    let (id, key) = stack.new_key("recover", "acme", "live").await;
    let request = || charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1);
    ask(&stack, request(), &[("x-request-id", "r-1")]).await.unwrap();
    stack.envoy_check(envoy::check("", "GET", "/a/path", &[])).await;
    stack.envoy_limit(envoy::limit("recover", &[envoy::descriptor(&[("path", "/a/path")])])).await;
    stack.get("recover", &id).await;
    stack.revoke("recover", &id).await;
    ask(&stack, request(), &[]).await.unwrap();
    stack.redis.as_ref().unwrap().pause();
    let _ = ask(&stack, request(), &[]).await;
    stack.redis.as_ref().unwrap().resume();
    ask(&stack, request(), &[("x-request-id", "last")]).await.unwrap();
    receiver.call("last").await;

    let spans = receiver.spans();
    let names: BTreeSet<String> = spans.iter().map(|span| span.name.clone()).collect();
    let attributes: BTreeSet<String> = spans.iter().flat_map(|span| span.attributes.keys().cloned()).collect();
    let unnamed: Vec<_> = names.difference(&documented("\n## Spans\n")).cloned().collect();
    let untold: Vec<_> = attributes.difference(&documented("\n## Attributes\n")).cloned().collect();
    assert!(unnamed.is_empty() && untold.is_empty(), "not in docs/traces.md: spans {unnamed:?}, attributes {untold:?}");
    stack.assert_no_secret("what the receiver of traces got", &receiver.text());
}
