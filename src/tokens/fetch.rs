//! Asks an address for a key set: one GET on a connection of its own, with everything bounded. Redirects are not followed: where
//! keys come from is what the configuration says, and nothing else.

use super::keys::SET_BYTES;
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// How long an answer may take, from the first step to the last byte.
const MOST: Duration = Duration::from_secs(5);

/// An address that can be asked.
pub(super) struct Source {
    url: String,
    host: String,
    port: u16,
    target: String,
    /// For `https`.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Source {
    /// Nothing for an address whose host is reserved for those that never exist (RFC 2606, section 2).
    pub(super) fn open(url: &str) -> Result<Option<Self>, String> {
        let uri: Uri = url.parse().map_err(|_| "it is not an address")?;
        let host = uri.host().ok_or("it has no host")?.trim_matches(['[', ']']).to_owned();
        if host.ends_with(".invalid") {
            return Ok(None);
        }
        let secure = uri.scheme_str() == Some("https");
        let tls = if secure { Some((connector()?, server_name(&host)?)) } else { None };
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        Ok(Some(Self { url: url.to_owned(), host, port, target, tls }))
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
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await;
        let stream = stream.map_err(|error| format!("it cannot be reached: {error}"))?;
        match &self.tls {
            None => self.get(stream).await,
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), stream).await;
                self.get(secured.map_err(|error| format!("it cannot be trusted: {error}"))?).await
            }
        }
    }

    async fn get(&self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Bytes, String> {
        let broken = |error: hyper::Error| format!("it does not answer in HTTP: {error}");
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let talk = async {
            let request = Request::get(&self.target)
                .header(header::HOST, self.authority())
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

    fn authority(&self) -> String {
        let bare = self.host.parse::<std::net::Ipv6Addr>().map_or_else(|_| self.host.clone(), |v6| format!("[{v6}]"));
        format!("{bare}:{}", self.port)
    }
}

/// Trusts whom the machine trusts.
fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err("this machine has no certificates to trust it by: install `ca-certificates`, or name a file in \
                    the variable SSL_CERT_FILE"
            .to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(host: &str) -> Result<ServerName<'static>, String> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(ServerName::IpAddress(address.into()));
    }
    ServerName::try_from(host.to_owned()).map_err(|_| "its host is no name".to_owned())
}
