//! What holds for the service as a whole, seen through gRPC on the real binary, on each of the stores.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for a limit or another process takes a real clock")]

#[path = "../support/mod.rs"]
mod support;

mod idempotency;
mod indistinguishable;
mod misses;
mod redis_clock;
mod redis_socket;
mod retry_after;
