//! Whom a client's certificate names. That somebody trusted says so is judged elsewhere, before anything here is asked.

use super::time::Timestamp;
use std::{fmt, sync::Arc};

/// The name in a certificate: a SPIFFE id, or else its subject as text (RFC 4514).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CertificateName(Arc<str>);

/// A certificate that a client showed, and that one of the server's authorities signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Whom it names.
    pub name: CertificateName,
    /// From when on it says nothing any more.
    pub ends_at: Timestamp,
}

const SPIFFE: &str = "spiffe://";
/// Bytes of a name, at most: as many as a SPIFFE id may have.
const LONGEST: usize = 2_048;
/// Bytes of a trust domain, at most.
const LONGEST_DOMAIN: usize = 255;

impl CertificateName {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "a SPIFFE id such as \"spiffe://example.org/ns/ops/sa/deploy\", or a subject such as \
                                       \"CN=deploy,O=Example\" (RFC 4514, as `openssl x509 -noout -subject -nameopt RFC2253` writes it)";

    /// Checks a name. A SPIFFE id is legal as the specification of SPIFFE ids (section 2) says: a trust domain, then segments of a
    /// path, nothing else that a URI may have.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let legal = text.len() <= LONGEST
            && match text.strip_prefix(SPIFFE) {
                Some(rest) => is_spiffe(rest),
                None => text.contains('=') && !text.contains("://") && !text.chars().any(char::is_control),
            };
        legal.then(|| Self(text.into()))
    }

    /// The name of a certificate with these URIs and this subject: one SPIFFE id, or where there is no URI at all, the subject. A
    /// certificate that names more than one, or something else, names nobody.
    #[must_use]
    pub fn of<'a>(mut uris: impl Iterator<Item = &'a str>, subject: &str) -> Option<Self> {
        match (uris.next(), uris.next()) {
            (None, _) => Self::new(subject).filter(|name| !name.is_spiffe()),
            (Some(uri), None) => Self::new(uri).filter(Self::is_spiffe),
            (Some(_), Some(_)) => None,
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_spiffe(&self) -> bool {
        self.0.starts_with(SPIFFE)
    }
}

impl fmt::Display for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CertificateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

fn is_spiffe(rest: &str) -> bool {
    let of = |text: &str, more: &str, upper: bool| {
        let legal = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || upper && byte.is_ascii_uppercase()
                || more.as_bytes().contains(&byte)
        };
        !text.is_empty() && text.bytes().all(legal)
    };
    let mut parts = rest.split('/');
    let domain = parts.next().is_some_and(|domain| domain.len() <= LONGEST_DOMAIN && of(domain, "-._", false));
    domain && parts.all(|segment| of(segment, "-._", true) && segment != "." && segment != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_spiffe_id_or_a_subject() {
        let long = format!("spiffe://example.org/{}", "a".repeat(2_048));
        let wide = format!("spiffe://{}/a", "a".repeat(256));
        for legal in
            ["spiffe://example.org/ns/ops/sa/Deploy_1", "spiffe://example.org", "CN=deploy", "CN=a\\,b,O=Example"]
        {
            assert_eq!(CertificateName::new(legal).unwrap().as_str(), legal);
        }
        for illegal in [
            "",
            "deploy",
            "spiffe://",
            "spiffe:///a",
            "spiffe://Example.org/a",
            "spiffe://example.org/",
            "spiffe://example.org//a",
            "spiffe://example.org/a/",
            "spiffe://example.org/../a",
            "spiffe://example.org:443/a",
            "spiffe://user@example.org/a",
            "spiffe://example.org/a?x=1",
            "spiffe://example.org/a#b",
            "spiffe://example.org/a%41",
            "spiffe://example.org/\u{e4}",
            "https://example.org/?a=b",
            "CN=a\nO=b",
            &long,
            &wide,
        ] {
            assert_eq!(CertificateName::new(illegal), None, "{illegal}");
        }
    }

    #[test]
    fn a_certificate_names_one_or_nobody() {
        let name =
            |uris: &[&str], subject| CertificateName::of(uris.iter().copied(), subject).map(|name| name.to_string());
        assert_eq!(name(&["spiffe://a/b"], "CN=c").as_deref(), Some("spiffe://a/b"));
        assert_eq!(name(&[], "CN=c").as_deref(), Some("CN=c"));
        // Not the subject of one that names itself otherwise, and never a subject that reads like an id.
        assert_eq!(name(&["https://a/b"], "CN=c"), None);
        assert_eq!(name(&["spiffe://a/b", "spiffe://a/c"], "CN=c"), None);
        assert_eq!(name(&["spiffe://a/b", "https://a/c"], "CN=c"), None);
        assert_eq!(name(&[], ""), None);
        assert_eq!(name(&[], "spiffe://a/b"), None);
    }
}
