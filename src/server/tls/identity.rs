//! Whom the certificate names that a client showed. Its signature was checked by the handshake.

use super::{CertificateDer, TlsStream};
use crate::domain::{
    certificate::{CertificateName, ClientCertificate},
    time::Timestamp,
};
use std::sync::Arc;
use tokio::net::TcpStream;
use x509_cert::{
    Certificate,
    der::Decode,
    ext::pkix::{SubjectAltName, name::GeneralName},
};

/// The certificate of whoever connected; nothing where none was shown, or one that names nobody.
pub(in crate::server) fn of(stream: &TlsStream<TcpStream>) -> Option<Arc<ClientCertificate>> {
    let shown = stream.get_ref().1.peer_certificates()?.first()?;
    read(shown).map(Arc::new)
}

/// When a certificate ends, in seconds since 1970; nothing for one that cannot be read.
pub(super) fn ends_at(shown: &CertificateDer<'_>) -> Option<u64> {
    let certificate = Certificate::from_der(shown).ok()?;
    Some(certificate.tbs_certificate().validity().not_after.to_unix_duration().as_secs())
}

fn read(der: &[u8]) -> Option<ClientCertificate> {
    let certificate = Certificate::from_der(der).ok()?;
    let said = certificate.tbs_certificate();
    let others = said.get_extension::<SubjectAltName>().ok()?;
    let others = others.map(|(_, SubjectAltName(names))| names).unwrap_or_default();
    let uris = others.iter().filter_map(|name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
        _ => None,
    });
    let name = CertificateName::of(uris, &said.subject().to_string())?;
    let ends_at = u64::try_from(said.validity().not_after.to_unix_duration().as_micros()).ok()?;
    Some(ClientCertificate { name, ends_at: Timestamp::from_micros(ends_at) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType, date_time_ymd};

    fn made(subject: &[(DnType, &str)], others: Vec<SanType>) -> Option<ClientCertificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, text) in subject {
            params.distinguished_name.push(kind.clone(), *text);
        }
        params.subject_alt_names = others;
        params.not_after = date_time_ymd(2031, 2, 3);
        read(params.self_signed(&KeyPair::generate().unwrap()).unwrap().der())
    }

    fn uri(text: &str) -> SanType {
        SanType::URI(text.try_into().unwrap())
    }

    #[test]
    fn a_certificate_is_named_by_its_spiffe_id_or_its_subject() {
        let name = |subject: &[(DnType, &str)], others| made(subject, others).map(|found| found.name.to_string());
        let dns = || SanType::DnsName("deploy.example".try_into().unwrap());
        let person = [(DnType::OrganizationName, "Example"), (DnType::CommonName, "deploy")];
        assert_eq!(name(&person, vec![dns()]).as_deref(), Some("CN=deploy,O=Example"));
        assert_eq!(name(&person, vec![]).as_deref(), Some("CN=deploy,O=Example"));
        assert_eq!(
            name(&person, vec![dns(), uri("spiffe://example.org/a")]).as_deref(),
            Some("spiffe://example.org/a")
        );
        assert_eq!(name(&person, vec![uri("spiffe://example.org/a"), uri("spiffe://example.org/b")]), None);
        assert_eq!(name(&person, vec![uri("https://example.org/a")]), None);
        assert_eq!(name(&[], vec![dns()]), None);
        // A comma in a part begins no new part.
        let sly = [(DnType::CommonName, "deploy,O=Example")];
        assert_eq!(name(&sly, vec![]).as_deref(), Some("CN=deploy\\,O=Example"));
    }

    #[test]
    fn it_says_until_when_it_is_good_and_what_is_no_certificate_says_nothing() {
        let found = made(&[(DnType::CommonName, "deploy")], vec![]).unwrap();
        assert_eq!(found.ends_at, Timestamp::from_micros(1_927_843_200_000_000));
        assert_eq!(read(b"no certificate"), None);
        assert_eq!(read(&[]), None);
    }
}
