//! The way in of every call. Those made at every request of every guarded product go straight to their services, and in their
//! usual shape to the handlers of these; every other call goes through the router.
//!
//! Knows nothing of decisions. A call that goes straight must be served exactly as the router would.

use super::{AuthorizationService, authenticate};
use crate::{
    app::ports::Store,
    grpc::{
        Gate,
        envoy::{CheckService, Question, RateLimitService},
        management,
        plain::{self, PlainBody},
        releasing::may_release,
        turnstile::Ticket,
    },
    proto::v1::{AuthenticateRequest, authorization_server::AuthorizationServer},
};
use bytes::Bytes;
use envoy_types::pb::envoy::service::{
    auth::v3::authorization_server::AuthorizationServer as CheckServer,
    ratelimit::v3::{RateLimitRequest, rate_limit_service_server::RateLimitServiceServer as RateLimitServer},
};
use http::{Request, Response};
use http_body_util::{BodyExt, Either};
use std::{convert::Infallible, error::Error, sync::Arc};
use tonic::{Code, Status, body::Body, metadata::MetadataMap, service::Routes};
use tower::Service;

pub(in crate::grpc) const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";
const CHECK_RATE_LIMIT: &str = "/keygate.v1.Authorization/CheckRateLimit";
pub(in crate::grpc) const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Every service behind its gate, the most frequent call first.
pub struct Entrance<S> {
    gate: Gate,
    authorization: Ways<AuthorizationService<S>, AuthorizationServer<AuthorizationService<S>>>,
    check: Ways<CheckService<S>, CheckServer<CheckService<S>>>,
    rate_limits: Ways<RateLimitService<S>, RateLimitServer<RateLimitService<S>>>,
    routes: Routes,
    largest: LargestRequests,
}

/// The ways to a service.
struct Ways<H, G> {
    /// For calls in the usual shape.
    straight: Arc<H>,
    /// The generated one, for calls of any shape.
    generated: G,
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
        let (largest_decision, authorization) = (largest.decision, Arc::new(deciding.authorization));
        let generated =
            |bytes| AuthorizationServer::from_arc(Arc::clone(&authorization)).max_decoding_message_size(bytes);
        let (decisions, all) = (generated(largest_decision), generated(largest.management));
        let check = Arc::new(deciding.check);
        let checks = CheckServer::from_arc(Arc::clone(&check)).max_decoding_message_size(largest_decision);
        let limits = Arc::new(deciding.rate_limits);
        let limited = RateLimitServer::from_arc(Arc::clone(&limits)).max_decoding_message_size(largest_decision);
        Self {
            gate,
            authorization: Ways { straight: authorization, generated: decisions },
            check: Ways { straight: check, generated: checks },
            rate_limits: Ways { straight: limits, generated: limited },
            routes: others.add_service(all).prepare(),
            largest,
        }
    }

    /// Answers a call that came by that connection. `manages`: also one that manages.
    pub async fn answer<B>(&self, request: Request<B>, connection: u64, manages: bool) -> Answer
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin + 'static,
    {
        if !manages && let Some(refused) = management::refusal(request.uri().path()) {
            return refused.into_http().map(Either::Right);
        }
        let entered = match self.gate.enter(request.uri().path()) {
            Ok(entered) => entered,
            Err(refused) => return refused.into_http().map(Either::Right),
        };
        let request = request.map(|body| self.gate.arriving(body, &entered, connection));
        match request.uri().path() {
            AUTHENTICATE => self.authenticate(request).await,
            // Apart, so that `Authenticate` does not carry room for their messages.
            CHECK => Box::pin(self.check(request)).await,
            SHOULD_RATE_LIMIT => Box::pin(self.should_rate_limit(request)).await,
            CHECK_RATE_LIMIT => asked(&self.authorization.generated, request.map(Body::new)).await,
            _ => holding(asked(&self.routes, request.map(Body::new)).await, entered.stream),
        }
    }

    /// Answers a call of a client that does not take its answers. This one it can take at once: it has no message.
    #[must_use]
    pub fn choked(&self) -> Answer {
        self.gate.untaken().into_http().map(Either::Right)
    }

    /// The refusal of a call on a connection that was cut off for another one: nobody reads it.
    pub fn gone(&self) -> Answer {
        Status::unavailable("this connection was closed").into_http().map(Either::Right)
    }

    async fn authenticate(&self, request: Request<impl Arriving>) -> Answer {
        let Ways { straight, generated } = &self.authorization;
        match plain::take::<AuthenticateRequest, _>(request, self.largest.decision).await {
            Ok(request) => sent(authenticate::handle_to_bytes(straight, &request).await),
            Err(request) => asked(generated, request).await,
        }
    }

    async fn check(&self, request: Request<impl Arriving>) -> Answer {
        let Ways { straight, generated } = &self.check;
        let unreadable = |problem: &str| plain::Answer::of(&straight.unreadable(problem));
        let call = match plain::take_frame(request, self.largest.decision).await {
            Ok(call) => call,
            Err(request) => return or_unreadable(asked(generated, request).await, unreadable),
        };
        let (parts, frame) = call.into_parts();
        match Question::read(plain::message_of(&frame)) {
            Some(question) => {
                let may_release = may_release(&parts.extensions);
                sent(straight.answer_to_bytes(&MetadataMap::from_headers(parts.headers), &question, may_release).await)
            }
            None => {
                let answer = asked(generated, plain::whole(Request::from_parts(parts, frame))).await;
                or_unreadable(answer, unreadable)
            }
        }
    }

    async fn should_rate_limit(&self, request: Request<impl Arriving>) -> Answer {
        let Ways { straight, generated } = &self.rate_limits;
        match plain::take::<RateLimitRequest, _>(request, self.largest.decision).await {
            Ok(request) => sent(straight.answer_to_bytes(&request).await),
            Err(request) => {
                let unreadable = |problem: &str| plain::Answer::of(&straight.unreadable(problem));
                or_unreadable(asked(generated, request).await, unreadable)
            }
        }
    }
}

/// A request's body behind the gate.
trait Arriving: http_body::Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + Unpin + 'static {}

impl<B> Arriving for B where
    B: http_body::Body<Data = Bytes, Error = Box<dyn Error + Send + Sync>> + Send + Unpin + 'static
{
}

/// An answer that went straight.
fn sent(answer: Result<plain::Answer, Status>) -> Answer {
    match answer {
        Ok(answer) => answer.into_response().map(Either::Left),
        Err(status) => status.into_http().map(Either::Right),
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

/// An answer that keeps its place, if it has one, until its end.
fn holding(answer: Answer, place: Option<Ticket>) -> Answer {
    let Some(place) = place else { return answer };
    answer.map(|body| {
        Either::Right(Body::new(body.map_frame(move |frame| {
            // Taken along, and dropped with the body.
            let _kept = &place;
            frame
        })))
    })
}

/// How the messages begin that prost has for bytes that are not what they should be.
const UNDECODED: &str = "failed to decode Protobuf message";

/// The answer, or another one in place of the error that says that the question could not be read: an error would leave it to
/// Envoy's failure mode whether the request passes, and the request is what makes the question so.
fn or_unreadable(answer: Answer, instead: impl FnOnce(&str) -> plain::Answer) -> Answer {
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
