//! Who connects: a certificate and its private key, for those who ask their clients for one.

use super::endpoint::{EndpointError, Trust, builder};
use rustls::{
    ClientConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{path::Path, sync::Arc};

/// The files of a certificate and of its private key, in PEM.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'p> {
    /// The certificate, and those between it and whoever the others trust.
    pub certificate: &'p Path,
    /// The private key.
    pub key: &'p Path,
}

impl Identity<'_> {
    /// What connects with it.
    pub(super) fn shown(self, trust: Trust<'_>) -> Result<Arc<ClientConfig>, EndpointError> {
        let unread = |cause| EndpointError::Unread { path: self.certificate.to_owned(), cause };
        let found = CertificateDer::pem_file_iter(self.certificate).map_err(unread)?;
        let chain = found.collect::<Result<Vec<_>, _>>().map_err(unread)?;
        if chain.is_empty() {
            return Err(EndpointError::Empty { path: self.certificate.to_owned() });
        }
        let no_key = |cause| EndpointError::NoKey { path: self.key.to_owned(), cause };
        let key = PrivateKeyDer::from_pem_file(self.key).map_err(no_key)?;
        let config = builder(trust)?.with_client_auth_cert(chain, key).map_err(|cause| EndpointError::Identity {
            certificate: self.certificate.to_owned(),
            key: self.key.to_owned(),
            cause,
        })?;
        Ok(Arc::new(config))
    }
}
