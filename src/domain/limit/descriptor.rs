//! Descriptors: lists of keys and values that a proxy counts requests by, and which limits they select.

use super::LimitRule;
use std::cmp::Ordering;

/// What a limit's descriptors look like: as many entries as this has, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorPattern(Vec<EntryPattern>);

/// What one entry looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPattern {
    /// The key.
    pub key: String,
    /// The value.
    pub value: ValuePattern,
}

/// What the value of an entry looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValuePattern {
    /// This.
    Exact(String),
    /// Whatever begins so.
    Prefix(String),
    /// Whatever it is.
    Any,
}

impl DescriptorPattern {
    /// Of at least one entry.
    #[must_use]
    pub fn new(entries: Vec<EntryPattern>) -> Option<Self> {
        if entries.is_empty() { None } else { Some(Self(entries)) }
    }

    /// Whether a descriptor looks so.
    #[must_use]
    pub fn matches(&self, entries: &[(&str, &str)]) -> bool {
        let fits = |(pattern, (key, value)): (&EntryPattern, &(&str, &str))| {
            pattern.key == *key
                && match &pattern.value {
                    ValuePattern::Exact(text) => text == value,
                    ValuePattern::Prefix(start) => value.starts_with(start.as_str()),
                    ValuePattern::Any => true,
                }
        };
        self.0.len() == entries.len() && self.0.iter().zip(entries).all(fits)
    }

    /// Which of two patterns for the same descriptor says more: the first entry in which they differ decides. There a value
    /// goes before a prefix, a longer prefix before a shorter one, and both before any value.
    fn compare(&self, other: &Self) -> Ordering {
        let rank = |entry: &EntryPattern| match &entry.value {
            ValuePattern::Exact(_) => usize::MAX,
            ValuePattern::Prefix(start) => start.len().saturating_add(1),
            ValuePattern::Any => 0,
        };
        self.0.iter().map(rank).cmp(other.0.iter().map(rank))
    }
}

/// The limits that a descriptor selects: those of the pattern that says most, all of them.
#[must_use]
pub fn selected<'r>(limits: &'r [LimitRule], entries: &[(&str, &str)]) -> Vec<&'r LimitRule> {
    let mut found: Vec<(&DescriptorPattern, &LimitRule)> = Vec::new();
    for limit in limits {
        let Some(pattern) = limit.descriptor.as_ref().filter(|pattern| pattern.matches(entries)) else { continue };
        match found.first().map_or(Ordering::Equal, |(best, _)| pattern.compare(best)) {
            Ordering::Less => continue,
            Ordering::Equal => {}
            Ordering::Greater => found.clear(),
        }
        found.push((pattern, limit));
    }
    found.into_iter().map(|(_, limit)| limit).collect()
}

/// The entries as one sequence of bytes, each text with its length before it: no two lists of entries are written alike.
#[must_use]
pub fn encode(entries: &[(&str, &str)]) -> Vec<u8> {
    let texts = || entries.iter().flat_map(|(key, value)| [key, value]);
    let mut bytes = Vec::with_capacity(texts().map(|text| text.len().saturating_add(4)).sum());
    for text in texts() {
        // A message is far below 4 GiB.
        bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        limit::{OnStoreFailure, Part, Shape},
        realm::OperationSet,
    };
    use proptest::prelude::*;
    use std::{collections::HashMap, sync::Arc, time::Duration};

    fn limit(name: &str, pattern: &[(&str, &str)]) -> LimitRule {
        let window = Duration::from_secs(60);
        let entries = pattern.iter().map(|(key, value)| EntryPattern {
            key: (*key).to_owned(),
            value: match value.strip_suffix('*') {
                Some("") => ValuePattern::Any,
                Some(start) => ValuePattern::Prefix(start.to_owned()),
                None => ValuePattern::Exact((*value).to_owned()),
            },
        });
        LimitRule {
            name: Arc::from(name),
            limit: 1,
            window,
            shape: Shape::new(window, 60).unwrap(),
            per: vec![Part::Descriptor],
            operations: OperationSet::Only(Vec::new()),
            descriptor: DescriptorPattern::new(entries.collect()),
            on_store_failure: OnStoreFailure::Deny,
            shadow: false,
        }
    }

    #[test]
    fn the_pattern_that_says_most_selects_all_its_limits() {
        let limits = [
            limit("any", &[("tenant", "*")]),
            limit("a", &[("tenant", "a*")]),
            limit("acme", &[("tenant", "acme")]),
            limit("acme-day", &[("tenant", "acme")]),
            limit("paths", &[("tenant", "*"), ("path", "/v1/*")]),
            limit("acme-paths", &[("tenant", "acme"), ("path", "*")]),
        ];
        let names = |entries: &[(&str, &str)]| -> Vec<String> {
            selected(&limits, entries).into_iter().map(|limit| limit.name.to_string()).collect()
        };
        assert_eq!(names(&[("tenant", "acme")]), ["acme", "acme-day"]);
        assert_eq!(names(&[("tenant", "alpha")]), ["a"]);
        assert_eq!(names(&[("tenant", "beta")]), ["any"]);
        assert_eq!(names(&[("tenant", "beta"), ("path", "/v1/x")]), ["paths"]);
        assert_eq!(names(&[("tenant", "acme"), ("path", "/v1/x")]), ["acme-paths"]);
        for none in [&[("tenants", "acme")][..], &[("path", "/v1/x"), ("tenant", "acme")], &[], &[("", "")]] {
            assert!(names(none).is_empty(), "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn no_two_lists_of_entries_are_written_alike(
            lists in prop::collection::vec(prop::collection::vec(("[ab_:\u{0}\u{1}]{0,3}", "[ab_:\u{0}\u{1}]{0,3}"), 0..3), 2..40)
        ) {
            let mut seen = HashMap::new();
            for list in &lists {
                let entries: Vec<(&str, &str)> = list.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
                let earlier = seen.insert(encode(&entries), list);
                prop_assert!(earlier.is_none_or(|earlier| earlier == list));
            }
        }
    }
}
