//! One POST over a connection of its own, by TLS, or in plain on this machine: bounded in time and size. Redirects are not
//! followed: where messages go is what the configuration says. What the answer says beside its status is not read.

use crate::{app::ports::Undelivered, domain::webhook::Letter};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Bytes of an answer's head, at most.
const HEAD_BYTES: usize = 16 * 1_024;

/// Where messages are handed over.
pub(super) struct Door {
    host: String,
    port: u16,
    authority: HeaderValue,
    target: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

impl Door {
    pub(super) fn open(url: &str, timeout: Duration) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "it is no address")?;
        let authority = uri.authority().ok_or("it has no host")?;
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let secure = uri.scheme_str() == Some("https");
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| "its host is no name for TLS")?;
            Some((connector()?, name))
        } else {
            None
        };
        Ok(Self {
            port: authority.port_u16().unwrap_or(if secure { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str()).map_err(|_| "its host is not ASCII")?,
            target: uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
            host,
            tls,
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
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("it cannot be reached: {error}"))?;
        match &self.tls {
            None => self.over(stream, letter, second, signature).await,
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), stream).await;
                let secured = secured.map_err(|error| format!("it cannot be trusted: {error}"))?;
                self.over(secured, letter, second, signature).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        letter: &Letter,
        second: u64,
        signature: &str,
    ) -> Result<StatusCode, String> {
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

/// Trusts whom the machine trusts.
fn connector() -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(
            "this machine has no certificates to trust it by: install `ca-certificates`, or name a file in the \
                    variable SSL_CERT_FILE"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
