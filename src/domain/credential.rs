//! Headers in, exactly one credential out, or why not. Never "the first one wins".

use super::{deny::DenyReason, request::is_or_mimics};

/// A place where a realm's requests may carry the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSource {
    /// The header's name, in lower case.
    pub header: String,
    /// The authentication scheme before the key, such as `Bearer`; absent: the value is the key.
    pub scheme: Option<String>,
}

/// Takes the one credential from a request's headers.
///
/// # Errors
/// The reason of the denial: no credential, more than one in whatever disguise, or one in a wrong form.
pub fn extract<'h>(
    sources: &[CredentialSource],
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
) -> Result<&'h str, DenyReason> {
    let mut found: Option<(&CredentialSource, &str)> = None;
    for (name, value) in headers {
        let Some(source) = sources.iter().find(|source| is_or_mimics(name, &source.header)) else { continue };
        let genuine = name.eq_ignore_ascii_case(&source.header);
        if !genuine || found.is_some() {
            return Err(DenyReason::AmbiguousCredential);
        }
        found = Some((source, value));
    }
    let (source, value) = found.ok_or(DenyReason::MissingCredential)?;
    let value = value.trim_matches([' ', '\t']);
    if value.is_empty() {
        return Err(DenyReason::MissingCredential);
    }
    if value.contains(',') {
        return Err(DenyReason::AmbiguousCredential);
    }
    let Some(scheme) = &source.scheme else { return Ok(value) };
    let (given, key) = value.split_once(' ').unwrap_or((value, ""));
    if !given.eq_ignore_ascii_case(scheme) {
        return Err(DenyReason::MalformedKey);
    }
    let key = key.trim_start_matches(' ');
    if key.is_empty() { Err(DenyReason::MissingCredential) } else { Ok(key) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DenyReason::{AmbiguousCredential, MalformedKey, MissingCredential};

    fn sources() -> Vec<CredentialSource> {
        vec![
            CredentialSource { header: "x-partner-key".to_owned(), scheme: None },
            CredentialSource { header: "authorization".to_owned(), scheme: Some("Bearer".to_owned()) },
        ]
    }

    #[test]
    fn exactly_one_legal_form_is_taken() {
        let take = |headers: &[(&'static str, &'static str)]| extract(&sources(), headers.iter().copied());
        assert_eq!(take(&[("X-Partner-Key", " pk ")]), Ok("pk"));
        assert_eq!(take(&[("accept", "*/*"), ("AUTHORIZATION", "bearer  pk")]), Ok("pk"));
        assert_eq!(take(&[]), Err(MissingCredential));
        assert_eq!(take(&[("x-partner-key", " ")]), Err(MissingCredential));
        assert_eq!(take(&[("authorization", "Bearer ")]), Err(MissingCredential));
        assert_eq!(take(&[("authorization", "Basic cGs=")]), Err(MalformedKey));
        assert_eq!(take(&[("x-partner-key", "pk"), ("authorization", "Bearer pk")]), Err(AmbiguousCredential));
        assert_eq!(take(&[("x-partner-key", "pk"), ("X-PARTNER-KEY", "pk")]), Err(AmbiguousCredential));
        assert_eq!(take(&[("x-partner-key", "pk"), ("authorization", "")]), Err(AmbiguousCredential));
        assert_eq!(take(&[("x-partner-key", "pk,pk2")]), Err(AmbiguousCredential));
        assert_eq!(take(&[("x_partner_key", "pk")]), Err(AmbiguousCredential));
        assert_eq!(take(&[("x-partner-key-bin", "cGs=")]), Err(AmbiguousCredential));
    }
}
