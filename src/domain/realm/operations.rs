//! Operations: named classes of requests, matched by method and path template or by gRPC method.

use crate::domain::{id::Scope, request::RequestLine};
use matchit::{InsertError, Router};
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
    by_method: HashMap<String, Router<usize>>,
    any_method: Router<usize>,
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

    /// The operation of a request: routes of its very method go before those of any method, then the default one.
    #[must_use]
    pub fn matched<'p>(&self, line: &'p RequestLine<'_>) -> Option<Matched<'_, 'p>> {
        let path = line.path().as_str();
        let own = self.by_method.get(line.method()).and_then(|router| router.at(path).ok());
        let Some(found) = own.or_else(|| self.any_method.at(path).ok()) else {
            return self.fallback().map(|(index, operation)| Matched::new(index, operation));
        };
        let operation = self.list.get(*found.value)?;
        let captured = |source: Option<&ParameterSource>| match source {
            Some(ParameterSource::Path(name)) => found.params.get(name),
            _ => None,
        };
        let (account, organization) = (captured(operation.account.as_ref()), captured(operation.organization.as_ref()));
        Some(Matched { index: *found.value, operation, account, organization })
    }
}

impl<'o> Matched<'o, '_> {
    /// An operation that was not found by its path.
    #[must_use]
    pub fn new(index: usize, operation: &'o Operation) -> Self {
        Self { index, operation, account: None, organization: None }
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
        Operation { name: Arc::from(name), scopes: Vec::new(), account, organization: None, public: false }
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
