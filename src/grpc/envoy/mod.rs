//! Two dialects that Envoy speaks, over the use cases that our own dialect has: `ext_authz` asks whether a request may pass,
//! `rls` whether it comes too often. They only convert; what they decide, they decide like everyone else.

mod ext_authz;
mod message;
mod passed;
mod question;
mod rls;

pub(super) use question::{HttpRequest, Question};

pub use ext_authz::CheckService;
pub use rls::RateLimitService;

/// The full name of the service that `ext_authz` asks.
pub const CHECK_SERVICE: &str = "envoy.service.auth.v3.Authorization";
/// The full name of the service that `rls` asks.
pub const RATE_LIMIT_SERVICE: &str = "envoy.service.ratelimit.v3.RateLimitService";
