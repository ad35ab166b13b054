//! How somebody without a credential obtains a first key.

use super::keys::FoundEnvironment;
use crate::{
    config::{
        address, caps,
        reader::{Table, Value},
    },
    domain::{
        id::{AccountId, Environment, Scope},
        limit::{LimitRule, Part},
        member::MemberRules,
        onboarding::{CodeFormat, Delivery, OnboardingRules},
        realm::ScopeRule,
    },
};
use std::{ops::RangeInclusive, path::Path, sync::Arc, time::Duration};

const KEYS: &[&str] = &[
    "delivery",
    "webhook_url",
    "webhook_secret_file",
    "code_alphabet",
    "code_length",
    "lifetime",
    "attempts",
    "environment",
    "scopes",
    "account_prefix",
    "signup_limits",
    "verify_limits",
];
const LIFETIMES: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(12 * 3_600);
const DEFAULT_LIFETIME: Duration = Duration::from_secs(900);
const ATTEMPTS: RangeInclusive<u64> = 1..=10;
const DEFAULT_ATTEMPTS: u32 = 5;
/// No letter that is taken for another one.
const DEFAULT_ALPHABET: &str = "23456789ABCDEFGHJKMNPQRSTVWXYZ";
const DEFAULT_LENGTH: usize = 8;
const DEFAULT_PREFIX: &str = "agent-";

/// What else the realm says that matters here.
pub struct Known<'k> {
    pub environments: &'k [FoundEnvironment],
    pub scopes: &'k [ScopeRule],
    pub limits: &'k [LimitRule],
    pub members: Option<&'k MemberRules>,
}

/// Outer `None`: a mistake was noted. Inner `None`: the realm has no onboarding.
pub fn onboarding(root: &Table<'_>, base: &Path, known: &Known<'_>) -> Option<Option<OnboardingRules>> {
    let Some(value) = root.get("onboarding") else { return Some(None) };
    let table = value.table(KEYS)?;
    if known.members.is_some_and(|members| members.required) {
        value.wrong("stands beside `members.required`", "must be left out: keys are issued by members only");
    }
    let delivery = delivery(&table, base);
    let code = code(&table);
    let lifetime = table.get("lifetime").map_or(Some(DEFAULT_LIFETIME), |value| value.duration(LIFETIMES));
    let attempts =
        table.get("attempts").map_or(Some(DEFAULT_ATTEMPTS), |value| u32::try_from(value.number(ATTEMPTS)?).ok());
    let environment = environment(&table, known.environments);
    let scopes = scopes(&table, known.scopes);
    let account_prefix = table.get("account_prefix").map_or(Some(DEFAULT_PREFIX), |value| {
        let legal = |text: &&str| text.len() <= 64 && AccountId::new(text).is_ok() && !text.starts_with("onboarding~");
        value.parsed(|text| {
            let problem = "must be 1 to 64 of `A-Z a-z 0-9 . _ - @ : ~`, and not begin with `onboarding~`";
            Some(text).filter(legal).ok_or(problem)
        })
    });
    let signup_limits = limits(&table, "signup_limits", known.limits, &[Part::Address, Part::Subject]);
    let verify_limits = limits(&table, "verify_limits", known.limits, &[Part::Address]);
    Some(Some(OnboardingRules {
        delivery: delivery?,
        code: code?,
        lifetime: lifetime?,
        attempts: attempts?,
        environment: environment?,
        scopes: scopes?,
        account_prefix: account_prefix?.to_owned(),
        signup_limits: signup_limits?,
        verify_limits: verify_limits?,
    }))
}

/// There is no default: nobody writes codes to a log by accident.
fn delivery(table: &Table<'_>, base: &Path) -> Option<Delivery> {
    let value = table.need("delivery", "\"webhook\", or \"log\" for development")?;
    let webhook = value.word(&[("webhook", true), ("log", false)])?;
    if !webhook {
        for key in ["webhook_url", "webhook_secret_file"] {
            if let Some(other) = table.get(key) {
                other.wrong("decides nothing where codes go to the log", "must be left out");
            }
        }
        return Some(Delivery::Log);
    }
    let url = table.need("webhook_url", "where codes are handed to, such as \"http://127.0.0.1:8025/codes\"");
    let url = url.and_then(|value| address::service(&value));
    let secret = table.need("webhook_secret_file", "the file with the secret of the signature");
    let secret_file = secret.and_then(|value| value.line(caps::MESSAGE_BYTES));
    Some(Delivery::Webhook { url: url?.to_string(), secret_file: base.join(secret_file?) })
}

fn code(table: &Table<'_>) -> Option<CodeFormat> {
    let (letters, length) = (table.get("code_alphabet"), table.get("code_length"));
    let alphabet = letters.as_ref().map_or(Some(DEFAULT_ALPHABET), Value::text)?;
    let most = CodeFormat::MAX_LENGTH as u64;
    let number = length.as_ref().map_or(Some(DEFAULT_LENGTH as u64), |value| value.number(1..=most))?;
    let format = CodeFormat::new(alphabet, usize::try_from(number).ok()?);
    match (format, length.or(letters)) {
        (Ok(format), _) => Some(format),
        (Err(allowed), Some(value)) => {
            value.wrong("makes no codes that are hard to guess", allowed);
            None
        }
        (Err(_), None) => None,
    }
}

fn environment(table: &Table<'_>, environments: &[FoundEnvironment]) -> Option<usize> {
    match (table.get("environment"), environments) {
        (None, [_]) => Some(0),
        (None, _) => {
            table.missing("environment", "must be the environment of the first key".to_owned());
            None
        }
        (Some(value), _) => {
            let text = value.text()?;
            let named = |found: &FoundEnvironment| found.name.as_ref().is_some_and(|name| name.as_str() == text);
            let found = environments.iter().position(named);
            if found.is_none() {
                let known = environments.iter().filter_map(|found| found.name.as_ref().map(Environment::as_str));
                value.dangling(text, "environment", known);
            }
            found
        }
    }
}

fn scopes(table: &Table<'_>, known: &[ScopeRule]) -> Option<Vec<Scope>> {
    let Some(value) = table.get("scopes") else { return Some(Vec::new()) };
    let items = value.list(caps::SCOPES)?;
    let scope = |item: &Value<'_>| {
        let text = item.text()?;
        let found = known.iter().find(|rule| rule.name.as_str() == text).map(|rule| rule.name.clone());
        if found.is_none() {
            item.dangling(text, "scope", known.iter().map(|rule| rule.name.as_str()));
        }
        found
    };
    let found: Vec<Option<Scope>> = items.iter().map(scope).collect();
    found.into_iter().collect()
}

/// Limits by name that count per what is known here and nothing else.
fn limits(table: &Table<'_>, key: &str, known: &[LimitRule], parts: &[Part]) -> Option<Vec<Arc<str>>> {
    let words: Vec<_> = parts.iter().map(|part| format!("\"{}\"", part.name())).collect();
    let value = table.need(key, "a list of names of the realm's `[[limits]]`, at least one")?;
    let items = value.list(16)?;
    if items.is_empty() {
        value.wrong("holds none", "must hold at least one: anybody may call this");
    }
    let limit = |item: &Value<'_>| {
        let text = item.text()?;
        let Some(rule) = known.iter().find(|rule| &*rule.name == text) else {
            item.dangling(text, "limit", known.iter().map(|rule| &*rule.name));
            return None;
        };
        if rule.descriptor.is_some() || !rule.per.iter().all(|part| parts.contains(part)) {
            let allowed = format!("must count per {} or nothing", words.join(" and "));
            item.wrong("counts per something that nobody knows here", allowed);
        }
        Some(Arc::clone(&rule.name))
    };
    let found: Vec<Option<Arc<str>>> = items.iter().map(limit).collect();
    found.into_iter().collect()
}
