//! What tests need around keygate: keygate itself, a real Redis and a foreign gRPC client. Each test crate uses its own part.

#![allow(dead_code, reason = "every test crate compiles the whole of this and uses a part")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "what is missing here fails the test")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

pub mod calls;
pub mod envoy;
pub mod keygate;
pub mod python;
pub mod raw;
pub mod redis;
pub mod stack;
pub mod stored;
