//! What a proxy wants: one call that makes the request canonical, finds out who is calling, and charges every limit, all or none.

use super::{
    authenticate::{AuthenticateRequest, Decision, Presented, Release},
    error::AppError,
    house::{App, Guarded},
    ports::Store,
};
use crate::domain::{
    id::Environment,
    request::{CanonicalRequest, ProxiedRequest},
    time::{Ticks, Timestamp},
};
use std::net::IpAddr;

/// A request that a proxy wants to let through.
#[derive(Debug)]
pub struct AuthorizeRequest<'a, H> {
    /// The request as the proxy tells it.
    pub request: ProxiedRequest<'a, H>,
    /// The client's address.
    pub source_address: Option<IpAddr>,
    /// The operation that the proxy names, in place of the one that the request matches; by index.
    pub operation: Option<usize>,
    /// What the request costs.
    pub cost: u32,
    /// The only environment that the route takes keys of; absent: it takes keys of all.
    pub environment: Option<Environment>,
    /// Whether the proxy may hand on a provider's credential.
    pub may_release: bool,
    /// When the question came.
    pub begun: (Timestamp, Ticks),
}

impl<S: Store> App<S> {
    /// Decides on a request and charges its limits. What is wrong with the request itself is a denial.
    ///
    /// # Errors
    /// When the realm's limits do not fit such requests, or the store cannot answer.
    pub async fn authorize<'g, 'a, 'v: 'a>(
        &self,
        guard: &'g Guarded,
        request: AuthorizeRequest<'a, impl IntoIterator<Item = (&'a str, &'v [u8])>>,
    ) -> Result<Decision<'g>, AppError> {
        let canonical = match CanonicalRequest::proxied(request.request, &guard.realm) {
            Ok(canonical) => canonical,
            Err(problem) => return Ok(Decision::malformed(&problem, request.begun.0)),
        };
        let begun = request.begun;
        let request = AuthenticateRequest {
            presented: Presented::InHeaders,
            request: canonical,
            operation: request.operation,
            source_address: request.source_address,
            account: None,
            organization: None,
            environment: request.environment,
            required_scopes: Vec::new(),
            cost: request.cost,
            check_rate_limit: true,
            explain: false,
            release: if request.may_release { Release::Granted } else { Release::Refused },
            begun: Some(begun),
        };
        match self.authenticate(guard, &request).await {
            Err(AppError::Target(violation)) => Ok(Decision::malformed(&AppError::Target(violation), begun.0)),
            decided => decided,
        }
    }
}
