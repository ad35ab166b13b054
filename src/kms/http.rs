//! One POST over a connection of its own, by TLS or in plain on this machine: bounded in time and in size. Calls are few, since
//! what they open is remembered; so nothing is kept open between them.

use crate::dial::{self, EndpointError, Trust};
use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::{path::Path, time::Duration};
use zeroize::Zeroizing;

/// Bytes of an answer, at most.
const ANSWER_BYTES: usize = 64 * 1_024;

/// Where to send calls.
pub(super) struct Endpoint {
    dial: dial::Endpoint,
    /// The value of the header `host`.
    authority: HeaderValue,
    timeout: Duration,
}

/// One call.
pub(super) struct Call<'c> {
    pub(super) path: &'c str,
    pub(super) token: &'c Zeroizing<String>,
    pub(super) body: &'c [u8],
}

impl Endpoint {
    pub(super) fn new(url: &Uri, ca_file: Option<&Path>, timeout: Duration) -> Result<Self, String> {
        let trust = ca_file.map_or(Trust::Machine, Trust::File);
        let dial = dial::Endpoint::open(url, trust).map_err(|error| match error {
            EndpointError::NobodyTrusted => "the system trusts no certificates: `ca_file` must name some".to_owned(),
            error => error.to_string(),
        })?;
        let authority = url.authority().map_or("", |authority| authority.as_str());
        let authority = HeaderValue::from_str(authority).map_err(|_| "the address' host is not ASCII")?;
        Ok(Self { dial, authority, timeout })
    }

    /// Sends a call and gives the body of an answer with status 200.
    pub(super) async fn post(&self, call: &Call<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
        let late = |_| format!("it did not answer within {} ms", self.timeout.as_millis());
        tokio::time::timeout(self.timeout, self.exchange(call)).await.map_err(late)?
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
        let stream = self.dial.connect().await.map_err(|error| error.to_string())?;
        let failed = |error: hyper::Error| format!("the exchange with it failed: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let driver = tokio::spawn(connection);
        let answer = self.send(&mut sender, call).await;
        // Whatever came of it: nothing else goes over this connection.
        driver.abort();
        answer
    }

    async fn send(
        &self,
        sender: &mut http1::SendRequest<Full<Bytes>>,
        call: &Call<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
        let mut token = HeaderValue::from_str(call.token).map_err(|_| "the token is not legal in a header")?;
        token.set_sensitive(true);
        let request = Request::builder()
            .method(Method::POST)
            .uri(call.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-vault-token", token)
            .body(Full::new(Bytes::copy_from_slice(call.body)))
            .map_err(|error| format!("the call cannot be made: {error}"))?;
        let answer = sender.send_request(request).await.map_err(|e| format!("the exchange with it failed: {e}"))?;
        let status = answer.status();
        if status != http::StatusCode::OK {
            // What stands in the body may repeat what was sent.
            return Err(format!("it answered {status}"));
        }
        let mut body = Limited::new(answer.into_body(), ANSWER_BYTES);
        let mut whole = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| format!("its answer broke off: {error}"))?;
            if let Some(data) = frame.data_ref() {
                whole.extend_from_slice(data);
            }
        }
        Ok(whole)
    }
}
