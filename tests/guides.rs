//! docs/realms, one page for each product, and pages for operators, walked as its reader would, through the command line and a real Envoy.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::{Mutex, PoisonError};
use support::pages::follow;

/// One page at a time: two Envoys that are started in the plain way are in each other's way.
static ALONE: Mutex<()> = Mutex::new(());

fn walk(realm: &str, least: usize) {
    let _turn = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let told = follow(
        &format!("docs/realms/{realm}.md"),
        &["deploy/envoy", "deploy/realms", "docs/realms/api.py", "docs/realms/issuer.py"],
    );
    assert!(told >= least, "only {told} outputs were compared");
}

#[test]
fn secrets() {
    let told = follow("docs/secrets.md", &[]);
    assert!(told >= 7, "only {told} outputs were compared");
}

#[test]
fn runbook() {
    let told = follow("docs/runbook.md", &[]);
    assert!(told >= 7, "only {told} outputs were compared");
}

#[test]
fn recoup() {
    walk("recoup", 6);
}

#[test]
fn recotap() {
    walk("recotap", 4);
}

#[test]
fn recovea() {
    walk("recovea", 6);
}

#[test]
fn recurr() {
    walk("recurr", 6);
}

#[test]
fn recover() {
    walk("recover", 8);
}
