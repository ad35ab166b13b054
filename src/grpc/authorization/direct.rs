//! The way in of every call. `Authenticate`, the call made at every request of every guarded product, goes straight to its
//! handler, with buffers of its messages' size; `CheckRateLimit` goes to the generated service, and every other call through
//! the router.
//!
//! Knows nothing of decisions. A call that goes straight must be served exactly as the router would.

use super::{AuthorizationService, authenticate};
use crate::{
    app::ports::Store,
    proto::v1::{AuthenticateRequest, authorization_server::AuthorizationServer},
};
use bytes::{BufMut, Bytes};
use http::{Request, Response};
use std::{
    convert::Infallible,
    error::Error,
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
const CHECK_RATE_LIMIT: &str = "/keygate.v1.Authorization/CheckRateLimit";
/// Bytes that are set aside for a message before it is seen; most fit, and the others make room for themselves.
const MESSAGE_BYTES: usize = 512;

type Boxed<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;
type Messages = ProstCodec<AuthenticateRequest, AuthenticateRequest>;

/// Every service, the most frequent call first.
pub struct Entrance<S> {
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

impl<S: Store> Entrance<S> {
    /// `others` are the services beside this one.
    #[must_use]
    pub fn new(authorization: AuthorizationService<S>, largest: LargestRequests, others: Routes) -> Self {
        let authorization = Arc::new(authorization);
        let generated =
            |bytes| AuthorizationServer::from_arc(Arc::clone(&authorization)).max_decoding_message_size(bytes);
        let decisions = generated(largest.decision);
        let routes = others.add_service(generated(largest.management)).prepare();
        Self { authorization, decisions, routes, largest }
    }
}

impl<S> Clone for Entrance<S> {
    fn clone(&self) -> Self {
        let Self { authorization, decisions, routes, largest } = self;
        Self {
            authorization: Arc::clone(authorization),
            decisions: decisions.clone(),
            routes: routes.clone(),
            largest: *largest,
        }
    }
}

impl<S: Store, B> Service<Request<B>> for Entrance<S>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Boxed<Response<Body>, Infallible>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request<B>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match request.uri().path() {
            AUTHENTICATE => {}
            CHECK_RATE_LIMIT => return self.decisions.call(request),
            _ => return Box::pin(self.routes.call(request)),
        }
        let (handler, largest) = (Authenticate(Arc::clone(&self.authorization)), self.largest.decision);
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
        Box::pin(async move { authenticate::handle_to_bytes(&service, &request).await.map(tonic::Response::new) })
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
