//! Why a connection by TLS failed, as far as it says what to do.

use super::ConnectError;
use rustls::{CertificateError, Error};

/// What is wrong with whoever was connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nobody who is trusted signed their certificate.
    Issuer,
    /// Their certificate is for another name.
    Name,
    /// Their certificate is no longer valid, or not yet.
    Time,
    /// They do not speak TLS.
    NoTls,
    /// Anything else.
    Other,
}

impl ConnectError {
    /// What is wrong with whoever was connected to.
    #[must_use]
    pub fn flaw(&self) -> Flaw {
        let Self::Untrusted(error) = self else { return Flaw::Other };
        match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(Error::InvalidCertificate(error)) => match error {
                CertificateError::UnknownIssuer => Flaw::Issuer,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Flaw::Name,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Flaw::Time,
                _ => Flaw::Other,
            },
            Some(Error::InvalidMessage(_)) => Flaw::NoTls,
            _ => Flaw::Other,
        }
    }
}
