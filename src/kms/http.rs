//! One POST over a connection of its own, by TLS or in plain on this machine: bounded in time and in size. Calls are few, since
//! what they open is remembered; so nothing is kept open between them.

use http::{HeaderValue, Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::ServerName, pki_types::pem::PemObject,
};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Bytes of an answer, at most.
const ANSWER_BYTES: usize = 64 * 1_024;

/// Where to send calls.
pub(super) struct Endpoint {
    host: String,
    port: u16,
    /// The value of the header `host`.
    authority: HeaderValue,
    tls: Option<(TlsConnector, ServerName<'static>)>,
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
        let authority = url.authority().ok_or("the address has no host")?;
        let secure = url.scheme_str() == Some("https");
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = match secure {
            false => None,
            true => {
                let name = ServerName::try_from(host.clone()).map_err(|_| "the address' host is no name for TLS")?;
                Some((TlsConnector::from(Arc::new(client(ca_file)?)), name))
            }
        };
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let authority = HeaderValue::from_str(authority.as_str()).map_err(|_| "the address' host is not ASCII")?;
        Ok(Self { host, port, authority, tls, timeout })
    }

    /// Sends a call and gives the body of an answer with status 200.
    pub(super) async fn post(&self, call: &Call<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
        let late = |_| format!("it did not answer within {} ms", self.timeout.as_millis());
        tokio::time::timeout(self.timeout, self.exchange(call)).await.map_err(late)?
    }

    async fn exchange(&self, call: &Call<'_>) -> Result<Zeroizing<Vec<u8>>, String> {
        let unreachable = |error: std::io::Error| format!("it cannot be reached: {error}");
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(unreachable)?;
        match &self.tls {
            None => self.over(stream, call).await,
            Some((connector, name)) => {
                let secured = connector.connect(name.clone(), stream).await;
                self.over(secured.map_err(|error| format!("TLS with it failed: {error}"))?, call).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        call: &Call<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, String> {
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

fn client(ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let shown = path.display();
            let unread = |cause| format!("`{shown}` cannot be read as certificates: {cause}");
            for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
                let added = roots.add(certificate.map_err(unread)?);
                added.map_err(|cause| format!("`{shown}` holds a certificate that is not legal: {cause}"))?;
            }
            if roots.is_empty() {
                return Err(format!("`{shown}` holds no certificate"));
            }
        }
        None => {
            // Of what the system trusts, some may be of an older kind: what can be used is enough.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() {
                return Err("the system trusts no certificates: `ca_file` must name some".to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| format!("TLS cannot be set up: {error}"))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
