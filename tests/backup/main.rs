//! Backups from end to end: the real binary, real stores, files that were tampered with, and stores that went back in time.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod busy;
mod forward;
mod moving;
mod of_before;
mod refused;
mod setback;
mod whole;
