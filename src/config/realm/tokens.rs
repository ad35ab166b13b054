//! The issuers whose access tokens a realm takes.

use super::{keys::FoundEnvironment, must_be, once};
use crate::{
    config::{
        address, caps,
        reader::{Table, Value},
        text::{allowed_words, quoted},
    },
    domain::{
        credential::CredentialSource,
        id::Environment,
        token::{KeySource, TokenAlgorithm, TokenRules},
    },
};
use std::{path::Path, sync::Arc, time::Duration};

const KEYS: &[&str] = &[
    "issuer",
    "audiences",
    "jwks_file",
    "jwks_url",
    "algorithms",
    "leeway",
    "account_claim",
    "scopes_claim",
    "roles_claim",
    "environment",
    "refresh",
    "keep",
];
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const LEEWAY: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(300));
const REFRESH: Duration = Duration::from_secs(600);
const LONGEST_KEEP: Duration = Duration::from_secs(7 * 86_400);

/// A relative path of a key set begins at `base`.
pub fn tokens(root: &Table<'_>, base: &Path, environments: &[FoundEnvironment]) -> Vec<TokenRules> {
    let tables = root.tables("tokens", caps::ISSUERS, KEYS);
    let mut seen = Vec::new();
    tables.iter().filter_map(|table| issuer(table, base, environments, &mut seen)).collect()
}

fn issuer(
    table: &Table<'_>,
    base: &Path,
    environments: &[FoundEnvironment],
    seen: &mut Vec<String>,
) -> Option<TokenRules> {
    let issuer = table.need("issuer", "what `iss` of every token is").and_then(|value| {
        let issuer = value.line(caps::MESSAGE_BYTES)?;
        once(seen, issuer.to_owned(), &value).then_some(issuer)
    });
    let audiences = audiences(table);
    let algorithms = algorithms(table);
    let keys = key_source(table, base);
    let span = |key: &str, usual, from, to| match table.get(key) {
        None => Some(usual),
        Some(value) => value.duration(from..=to),
    };
    let leeway = span("leeway", LEEWAY.0, Duration::ZERO, LEEWAY.1);
    let refresh = span("refresh", REFRESH, MINUTE, DAY);
    let keep = span("keep", DAY, MINUTE, LONGEST_KEEP);
    let claim = |key: &str| match table.get(key) {
        None => Some(None),
        Some(value) => value.line(caps::NAME_BYTES).map(|name| Some(name.to_owned())),
    };
    let (account, scopes, roles) = (claim("account_claim"), claim("scopes_claim"), claim("roles_claim"));
    let environment = environment(table, environments);
    Some(TokenRules {
        issuer: Arc::from(issuer?),
        audiences: audiences?,
        algorithms: algorithms?,
        leeway: leeway?,
        account_claim: account?.unwrap_or_else(|| "sub".to_owned()),
        scopes_claim: scopes?,
        roles_claim: roles?,
        environment: environment?,
        keys: keys?,
        refresh: refresh?,
        keep: keep?,
    })
}

/// A list that must be there and hold something.
fn needed_list<'t>(table: &Table<'t>, key: &str, most: usize, allowed: &str) -> Option<Vec<Value<'t>>> {
    let list = table.need(key, allowed)?;
    let items = list.list(most)?;
    if items.is_empty() {
        list.wrong("is empty", must_be(allowed));
        return None;
    }
    Some(items)
}

fn audiences(table: &Table<'_>) -> Option<Vec<String>> {
    let items =
        needed_list(table, "audiences", caps::AUDIENCES, "a list of texts, one of which is in `aud` of every token")?;
    let mut seen = Vec::new();
    let read = items.iter().map(|value| {
        let audience = value.line(caps::MESSAGE_BYTES)?;
        once(&mut seen, audience.to_owned(), value).then(|| audience.to_owned())
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn algorithms(table: &Table<'_>) -> Option<Vec<TokenAlgorithm>> {
    let names = || TokenAlgorithm::ALL.into_iter().map(TokenAlgorithm::name);
    let items = needed_list(table, "algorithms", names().count(), "a list of algorithms such as [\"RS256\"]")?;
    let mut seen = Vec::new();
    let read = items.iter().map(|value| {
        let text = value.text()?;
        let Some(algorithm) = TokenAlgorithm::from_name(text) else {
            value.wrong(format!("{} is not taken", quoted(text)), allowed_words(text, names()));
            return None;
        };
        once(&mut seen, text.to_owned(), value).then_some(algorithm)
    });
    read.collect::<Vec<_>>().into_iter().collect()
}

fn key_source(table: &Table<'_>, base: &Path) -> Option<KeySource> {
    match (table.get("jwks_file"), table.get("jwks_url")) {
        (Some(_), Some(url)) => {
            url.wrong("stands beside `jwks_file`", "must be left out, or the other one");
            None
        }
        (None, None) => {
            table.missing(
                "jwks_url",
                "must be an `https` address, or `jwks_file` a file, with the issuer's public keys".to_owned(),
            );
            None
        }
        (Some(path), None) => {
            let path = path.line(caps::MESSAGE_BYTES)?;
            Some(KeySource::File(base.join(path)))
        }
        (None, Some(url)) => address::service(&url).map(|url| KeySource::Url(url.to_string())),
    }
}

fn environment(table: &Table<'_>, environments: &[FoundEnvironment]) -> Option<Environment> {
    let known = || environments.iter().filter_map(|found| found.name.as_ref());
    match (table.get("environment"), environments) {
        (Some(value), _) => {
            let text = value.text()?;
            let found = known().find(|name| name.as_str() == text).cloned();
            if found.is_none() {
                value.dangling(text, "environment", known().map(Environment::as_str));
            }
            found
        }
        (None, [only]) => only.name.clone(),
        (None, _) => {
            table.missing(
                "environment",
                "must be the name of one of the realm's environments, since there are several".to_owned(),
            );
            None
        }
    }
}

/// Where tokens are accepted there must be issuers, and the reverse.
pub fn used<'c>(
    root: &Table<'_>,
    tokens: &[TokenRules],
    embeds: bool,
    credentials: impl IntoIterator<Item = &'c CredentialSource>,
) {
    let accepted = credentials.into_iter().any(|source| source.accepts.token);
    match root.get("tokens") {
        None if accepted && !embeds => root.missing(
            "tokens",
            "must be at least one `[[tokens]]`, or `[embed_tokens]`, since a place for credentials accepts \"token\""
                .to_owned(),
        ),
        Some(value) if !accepted && !tokens.is_empty() => {
            value.wrong(
                "are accepted nowhere",
                "must be left out, or `accepts` of a place for credentials must hold \"token\"",
            );
        }
        _ => {}
    }
}
