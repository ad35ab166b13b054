//! A realm's environments, the formats of keys made elsewhere, and what may happen to keys.

use super::{must_be, once, requests};
use crate::{
    config::{
        caps,
        reader::{Table, Value},
        report::Mark,
        text::{quoted, show_duration},
    },
    domain::{
        id::Environment,
        key::{HashAlgorithm, HashedPart, KeyFormat, LegacyFormat, Limits},
        realm::{EnvironmentRules, KeyPolicy, Management, WhenFull},
    },
};
use std::{ops::RangeInclusive, time::Duration};

const DAY: Duration = Duration::from_secs(86_400);
const MAX_GRACE: Duration = Duration::from_secs(366 * 86_400);
/// Well above the time by which what is known of uses may lag behind.
const SHORTEST_UNUSED: Duration = Duration::from_secs(3_600);
const MAX_LIFETIME: Duration = Duration::from_secs(36_600 * 86_400);
/// As many as one act may read and write: every creation reads the keys that count.
const MAX_ACTIVE: u64 = Limits::KEYS_PER_ACT as u64;
const LENGTHS: RangeInclusive<u64> = 16..=256;

/// Who manages keys.
pub fn management(root: &Table<'_>) -> Management {
    let Some(table) = root.table("management", &["by", "credentials", "import"]) else { return Management::default() };
    let by = table.need("by", "\"operators\" or \"owners\"");
    let by_owners = by.and_then(|value| value.word(&[("operators", false), ("owners", true)])).unwrap_or(false);
    let credentials = requests::places(&table);
    let imports = table.get("import").and_then(|value| value.truth()).unwrap_or(false);
    for key in ["credentials", "import"].into_iter().filter(|_| !by_owners) {
        if let Some(value) = table.get(key) {
            value.wrong("stands beside `by = \"operators\"`", "must be left out: it is for keys that owners manage");
        }
    }
    Management { by_owners, credentials, imports }
}

/// What was read of an environment, also when a part of it is wrong.
pub struct FoundEnvironment {
    pub rules: Option<EnvironmentRules>,
    pub name: Option<Environment>,
    pub prefix: Option<(String, Mark)>,
    length: Option<usize>,
}

pub fn environments(root: &Table<'_>) -> Vec<FoundEnvironment> {
    let tables = root.tables("environments", caps::ENVIRONMENTS, &["name", "prefix", "body_length"]);
    if tables.is_empty()
        && root.get("environments").is_none_or(|value| value.list(caps::ENVIRONMENTS).is_some_and(|l| l.is_empty()))
    {
        root.missing(
            "environments",
            "must be at least one `[[environments]]` with `name`, `prefix` and `body_length`".to_owned(),
        );
    }
    let mut names = Vec::new();
    tables.iter().map(|table| environment(table, &mut names)).collect()
}

fn environment(table: &Table<'_>, names: &mut Vec<String>) -> FoundEnvironment {
    // A part that is wrong must not hide what is wrong with the other one: each is checked beside a legal partner.
    const LEGAL_PREFIX: &str = "x_";
    const LEGAL_LENGTH: usize = 32;
    let name = table.need("name", Environment::ALLOWED).and_then(|value| {
        let name = value.parsed(|text| Environment::new(text).map_err(must_be))?;
        once(names, name.to_string(), &value).then_some(name)
    });
    let prefix =
        table.need("prefix", "what every key of the environment begins with, such as \"pk_live_\"").and_then(|value| {
            let prefix = value.parsed(|text| KeyFormat::new(text, LEGAL_LENGTH).map(|_| text))?;
            Some((prefix.to_owned(), value.mark()))
        });
    let length = table.get("body_length").map_or(Some(LEGAL_LENGTH), |value| {
        let length = usize::try_from(value.number(0..=u64::from(u32::MAX))?).ok()?;
        let checked = KeyFormat::new(LEGAL_PREFIX, length);
        checked.map_err(|allowed| value.wrong(format!("`{length}` is not legal"), allowed)).ok().map(|_| length)
    });
    let format = prefix.as_ref().zip(length).and_then(|((prefix, _), length)| KeyFormat::new(prefix, length).ok());
    let rules = name.clone().zip(format).map(|(name, format)| EnvironmentRules { name, format });
    FoundEnvironment { rules, name, prefix, length }
}

/// What a text must look like to be read as a key of some format.
struct Look {
    what: String,
    prefix: String,
    lengths: (usize, usize),
    environment: usize,
    legacy: bool,
}

impl Look {
    /// Whether some text has both looks.
    fn meets(&self, other: &Self) -> bool {
        let one_prefix = self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix);
        one_prefix && self.lengths.0 <= other.lengths.1 && other.lengths.0 <= self.lengths.1
    }
}

pub fn legacy_formats(root: &Table<'_>, environments: &[FoundEnvironment]) -> Vec<(usize, LegacyFormat)> {
    let own = environments.iter().enumerate().filter_map(|(environment, found)| {
        let ((prefix, _), length) = found.prefix.as_ref().zip(found.length)?;
        let whole = prefix.len().saturating_add(length);
        let what = format!("environments[{environment}]");
        Some(Look { what, prefix: prefix.clone(), lengths: (whole, whole), environment, legacy: false })
    });
    let mut looks: Vec<Look> = own.collect();
    let tables = root.tables("legacy_formats", caps::LEGACY_FORMATS, &["environment", "prefix", "length", "hashes"]);
    let formats = tables.iter().enumerate().filter_map(|(at, table)| {
        let environment = table.need("environment", "the name of one of the realm's environments").and_then(|value| {
            let text = value.text()?;
            let named = |found: &FoundEnvironment| found.name.as_ref().is_some_and(|name| name.as_str() == text);
            let known = environments.iter().filter_map(|found| found.name.as_ref().map(Environment::as_str));
            let found = environments.iter().position(named);
            found.or_else(|| {
                value.dangling(text, "environment", known);
                None
            })
        });
        let prefix_value = table.need("prefix", "what every such key begins with; may be \"\"");
        let prefix = prefix_value.as_ref().and_then(|value| {
            value.parsed(|text| {
                let legal = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic());
                legal.then_some(text).ok_or("must be at most 64 printable ASCII characters")
            })
        });
        let lengths = table.need("length", "[shortest, longest] of the whole key").and_then(|value| lengths(&value));
        let hashes = hashes(table);
        let (environment, prefix, lengths) = (environment?, prefix?, lengths?);
        let what = format!("legacy_formats[{at}]");
        let look = Look { what, prefix: prefix.to_owned(), lengths, environment, legacy: true };
        // Keys of the environment's own format are told from legacy ones by their checksum; nothing tells others apart.
        let twin = looks.iter().find(|other| other.meets(&look) && (other.legacy || other.environment != environment));
        if let (Some(twin), Some(value)) = (twin, &prefix_value) {
            let problem = format!("a key can have this format and that of `{}` alike", twin.what);
            value.wrong(problem, "must differ from it in prefix or length");
        }
        looks.push(look);
        LegacyFormat::new(prefix, lengths, &hashes).ok().map(|format| (environment, format))
    });
    formats.collect()
}

fn lengths(value: &Value<'_>) -> Option<(usize, usize)> {
    let items = value.list(usize::MAX)?;
    let [shortest, longest] = items.as_slice() else {
        value.wrong(format!("holds {}", items.len()), "must be two numbers, [shortest, longest], of the whole key");
        return None;
    };
    let (from, to) = (shortest.number(LENGTHS), longest.number(LENGTHS));
    let (from, to) = (usize::try_from(from?).ok()?, usize::try_from(to?).ok()?);
    if from > to {
        value.wrong(format!("`{from}` is above `{to}`"), "must be the smaller first");
        return None;
    }
    Some((from, to))
}

fn hashes(table: &Table<'_>) -> Vec<(HashAlgorithm, HashedPart)> {
    let all = HashAlgorithm::ALL.len().saturating_mul(HashedPart::ALL.len());
    let items = table.list("hashes", all).unwrap_or_default();
    let mut found = Vec::new();
    for item in &items {
        let Some(table) = item.table(&["algorithm", "part"]) else { continue };
        let algorithms = HashAlgorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
        let parts = HashedPart::ALL.map(|part| (part.name(), part));
        let algorithm = table.need("algorithm", "\"sha256\" or \"sha512\"").and_then(|value| value.word(&algorithms));
        let part = table.need("part", "\"whole\" or \"body\"").and_then(|value| value.word(&parts));
        let Some(pair) = algorithm.zip(part) else { continue };
        if found.contains(&pair) {
            item.wrong("is there twice", "each hash must be there once");
        } else {
            found.push(pair);
        }
    }
    found
}

pub fn policy(root: &Table<'_>) -> Option<KeyPolicy> {
    const KEYS: &[&str] = &[
        "max_active",
        "when_full",
        "default_grace",
        "max_grace",
        "default_lifetime",
        "max_lifetime",
        "suspend_unused_after",
    ];
    let mut policy = KeyPolicy {
        max_active_keys: None,
        when_full: WhenFull::Refuse,
        default_grace: Duration::ZERO,
        max_grace: DAY.saturating_mul(30),
        default_lifetime: None,
        max_lifetime: None,
        suspend_unused_after: None,
    };
    let Some(value) = root.get("keys") else { return Some(policy) };
    let table = value.table(KEYS)?;

    let max_active = table.get("max_active");
    policy.max_active_keys = max_active.as_ref().and_then(|v| usize::try_from(v.number(1..=MAX_ACTIVE)?).ok());
    if let Some(value) = table.get("when_full") {
        let when_full = value.word(&[("refuse", WhenFull::Refuse), ("replace", WhenFull::Replace)]);
        policy.when_full = when_full.unwrap_or(WhenFull::Refuse);
        if max_active.is_none() {
            value.wrong("decides nothing without `max_active`", "set `max_active`, or leave `when_full` out");
        }
    }

    let default_grace = table.get("default_grace");
    let longest = table.get("max_grace").and_then(|value| value.duration(Duration::ZERO..=MAX_GRACE));
    let usual = default_grace.as_ref().and_then(|value| value.duration(Duration::ZERO..=MAX_GRACE));
    policy.max_grace = longest.unwrap_or(policy.max_grace);
    policy.default_grace = usual.unwrap_or_default();
    not_above(default_grace.as_ref(), usual, "max_grace", Some(policy.max_grace));

    let default_lifetime = table.get("default_lifetime");
    let shortest = Duration::from_secs(1);
    policy.max_lifetime = table.get("max_lifetime").and_then(|value| value.duration(shortest..=MAX_LIFETIME));
    policy.default_lifetime = default_lifetime.as_ref().and_then(|value| value.duration(shortest..=MAX_LIFETIME));
    not_above(default_lifetime.as_ref(), policy.default_lifetime, "max_lifetime", policy.max_lifetime);
    let unused = table.get("suspend_unused_after");
    policy.suspend_unused_after = unused.and_then(|value| value.duration(SHORTEST_UNUSED..=MAX_LIFETIME));
    Some(policy)
}

fn not_above(value: Option<&Value<'_>>, given: Option<Duration>, bound: &str, most: Option<Duration>) {
    if let (Some(value), Some(given), Some(most)) = (value, given, most)
        && given > most
    {
        let problem = format!("{} is above `{bound}`", quoted(&show_duration(given)));
        value.wrong(problem, format!("must be at most {}", show_duration(most)));
    }
}
