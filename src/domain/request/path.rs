//! The path of a request in the one form that is matched.

use super::CanonicalQuery;
use std::borrow::Cow;

/// A request path: absolute, decoded, and with nothing that two readers could understand differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalPath<'p>(Cow<'p, str>);

/// Why a path is refused: says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not begin with a slash.
    #[error("must begin with `/`")]
    Relative,
    /// Too long.
    #[error("must be at most 4,096 bytes, and its query at most 65,536")]
    Length,
    /// Holds something besides printable ASCII.
    #[error("must be printable ASCII; percent-encode anything else")]
    Characters,
    /// Carries what only a browser may see.
    #[error("must not carry a fragment, `#…`")]
    Fragment,
    /// Can be understood in two ways.
    #[error(
        "must be in canonical form: no `.` or `..` segment, no empty segment, no backslash, and percent-encoded only what needs it and is UTF-8: no letter, digit, `-`, `.`, `_`, `/`, `\\`, `%` or control character"
    )]
    Ambiguous,
}

impl<'p> CanonicalPath<'p> {
    const MAX_BYTES: usize = 4_096;
    const MAX_QUERY_BYTES: usize = 65_536;

    /// Checks a path and cuts off its query.
    ///
    /// # Errors
    /// When the path is not canonical.
    pub fn new(target: &'p str) -> Result<Self, PathError> {
        Self::split(target).map(|(path, _)| path)
    }

    /// Checks a path and the query that may follow it. A fragment is cut off.
    ///
    /// # Errors
    /// When the path is not canonical, or anything of both is not printable ASCII.
    pub fn split(target: &'p str) -> Result<(Self, CanonicalQuery<'p>), PathError> {
        let target = target.split_once('#').map_or(target, |(target, _)| target);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path.len() > Self::MAX_BYTES || query.len() > Self::MAX_QUERY_BYTES {
            return Err(PathError::Length);
        }
        if !path.starts_with('/') {
            return Err(PathError::Relative);
        }
        if !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(PathError::Characters);
        }
        let path = decoded(path).ok_or(PathError::Ambiguous)?;
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            // A slash at the very end makes one empty segment, and only there is it legal.
            let empty = segment.is_empty() && segments.peek().is_some();
            // Some servers cut parameters off before they resolve dots: `..;x`.
            let stem = segment.split_once(';').map_or(segment, |(stem, _)| stem);
            if empty || stem == "." || stem == ".." || segment.contains('\\') {
                return Err(PathError::Ambiguous);
            }
        }
        Ok((Self(without_last_slash(path)), CanonicalQuery::new(query)))
    }

    /// The path without its query, decoded, and without a slash at its end: for most servers the two are one resource, and a
    /// slash must not lead around a route.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn without_last_slash(path: Cow<'_, str>) -> Cow<'_, str> {
    let cut = |path: &str| path.strip_suffix('/').filter(|rest| !rest.is_empty()).map_or(path.len(), str::len);
    match path {
        Cow::Borrowed(path) => Cow::Borrowed(path.get(..cut(path)).unwrap_or(path)),
        Cow::Owned(mut path) => {
            path.truncate(cut(&path));
            Cow::Owned(path)
        }
    }
}

/// Decodes every escape, once. Nothing when one is broken, hides what has a meaning of its own, or hides for no reason.
fn decoded(path: &str) -> Option<Cow<'_, str>> {
    let Some((plain, mut rest)) = path.split_once('%') else { return Some(Cow::Borrowed(path)) };
    let mut bytes = Vec::with_capacity(path.len());
    bytes.extend_from_slice(plain.as_bytes());
    loop {
        let hex = rest.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?;
        let byte = u8::from_str_radix(hex, 16).ok()?;
        if byte.is_ascii_alphanumeric() || byte.is_ascii_control() || b"/\\.%-_".contains(&byte) {
            return None;
        }
        bytes.push(byte);
        rest = rest.get(2..)?;
        let (plain, next) = rest.split_once('%').map_or((rest, None), |(plain, next)| (plain, Some(next)));
        bytes.extend_from_slice(plain.as_bytes());
        match next {
            Some(next) => rest = next,
            None => return String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_leads_to_the_same_path() {
        let read = |path| CanonicalPath::new(path).unwrap().as_str().to_owned();
        assert_eq!(
            (read("/v1/leads/"), read("/v1/a%20b/"), read("/v1/?a=/")),
            (read("/v1/leads"), read("/v1/a%20b"), read("/v1"))
        );
        assert_eq!(read("/"), "/");
    }

    #[test]
    fn paths_that_two_readers_could_understand_differently_are_refused() {
        for path in ["/", "/v1", "/v1/", "/v1/a%20b", "/pkg.Service/Method", "/a/b?c=/../d", "/a;b=1/c", "/...", "/.a"]
        {
            assert!(CanonicalPath::new(path).is_ok(), "{path}");
        }
        for path in [
            "",
            "v1",
            "//",
            "/a//b",
            "/a/../b",
            "/./a",
            "/a/..",
            "/a%2fb",
            "/a%2Fb",
            "/%2e%2e/b",
            "/a\\b",
            "/a%5cb",
            "/a%00",
            "/a%",
            "/a%2",
            "/a%zz",
            "/a%252f",
            "/ä",
            "/a b",
            "/..;x/b",
            "/a/.;/b",
            "/..%3bx/b",
            "/.%3B/b",
            "/%61dmin",
            "/v1%2d",
            "/a%ff",
            "/a%c0%af",
            "/a%7f",
            "*",
            "http://h/x",
        ] {
            assert!(CanonicalPath::new(path).is_err(), "{path}");
        }
    }

    #[test]
    fn what_may_be_written_in_two_ways_is_read_in_one() {
        let read = |path: &'static str| CanonicalPath::new(path).unwrap().as_str().to_owned();
        assert_eq!(read("/v1/messages%3Abatch"), "/v1/messages:batch");
        assert_eq!(read("/users/a%40b.example?x=%zz"), "/users/a@b.example");
        assert_eq!(read("/caf%C3%A9/%7Ea"), "/café/~a");
    }
}
