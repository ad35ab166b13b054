//! A server that speaks TLS, and those who connect to it.

use crate::support::{
    certificates::{Authority, Files},
    keygate::{DataDir, Ended, Keygate, Secured},
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use std::{fs, io, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Far longer than anything here takes, and far less than [`PATIENT`].
pub const SOON: Duration = Duration::from_secs(15);
/// Settings with which nobody is cut off for taking long.
pub const PATIENT: &str = "[limits]\narrival_timeout = \"5m\"\n";

pub struct World {
    pub folder: TempDir,
    /// Signs the server's certificate.
    pub authority: Authority,
    /// Signs the certificates of clients.
    pub of_clients: Authority,
    pub server: Files,
    /// What the server asks its clients for, as lines of `[tls]`.
    clients: &'static str,
}

impl World {
    pub fn new() -> Self {
        Self::asking("")
    }

    /// One whose server asks its clients for certificates, in these words.
    pub fn asking(clients: &'static str) -> Self {
        let folder = TempDir::with_prefix("keygate-tls-").unwrap();
        let authority = Authority::new(folder.path(), "authority");
        let of_clients = Authority::new(folder.path(), "of-clients");
        let server = authority.sign(folder.path(), "server", &["127.0.0.1", "localhost"]);
        Self { folder, authority, of_clients, server, clients }
    }

    pub fn at(&self) -> &Path {
        self.folder.path()
    }

    /// The settings, with more of them.
    fn settings(&self, more: &str) -> String {
        let clients = self.clients;
        let file = self.at().join("keygate.toml");
        let text = format!("[tls]\ncertificate_file = \"server.crt\"\nkey_file = \"server.key\"\n{clients}\n{more}\n");
        fs::write(&file, text).unwrap();
        file.display().to_string()
    }

    pub async fn start(&self, more: &str, arguments: &[&str]) -> Keygate {
        self.try_start(more, arguments).await.unwrap_or_else(|ended| panic!("keygate ended: {ended:#?}"))
    }

    pub async fn try_start(&self, more: &str, arguments: &[&str]) -> Result<Keygate, Ended> {
        let settings = self.settings(more);
        let arguments = [&["--config", &settings], arguments].concat();
        Keygate::try_start_secured(DataDir::new(), &arguments, Some(self.client(Some(&self.client_files())))).await
    }

    /// A client's certificate that is right.
    pub fn client_files(&self) -> Files {
        self.of_clients.sign(self.at(), "client", &["client.example"])
    }

    /// A client that shows this, and trusts the server's authority.
    pub fn client(&self, shown: Option<&Files>) -> Secured {
        let shown = shown.map(|files| (files.certificate.clone(), files.key.clone()));
        Secured { authorities: self.authority.file.clone(), shown }
    }

    /// The same as a library has it, with these versions and protocols.
    pub fn config(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
        shown: Option<&Files>,
    ) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate()).unwrap();
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let config = config.with_root_certificates(roots);
        let mut config = match shown {
            None => config.with_no_client_auth(),
            Some(files) => {
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                config.with_client_auth_cert(vec![files.shown()], key).unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// Agrees on TLS with whoever listens on that port.
pub async fn agree(port: u16, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = ServerName::try_from("127.0.0.1").unwrap();
    timeout(SOON, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await.expect("the handshake ends")
}

/// The certificate that whoever listens there shows.
pub async fn shown(port: u16, config: &Arc<ClientConfig>) -> CertificateDer<'static> {
    let stream = agree(port, config).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Waits until the server ends the connection; what it sent before.
pub async fn until_closed(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut sent = Vec::new();
    // However it ends: by the book or not.
    let _ = timeout(SOON, stream.read_to_end(&mut sent)).await.expect("the server closes the connection");
    sent
}
