//! The way in of every call. `Authenticate`, the call made at every request of every guarded product, goes straight to its
//! handler; every other call goes through the router, as it was generated, and so does an `Authenticate` of an odd shape.
//!
//! Knows nothing of decisions. A call that goes straight must be served exactly as the router would.

use super::{AuthorizationService, authenticate};
use crate::{
    app::ports::Store,
    grpc::{
        plain::{self, PlainBody},
        status,
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

/// Every service, the most frequent call first.
pub struct Entrance<S> {
    authorization: Arc<AuthorizationService<S>>,
    routes: Routes,
}

impl<S: Store> Entrance<S> {
    /// `largest_request` is in bytes; `others` are the services beside this one.
    #[must_use]
    pub fn new(authorization: AuthorizationService<S>, largest_request: usize, others: Routes) -> Self {
        let authorization = Arc::new(authorization);
        let generated = AuthorizationServer::from_arc(Arc::clone(&authorization));
        let routes = others.add_service(generated.max_decoding_message_size(largest_request)).prepare();
        Self { authorization, routes }
    }

    /// Answers a call.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Either<PlainBody, Body>>
    where
        B: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>> + Send> + Send + Unpin + 'static,
    {
        if request.uri().path() != AUTHENTICATE {
            return self.route(request.map(Body::new)).await;
        }
        let message = match plain::take::<AuthenticateRequest, _>(request).await {
            Ok(message) => message,
            Err(request) => return self.route(request).await,
        };
        match authenticate::handle_to_bytes(&self.authorization, &message).await {
            Ok(answer) => answer.into_response().map(Either::Left),
            Err(error) => status(&error).into_http().map(Either::Right),
        }
    }

    async fn route(&self, request: Request<Body>) -> Response<Either<PlainBody, Body>> {
        let Ok(response) = self.routes.clone().call(request).await;
        response.map(Either::Right)
    }
}
