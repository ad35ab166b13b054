//! Contract row A2: adding or changing a realm is a configuration change, reloaded without a restart; a bad file is refused with
//! every mistake named, and the old one keeps serving.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod background;
mod load;
mod logging;
mod mistakes;
mod realms;
mod secrets;
mod watching;
mod world;
