//! docs/envoy.md, command by command, in a directory with nothing but what it names.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::pages::follow;

#[test]
fn every_command_of_the_page_does_what_the_page_says() {
    let told = follow("docs/envoy.md", &["deploy/envoy"]);
    assert!(told >= 6, "only {told} outputs were compared");
}
