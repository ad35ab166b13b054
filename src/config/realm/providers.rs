//! Whose credentials a realm's requests go on with.

use super::{limits::operation_set, must_be, once, requests::legal_header};
use crate::{
    config::{
        caps,
        reader::{Table, Value},
        text::quoted,
    },
    domain::{
        credential::CredentialSource,
        id::ProviderName,
        realm::{OperationSet, Operations, Provider, Providers, Upstream},
    },
};

const KEYS: &[&str] = &["name", "header", "value", "operations", "when_missing"];
/// What stands for the credential in a header's value.
const CREDENTIAL: &str = "{credential}";

/// The headers that a realm reads or sets for other reasons.
struct Taken<'r> {
    credentials: &'r [CredentialSource],
    operations: &'r Operations,
    upstream: &'r Upstream,
}

impl Taken<'_> {
    fn carries_credential(&self, name: &str) -> bool {
        self.credentials.iter().any(|source| alike(&source.header, name))
    }

    fn other(&self, name: &str) -> bool {
        self.operations.headers().any(|header| alike(header, name))
            || self.upstream.headers().any(|(_, header)| alike(header, name))
    }
}

pub fn providers(
    root: &Table<'_>,
    credentials: &[CredentialSource],
    operations: &Operations,
    upstream: &Upstream,
) -> Providers {
    let taken = Taken { credentials, operations, upstream };
    let tables = root.tables("providers", caps::PROVIDERS, KEYS);
    let named_by = root.get("provider_header").and_then(|value| naming(&value, &taken, tables.is_empty()));
    let mut seen = Vec::new();
    let mut list: Vec<Provider> = Vec::new();
    for table in &tables {
        let Some(provider) = provider(table, &taken, named_by.as_deref(), &mut seen) else { continue };
        let reached = |index: usize| {
            let before = list.iter().any(|earlier| earlier.operations.contains(Some(index)));
            provider.operations.contains(Some(index)) && (named_by.is_some() || !before)
        };
        if let (Some(value), false) = (table.get("name"), (0..operations.list().len()).any(reached)) {
            let problem = format!("no request goes to {}", quoted(provider.name.as_str()));
            value.wrong(problem, "must have an operation that no provider above has, or `provider_header` be given");
        }
        list.push(provider);
    }
    Providers::new(list, named_by)
}

/// The header by which requests name a provider.
fn naming(value: &Value<'_>, taken: &Taken<'_>, alone: bool) -> Option<String> {
    let name = value.parsed(legal_header)?.to_ascii_lowercase();
    if alone {
        value.wrong("stands beside no `[[providers]]`", "must be left out, or a provider be there");
        return None;
    }
    let free = !taken.carries_credential(&name) && !taken.other(&name);
    free.then_some(()).or_else(|| {
        value.wrong(format!("{} is read or set already", quoted(&name)), "must be another header");
        None
    })?;
    Some(name)
}

fn provider(table: &Table<'_>, taken: &Taken<'_>, named_by: Option<&str>, seen: &mut Vec<String>) -> Option<Provider> {
    let name = table.need("name", ProviderName::ALLOWED).and_then(|value| {
        let name = value.parsed(|text| ProviderName::new(text).map_err(must_be))?;
        once(seen, name.to_string(), &value).then_some(name)
    });
    let header = table.need("header", "the name of a header").and_then(|value| {
        let header = value.parsed(legal_header)?.to_ascii_lowercase();
        if taken.other(&header) || named_by.is_some_and(|naming| alike(naming, &header)) {
            value.wrong(format!("{} is read or set already", quoted(&header)), "must be another header");
            return None;
        }
        Some(header)
    });
    let needed = "the header's value with `{credential}` in it, such as \"Bearer {credential}\"";
    let value = table.need("value", needed).and_then(|value| value.parsed(template));
    let operations = operation_set(table, taken.operations);
    if let (OperationSet::Only(listed), Some(value)) = (&operations, table.get("operations")) {
        let named = listed.iter().filter_map(|index| taken.operations.list().get(*index));
        if let Some(public) = named.into_iter().find(|operation| operation.public) {
            let problem = format!("{} needs no credential, so nobody's can be released", quoted(&public.name));
            value.wrong(problem, "must name operations that are not public");
        }
    }
    let words = [("deny", true), ("pass", false)];
    let required = table.get("when_missing").map_or(Some(true), |value| value.word(&words));
    let (before, after) = value?;
    Some(Provider { name: name?, header: header?, before, after, operations, required: required? })
}

/// What stands before and behind the credential.
fn template(text: &str) -> Result<(String, String), String> {
    let visible = |b: u8| b.is_ascii_graphic() || b == b' ';
    let fits = text.len() <= caps::PROVIDER_VALUE_BYTES && text.bytes().all(visible) && text.trim() == text;
    let parts = text.split_once(CREDENTIAL).filter(|(_, after)| fits && !after.contains(CREDENTIAL));
    let allowed = || {
        let most = caps::PROVIDER_VALUE_BYTES;
        format!("must be at most {most} visible ASCII characters with `{CREDENTIAL}` in them, once")
    };
    parts.map(|(before, after)| (before.to_owned(), after.to_owned())).ok_or_else(allowed)
}

/// Whether two names are one header to somebody: `_` for `-`.
fn alike(one: &str, other: &str) -> bool {
    let dashed = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    dashed(one) == dashed(other)
}
