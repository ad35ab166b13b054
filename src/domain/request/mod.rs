//! What a proxy or a gateway saw of a request, in canonical form. One function makes it, and whatever decides afterwards takes
//! only the result: method, path, query and headers have one meaning here, for us and for whoever reads them next.

mod host;
mod path;
mod query;

pub use host::{Host, HostError};
pub use path::{CanonicalPath, PathError};
pub use query::{CanonicalQuery, QueryError};

use super::{
    id::{AccountId, InvalidId},
    realm::{Matched, ParameterSource, Realm},
};
use std::borrow::Cow;

/// Bytes of an HTTP method, at most.
pub const METHOD_BYTES: usize = 32;

/// A request as a proxy tells it. Nothing of it was checked.
#[derive(Debug)]
pub struct ProxiedRequest<'r, H> {
    /// The method.
    pub method: &'r str,
    /// The authority: host, and port if there is one.
    pub host: &'r str,
    /// Path and query, byte by byte.
    pub target: &'r [u8],
    /// Name and value of each header line.
    pub headers: H,
}

/// A request in canonical form.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CanonicalRequest<'r> {
    line: Option<RequestLine<'r>>,
    headers: Vec<(&'r str, &'r str)>,
}

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestLine<'r> {
    method: &'r str,
    path: CanonicalPath<'r>,
    query: CanonicalQuery<'r>,
}

/// Why a request has no canonical form: says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The method.
    #[error("the method must be 1 to 32 of `A-Z`")]
    Method,
    /// The host.
    #[error("the host {0}")]
    Host(#[from] HostError),
    /// The path.
    #[error("the path {0}")]
    Path(#[from] PathError),
    /// A header that decides is not text.
    #[error("the header `{0}` must be visible ASCII")]
    HeaderValue(String),
    /// A header that could be taken for one that keygate sets or reads.
    #[error("no header may look like `{0}`: with `_` for `-`, or `-bin` at its end")]
    Twin(String),
}

/// Why the account that a request acts on cannot be told: says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// There, and not an account.
    #[error("must be {0}")]
    Account(#[from] InvalidId),
    /// The query has no single meaning.
    #[error("{0}")]
    Query(#[from] QueryError),
    /// The header is there twice.
    #[error("must be one header, given once, without a comma")]
    Header,
}

impl<'r> CanonicalRequest<'r> {
    /// A request that a service tells of itself: with a method, path and query or without, and with the headers that it
    /// chooses to show.
    ///
    /// # Errors
    /// When method or path are not canonical.
    pub fn told(asked: Option<(&'r str, &'r str)>, headers: Vec<(&'r str, &'r str)>) -> Result<Self, RequestError> {
        let line = asked.map(|(method, target)| RequestLine::new(method, target)).transpose()?;
        Ok(Self { line, headers })
    }

    /// The headers of a request of which nothing else is known.
    #[must_use]
    pub fn headers_alone(headers: Vec<(&'r str, &'r str)>) -> Self {
        Self { line: None, headers }
    }

    /// A request that a proxy tells, for a realm: of its headers only those stay that the realm's rules read.
    ///
    /// # Errors
    /// When any part of it could mean one thing to keygate and another one to whoever gets the request next.
    pub fn proxied<'v: 'r>(
        request: ProxiedRequest<'r, impl IntoIterator<Item = (&'r str, &'v [u8])>>,
        realm: &Realm,
    ) -> Result<Self, RequestError> {
        Host::new(request.host)?;
        let target = std::str::from_utf8(request.target).map_err(|_| PathError::Characters)?;
        if target.contains('#') {
            return Err(PathError::Fragment.into());
        }
        let line = RequestLine::new(request.method, target)?;
        let mut headers = Vec::with_capacity(realm.credentials.len());
        for (name, value) in request.headers {
            let Some((known, role)) = realm.heeds(name) else { continue };
            if role != HeaderRole::Credential && !name.eq_ignore_ascii_case(known) {
                return Err(RequestError::Twin(known.to_owned()));
            }
            // A forged identity is removed on the way, so what it says is nobody's business.
            if role == HeaderRole::Identity {
                continue;
            }
            let visible = |b: &u8| b.is_ascii_graphic() || matches!(b, b' ' | b'\t');
            let text = std::str::from_utf8(value).ok().filter(|_| value.iter().all(visible));
            headers.push((name, text.ok_or_else(|| RequestError::HeaderValue(known.to_owned()))?));
        }
        Ok(Self { line: Some(line), headers })
    }

    /// What it asks for, if that is told.
    #[must_use]
    pub fn line(&self) -> Option<&RequestLine<'r>> {
        self.line.as_ref()
    }

    /// The headers that may decide.
    pub fn headers(&self) -> impl Iterator<Item = (&'r str, &'r str)> {
        self.headers.iter().copied()
    }

    /// The account that the request acts on, where its operation says how it is named and it is named.
    ///
    /// # Errors
    /// When it is named in a way that not everyone reads alike.
    pub fn account(&self, matched: &Matched<'_, '_>) -> Result<Option<AccountId>, ParameterError> {
        self.named(matched.operation.account.as_ref(), matched.account)
    }

    /// The organization that it acts within, likewise.
    ///
    /// # Errors
    /// As for the account.
    pub fn organization(&self, matched: &Matched<'_, '_>) -> Result<Option<AccountId>, ParameterError> {
        self.named(matched.operation.organization.as_ref(), matched.organization)
    }

    fn named(
        &self,
        source: Option<&ParameterSource>,
        captured: Option<&str>,
    ) -> Result<Option<AccountId>, ParameterError> {
        let text = match source {
            None => None,
            Some(ParameterSource::Path(_)) => captured.map(Cow::Borrowed),
            Some(ParameterSource::Query(name)) => match &self.line {
                Some(line) => line.query.parameter(name)?,
                None => None,
            },
            Some(ParameterSource::Header(name)) => self.header(name)?.map(Cow::Borrowed),
        };
        Ok(text.map(|text| AccountId::new(&text)).transpose()?)
    }

    /// What stands in a header that may be there once.
    ///
    /// # Errors
    /// When it is there twice, or in a form that not everyone reads alike.
    pub fn header(&self, wanted: &str) -> Result<Option<&'r str>, ParameterError> {
        let mut found = None;
        for (name, value) in self.headers().filter(|(name, _)| is_or_mimics(name, wanted)) {
            if found.is_some() || value.contains(',') || !name.eq_ignore_ascii_case(wanted) {
                return Err(ParameterError::Header);
            }
            found = Some(value.trim_matches([' ', '\t']));
        }
        Ok(found)
    }
}

impl<'r> RequestLine<'r> {
    fn new(method: &'r str, target: &'r str) -> Result<Self, RequestError> {
        if !(1..=METHOD_BYTES).contains(&method.len()) || !method.bytes().all(|b| b.is_ascii_uppercase()) {
            return Err(RequestError::Method);
        }
        let (path, query) = CanonicalPath::split(target)?;
        Ok(Self { method, path, query })
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &'r str {
        self.method
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &CanonicalPath<'r> {
        &self.path
    }
}

/// What a realm's rules know a header as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeaderRole {
    /// It may carry the credential.
    Credential,
    /// It names what the request acts on.
    Parameter,
    /// It tells the upstream who is calling: keygate alone may set it.
    Identity,
}

/// The header itself, or a name that some proxy or framework would take for it: `_` for `-`, or gRPC's binary twin.
pub(super) fn is_or_mimics(name: &str, header: &str) -> bool {
    // Every header of every request is compared with every name that matters: nearly all differ in length.
    let longer = name.len().checked_sub(header.len());
    if !matches!(longer, Some(0 | 4)) {
        return false;
    }
    let name = name.as_bytes();
    let same = |name: &[u8]| {
        let alike = |a: u8, b: u8| a.eq_ignore_ascii_case(&b) || (a == b'_' && b == b'-') || (a == b'-' && b == b'_');
        name.len() == header.len() && name.iter().zip(header.bytes()).all(|(a, b)| alike(*a, b))
    };
    let stem = name.len().checked_sub(4).and_then(|at| name.split_at_checked(at));
    same(name) || stem.is_some_and(|(stem, end)| end.eq_ignore_ascii_case(b"-bin") && same(stem))
}
