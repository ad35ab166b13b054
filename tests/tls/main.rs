//! TLS on the listeners: whoever is let in, whoever is not, what is told, and certificates that change while the server runs.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod certified;
mod commands;
mod files;
mod handshakes;
mod management;
mod operations;
mod reload;
mod world;
