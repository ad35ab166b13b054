//! Realms with the texts that they were read from: what changed from one state of the files to the next is told from the texts.

use super::{builtin, sources::Source};
use crate::domain::{
    id::RealmName,
    realm::{Realm, Realms},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use toml::{Table, Value};

/// Differences of one realm that are told one by one.
const TOLD: usize = 20;

/// Realms as they were read, and what they were read from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The realms, the built-in one among them.
    pub realms: Realms,
    written: Vec<Written>,
    fingerprint: String,
}

/// One realm as it is written.
#[derive(Debug, Clone)]
struct Written {
    name: RealmName,
    file: String,
    document: Table,
}

/// What is another in the files than before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RealmChanges {
    /// Realms that are new.
    pub added: Vec<RealmName>,
    /// Realms that are no more.
    pub removed: Vec<RealmName>,
    /// Realms that say something else, and in which parts, such as `limits.reads.limit (100 -> 50)`.
    pub changed: Vec<(RealmName, Vec<String>)>,
}

impl Loaded {
    /// Realms with the names of their files, and all files.
    pub(super) fn new(realms: Vec<(String, Realm)>, sources: &[Source]) -> Self {
        let text = |file: &str| sources.iter().find(|source| source.file == file).map(|source| source.text.as_str());
        let own = realms.iter().filter(|(_, realm)| !builtin::owns(&realm.name));
        let mut texts: Vec<(&RealmName, &str, &str)> =
            own.filter_map(|(file, realm)| Some((&realm.name, file.as_str(), text(file)?))).collect();
        texts.sort_unstable();
        let written = texts.iter().map(|(name, file, text)| Written {
            name: (*name).clone(),
            file: (*file).to_owned(),
            // It was read before, mistakes and all: there are none.
            document: text.parse().unwrap_or_default(),
        });
        let written = written.collect();
        let fingerprint = fingerprint(texts.iter().map(|(_, _, text)| *text));
        Self { realms: Realms::new(realms.into_iter().map(|(_, realm)| realm).collect()), written, fingerprint }
    }

    /// Sixteen hexadecimal digits that tell one state of the realm files from another. Where the files lie does not matter.
    #[must_use]
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Takes over every realm of `before` that says the same, the very value: whatever hangs on it may stay.
    pub fn keep_equals_of(&mut self, before: &Self) {
        let written = |loaded: &'_ Self, name: &RealmName| -> Option<usize> {
            loaded.written.binary_search_by(|written| written.name.cmp(name)).ok()
        };
        let same_names = self.written.iter().map(|w| &w.name).eq(before.written.iter().map(|w| &w.name));
        let own = &*self;
        let equals = own.realms.iter().filter_map(|realm| {
            let same = if builtin::owns(&realm.name) {
                same_names
            } else {
                let now = own.written.get(written(own, &realm.name)?)?;
                let then = before.written.get(written(before, &realm.name)?)?;
                // Relative paths are taken from the file's place.
                now.document == then.document && now.file == then.file
            };
            before.realms.get(realm.name.as_str()).filter(|_| same).map(Arc::clone)
        });
        let equals: Vec<Arc<Realm>> = equals.collect();
        self.realms.keep(|realm| equals.iter().find(|equal| equal.name == realm.name).map(Arc::clone));
    }

    /// What changed since `before`.
    #[must_use]
    pub fn changes_since(&self, before: &Self) -> RealmChanges {
        let find = |all: &'_ [Written], name: &RealmName| -> Option<usize> {
            all.binary_search_by(|written| written.name.cmp(name)).ok()
        };
        let mut changes = RealmChanges::default();
        for now in &self.written {
            match find(&before.written, &now.name).and_then(|at| before.written.get(at)) {
                None => changes.added.push(now.name.clone()),
                Some(then) if then.document == now.document => {}
                Some(then) => {
                    let mut parts = Vec::new();
                    compare_tables("", &then.document, &now.document, &mut parts);
                    if parts.len() > TOLD {
                        let more = parts.len().saturating_sub(TOLD);
                        parts.truncate(TOLD);
                        parts.push(format!("{more} more"));
                    }
                    changes.changed.push((now.name.clone(), parts));
                }
            }
        }
        let gone = before.written.iter().filter(|then| find(&self.written, &then.name).is_none());
        changes.removed = gone.map(|then| then.name.clone()).collect();
        changes
    }
}

/// The fingerprint of these texts, in the order of their realms' names.
fn fingerprint<'t>(texts: impl Iterator<Item = &'t str>) -> String {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn compare_tables(path: &str, then: &Table, now: &Table, parts: &mut Vec<String>) {
    let mut names: Vec<&String> = then.keys().chain(now.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        compare(&path, then.get(name), now.get(name), parts);
    }
}

fn compare(path: &str, then: Option<&Value>, now: Option<&Value>, parts: &mut Vec<String>) {
    match (then, now) {
        (then, now) if then == now => {}
        (Some(Value::Table(then)), Some(Value::Table(now))) => compare_tables(path, then, now, parts),
        (Some(then), Some(now)) => match (named(then), named(now)) {
            (Some(then), Some(now)) => compare_tables(path, &then, &now, parts),
            _ => parts.push(format!("{path}{}", values(path, then, now))),
        },
        (None, _) => parts.push(format!("{path} (new)")),
        (_, None) => parts.push(format!("{path} (gone)")),
    }
}

/// A list of tables that have names, as a table of them; in another order it says the same, nearly.
fn named(value: &Value) -> Option<Table> {
    let entries = value.as_array()?.iter().map(|entry| {
        let entry = entry.as_table()?;
        let name = ["name", "code", "header", "issuer"].iter().find_map(|key| entry.get(*key)?.as_str())?;
        Some((name.to_owned(), Value::Table(entry.clone())))
    });
    let count = value.as_array()?.len();
    let table: Table = entries.collect::<Option<_>>()?;
    (table.len() == count).then_some(table)
}

/// What limits are is no secret and what one wants to know; elsewhere only the place is told.
fn values(path: &str, then: &Value, now: &Value) -> String {
    let told = path.starts_with("limits.") && !then.is_array() && !now.is_array();
    if told { format!(" ({then} -> {now})") } else { String::new() }
}
