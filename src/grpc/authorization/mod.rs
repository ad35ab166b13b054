//! `keygate.v1.Authorization`: our own dialect.

mod answer;
mod authenticate;
mod check_rate_limit;
mod direct;
mod import;
mod keys;
mod manage;

pub use direct::Entrance;

use super::{rekeying::Rekeying, status};
use crate::{
    app::{house::App, ports::Store},
    proto::v1::{
        AuthenticateRequest, AuthenticateResponse, CheckRateLimitRequest, CheckRateLimitResponse, ManageKeysRequest,
        ManageKeysResponse, authorization_server::Authorization,
    },
};
use std::time::Duration;
use tokio::runtime::Handle;
use tonic::{Request, Response, Status};

/// The service. Decisions are made where the connection lives; management has a runtime of its own, so that a burst of
/// acts never delays a decision.
pub struct AuthorizationService<S> {
    decisions: App<S>,
    management: App<S>,
    management_runtime: Handle,
    act_timeout: Duration,
    rekeying: Rekeying<S>,
}

impl<S: Store> AuthorizationService<S> {
    /// The service over the use cases; `management` runs on `management_runtime`, each act for `act_timeout` at most.
    #[must_use]
    pub fn new(
        decisions: App<S>,
        management: App<S>,
        management_runtime: Handle,
        act_timeout: Duration,
        rekeying: Rekeying<S>,
    ) -> Self {
        Self { decisions, management, management_runtime, act_timeout, rekeying }
    }
}

#[tonic::async_trait]
impl<S: Store> Authorization for AuthorizationService<S> {
    async fn authenticate(
        &self,
        request: Request<AuthenticateRequest>,
    ) -> Result<Response<AuthenticateResponse>, Status> {
        authenticate::handle(self, request.get_ref()).await.map(Response::new).map_err(|error| status(&error))
    }

    async fn check_rate_limit(
        &self,
        request: Request<CheckRateLimitRequest>,
    ) -> Result<Response<CheckRateLimitResponse>, Status> {
        check_rate_limit::handle(&self.decisions, request.get_ref())
            .await
            .map(Response::new)
            .map_err(|error| status(&error))
    }

    async fn manage_keys(&self, request: Request<ManageKeysRequest>) -> Result<Response<ManageKeysResponse>, Status> {
        let app = self.management.clone();
        let most = self.act_timeout;
        let act = self.management_runtime.spawn(async move {
            let late = |_| {
                Status::unavailable(format!(
                    "the act took longer than {} ms; whether it was done is not known",
                    most.as_millis()
                ))
            };
            tokio::time::timeout(most, manage::handle(&app, request)).await.map_err(late)?
        });
        act.await.map_err(|_| Status::unavailable("keygate is shutting down"))?
    }
}
