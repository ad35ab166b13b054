//! The way in of every call. `Authenticate`, the call made at every request of every guarded product, goes straight to its
//! handler, `CheckRateLimit` to the generated service; every other call goes through the router, and so does an
//! `Authenticate` of an odd shape.
//!
//! Knows nothing of decisions. A call that goes straight must be served exactly as the router would.

use super::{AuthorizationService, authenticate};
use crate::{
    app::ports::Store,
    grpc::{
        Gate,
        plain::{self, PlainBody},
    },
    proto::v1::{AuthenticateRequest, authorization_server::AuthorizationServer},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Either;
use std::{error::Error, sync::Arc};
use tonic::{body::Body, service::Routes};
use tower::Service;

const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";
const CHECK_RATE_LIMIT: &str = "/keygate.v1.Authorization/CheckRateLimit";

/// Every service behind its gate, the most frequent call first.
pub struct Entrance<S> {
    gate: Gate,
    authorization: Arc<AuthorizationService<S>>,
    /// The same, for decisions that do not go straight.
    decisions: AuthorizationServer<AuthorizationService<S>>,
    routes: Routes,
    largest: LargestRequests,
}

/// Bytes of a request's message, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargestRequests {
    /// Of one that asks for a decision.
    pub decision: usize,
    /// Of one that manages keys.
    pub management: usize,
}

type Answer = Response<Either<PlainBody, Body>>;

impl<S: Store> Entrance<S> {
    /// `others` are the services beside this one.
    #[must_use]
    pub fn new(gate: Gate, authorization: AuthorizationService<S>, largest: LargestRequests, others: Routes) -> Self {
        let authorization = Arc::new(authorization);
        let generated =
            |bytes| AuthorizationServer::from_arc(Arc::clone(&authorization)).max_decoding_message_size(bytes);
        let decisions = generated(largest.decision);
        let routes = others.add_service(generated(largest.management)).prepare();
        Self { gate, authorization, decisions, routes, largest }
    }

    /// Answers a call.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        let _ticket = match self.gate.enter(request.uri().path()) {
            Ok(ticket) => ticket,
            Err(refused) => return refused.into_http().map(Either::Right),
        };
        let request = request.map(|body| self.gate.arriving(body));
        match request.uri().path() {
            AUTHENTICATE => self.authenticate(request).await,
            CHECK_RATE_LIMIT => self.decide(request.map(Body::new)).await,
            _ => {
                let Ok(answer) = self.routes.clone().call(request.map(Body::new)).await;
                answer.map(Either::Right)
            }
        }
    }

    async fn authenticate<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + Unpin + 'static,
    {
        let request = match plain::take::<AuthenticateRequest, _>(request, self.largest.decision).await {
            Ok(request) => request,
            Err(request) => return self.decide(request).await,
        };
        match authenticate::handle_to_bytes(&self.authorization, &request).await {
            Ok(answer) => answer.into_response().map(Either::Left),
            Err(status) => status.into_http().map(Either::Right),
        }
    }

    async fn decide(&self, request: Request<Body>) -> Answer {
        let Ok(answer) = self.decisions.clone().call(request).await;
        answer.map(Either::Right)
    }
}
