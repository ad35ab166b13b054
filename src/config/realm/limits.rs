//! A realm's rate limits.

use super::{once, plain_name};
use crate::{
    config::{
        caps,
        reader::Table,
        text::{DURATION, quoted},
    },
    domain::{
        limit::{DescriptorPattern, EntryPattern, LimitRule, MAX_COST, OnStoreFailure, Part, Shape, ValuePattern},
        realm::{OperationSet, Operations},
    },
};
use std::{sync::Arc, time::Duration};

const WINDOWS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(366 * 86_400);
const KEYS: &[&str] =
    &["name", "limit", "window", "per", "operations", "descriptors", "precision", "on_store_failure", "shadow"];

pub fn limits(root: &Table<'_>, operations: &Operations) -> Vec<LimitRule> {
    let mut seen = Vec::new();
    let tables = root.tables("limits", caps::LIMITS, KEYS);
    tables.iter().filter_map(|table| limit(table, operations, &mut seen)).collect()
}

fn limit(table: &Table<'_>, all: &Operations, seen: &mut Vec<String>) -> Option<LimitRule> {
    let name = table.need("name", "a name for this limit").and_then(|value| {
        let name = plain_name(&value)?;
        once(seen, name.to_owned(), &value).then_some(name)
    });
    let limit = table
        .need("limit", "the largest cost admitted in any window")
        .and_then(|value| u32::try_from(value.number(1..=u64::from(MAX_COST))?).ok());
    let window = table.need("window", DURATION).and_then(|value| value.duration(WINDOWS));
    let precision = table
        .get("precision")
        .map_or(Some(Shape::DEFAULT_PRECISION), |value| u32::try_from(value.number(1..=120)?).ok());
    let (per, operations) = (per(table), operation_set(table, all));
    if let (true, OperationSet::Only(listed), Some(value)) =
        (per.iter().any(|part| part.knows_caller()), &operations, table.get("operations"))
        && let Some(public) =
            listed.iter().filter_map(|index| all.list().get(*index)).find(|operation| operation.public)
    {
        let problem = format!("{} needs no credential, so it has no account and no key", quoted(&public.name));
        value.wrong(problem, "must name such operations only with `per = [\"address\"]` or `per = []`");
    }
    let descriptor = descriptor(table);
    let (per, operations) = match &descriptor {
        Some(_) => (vec![Part::Descriptor], OperationSet::Only(Vec::new())),
        None => (per, operations),
    };
    let decisions = [("deny", OnStoreFailure::Deny), ("allow", OnStoreFailure::Allow)];
    let on_store_failure =
        table.get("on_store_failure").map_or(Some(OnStoreFailure::Deny), |value| value.word(&decisions));
    let shadow = table.get("shadow").and_then(|value| value.truth()).unwrap_or(false);
    let window = window?;
    Some(LimitRule {
        name: Arc::from(name?),
        limit: limit?,
        window,
        shape: Shape::new(window, precision?).ok()?,
        per,
        operations,
        descriptor,
        on_store_failure: on_store_failure?,
        shadow,
    })
}

/// The descriptors that the limit applies to, if it speaks of any.
fn descriptor(table: &Table<'_>) -> Option<DescriptorPattern> {
    let value = table.get("descriptors")?;
    for key in ["per", "operations"] {
        if let Some(other) = table.get(key) {
            other.wrong("stands beside `descriptors`", "must be left out: such a limit counts per descriptor");
        }
    }
    let items = value.list(caps::ENTRIES)?;
    if items.is_empty() {
        value.wrong("is empty", "must be a list of `{ key = \"…\" }` or `{ key = \"…\", value = \"…\" }`");
    }
    let entries = items.iter().filter_map(|item| {
        let entry = item.table(&["key", "value"])?;
        let key = entry.need("key", "the key of an entry")?.line(caps::ENTRY_BYTES)?.to_owned();
        let value = match entry.get("value") {
            None => ValuePattern::Any,
            Some(value) => match value.line(caps::ENTRY_BYTES)? {
                "*" => ValuePattern::Any,
                text => match text.strip_suffix('*') {
                    Some(start) => ValuePattern::Prefix(start.to_owned()),
                    None => ValuePattern::Exact(text.to_owned()),
                },
            },
        };
        Some(EntryPattern { key, value })
    });
    DescriptorPattern::new(entries.collect())
}

/// What the limit counts per. The realm as a whole only when that is written out: `per = []`.
fn per(table: &Table<'_>) -> Vec<Part> {
    let Some(items) = table.list("per", Part::ALL.len()) else { return vec![Part::Account] };
    let words = Part::ALL.map(|part| (part.name(), part));
    let mut parts = Vec::new();
    for item in &items {
        let Some(part) = item.word(&words) else { continue };
        if parts.contains(&part) {
            item.wrong(format!("{} is there twice", quoted(part.name())), "each must be there once");
        } else {
            parts.push(part);
        }
    }
    parts
}

pub(super) fn operation_set(table: &Table<'_>, operations: &Operations) -> OperationSet {
    let Some(items) = table.list("operations", caps::OPERATIONS) else { return OperationSet::All };
    let mut seen = Vec::new();
    let indexes = items.iter().filter_map(|item| {
        let name = item.text()?;
        let found = operations.named(name);
        if found.is_none() {
            let known = operations.list().iter().map(|operation| &*operation.name).filter(|name| !name.is_empty());
            item.dangling(name, "operation", known);
        }
        let (index, _) = found?;
        once(&mut seen, name.to_owned(), item).then_some(index)
    });
    OperationSet::Only(indexes.collect())
}
