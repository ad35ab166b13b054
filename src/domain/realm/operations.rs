//! Operations: named classes of requests, matched by method and path template or by gRPC method.

use crate::domain::id::Scope;
use matchit::{InsertError, Router};
use std::{collections::HashMap, fmt, sync::Arc};

/// A named class of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name.
    pub name: Arc<str>,
    /// Scopes that a key needs, all of them.
    pub scopes: Vec<Scope>,
    /// The capture of the path that names the account acted on.
    pub account_capture: Option<String>,
}

/// The operations of a realm.
#[derive(Default)]
pub struct Operations {
    list: Vec<Operation>,
    by_method: HashMap<String, Router<usize>>,
    any_method: Router<usize>,
    fallback: Option<usize>,
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Operations").field("list", &self.list).field("fallback", &self.fallback).finish_non_exhaustive()
    }
}

/// Why a route is not legal: says what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Not of the form `METHOD /path`.
    #[error("must be `METHOD /path`, with `*` for any method, `{{name}}` for one segment and `{{*name}}` for the rest")]
    Form,
    /// The path is not a legal template.
    #[error("must hold at most one `{{name}}` in a segment, and `{{*name}}` only at the end")]
    Template,
    /// Some request would match this route and another one alike.
    #[error("clashes with the route `{0}`: one request must never match two routes alike")]
    Clash(String),
}

/// What a request matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched<'o, 'p> {
    /// Index of the operation.
    pub index: usize,
    /// The operation.
    pub operation: &'o Operation,
    /// The account that the path names, if the operation captures one.
    pub account: Option<&'p str>,
}

impl Operations {
    /// Adds an operation and gives its index. With `fallback`, it takes every request that no route matches.
    pub fn add(&mut self, operation: Operation, fallback: bool) -> usize {
        let index = self.list.len();
        self.list.push(operation);
        if fallback {
            self.fallback = Some(index);
        }
        index
    }

    /// Adds a route, `METHOD /path/{capture}`, to an operation.
    ///
    /// # Errors
    /// When the route is not of that form, or clashes with one that was added before.
    pub fn route(&mut self, index: usize, route: &str) -> Result<(), RouteError> {
        let (method, path) = route.split_once(' ').ok_or(RouteError::Form)?;
        let legal_method = method == "*" || (!method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase()));
        let legal_path = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#');
        if !legal_method || !legal_path {
            return Err(RouteError::Form);
        }
        let router = match method {
            "*" => &mut self.any_method,
            method => self.by_method.entry(method.to_owned()).or_default(),
        };
        router.insert(path, index).map_err(|error| match error {
            InsertError::Conflict { with } => RouteError::Clash(with),
            _ => RouteError::Template,
        })
    }

    /// The operation that takes what no route matches.
    #[must_use]
    pub fn fallback(&self) -> Option<(usize, &Operation)> {
        let index = self.fallback?;
        self.list.get(index).map(|operation| (index, operation))
    }

    /// The operation of that name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<(usize, &Operation)> {
        self.list.iter().enumerate().find(|(_, operation)| &*operation.name == name)
    }

    /// All operations.
    #[must_use]
    pub fn list(&self) -> &[Operation] {
        &self.list
    }

    /// The operation of a request: routes of its very method go before those of any method, then the default one.
    #[must_use]
    pub fn matched<'p>(&self, method: &str, path: &CanonicalPath<'p>) -> Option<Matched<'_, 'p>> {
        let own = self.by_method.get(method).and_then(|router| router.at(path.0).ok());
        let found = own.or_else(|| self.any_method.at(path.0).ok());
        match found {
            Some(found) => {
                let operation = self.list.get(*found.value)?;
                let account = operation.account_capture.as_deref().and_then(|name| found.params.get(name));
                Some(Matched { index: *found.value, operation, account })
            }
            None => self.fallback().map(|(index, operation)| Matched { index, operation, account: None }),
        }
    }
}

/// The operations that a limit applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationSet {
    /// Every request, also one that names no operation.
    All,
    /// These, by index.
    Only(Vec<usize>),
}

impl OperationSet {
    /// Whether the operation is among them.
    #[must_use]
    pub fn contains(&self, operation: Option<usize>) -> bool {
        match self {
            Self::All => true,
            Self::Only(list) => operation.is_some_and(|index| list.contains(&index)),
        }
    }
}

/// A request path in the one form that is matched: absolute, without a query, and with nothing that two readers could
/// understand differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalPath<'p>(&'p str);

/// Why a path is refused: says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Does not begin with a slash.
    #[error("must begin with `/`")]
    Relative,
    /// Too long.
    #[error("must be at most 4,096 bytes")]
    Length,
    /// Holds something besides printable ASCII.
    #[error("must be printable ASCII; percent-encode anything else")]
    Characters,
    /// Can be understood in two ways.
    #[error(
        "must be in canonical form: no `.` or `..` segment, no empty segment, no backslash, and no percent-encoded `/`, `\\`, `.` or control character"
    )]
    Ambiguous,
}

impl<'p> CanonicalPath<'p> {
    const MAX_BYTES: usize = 4_096;

    /// Checks a path and cuts off its query.
    ///
    /// # Errors
    /// When the path is not canonical.
    pub fn new(path: &'p str) -> Result<Self, PathError> {
        if path.len() > Self::MAX_BYTES {
            return Err(PathError::Length);
        }
        if !path.starts_with('/') {
            return Err(PathError::Relative);
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(PathError::Characters);
        }
        let path = path.split_once(['?', '#']).map_or(path, |(path, _)| path);
        let mut segments = path.split('/').skip(1).peekable();
        while let Some(segment) = segments.next() {
            // A slash at the very end makes one empty segment, and only there is it legal.
            let empty = segment.is_empty() && segments.peek().is_some();
            if empty || segment == "." || segment == ".." || segment.contains('\\') || !escapes_are_plain(segment) {
                return Err(PathError::Ambiguous);
            }
        }
        Ok(Self(path))
    }

    /// The path without its query.
    #[must_use]
    pub fn as_str(&self) -> &'p str {
        self.0
    }
}

/// Every `%` begins a whole escape, of a byte that means nothing to whoever splits or resolves paths.
fn escapes_are_plain(segment: &str) -> bool {
    segment.split('%').skip(1).all(|rest| {
        let value = rest.get(..2).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
        let byte = value.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        byte.is_some_and(|b| !b.is_ascii_control() && !b"/\\.%".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(name: &str) -> Operation {
        Operation { name: Arc::from(name), scopes: Vec::new(), account_capture: Some("account".to_owned()) }
    }

    #[test]
    fn the_very_method_goes_before_any_method_and_the_default_comes_last() {
        let mut operations = Operations::default();
        let (read, write, rest) = (
            operations.add(operation("read"), false),
            operations.add(operation("write"), false),
            operations.add(operation("rest"), true),
        );
        operations.route(read, "GET /v1/accounts/{account}/leads").unwrap();
        operations.route(write, "* /v1/accounts/{account}/{*path}").unwrap();
        let at = |method: &str, path: &'static str| {
            operations.matched(method, &CanonicalPath::new(path).unwrap()).map(|m| (m.index, m.account))
        };
        assert_eq!(at("GET", "/v1/accounts/a1/leads?limit=3"), Some((read, Some("a1"))));
        assert_eq!(at("POST", "/v1/accounts/a1/leads"), Some((write, Some("a1"))));
        assert_eq!(at("POST", "/elsewhere"), Some((rest, None)));
    }

    #[test]
    fn routes_of_a_wrong_form_are_refused() {
        let mut operations = Operations::default();
        let index = operations.add(operation("x"), false);
        for route in ["GET", "get /x", "GET x", " /x", "GET /x?y", "GET /{*all}/more", "GET /{}"] {
            assert!(operations.route(index, route).is_err(), "{route}");
        }
        operations.route(index, "GET /{a}").unwrap();
        assert!(operations.route(index, "GET /{b}").is_err());
    }

    #[test]
    fn paths_that_two_readers_could_understand_differently_are_refused() {
        for path in ["/", "/v1", "/v1/", "/v1/a%20b", "/pkg.Service/Method", "/a/b?c=/../d"] {
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
            "/a%zz",
            "/a%252f",
            "/ä",
            "/a b",
        ] {
            assert!(CanonicalPath::new(path).is_err(), "{path}");
        }
    }
}
