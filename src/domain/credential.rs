//! Headers in, exactly one credential out, or why not. Never "the first one wins".

use super::{deny::DenyReason, request::is_or_mimics, secret::SecretRef};

/// A place where a realm's requests may carry the credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialSource {
    /// The header's name, in lower case.
    pub header: String,
    /// The authentication scheme before the key, such as `Bearer`; absent: the value is the key.
    pub scheme: Option<String>,
    /// What it may be.
    pub accepts: Accepts,
}

/// What a credential may be. One of them at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// A key of the realm.
    pub key: bool,
    /// An access token of one of the realm's issuers.
    pub token: bool,
}

impl Accepts {
    /// A key and nothing else.
    pub const KEY: Self = Self { key: true, token: false };
    /// Either.
    pub const BOTH: Self = Self { key: true, token: true };
    /// An access token and nothing else.
    pub const TOKEN: Self = Self { key: false, token: true };
}

/// The one credential of a request.
#[derive(Clone, Copy)]
pub struct Taken<'h> {
    /// Its text.
    pub text: SecretRef<'h>,
    /// What it may be, where it was found.
    pub accepts: Accepts,
}

/// Takes the one credential from a request's headers.
///
/// # Errors
/// The reason of the denial: no credential, more than one in whatever disguise, or one in a wrong form.
pub fn extract<'h>(
    sources: &[CredentialSource],
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
) -> Result<Taken<'h>, DenyReason> {
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
    let taken = |text| Taken { text: SecretRef::new(text), accepts: source.accepts };
    let Some(scheme) = &source.scheme else { return Ok(taken(value)) };
    let (given, key) = value.split_once(' ').unwrap_or((value, ""));
    if !given.eq_ignore_ascii_case(scheme) {
        let only_tokens = !source.accepts.key;
        return Err(if only_tokens { DenyReason::InvalidToken } else { DenyReason::MalformedKey });
    }
    let key = key.trim_start_matches(' ');
    if key.is_empty() { Err(DenyReason::MissingCredential) } else { Ok(taken(key)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DenyReason::{AmbiguousCredential, MalformedKey, MissingCredential};

    fn sources() -> Vec<CredentialSource> {
        vec![
            CredentialSource { header: "x-partner-key".to_owned(), scheme: None, accepts: Accepts::KEY },
            CredentialSource {
                header: "authorization".to_owned(),
                scheme: Some("Bearer".to_owned()),
                accepts: Accepts::KEY,
            },
        ]
    }

    #[test]
    fn exactly_one_legal_form_is_taken() {
        let take = |headers: &[(&'static str, &'static str)]| {
            extract(&sources(), headers.iter().copied()).map(|taken| taken.text.expose())
        };
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
