//! Connections: TCP, and TLS over it where the address says `https`.

use super::Identity;
use http::Uri;
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    pki_types::{CertificateDer, ServerName, pem, pem::PemObject},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Where to connect to.
pub struct Endpoint {
    host: String,
    port: u16,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Whose certificates are trusted.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'p> {
    /// Whom this machine trusts.
    Machine,
    /// The authorities in a PEM file.
    File(&'p Path),
}

/// TLS to one host.
#[derive(Debug, Clone, Copy)]
pub struct Tls<'p> {
    /// Whose certificates are trusted there.
    pub trust: Trust<'p>,
    /// Who connects, if that is asked.
    pub identity: Option<Identity<'p>>,
    /// The name that must stand in the certificate there; absent: the host's own.
    pub name: Option<&'p str>,
}

/// Why an address cannot be connected to, whoever is there.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The address names no host.
    #[error("it has no host")]
    NoHost,
    /// The host cannot stand in a certificate.
    #[error("its host is no name for TLS")]
    NoName,
    /// Nobody is trusted here.
    #[error(
        "this machine has no certificates to trust it by: install `ca-certificates`, or name a file in the variable \
         SSL_CERT_FILE"
    )]
    NobodyTrusted,
    /// A file of authorities cannot be read.
    #[error("`{}` cannot be read as certificates: {cause}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
    },
    /// A file of authorities holds something else.
    #[error("`{}` holds a certificate that is not legal: {cause}", path.display())]
    Illegal {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: rustls::Error,
    },
    /// A file of authorities holds none.
    #[error("`{}` holds no certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file holds no private key that can be used.
    #[error("`{}` cannot be read as a private key: {cause}", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: pem::Error,
    },
    /// A certificate and a private key do not belong together, or cannot be used.
    #[error("the certificate in `{}` and the private key in `{}` cannot be used together: {cause}", certificate.display(), key.display())]
    Identity {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// What is wrong with them.
        cause: rustls::Error,
    },
    /// The library cannot be set up.
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

/// Why nobody was connected to.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody takes connections there.
    #[error("it cannot be reached: {0}")]
    Unreachable(io::Error),
    /// Whoever takes them does not show to be who the address names.
    #[error("it cannot be trusted: {0}")]
    Untrusted(io::Error),
}

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Endpoint {
    /// Makes ready for an address with `https`, or with anything else in plain. Asks nobody yet.
    ///
    /// # Errors
    /// When the address is none to connect to, or nobody could be trusted there.
    pub fn open(address: &Uri, trust: Trust<'_>) -> Result<Self, EndpointError> {
        let host = address.host().ok_or(EndpointError::NoHost)?.trim_matches(['[', ']']).to_owned();
        let secure = address.scheme_str() == Some("https");
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| EndpointError::NoName)?;
            Some((TlsConnector::from(config(trust)?), name))
        } else {
            None
        };
        Ok(Self { host, port: address.port_u16().unwrap_or(if secure { 443 } else { 80 }), tls })
    }

    /// Makes ready for a host and a port, in plain or by TLS. Files are read here, so that renewed ones are used by whoever
    /// makes ready anew for each connection. Asks nobody yet.
    ///
    /// # Errors
    /// When nobody could be trusted there, or a file cannot be used.
    pub fn to(host: &str, port: u16, tls: Option<Tls<'_>>) -> Result<Self, EndpointError> {
        let host = host.trim_matches(['[', ']']).to_owned();
        let tls = match tls {
            None => None,
            Some(tls) => {
                let name = tls.name.unwrap_or(&host).to_owned();
                let name = ServerName::try_from(name).map_err(|_| EndpointError::NoName)?;
                let config = match tls.identity {
                    None => config(tls.trust)?,
                    Some(identity) => identity.shown(tls.trust)?,
                };
                Some((TlsConnector::from(config), name))
            }
        };
        Ok(Self { host, port, tls })
    }

    /// The same, speaking HTTP/2: over TLS that has to be agreed on.
    #[must_use]
    pub fn for_http2(self) -> Self {
        let tls = self.tls.map(|(connector, name)| {
            let mut config = ClientConfig::clone(connector.config());
            config.alpn_protocols = vec![b"h2".to_vec()];
            (TlsConnector::from(Arc::new(config)), name)
        });
        Self { tls, ..self }
    }

    /// A new connection. Takes as long as it takes: whoever asks bounds it.
    ///
    /// # Errors
    /// When nobody is there, or somebody who is not trusted.
    pub async fn connect(&self) -> Result<Box<dyn Stream>, ConnectError> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(ConnectError::Unreachable)?;
        // What is written is written whole: waiting for more would only delay it.
        stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
        Ok(match &self.tls {
            None => Box::new(stream),
            Some((connector, name)) => {
                Box::new(connector.connect(name.clone(), stream).await.map_err(ConnectError::Untrusted)?)
            }
        })
    }
}

fn config(trust: Trust<'_>) -> Result<Arc<ClientConfig>, EndpointError> {
    // A machine's certificates are a hundred files and more: read once, for however many addresses.
    static MACHINE: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    match trust {
        Trust::File(_) => trusting(trust),
        Trust::Machine => match MACHINE.get() {
            Some(config) => Ok(Arc::clone(config)),
            None => {
                let config = trusting(trust)?;
                Ok(Arc::clone(MACHINE.get_or_init(|| config)))
            }
        },
    }
}

fn roots(trust: Trust<'_>) -> Result<RootCertStore, EndpointError> {
    match trust {
        Trust::File(path) => authorities(path),
        Trust::Machine => {
            let mut roots = RootCertStore::empty();
            // Some may be of an older kind: what can be used is enough.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if roots.is_empty() { Err(EndpointError::NobodyTrusted) } else { Ok(roots) }
        }
    }
}

fn authorities(path: &Path) -> Result<RootCertStore, EndpointError> {
    let unread = |cause| EndpointError::Unread { path: path.to_owned(), cause };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unread)? {
        let added = roots.add(certificate.map_err(unread)?);
        added.map_err(|cause| EndpointError::Illegal { path: path.to_owned(), cause })?;
    }
    if roots.is_empty() { Err(EndpointError::Empty { path: path.to_owned() }) } else { Ok(roots) }
}

fn trusting(trust: Trust<'_>) -> Result<Arc<ClientConfig>, EndpointError> {
    Ok(Arc::new(builder(trust)?.with_no_client_auth()))
}

pub(super) fn builder(trust: Trust<'_>) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, EndpointError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(config.map_err(EndpointError::Tls)?.with_root_certificates(roots(trust)?))
}
