//! The command line from end to end: the real binary, asked as people and scripts ask it, against a real server.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod accounts;
mod audit;
mod decisions;
mod exits;
mod first_start;
mod forge;
mod import;
mod keys;
mod offline;
mod run;
mod starts;
mod tokens;
mod vault;
mod words;
