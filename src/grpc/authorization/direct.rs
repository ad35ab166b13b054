//! The way in of every call. Those made at every request of every guarded product go straight to their handlers,
//! `Authenticate` with buffers of its messages' size; every other call goes through the router, as it was generated.
//!
//! Knows nothing of decisions. A call that goes straight must be served exactly as the router would.

use super::{AuthorizationService, authenticate};
use crate::{
    app::ports::Store,
    grpc::{
        envoy::{CheckService, RateLimitService},
        status,
    },
    proto::v1::{AuthenticateRequest, authorization_server::AuthorizationServer},
};
use bytes::BufMut;
use envoy_types::pb::envoy::service::{
    auth::v3::authorization_server::AuthorizationServer as CheckServer,
    ratelimit::v3::rate_limit_service_server::RateLimitServiceServer as RateLimitServer,
};
use http::{Request, Response};
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tonic::{
    Status,
    body::Body,
    codec::{BufferSettings, Codec, EncodeBuf, Encoder},
    server::{Grpc, UnaryService},
    service::Routes,
};
use tonic_prost::ProstCodec;
use tower::Service;

const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";
/// Bytes that are set aside for a message before it is seen; most fit, and the others make room for themselves.
const MESSAGE_BYTES: usize = 512;

type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
type Messages = ProstCodec<AuthenticateRequest, AuthenticateRequest>;

/// Every service, the most frequent call first.
pub struct Entrance<S> {
    authorization: Arc<AuthorizationService<S>>,
    check: CheckServer<CheckService<S>>,
    rate_limits: RateLimitServer<RateLimitService<S>>,
    routes: Routes,
    largest_request: usize,
}

impl<S: Store> Entrance<S> {
    /// `largest_request` is in bytes; `others` are the services beside this one.
    #[must_use]
    pub fn new(
        authorization: AuthorizationService<S>,
        check: CheckService<S>,
        rate_limits: RateLimitService<S>,
        largest_request: usize,
        others: Routes,
    ) -> Self {
        let authorization = Arc::new(authorization);
        let generated = AuthorizationServer::from_arc(Arc::clone(&authorization));
        let check = CheckServer::new(check).max_decoding_message_size(largest_request);
        let rate_limits = RateLimitServer::new(rate_limits).max_decoding_message_size(largest_request);
        let routes = others
            .add_service(generated.max_decoding_message_size(largest_request))
            .add_service(check.clone())
            .add_service(rate_limits.clone())
            .prepare();
        Self { authorization, check, rate_limits, routes, largest_request }
    }
}

impl<S> Clone for Entrance<S> {
    fn clone(&self) -> Self {
        let Self { authorization, check, rate_limits, routes, largest_request } = self;
        Self {
            authorization: Arc::clone(authorization),
            check: check.clone(),
            rate_limits: rate_limits.clone(),
            routes: routes.clone(),
            largest_request: *largest_request,
        }
    }
}

impl<S: Store> Service<Request<Body>> for Entrance<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match request.uri().path() {
            AUTHENTICATE => {}
            CHECK => return self.check.call(request),
            SHOULD_RATE_LIMIT => return self.rate_limits.call(request),
            _ => return Box::pin(self.routes.call(request)),
        }
        let (handler, largest) = (Authenticate(Arc::clone(&self.authorization)), self.largest_request);
        Box::pin(async move {
            let mut grpc = Grpc::new(AnswerCodec).max_decoding_message_size(largest);
            Ok(grpc.unary(handler, request).await)
        })
    }
}

struct Authenticate<S>(Arc<AuthorizationService<S>>);

impl<S: Store> UnaryService<AuthenticateRequest> for Authenticate<S> {
    type Response = Vec<u8>;
    type Future = Boxed<tonic::Response<Vec<u8>>, Status>;

    fn call(&mut self, request: tonic::Request<AuthenticateRequest>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move {
            let answer = authenticate::handle_to_bytes(&service, request.get_ref()).await;
            answer.map(tonic::Response::new).map_err(|error| status(&error))
        })
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(MESSAGE_BYTES, MESSAGE_BYTES)
}

/// Reads a request as usual, and takes an answer that is bytes already.
struct AnswerCodec;

impl Codec for AnswerCodec {
    type Encode = Vec<u8>;
    type Decode = AuthenticateRequest;
    type Encoder = AsItIs;
    type Decoder = <Messages as Codec>::Decoder;

    fn encoder(&mut self) -> AsItIs {
        AsItIs
    }

    fn decoder(&mut self) -> Self::Decoder {
        Messages::raw_decoder(buffers())
    }
}

struct AsItIs;

impl Encoder for AsItIs {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, answer: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&answer);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}
