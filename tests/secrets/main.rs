//! Rotating the server secret: the file and its commands, a fleet that turns to a new version without a denied call, how far
//! re-keying is, what retires, and what is said when a version is missing.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod file;
mod fleet;
mod loss;
mod run;
mod status;
mod turning;
