//! TLS on the listeners: which certificates they show, and whose they ask for. The only place that speaks TLS with whoever
//! connects to this server.
//!
//! All files are read and checked before one is used. A connection keeps to the certificate that it began with.

pub(super) mod identity;

use super::StartError;
use crate::config::{ClientCertificates, ListenerName, ListenerTls, Settings};
use parking_lot::RwLock;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use sha2::{Digest, Sha256};
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
};
use tokio::{net::TcpStream, sync::watch, time::Sleep};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use zeroize::Zeroizing;

/// Bytes of one file, at most. `docs/limits.md` tells it.
const FILE_BYTES: u64 = 1_048_576;

/// A listener that may speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secured {
    /// The one for gRPC.
    Listen,
    /// The one for management beside it.
    Management,
    /// The operations port.
    Operations,
}

impl Secured {
    const ALL: [Self; 3] = [Self::Listen, Self::Management, Self::Operations];

    /// The table of its settings.
    const fn table(self) -> &'static str {
        match self {
            Self::Listen => "tls",
            Self::Management => "management.tls",
            Self::Operations => "operations.tls",
        }
    }

    fn of(self, settings: &Settings) -> &ListenerTls {
        match self {
            Self::Listen => &settings.tls,
            Self::Management => &settings.management.tls,
            Self::Operations => &settings.operations_tls,
        }
    }

    /// What it is called in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Listen => ListenerName::Listen.name(),
            Self::Management => ListenerName::Management.name(),
            Self::Operations => "operations",
        }
    }

    /// The protocol that is spoken inside.
    const fn protocol(self) -> &'static [u8] {
        match self {
            Self::Listen | Self::Management => b"h2",
            Self::Operations => b"http/1.1",
        }
    }
}

/// What every listener shows and asks for, in one state of the files.
pub(super) struct Certificates {
    /// In the order of [`Secured::ALL`]; nothing where no TLS is spoken.
    listeners: [Option<Shown>; Secured::ALL.len()],
}

/// What one listener shows and asks for.
#[derive(Clone)]
struct Shown {
    config: Arc<ServerConfig>,
    /// A hash of what the files said. It also covers the key, so it is shown to nobody.
    said: [u8; 32],
    /// When the first certificate of the chain ends, in seconds since 1970.
    ends_at: u64,
}

/// The present certificates, for whoever takes connections.
pub(super) struct Present(RwLock<Arc<Certificates>>);

/// Why the files of a listener cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A setting without what it needs.
    #[error("{0}")]
    Settings(String),
    /// A file cannot be read.
    #[error("`{setting}`: `{}` cannot be read: {cause}", path.display())]
    Unread {
        /// The setting that names it.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// A file holds something else.
    #[error("`{setting}`: `{}` {problem}", path.display())]
    Illegal {
        /// The setting that names it.
        setting: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate and a key that are not each other's.
    #[error("`{setting}`: the key in `{}` is not that of the certificate in `{}`", key.display(), certificate.display())]
    Strangers {
        /// The setting that names the key.
        setting: String,
        /// The file with the key.
        key: PathBuf,
        /// The file with the certificate.
        certificate: PathBuf,
    },
}

impl Certificates {
    /// Reads the files that the settings name. What says the same as in `before` goes on.
    pub(super) fn load(settings: &Settings, before: Option<&Self>) -> Result<Self, Vec<StartError>> {
        let mut errors = Vec::new();
        let mut listeners = Secured::ALL.map(|listener| {
            let shown = shown(listener, listener.of(settings));
            shown.map_err(|error| errors.push(StartError::Tls(error))).ok().flatten()
        });
        if !errors.is_empty() {
            return Err(errors);
        }
        for (now, then) in listeners.iter_mut().zip(before.iter().flat_map(|before| &before.listeners)) {
            if now.as_ref().map(|shown| shown.said) == then.as_ref().map(|shown| shown.said) {
                now.clone_from(then);
            }
        }
        Ok(Self { listeners })
    }

    /// The tables of settings whose files say something else than in `before`.
    pub(super) fn differences<'c>(&'c self, before: &'c Self) -> impl Iterator<Item = &'static str> + use<'c> {
        let pairs = Secured::ALL.into_iter().zip(self.listeners.iter().zip(&before.listeners));
        let said = |shown: &Option<Shown>| shown.as_ref().map(|shown| shown.said);
        pairs.filter(move |(_, (now, then))| said(now) != said(then)).map(|(listener, _)| listener.table())
    }

    fn of(&self, listener: Secured) -> Option<&Shown> {
        let mut all = Secured::ALL.into_iter().zip(&self.listeners);
        all.find(|(one, _)| *one == listener).and_then(|(_, shown)| shown.as_ref())
    }
}

impl Present {
    pub(super) fn new(certificates: &Arc<Certificates>) -> Self {
        Self(RwLock::new(Arc::clone(certificates)))
    }

    /// Every connection from now on is shown these.
    pub(super) fn put(&self, certificates: &Arc<Certificates>) {
        *self.0.write() = Arc::clone(certificates);
    }

    /// What a connection of gRPC by this listener begins with; nothing where no TLS is spoken.
    pub(super) fn acceptor_of(&self, listener: ListenerName) -> Option<TlsAcceptor> {
        match listener {
            ListenerName::Listen => self.acceptor(Secured::Listen),
            ListenerName::Management => self.acceptor(Secured::Management),
            ListenerName::ListenUnix => None,
        }
    }

    /// Every listener, and when what it shows ends, in seconds since 1970; 0 where no TLS is spoken.
    pub(super) fn ends(&self) -> [(&'static str, u64); Secured::ALL.len()] {
        let present = self.0.read();
        Secured::ALL.map(|listener| (listener.name(), present.of(listener).map_or(0, |shown| shown.ends_at)))
    }

    /// What a connection by this listener begins with; nothing where no TLS is spoken.
    pub(super) fn acceptor(&self, listener: Secured) -> Option<TlsAcceptor> {
        self.0.read().of(listener).map(|shown| TlsAcceptor::from(Arc::clone(&shown.config)))
    }
}

/// Why no TLS was agreed on with a client.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotAgreed {
    #[error("it did not begin in time (`limits.arrival_timeout`)")]
    Late,
    #[error("the server ends")]
    Ending,
    #[error("{0}")]
    Failed(io::Error),
}

/// Agrees on TLS with a client, until `most` or the server ends; gives what is left of `most`.
pub(super) async fn shake_hands(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    mut most: Pin<Box<Sleep>>,
    mut stop: watch::Receiver<bool>,
) -> Result<(TlsStream<TcpStream>, Pin<Box<Sleep>>), NotAgreed> {
    let agreed = tokio::select! {
        agreed = acceptor.accept(stream) => agreed.map_err(NotAgreed::Failed)?,
        () = &mut most => return Err(NotAgreed::Late),
        // Nothing was asked on it yet: its client tries another server.
        _ = stop.wait_for(|stop| *stop) => return Err(NotAgreed::Ending),
    };
    Ok((agreed, most))
}

/// The files that the settings name.
pub(super) fn files(settings: &Settings) -> impl Iterator<Item = &Path> {
    Secured::ALL.into_iter().flat_map(|listener| listener.of(settings).files())
}

fn shown(listener: Secured, tls: &ListenerTls) -> Result<Option<Shown>, TlsError> {
    let table = listener.table();
    let Some((certificate, key)) = tls.identity(table).map_err(TlsError::Settings)? else { return Ok(None) };
    let certificate = &Named::read(table, "certificate_file", certificate)?;
    let key = &Named::read(table, "key_file", key)?;
    let authorities = tls.client_ca_file.as_deref();
    let authorities = authorities.map(|path| Named::read(table, "client_ca_file", path)).transpose()?;
    let mut said = Sha256::new_with_prefix([tls.client_certificates as u8]);
    for file in [Some(certificate), Some(key), authorities.as_ref()] {
        said.update(Sha256::digest(file.map_or(&[][..], |file| &file.bytes)));
    }

    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let config = config.map_err(|cause| TlsError::Settings(format!("TLS cannot be set up: {cause}")))?;
    let config = match &authorities {
        None => config.with_no_client_auth(),
        Some(file) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(file.authorities()?), provider);
            let verifier = match tls.client_certificates {
                ClientCertificates::Required => verifier,
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
            };
            config.with_client_cert_verifier(verifier.build().map_err(|cause| file.illegal(cause.to_string()))?)
        }
    };
    let chain = certificate.chain()?;
    let ends_at = chain.iter().filter_map(identity::ends_at).min().unwrap_or_default();
    let shown = config.with_single_cert(chain, key.key()?);
    let mut config = shown.map_err(|cause| match cause {
        rustls::Error::InconsistentKeys(_) => TlsError::Strangers {
            setting: key.setting.clone(),
            key: key.path.clone(),
            certificate: certificate.path.clone(),
        },
        rustls::Error::InvalidCertificate(_) => certificate.illegal(format!("holds no legal certificate: {cause}")),
        cause => key.illegal(format!("holds a private key that cannot be used: {cause}")),
    })?;
    config.alpn_protocols = vec![listener.protocol().to_vec()];
    // Nobody comes back by what was agreed on before: each connection is judged by the authorities and the time of its beginning.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Some(Shown { config: Arc::new(config), said: said.finalize().into(), ends_at }))
}

/// What a file says, and the setting that names it.
struct Named {
    setting: String,
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl Named {
    fn read(table: &str, key: &str, path: &Path) -> Result<Self, TlsError> {
        let setting = format!("{table}.{key}");
        // All at once: what grows leaves copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1_024));
        let read = File::open(path).and_then(|file| file.take(FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes));
        if let Err(cause) = read {
            return Err(TlsError::Unread { setting, path: path.to_owned(), cause });
        }
        let file = Self { setting, path: path.to_owned(), bytes };
        if file.bytes.len() as u64 > FILE_BYTES {
            return Err(file.illegal("is larger than 1 MiB".to_owned()));
        }
        Ok(file)
    }

    fn illegal(&self, problem: String) -> TlsError {
        TlsError::Illegal { setting: self.setting.clone(), path: self.path.clone(), problem }
    }

    fn no_pem(&self, cause: &pem::Error) -> TlsError {
        self.illegal(match cause {
            pem::Error::MissingSectionEnd { .. } => "ends in the middle of what it holds: is it whole?".to_owned(),
            cause => format!("is not PEM: {cause}"),
        })
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        let chain = found.map_err(|cause| self.no_pem(&cause))?;
        if chain.is_empty() { Err(self.illegal("holds no certificate".to_owned())) } else { Ok(chain) }
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.bytes).map_err(|cause| match cause {
            pem::Error::NoItemsFound => {
                self.illegal("holds no private key: it must be one in PEM, without a passphrase".to_owned())
            }
            cause => self.no_pem(&cause),
        })
    }

    fn authorities(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in self.chain()? {
            roots.add(authority).map_err(|cause| self.illegal(format!("holds no legal certificate: {cause}")))?;
        }
        Ok(roots)
    }
}
