//! One POST over a connection of its own, by TLS, or in plain on this machine: bounded in time and size. Redirects are not
//! followed: where messages go is what the configuration says. What the answer says beside its status is not read.

use crate::{
    app::ports::Undelivered,
    dial::{Endpoint, Trust},
    domain::webhook::Letter,
};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// Bytes of an answer's head, at most.
const HEAD_BYTES: usize = 16 * 1_024;

/// Where messages are handed over.
pub(super) struct Door {
    endpoint: Endpoint,
    authority: HeaderValue,
    target: String,
    timeout: Duration,
}

impl Door {
    pub(super) fn open(url: &str, timeout: Duration) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "it is no address")?;
        let authority = uri.authority().ok_or("it has no host")?;
        Ok(Self {
            endpoint: Endpoint::open(&uri, Trust::Machine).map_err(|error| error.to_string())?,
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| "its host is not ASCII")?,
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            timeout,
        })
    }

    pub(super) async fn post(&self, letter: &Letter, second: u64, signature: &str) -> Result<(), Undelivered> {
        let late = |_| failed(format!("it did not answer within {} ms", self.timeout.as_millis()));
        let status = tokio::time::timeout(self.timeout, self.exchange(letter, second, signature)).await;
        match status.map_err(late)?.map_err(failed)? {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => {
                Err(failed(format!("it answers {status}: redirects are not followed")))
            }
            status => {
                Err(Undelivered { problem: format!("it answers {status}"), for_good: status == StatusCode::GONE })
            }
        }
    }

    async fn exchange(&self, letter: &Letter, second: u64, signature: &str) -> Result<StatusCode, String> {
        let stream = self.endpoint.connect().await.map_err(|error| error.to_string())?;
        let broken = |error: hyper::Error| format!("it does not answer in HTTP: {error}");
        let request = Request::post(&self.target)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, "keygate")
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", second)
            .header("webhook-signature", signature)
            .body(Full::new(Bytes::from(letter.body.clone())))
            .map_err(|error| format!("the message cannot be sent: {error}"))?;
        let mut protocol = http1::Builder::new();
        protocol.max_buf_size(HEAD_BYTES);
        let (mut sender, connection) = protocol.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let answer = sender.send_request(request).await;
        // Its body is nobody's business: the connection ends here.
        driver.abort();
        answer.map(|answer| answer.status()).map_err(broken)
    }
}

fn failed(problem: String) -> Undelivered {
    Undelivered { problem, for_good: false }
}
