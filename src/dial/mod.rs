//! Connections to the services of others, by TCP or TLS; and one HTTP request and its answer on a connection of its own, bounded
//! in time and in size. Redirects are not followed: who is asked is what the configuration says. Must never know what is asked, nor
//! of whom.

mod endpoint;
mod flaw;
mod grpc;
mod identity;

use bytes::Bytes;
pub use endpoint::{ConnectError, Endpoint, EndpointError, Stream, Tls, Trust};
pub use flaw::Flaw;
pub use grpc::{GrpcAnswer, GrpcSite};
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
pub use identity::Identity;
use std::time::Duration;
use zeroize::Zeroizing;

/// Bytes of an answer's head, at most.
const HEAD_BYTES: usize = 16 * 1_024;

/// A service.
pub struct Site {
    endpoint: Endpoint,
    /// As the header `host` has it.
    authority: HeaderValue,
    target: String,
}

/// How much of a service's time and words is taken.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// From the first step to the last byte.
    pub time: Duration,
    /// Bytes of a successful answer's body, at most; 0: it is not read, however long it is.
    pub body_bytes: usize,
}

/// What a service answers.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body. Empty unless the status is one of success: what stands beside a failure may repeat what was sent.
    pub body: Zeroizing<Vec<u8>>,
}

/// Why there is no answer. Holds nothing that was sent.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// Nobody was asked.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// What it speaks is not HTTP/1.1, or it hung up.
    #[error("it does not answer in HTTP: {0}")]
    Broken(#[from] hyper::Error),
    /// The answer has an end that did not come, or none within the bounds.
    #[error("its answer cannot be read: {0}")]
    Unread(Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("it did not answer within {} ms", .0.as_millis())]
    Late(Duration),
}

impl Site {
    /// Makes ready for a service. Asks nobody yet.
    ///
    /// # Errors
    /// When the address is none to connect to, or nobody could be trusted there.
    pub fn open(address: &Uri, trust: Trust<'_>) -> Result<Self, EndpointError> {
        let authority = address.authority().ok_or(EndpointError::NoHost)?;
        Ok(Self {
            endpoint: Endpoint::open(address, trust)?,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| EndpointError::NoName)?,
            target: address.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        })
    }

    /// The address' path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Sends a request, of which the address holds only path and query, and waits for what comes.
    ///
    /// # Errors
    /// When no answer comes, or not within the bounds.
    pub async fn send(&self, request: Request<Bytes>, bounds: Bounds) -> Result<Answer, ExchangeError> {
        let answered = tokio::time::timeout(bounds.time, self.exchange(request, bounds.body_bytes)).await;
        answered.map_err(|_| ExchangeError::Late(bounds.time))?
    }

    async fn exchange(&self, request: Request<Bytes>, body_bytes: usize) -> Result<Answer, ExchangeError> {
        let mut request = request.map(Full::new);
        request.headers_mut().insert(header::HOST, self.authority.clone());
        request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("keygate"));
        let stream = self.endpoint.connect().await?;
        let mut protocol = http1::Builder::new();
        protocol.max_buf_size(HEAD_BYTES);
        let (sender, connection) = protocol.handshake(TokioIo::new(stream)).await?;
        let talk = talk(sender, request, body_bytes);
        // The connection ends with the answer: requests are too few to keep it.
        tokio::pin!(talk, connection);
        tokio::select! {
            answered = &mut talk => answered,
            // However it ended: what came before may be the whole answer.
            _ = &mut connection => talk.await,
        }
    }
}

async fn talk(
    mut sender: http1::SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    body_bytes: usize,
) -> Result<Answer, ExchangeError> {
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let mut body = Zeroizing::new(Vec::new());
    if status.is_success() && body_bytes > 0 {
        // All at once: what grows leaves copies behind.
        body.reserve_exact(body_bytes);
        let mut frames = Limited::new(answer.into_body(), body_bytes);
        while let Some(frame) = frames.frame().await {
            if let Ok(data) = frame.map_err(ExchangeError::Unread)?.into_data() {
                body.extend_from_slice(&data);
            }
        }
    }
    Ok(Answer { status, body })
}
