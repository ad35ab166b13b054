//! One gRPC call with one message and its answer, on a connection of its own, bounded as requests are.

use super::{Bounds, Endpoint, EndpointError, ExchangeError, Trust};
use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// Bytes before a message: whether it is compressed, and its length.
const FRAME: usize = 5;

/// A gRPC service.
pub struct GrpcSite {
    endpoint: Endpoint,
    scheme: &'static str,
    authority: String,
}

/// What a gRPC service answers.
pub struct GrpcAnswer {
    /// The status of HTTP. Any but 200 is no answer of gRPC.
    pub http: StatusCode,
    /// The status of gRPC, if it told one.
    pub status: Option<u32>,
    /// The message. Empty unless the call succeeded.
    pub message: Bytes,
}

impl GrpcSite {
    /// Makes ready for a service. Asks nobody yet.
    ///
    /// # Errors
    /// When the address is none to connect to, or nobody could be trusted there.
    pub fn open(address: &Uri, trust: Trust<'_>) -> Result<Self, EndpointError> {
        let authority = address.authority().ok_or(EndpointError::NoHost)?;
        let scheme = if address.scheme_str() == Some("https") { "https" } else { "http" };
        let endpoint = Endpoint::open(address, trust)?.speaking("h2");
        Ok(Self { endpoint, scheme, authority: authority.to_string() })
    }

    /// Calls the method at `path`.
    ///
    /// # Errors
    /// When no answer comes, or not within the bounds.
    pub async fn call(
        &self,
        path: &str,
        headers: HeaderMap,
        message: &[u8],
        bounds: Bounds,
    ) -> Result<GrpcAnswer, ExchangeError> {
        let called = tokio::time::timeout(bounds.time, self.exchange(path, headers, message, bounds.body_bytes)).await;
        called.map_err(|_| ExchangeError::Late(bounds.time))?
    }

    async fn exchange(
        &self,
        path: &str,
        headers: HeaderMap,
        message: &[u8],
        body_bytes: usize,
    ) -> Result<GrpcAnswer, ExchangeError> {
        let unmade = |error: http::Error| ExchangeError::Unread(error.into());
        let uri = Uri::builder().scheme(self.scheme).authority(self.authority.as_str()).path_and_query(path);
        let mut request = Request::new(Full::new(framed(message)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.build().map_err(unmade)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = headers;
        let own = [
            (header::CONTENT_TYPE, "application/grpc+proto"),
            (header::TE, "trailers"),
            (header::USER_AGENT, "keygate"),
        ];
        for (name, value) in own {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let stream = self.endpoint.connect().await?;
        let protocol = http2::Builder::new(TokioExecutor::new());
        let (mut sender, connection) = protocol.handshake(TokioIo::new(stream)).await?;
        let talk = async move { read(sender.send_request(request).await?, body_bytes).await };
        // The connection ends with the answer: calls are too few to keep it.
        tokio::pin!(talk, connection);
        tokio::select! {
            answered = &mut talk => answered,
            // However it ended: what came before may be the whole answer.
            _ = &mut connection => talk.await,
        }
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(message.len().saturating_add(FRAME));
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    frame.put_slice(message);
    frame.freeze()
}

async fn read(answer: Response<Incoming>, body_bytes: usize) -> Result<GrpcAnswer, ExchangeError> {
    let (parts, body) = answer.into_parts();
    let told = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
    let mut answer = GrpcAnswer { http: parts.status, status: told(&parts.headers), message: Bytes::new() };
    if answer.http != StatusCode::OK || answer.status.is_some() {
        return Ok(answer);
    }
    let whole = Limited::new(body, body_bytes).collect().await.map_err(ExchangeError::Unread)?;
    answer.status = whole.trailers().and_then(told);
    let bytes = whole.to_bytes();
    // One message that is not compressed: nobody offered to read anything else.
    if let Some((0, rest)) = bytes.split_first().map(|(compressed, rest)| (*compressed, rest))
        && rest.len() >= FRAME.saturating_sub(1)
    {
        answer.message = bytes.slice(FRAME..);
    }
    Ok(answer)
}
