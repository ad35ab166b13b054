//! `keygate.v1.Authorization`: our own dialect.

mod answer;
mod authenticate;
mod check_rate_limit;
mod direct;
mod import;
mod keys;
mod manage;

pub(super) use direct::{AUTHENTICATE, CHECK};
pub use direct::{Deciding, Entrance, LargestRequests};
pub(in crate::grpc) use keys::KeyWriter;

use super::{acts::Desk, rekeying::Rekeying};
use crate::{
    app::{house::App, ports::Store},
    proto::v1::{
        AuthenticateRequest, AuthenticateResponse, CheckRateLimitRequest, CheckRateLimitResponse, ManageKeysRequest,
        ManageKeysResponse, authorization_server::Authorization,
    },
};
use tonic::{Request, Response, Status};

/// The service. Decisions are made where the connection lives; management has a runtime of its own, so that a burst of
/// acts never delays a decision.
pub struct AuthorizationService<S> {
    decisions: App<S>,
    acts: Desk<S>,
    rekeying: Rekeying<S>,
}

impl<S: Store> AuthorizationService<S> {
    /// The service over the use cases.
    #[must_use]
    pub fn new(decisions: App<S>, acts: Desk<S>, rekeying: Rekeying<S>) -> Self {
        Self { decisions, acts, rekeying }
    }
}

#[tonic::async_trait]
impl<S: Store> Authorization for AuthorizationService<S> {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        authenticate::handle(self, &request).await.map(Response::new)
    }

    async fn check_rate_limit(
        &self,
        request: Request<CheckRateLimitRequest>,
    ) -> Result<Response<CheckRateLimitResponse>, Status> {
        check_rate_limit::handle(&self.decisions, &request).await.map(Response::new)
    }

    async fn manage_keys(&self, request: Request<ManageKeysRequest>) -> Result<Response<ManageKeysResponse>, Status> {
        manage::handle(&self.acts, request).await
    }
}
