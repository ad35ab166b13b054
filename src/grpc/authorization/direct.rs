//! The way in of every call. Those made at every request of every guarded product go straight to their services, and
//! `Authenticate` in its usual shape to its handler; every other call goes through the router.
//!
//! Knows nothing of decisions. A call that goes straight must be served exactly as the router would.

use super::{AuthorizationService, authenticate};
use crate::{
    app::ports::Store,
    grpc::{
        Gate,
        envoy::{CheckService, RateLimitService},
        plain::{self, Answer as PlainAnswer, PlainBody},
    },
    proto::v1::{AuthenticateRequest, authorization_server::AuthorizationServer},
};
use bytes::Bytes;
use envoy_types::pb::envoy::service::{
    auth::v3::authorization_server::AuthorizationServer as CheckServer,
    ratelimit::v3::rate_limit_service_server::RateLimitServiceServer as RateLimitServer,
};
use http::{Request, Response};
use http_body_util::Either;
use std::{convert::Infallible, error::Error, sync::Arc};
use tonic::{Code, Status, body::Body, service::Routes};
use tower::Service;

const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";
const CHECK_RATE_LIMIT: &str = "/keygate.v1.Authorization/CheckRateLimit";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Every service behind its gate, the most frequent call first.
pub struct Entrance<S> {
    gate: Gate,
    authorization: Arc<AuthorizationService<S>>,
    /// The same, for decisions of any shape.
    decisions: AuthorizationServer<AuthorizationService<S>>,
    check: Arc<CheckService<S>>,
    checks: CheckServer<CheckService<S>>,
    rate_limits: Arc<RateLimitService<S>>,
    rate_limit_checks: RateLimitServer<RateLimitService<S>>,
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

/// The services that decide.
pub struct Deciding<S> {
    /// keygate's own.
    pub authorization: AuthorizationService<S>,
    /// Envoy's external authorization.
    pub check: CheckService<S>,
    /// Envoy's rate limit service.
    pub rate_limits: RateLimitService<S>,
}

type Answer = Response<Either<PlainBody, Body>>;

impl<S: Store> Entrance<S> {
    /// `others` are the services beside those that decide.
    #[must_use]
    pub fn new(gate: Gate, deciding: Deciding<S>, largest: LargestRequests, others: Routes) -> Self {
        let authorization = Arc::new(deciding.authorization);
        let generated =
            |bytes| AuthorizationServer::from_arc(Arc::clone(&authorization)).max_decoding_message_size(bytes);
        let decisions = generated(largest.decision);
        let (check, rate_limits) = (Arc::new(deciding.check), Arc::new(deciding.rate_limits));
        let checks = CheckServer::from_arc(Arc::clone(&check)).max_decoding_message_size(largest.decision);
        let rate_limit_checks =
            RateLimitServer::from_arc(Arc::clone(&rate_limits)).max_decoding_message_size(largest.decision);
        let routes = others.add_service(generated(largest.management)).prepare();
        Self { gate, authorization, decisions, check, checks, rate_limits, rate_limit_checks, routes, largest }
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
            CHECK => {
                let answer = asked(&self.checks, request.map(Body::new)).await;
                or_unreadable(answer, |problem| PlainAnswer::of(&self.check.unreadable(problem)))
            }
            SHOULD_RATE_LIMIT => {
                let answer = asked(&self.rate_limit_checks, request.map(Body::new)).await;
                or_unreadable(answer, |problem| PlainAnswer::of(&self.rate_limits.unreadable(problem)))
            }
            CHECK_RATE_LIMIT => asked(&self.decisions, request.map(Body::new)).await,
            _ => asked(&self.routes, request.map(Body::new)).await,
        }
    }

    async fn authenticate<B>(&self, request: Request<B>) -> Answer
    where
        B: http_body::Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + Unpin + 'static,
    {
        let request = match plain::take::<AuthenticateRequest, _>(request, self.largest.decision).await {
            Ok(request) => request,
            Err(request) => return asked(&self.decisions, request).await,
        };
        match authenticate::handle_to_bytes(&self.authorization, &request).await {
            Ok(answer) => answer.into_response().map(Either::Left),
            Err(status) => status.into_http().map(Either::Right),
        }
    }
}

/// A generated service's answer.
async fn asked<G>(service: &G, request: Request<Body>) -> Answer
where
    G: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    // Apart from the call, so that one that goes straight does not carry room for it.
    let Ok(answer) = Box::pin(service.clone().call(request)).await;
    answer.map(Either::Right)
}

/// How the messages begin that prost has for bytes that are not what they should be.
const UNDECODED: &str = "failed to decode Protobuf message";

/// The answer, or another one in place of the error that says that the question could not be read: an error would leave it to
/// Envoy's failure mode whether the request passes, and the request is what makes the question so.
fn or_unreadable(answer: Answer, instead: impl FnOnce(&str) -> PlainAnswer) -> Answer {
    // Only an error has its status where a message would begin.
    if !answer.headers().contains_key(Status::GRPC_STATUS) {
        return answer;
    }
    let Some(status) = Status::from_header_map(answer.headers()) else { return answer };
    let undecoded = || status.code() == Code::Internal && status.message().starts_with(UNDECODED);
    if status.code() == Code::OutOfRange || undecoded() {
        return instead(status.message()).into_response().map(Either::Left);
    }
    answer
}
