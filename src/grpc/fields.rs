//! Reading the fields of a message: every wrong one is collected, so that the caller hears of all of them at once.

use crate::{
    app::error::{AppError, Violation},
    domain::{
        id::{AccountId, Environment, KeyId, Scope},
        key::Limits,
        limit::MAX_COST,
        network::Network,
        realm::{Realm, Realms},
        time::Timestamp,
    },
};
use std::{collections::BTreeMap, fmt::Display, net::IpAddr, time::Duration};

/// What a page holds where the request does not say.
const USUAL_PAGE: usize = 100;
/// What a page may hold of a list that nothing else bounds.
pub(super) const LARGEST_PAGE: usize = 1_000;

/// The wrong fields so far. Nothing here ever repeats a value: it could be a secret in the wrong place.
#[derive(Default)]
pub(super) struct Fields {
    prefix: &'static str,
    violations: Vec<Violation>,
}

impl Fields {
    /// Fields of a message that stands in the field `prefix` of another (`create.`), or at the top (empty).
    pub(super) fn of(prefix: &'static str) -> Self {
        Self { prefix, violations: Vec::new() }
    }

    /// Notes a wrong field.
    pub(super) fn wrong(&mut self, field: &str, problem: impl Display) {
        self.violations.push(Violation { field: format!("{}{field}", self.prefix), problem: problem.to_string() });
    }

    /// Notes a wrong element of a list. What is allowed is told once a list, at the element that `told` remembers.
    pub(super) fn wrong_element<'n>(
        &mut self,
        field: &str,
        at: usize,
        told: &mut Option<usize>,
        what: &str,
        allowed: impl Iterator<Item = &'n str>,
    ) {
        let problem = match told {
            None => one_of(what, allowed),
            Some(first) => format!("must be one as told of `{}{field}[{first}]`", self.prefix),
        };
        told.get_or_insert(at);
        self.wrong(&format!("{field}[{at}]"), problem);
    }

    /// Passes a checked value on, or notes what is wrong with it.
    pub(super) fn check<T>(&mut self, field: &str, value: Result<T, impl Display>) -> Option<T> {
        value.map_err(|problem| self.wrong(field, problem)).ok()
    }

    /// The first problem, for those who report in another way.
    pub(super) fn into_problem(self) -> Option<String> {
        let each: Vec<String> = self.violations.into_iter().map(|v| format!("`{}` {}", v.field, v.problem)).collect();
        (!each.is_empty()).then(|| each.join("; "))
    }

    /// Gives the value that was built from the fields, unless one was wrong.
    pub(super) fn finish<T>(self, value: Option<T>) -> Result<T, AppError> {
        match value {
            Some(value) if self.violations.is_empty() => Ok(value),
            _ if self.violations.is_empty() => Err(AppError::Bug("a request was not read whole")),
            _ => Err(AppError::Invalid(self.violations)),
        }
    }

    /// A text that may be left out.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if text.is_empty() { None } else { self.must_be(field, parse(text)) }
    }

    /// A text that may not.
    pub(super) fn required<T, E: Display>(
        &mut self,
        field: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.must_be(field, parse(text))
    }

    fn must_be<T>(&mut self, field: &str, value: Result<T, impl Display>) -> Option<T> {
        self.check(field, value.map_err(|allowed| format!("must be {allowed}")))
    }

    /// How much a page may hold: [`USUAL_PAGE`] unless it is said, and at most `most`.
    pub(super) fn page_size(&mut self, size: i32, most: usize) -> usize {
        match usize::try_from(size) {
            Ok(0) => USUAL_PAGE,
            Ok(size) if size <= most => size,
            _ => {
                self.wrong("page_size", format_args!("must be 1 to {most}, or 0 for {USUAL_PAGE}"));
                USUAL_PAGE
            }
        }
    }

    /// An account.
    pub(super) fn account(&mut self, field: &str, text: &str) -> Option<AccountId> {
        self.required(field, text, AccountId::new)
    }

    /// A key id.
    pub(super) fn key_id(&mut self, field: &str, text: &str) -> Option<KeyId> {
        self.required(field, text, KeyId::parse)
    }

    /// An environment of the realm; empty: none.
    pub(super) fn environment<'r>(
        &mut self,
        field: &str,
        text: &str,
        realm: &'r Realm,
    ) -> Option<(usize, &'r Environment)> {
        if text.is_empty() {
            return None;
        }
        let found = realm.environment(text).map(|(index, rules)| (index, &rules.name));
        self.check(field, found.ok_or_else(|| one_of("an environment of the realm", environments(realm))))
    }

    /// An environment of the realm; empty: the realm's only one.
    pub(super) fn one_environment<'r>(
        &mut self,
        field: &str,
        text: &str,
        realm: &'r Realm,
    ) -> Option<(usize, &'r Environment)> {
        match realm.environments.as_slice() {
            [only] if text.is_empty() => Some((0, &only.name)),
            _ if text.is_empty() => {
                self.wrong(field, one_of("an environment of the realm", environments(realm)));
                None
            }
            _ => self.environment(field, text, realm),
        }
    }

    /// Scopes that the realm knows.
    pub(super) fn scopes(&mut self, field: &str, names: &[String], realm: &Realm) -> Vec<Scope> {
        if names.len() > Limits::SCOPES {
            self.wrong(field, format_args!("must be at most {} scopes", Limits::SCOPES));
        }
        let mut scopes = Vec::with_capacity(names.len());
        let mut told = None;
        for (at, name) in names.iter().take(Limits::SCOPES).enumerate() {
            match Scope::new(name).ok().filter(|scope| realm.scopes.knows(scope)) {
                Some(scope) if scopes.contains(&scope) => {}
                Some(scope) => scopes.push(scope),
                None => {
                    let known = realm.scopes.names().map(Scope::as_str);
                    self.wrong_element(field, at, &mut told, "a scope of the realm", known);
                }
            }
        }
        scopes
    }

    /// A name for people.
    pub(super) fn name(&mut self, field: &str, text: &str) -> Option<String> {
        let characters = text.chars().count();
        let legal = (1..=Limits::NAME_CHARS).contains(&characters) && !text.chars().any(char::is_control);
        let problem = || format!("must be 1 to {} characters, none of them a control character", Limits::NAME_CHARS);
        self.check(field, legal.then(|| text.to_owned()).ok_or_else(problem))
    }

    /// A bounded text that may be empty.
    pub(super) fn text(&mut self, field: &str, text: &str, most: usize) -> Option<String> {
        let legal = text.len() <= most && !text.chars().any(char::is_control);
        let problem = || format!("must be at most {most} bytes without control characters");
        self.check(field, legal.then(|| text.to_owned()).ok_or_else(problem))
    }

    /// Metadata.
    pub(super) fn metadata(&mut self, field: &str, entries: BTreeMap<String, String>) -> BTreeMap<String, String> {
        if entries.len() > Limits::METADATA {
            self.wrong(field, format_args!("must be at most {} entries", Limits::METADATA));
        }
        let legal_name =
            |name: &str| (1..=Limits::METADATA_NAME).contains(&name.len()) && !name.contains(char::is_control);
        let legal_value = |value: &str| value.len() <= Limits::METADATA_VALUE && !value.contains(char::is_control);
        if !entries.iter().all(|(name, value)| legal_name(name) && legal_value(value)) {
            let (name, value) = (Limits::METADATA_NAME, Limits::METADATA_VALUE);
            let problem = format!(
                "must have names of 1 to {name} bytes and values of at most {value} bytes, all without control characters"
            );
            self.wrong(field, problem);
        }
        entries
    }

    /// A cost; absent: 1.
    pub(super) fn cost(&mut self, field: &str, cost: Option<i64>) -> u32 {
        let legal = u32::try_from(cost.unwrap_or(1)).ok().filter(|cost| *cost <= MAX_COST);
        self.check(field, legal.ok_or("must be 0 to 1,000,000,000")).unwrap_or_default()
    }

    /// An address; empty: none.
    pub(super) fn address(&mut self, field: &str, text: &str) -> Option<IpAddr> {
        self.optional(field, text, |text| text.parse::<IpAddr>().map_err(|_| "an IPv4 or IPv6 address without a port"))
    }

    /// Networks that a key may be used from, each once.
    pub(super) fn networks(&mut self, field: &str, texts: &[String], realm: &Realm) -> Vec<Network> {
        if texts.len() > Limits::NETWORKS {
            self.wrong(field, format_args!("must be at most {} networks", Limits::NETWORKS));
            return Vec::new();
        }
        if !texts.is_empty() && realm.name.as_str() == Realms::BUILT_IN {
            self.wrong(
                field,
                "must be left out: acts on keys tell no client's address, so such a key could never be used",
            );
            return Vec::new();
        }
        let read = texts.iter().enumerate();
        let mut networks: Vec<Network> =
            read.filter_map(|(at, text)| self.required(&format!("{field}[{at}]"), text, str::parse)).collect();
        networks.sort_unstable();
        networks.dedup();
        networks
    }

    /// An instant.
    pub(super) fn instant(&mut self, field: &str, instant: &prost_types::Timestamp) -> Option<Timestamp> {
        let micros = u64::try_from(instant.seconds).ok().zip(u64::try_from(instant.nanos).ok());
        let micros = micros.filter(|(_, nanos)| *nanos < 1_000_000_000);
        let micros = micros.and_then(|(seconds, nanos)| seconds.checked_mul(1_000_000)?.checked_add(nanos / 1_000));
        let legal = micros.map(Timestamp::from_micros).filter(|at| *at <= Timestamp::MAX);
        self.check(field, legal.ok_or("must be an instant from 1970 to 9999"))
    }

    /// A span of time, not negative.
    pub(super) fn span(&mut self, field: &str, span: &prost_types::Duration) -> Option<Duration> {
        const MOST: Duration = Duration::from_secs(100 * 366 * 86_400);
        let legal = u64::try_from(span.seconds).ok().zip(u32::try_from(span.nanos).ok());
        let legal =
            legal.filter(|(_, nanos)| *nanos < 1_000_000_000).map(|(seconds, nanos)| Duration::new(seconds, nanos));
        self.check(field, legal.filter(|span| *span <= MOST).ok_or("must be 0 seconds to 100 years"))
    }
}

fn environments(realm: &Realm) -> impl Iterator<Item = &str> {
    realm.environments.iter().map(|rules| rules.name.as_str())
}

/// `must be a scope of the realm: `a`, `b``. Of a long list the beginning is told.
pub(super) fn one_of<'n>(what: &str, names: impl Iterator<Item = &'n str>) -> String {
    /// Bytes of all names together, at most.
    const NAMES_BYTES: usize = 512;
    let mut list = String::new();
    let mut left_out = 0usize;
    for name in names {
        if left_out > 0 || list.len().saturating_add(name.len()) > NAMES_BYTES {
            left_out = left_out.saturating_add(1);
            continue;
        }
        let separator = if list.is_empty() { "" } else { ", " };
        list.push_str(&format!("{separator}`{name}`"));
    }
    match (list.as_str(), left_out) {
        ("", 0) => format!("must be {what}, and there is none"),
        (_, 0) => format!("must be {what}: {list}"),
        _ => format!("must be {what}: {list} and {left_out} more"),
    }
}
