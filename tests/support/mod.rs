//! What tests need around keygate: keygate itself, a real Redis, a foreign gRPC client, and a real Envoy with a service
//! behind it. Each test crate uses its own part.

#![allow(dead_code, reason = "every test crate compiles the whole of this and uses a part")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "what is missing here fails the test")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

pub mod audit;
pub mod calls;
pub mod certificates;
pub mod envoy;
pub mod files;
pub mod front;
pub mod http;
pub mod issuer;
pub mod key_host;
pub mod keygate;
pub mod mailbox;
pub mod operations;
pub mod otlp;
pub mod pages;
pub mod proxy;
pub mod python;
pub mod raw;
pub mod realms;
pub mod redis;
pub mod rotel;
pub mod stack;
pub mod stored;
pub mod transit;
pub mod upstream;
pub mod vault;
