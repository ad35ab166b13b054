//! What the benches share: processes on cores of their own, a loader that checks every answer, and the reference server.

pub mod bare;
#[path = "../../tests/support/certificates.rs"]
pub mod certificates;
pub mod contest;
#[path = "../../tests/support/envoy.rs"]
pub mod envoy;
pub mod front;
#[path = "../../tests/support/http.rs"]
pub mod http;
pub mod keygate;
pub mod keys;
pub mod loader;
pub mod machine;
pub mod median;
#[path = "../../tests/support/proxy.rs"]
pub mod proxy;
#[path = "../../tests/support/python.rs"]
pub mod python;
#[path = "../../tests/support/redis.rs"]
pub mod redis;
pub mod report;
pub mod sink;

use std::env;

/// A number that the environment may set.
pub fn setting(variable: &str, usual: usize) -> usize {
    let Ok(text) = env::var(variable) else { return usual };
    text.replace(['_', ','], "").parse().unwrap_or_else(|_| panic!("`{variable}` must be a whole number, not `{text}`"))
}
