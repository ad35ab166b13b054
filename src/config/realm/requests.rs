//! What a realm says of its requests: where the credential is, which scopes there are, and which operations.

use super::{must_be, once, plain_name};
use crate::{
    config::{
        caps,
        reader::{Table, Value},
        text::quoted,
    },
    domain::{
        credential::{Accepts, CredentialSource},
        id::Scope,
        realm::{Operation, Operations, ParameterSource, ScopeRule},
        request::CanonicalPath,
    },
};
use http::HeaderName;
use std::sync::Arc;

pub fn credentials(root: &Table<'_>) -> Vec<CredentialSource> {
    let sources = places(root);
    if root.get("credentials").is_none_or(|value| value.list(caps::CREDENTIALS).is_some_and(|list| list.is_empty())) {
        root.missing(
            "credentials",
            "must be at least one `[[credentials]]` with `header` and, if there is one, `scheme`".to_owned(),
        );
    }
    sources
}

/// The places for credentials that a table lists.
pub fn places(table: &Table<'_>) -> Vec<CredentialSource> {
    let tables = table.tables("credentials", caps::CREDENTIALS, &["header", "scheme", "accepts"]);
    let mut seen = Vec::new();
    let sources = tables.iter().filter_map(|table| {
        let header = table.need("header", "the name of a header").and_then(|value| {
            let header = value.parsed(legal_header)?.to_ascii_lowercase();
            // A proxy may take `_` for `-`: two such names are one header.
            once(&mut seen, header.replace('_', "-"), &value).then_some(header)
        });
        let scheme = table.get("scheme").map(|value| {
            value.parsed(|text| {
                let legal =
                    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                legal.then(|| text.to_owned()).ok_or("must be 1 to 32 of `a-z A-Z 0-9 -`")
            })
        });
        let scheme = match scheme {
            None => None,
            Some(legal) => Some(legal?),
        };
        let accepts = accepts(table, Accepts::KEY);
        Some(CredentialSource { header: header?, scheme, accepts: accepts? })
    });
    sources.collect()
}

fn accepts(table: &Table<'_>, usual: Accepts) -> Option<Accepts> {
    let Some(value) = table.get("accepts") else { return Some(usual) };
    let items = value.list(2)?;
    let (mut seen, mut accepts) = (Vec::new(), Accepts { key: false, token: false });
    for item in &items {
        match item.word(&[("key", Accepts::KEY), ("token", Accepts::TOKEN)]) {
            Some(kind) => {
                once(&mut seen, if kind.key { "key" } else { "token" }, item);
                accepts = Accepts { key: accepts.key || kind.key, token: accepts.token || kind.token };
            }
            None => return None,
        }
    }
    if items.is_empty() {
        value.wrong("is empty", "must hold \"key\", \"token\", or both");
        return None;
    }
    Some(accepts)
}

/// A header's name that is not about the connection or the message's framing.
pub fn legal_header(text: &str) -> Result<&str, String> {
    const FRAMING: [&str; 9] = [
        "connection",
        "content-length",
        "cookie",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    let name = HeaderName::from_bytes(text.as_bytes()).ok().filter(|_| text.len() <= caps::NAME_BYTES);
    let Some(name) = name else {
        return Err(format!("must be a header name: 1 to {} letters, digits and `-`", caps::NAME_BYTES));
    };
    if FRAMING.contains(&name.as_str()) {
        return Err("must not be a header that belongs to the connection or to the message's framing".to_owned());
    }
    Ok(text)
}

pub fn scopes(root: &Table<'_>) -> (Vec<ScopeRule>, Vec<Scope>) {
    let tables = root.tables("scopes", caps::SCOPES, &["name", "implies", "default"]);
    let mut seen = Vec::new();
    let mut defaults = Vec::new();
    let mut rules = Vec::new();
    for table in &tables {
        let name = table.need("name", Scope::ALLOWED).and_then(|value| {
            let name = value.parsed(|text| Scope::new(text).map_err(must_be))?;
            once(&mut seen, name.to_string(), &value).then_some(name)
        });
        let default = table.get("default").and_then(|value| value.truth()).unwrap_or(false);
        if let Some(name) = name {
            defaults.extend(default.then(|| name.clone()));
            rules.push(ScopeRule { name, implies: Vec::new() });
        }
    }
    for table in &tables {
        let implies = scope_list(table, "implies", &rules);
        let name = table.get("name").and_then(|value| value.text());
        if let Some(rule) = rules.iter_mut().find(|rule| Some(rule.name.as_str()) == name) {
            rule.implies = implies;
        }
    }
    (rules, defaults)
}

fn scope_list(table: &Table<'_>, key: &str, rules: &[ScopeRule]) -> Vec<Scope> {
    let items = table.list(key, caps::SCOPES).unwrap_or_default();
    let mut seen = Vec::new();
    let scopes = items.iter().filter_map(|value| {
        let text = value.text()?;
        let found = rules.iter().find(|rule| rule.name.as_str() == text);
        if found.is_none() {
            value.dangling(text, "scope", rules.iter().map(|rule| rule.name.as_str()));
        }
        let name = found?.name.clone();
        once(&mut seen, name.to_string(), value).then_some(name)
    });
    scopes.collect()
}

pub fn operations(root: &Table<'_>, scopes: &[ScopeRule], credentials: &[CredentialSource]) -> Operations {
    const KEYS: &[&str] =
        &["name", "routes", "grpc", "scopes", "account", "organization", "accepts", "public", "fallback"];
    let tables = root.tables("operations", caps::OPERATIONS, KEYS);
    let mut operations = Operations::default();
    let mut seen = Vec::new();
    for table in &tables {
        let name = table.need("name", "a name for this class of requests").and_then(|value| {
            let name = plain_name(&value)?;
            once(&mut seen, name.to_owned(), &value).then_some(name)
        });
        let fallback_value = table.get("fallback");
        let fallback = fallback_value.as_ref().and_then(Value::truth).unwrap_or(false);
        if let (true, Some(value), Some((_, other))) = (fallback, &fallback_value, operations.fallback()) {
            value.wrong(format!("`{}` is the fallback already", other.name), "one operation may be the fallback");
        }
        let sources =
            ["account", "organization"].map(|key| table.get(key).and_then(|value| source(&value, credentials)));
        let [account, organization] = sources.clone();
        let public = table.get("public").and_then(|value| value.truth()).unwrap_or(false);
        let operation = Operation {
            name: Arc::from(name.unwrap_or_default()),
            scopes: scope_list(table, "scopes", scopes),
            account,
            organization,
            accepts: accepts(table, Accepts::BOTH).unwrap_or(Accepts::BOTH),
            public,
        };
        let taken = |source: &CredentialSource| {
            operation.accepts.key && source.accepts.key || operation.accepts.token && source.accepts.token
        };
        if let (Some(value), false) = (table.get("accepts"), credentials.is_empty() || credentials.iter().any(taken)) {
            let problem = "names what no place for credentials accepts, so no request can bring it";
            value.wrong(problem, "must share a kind with `accepts` of one of `[[credentials]]`");
        }
        for key in ["scopes", "account", "organization", "accepts"].into_iter().filter(|_| public) {
            if let Some(value) = table.get(key) {
                value.wrong("stands beside `public = true`", "must be left out: nobody is asked who they are");
            }
        }
        let index = operations.add(operation, fallback);
        let captured = routes(table, index, &mut operations);
        for (key, source) in ["account", "organization"].into_iter().zip(sources) {
            let (Some(value), Some(ParameterSource::Path(name))) = (table.get(key), source) else { continue };
            let holds = |names: &Option<Vec<String>>| names.as_ref().is_none_or(|names| names.contains(&name));
            let everywhere = !captured.is_empty() && captured.iter().all(holds);
            if !everywhere {
                let problem = format!("{} is not captured by every route of the operation", quoted(&name));
                value.wrong(problem, "must be what stands in braces in each of its routes");
            }
        }
    }
    operations
}

/// Where a request names what it acts on: a capture of the path, in short or in full, a parameter of the query, or a header.
fn source(value: &Value<'_>, credentials: &[CredentialSource]) -> Option<ParameterSource> {
    const KEYS: &[&str] = &["path", "query", "header"];
    if value.is_text() {
        return value.text().map(|name| ParameterSource::Path(name.to_owned()));
    }
    let table = value.table(KEYS)?;
    let given: Vec<&str> = KEYS.iter().copied().filter(|key| table.get(key).is_some()).collect();
    let [key] = given.as_slice() else {
        value.wrong(format!("names {} places", given.len()), "must name one of `path`, `query` and `header`");
        return None;
    };
    let place = table.get(key)?;
    match *key {
        "header" => place.parsed(|name| {
            let name = legal_header(name)?.to_ascii_lowercase();
            let dashed = |name: &str| name.replace('_', "-");
            if credentials.iter().any(|source| dashed(&source.header) == dashed(&name)) {
                return Err("must not be a header that carries the credential".to_owned());
            }
            Ok(ParameterSource::Header(name))
        }),
        "query" => place.parsed(|name| {
            let legal = (1..=caps::NAME_BYTES).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
            let named = || ParameterSource::Query(name.to_owned());
            legal.then(named).ok_or_else(|| format!("must be 1 to {} of `a-z A-Z 0-9 . _ -`", caps::NAME_BYTES))
        }),
        _ => place.text().map(|name| ParameterSource::Path(name.to_owned())),
    }
}

/// Adds the routes of an operation and gives the captures of each; nothing for one that was refused.
fn routes(table: &Table<'_>, index: usize, operations: &mut Operations) -> Vec<Option<Vec<String>>> {
    let routes = table.list("routes", caps::ROUTES).unwrap_or_default();
    let mut captured = Vec::new();
    for value in &routes {
        let added = value.parsed(|route| {
            never_canonical(route)?;
            operations.route(index, route).map_err(|error| error.to_string())?;
            Ok::<_, String>(captures(route))
        });
        captured.push(added);
    }
    for value in &table.list("grpc", caps::ROUTES).unwrap_or_default() {
        let added = value.parsed(|method| {
            let route = grpc_route(method)?;
            operations.route(index, &route).map_err(|error| error.to_string())
        });
        captured.push(added.map(|()| Vec::new()));
    }
    captured
}

/// A template that no path in canonical form can match is a mistake.
fn never_canonical(route: &str) -> Result<(), String> {
    let Some((_, path)) = route.split_once(' ') else { return Ok(()) };
    let mut example = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        example.push_str(before);
        example.push('x');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    example.push_str(rest);
    CanonicalPath::new(&example).map(|_| ()).map_err(|error| error.to_string())
}

fn captures(route: &str) -> Vec<String> {
    let inside = route.split('{').skip(1).filter_map(|part| part.split_once('}'));
    inside.map(|(name, _)| name.trim_start_matches('*').to_owned()).collect()
}

/// `package.Service/Method` as the route that gRPC sends; `*` stands for every method of the service.
fn grpc_route(method: &str) -> Result<String, &'static str> {
    const ALLOWED: &str = "must be `package.Service/Method`, or `package.Service/*` for all its methods";
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let (service, name) = method.split_once('/').ok_or(ALLOWED)?;
    if !service.split('.').all(word) || !(name == "*" || word(name)) {
        return Err(ALLOWED);
    }
    let name = if name == "*" { "{method}" } else { name };
    Ok(format!("POST /{service}/{name}"))
}
