//! Operations: named classes of requests, matched by method and path template or by gRPC method.

use crate::domain::{credential::Accepts, id::Scope, request::RequestLine};
use matchit::{InsertError, Match, Router};
use std::{collections::HashMap, fmt, sync::Arc};

/// A named class of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its name.
    pub name: Arc<str>,
    /// Scopes that a key needs, all of them.
    pub scopes: Vec<Scope>,
    /// Where a request names the account acted on.
    pub account: Option<ParameterSource>,
    /// Where it names the organization acted within.
    pub organization: Option<ParameterSource>,
    /// What may be presented for it, of what the realm takes.
    pub accepts: Accepts,
    /// Passes without a credential.
    pub public: bool,
}

/// Where a request names something that it acts on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParameterSource {
    /// What stands in braces in the route.
    Path(String),
    /// A parameter of the query.
    Query(String),
    /// A header, in lower case.
    Header(String),
}

/// The operations of a realm.
#[derive(Default)]
pub struct Operations {
    list: Vec<Operation>,
    routes: Routes,
    /// The routes as a lenient server reads them.
    lenient: Routes,
    /// Whether they are written otherwise than the routes.
    differ: bool,
    /// Whether two of the routes are one to a lenient server, and lead to two operations: whoever wrote them has a strict one.
    strict: bool,
    fallback: Option<usize>,
    /// Headers that name what requests act on, each once.
    headers: Vec<String>,
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
    #[error(
        "must be `METHOD /path` without a slash at the end, with `*` for any method, `{{name}}` for one segment and `{{*name}}` for the rest"
    )]
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
    /// The organization that it names, likewise.
    pub organization: Option<&'p str>,
}

impl Operations {
    /// Adds an operation and gives its index. With `fallback`, it takes every request that no route matches.
    pub fn add(&mut self, operation: Operation, fallback: bool) -> usize {
        let index = self.list.len();
        for source in [&operation.account, &operation.organization].into_iter().flatten() {
            if let ParameterSource::Header(name) = source
                && !self.headers.contains(name)
            {
                self.headers.push(name.clone());
            }
        }
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
        if !legal_method || !legal_path || (path.len() > 1 && path.ends_with('/')) {
            return Err(RouteError::Form);
        }
        self.routes.insert(method, path, index).map_err(|error| match error {
            InsertError::Conflict { with } => RouteError::Clash(with),
            _ => RouteError::Template,
        })?;
        let lenient = leniently(path, true);
        self.differ |= lenient != path;
        let clashes = self.lenient.insert(method, &lenient, index).is_err();
        self.strict |= clashes && self.lenient.at(method, &lenient).is_none_or(|other| *other.value != index);
        Ok(())
    }

    /// The operation that takes what no route matches.
    #[must_use]
    pub fn fallback(&self) -> Option<(usize, &Operation)> {
        let index = self.fallback?;
        self.list.get(index).map(|operation| (index, operation))
    }

    /// The headers that name what requests act on, in lower case.
    pub fn headers(&self) -> impl Iterator<Item = &str> {
        self.headers.iter().map(String::as_str)
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

    /// The operation of a request: routes of its very method go before those of any method, then the default one. A request
    /// that a server could take for another one matches nothing.
    #[must_use]
    pub fn matched<'p>(&self, line: &'p RequestLine<'_>) -> Option<Matched<'_, 'p>> {
        let path = line.path().as_str();
        let found = self.routed(&self.routes, line.method(), path);
        let odd = || self.differ || path.bytes().any(|b| b.is_ascii_uppercase() || b == b';' || !b.is_ascii());
        if !self.strict && odd() {
            let path = leniently(path, false);
            let other = self.routed(&self.lenient, line.method(), &path);
            let alike = match (&found, &other) {
                (Some(found), Some(other)) => found.is_alike(other),
                (found, other) => found.is_none() && other.is_none(),
            };
            if !alike {
                return None;
            }
        }
        found.or_else(|| self.fallback().map(|(index, operation)| Matched::new(index, operation)))
    }

    fn routed<'p>(&self, routes: &Routes, method: &str, path: &'p str) -> Option<Matched<'_, 'p>> {
        let found = routes.at(method, path)?;
        let operation = self.list.get(*found.value)?;
        let captured = |source: Option<&ParameterSource>| match source {
            Some(ParameterSource::Path(name)) => found.params.get(name),
            _ => None,
        };
        let (account, organization) = (captured(operation.account.as_ref()), captured(operation.organization.as_ref()));
        Some(Matched { index: *found.value, operation, account, organization })
    }
}

/// Paths, by method, and the index of what each leads to.
#[derive(Default)]
struct Routes {
    by_method: HashMap<String, Router<usize>>,
    any_method: Router<usize>,
}

impl Routes {
    fn insert(&mut self, method: &str, path: &str, index: usize) -> Result<(), InsertError> {
        let router = match method {
            "*" => &mut self.any_method,
            method => self.by_method.entry(method.to_owned()).or_default(),
        };
        router.insert(path, index)
    }

    fn at<'r, 'p>(&'r self, method: &str, path: &'p str) -> Option<Match<'r, 'p, &'r usize>> {
        let own = self.by_method.get(method).and_then(|router| router.at(path).ok());
        own.or_else(|| self.any_method.at(path).ok())
    }
}

/// A path as a server reads it that ignores case, and takes what follows a `;` for a parameter of the segment. The names of a
/// template's captures stay.
fn leniently(path: &str, is_template: bool) -> String {
    let (mut out, mut in_name, mut in_parameter) = (String::with_capacity(path.len()), false, false);
    for c in path.chars() {
        in_name = is_template && c != '}' && (in_name || c == '{');
        in_parameter = !in_name && c != '/' && (in_parameter || c == ';');
        match (in_name, in_parameter) {
            (true, _) => out.push(c),
            (false, true) => {}
            // Both ways, since some letters have no other case but are one: the sign for Kelvin is `k`, a long s is `S`.
            (false, false) => out.extend(c.to_uppercase().flat_map(char::to_lowercase)),
        }
    }
    out
}

impl<'o> Matched<'o, '_> {
    /// An operation that was not found by its path.
    #[must_use]
    pub fn new(index: usize, operation: &'o Operation) -> Self {
        Self { index, operation, account: None, organization: None }
    }

    /// Whether both mean the same, but for case.
    fn is_alike(&self, other: &Matched<'_, '_>) -> bool {
        let alike = |one: Option<&str>, other: Option<&str>| match (one, other) {
            (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
            (one, other) => one == other,
        };
        let same = self.index == other.index;
        same && alike(self.account, other.account) && alike(self.organization, other.organization)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::request::CanonicalRequest;

    fn operation(name: &str) -> Operation {
        let account = Some(ParameterSource::Path("account".to_owned()));
        Operation {
            name: Arc::from(name),
            scopes: Vec::new(),
            account,
            organization: None,
            accepts: Accepts::BOTH,
            public: false,
        }
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
            let request = CanonicalRequest::told(Some((method, path)), Vec::new()).unwrap();
            operations.matched(request.line().unwrap()).map(|m| (m.index, m.account.map(str::to_owned)))
        };
        assert_eq!(at("GET", "/v1/accounts/a1/leads?limit=3"), Some((read, Some("a1".to_owned()))));
        assert_eq!(at("POST", "/v1/accounts/a%401/leads"), Some((write, Some("a@1".to_owned()))));
        assert_eq!(at("POST", "/elsewhere"), Some((rest, None)));
    }

    #[test]
    fn what_a_lenient_server_takes_for_another_request_matches_nothing() {
        let mut operations = Operations::default();
        let leads = operations.add(operation("leads"), false);
        let rest = operations.add(operation("rest"), true);
        operations.route(leads, "POST /v1/accounts/{account}/Leads").unwrap();
        operations.route(rest, "* /v1/accounts/{account}/{*path}").unwrap();
        let at = |operations: &Operations, method: &str, path: &'static str| {
            let request = CanonicalRequest::told(Some((method, path)), Vec::new()).unwrap();
            operations.matched(request.line().unwrap()).map(|m| (m.index, m.account.map(str::to_owned)))
        };
        let account = |name: &str| Some(name.to_owned());
        for (method, path, found) in [
            ("POST", "/v1/accounts/A1/Leads", Some((leads, account("A1")))),
            ("POST", "/v1/accounts/a1/Other;x=1/Y", Some((rest, account("a1")))),
            ("GET", "/Elsewhere;x", Some((rest, None))),
            ("POST", "/v1/accounts/a1/leads", None),
            ("POST", "/v1/accounts/a1/LEADS", None),
            ("POST", "/v1/accounts/a1/Leads;x", None),
            ("GET", "/V1/accounts/a1/x", None),
            ("GET", "/v1/accounts;x/a1/x", None),
            ("GET", "/v1/account%C5%BF/a1/x", None),
            ("GET", "/v1/accounts/a1/%C5%BF", Some((rest, account("a1")))),
            ("GET", "/v1/accounts/a1;x/x", None),
        ] {
            assert_eq!(at(&operations, method, path), found, "{method} {path}");
        }
        // Both spellings in one operation: the server behind is lenient, and its other spellings are still refused.
        operations.route(leads, "POST /v1/accounts/{account}/leads").unwrap();
        assert_eq!(at(&operations, "POST", "/v1/accounts/a1/leads"), Some((leads, account("a1"))));
        assert_eq!(at(&operations, "POST", "/v1/accounts/a1/LEADS"), None);
        // Two operations whose routes differ in nothing else: it is strict.
        operations.route(rest, "POST /v1/accounts/{account}/LEADs").unwrap();
        assert_eq!(at(&operations, "POST", "/v1/accounts/a1/LEADS"), Some((rest, account("a1"))));
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
}
