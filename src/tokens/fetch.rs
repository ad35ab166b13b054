//! Asks an address for a key set: one GET on a connection of its own, with everything bounded. Redirects are not followed: where
//! keys come from is what the configuration says, and nothing else.

use super::keys::SET_BYTES;
use crate::dial::{Endpoint, Trust};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::time::Duration;

/// How long an answer may take, from the first step to the last byte.
const MOST: Duration = Duration::from_secs(5);

/// An address that can be asked.
pub(super) struct Source {
    url: String,
    endpoint: Endpoint,
    /// Host and port, as the header `host` has them.
    authority: String,
    target: String,
}

impl Source {
    /// Nothing for an address whose host is reserved for those that never exist (RFC 2606, section 2).
    pub(super) fn open(url: &str) -> Result<Option<Self>, String> {
        let uri: Uri = url.parse().map_err(|_| "it is not an address")?;
        let host = uri.host().ok_or("it has no host")?;
        if host.ends_with(".invalid") {
            return Ok(None);
        }
        let endpoint = Endpoint::open(&uri, Trust::Machine).map_err(|error| error.to_string())?;
        let authority = format!("{host}:{}", endpoint.port());
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Some(Self { url: url.to_owned(), endpoint, authority, target }))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The body of the answer, or what went wrong.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        let asked = tokio::time::timeout(MOST, self.ask()).await;
        asked.unwrap_or_else(|_| Err(format!("it did not answer within {} s", MOST.as_secs())))
    }

    async fn ask(&self) -> Result<Bytes, String> {
        let stream = self.endpoint.connect().await.map_err(|error| error.to_string())?;
        let broken = |error: hyper::Error| format!("it does not answer in HTTP: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let talk = async {
            let request = Request::get(&self.target)
                .header(header::HOST, &self.authority)
                .header(header::ACCEPT, "application/jwk-set+json, application/json")
                .header(header::USER_AGENT, "keygate")
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let answer = sender.send_request(request).await.map_err(broken)?;
            if answer.status() != StatusCode::OK {
                let redirect = if answer.status().is_redirection() { ", and redirects are not followed" } else { "" };
                return Err(format!("it answers {}{redirect}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), SET_BYTES).collect().await;
            Ok(body.map_err(|error| format!("its answer cannot be read: {error}"))?.to_bytes())
        };
        // The connection ends with the answer: it is not worth keeping for minutes.
        tokio::pin!(talk);
        tokio::pin!(connection);
        tokio::select! {
            answered = &mut talk => answered,
            ended = &mut connection => match ended {
                // What it sent before it ended may be the whole answer.
                Ok(()) => talk.await,
                Err(error) => Err(broken(error)),
            },
        }
    }
}
