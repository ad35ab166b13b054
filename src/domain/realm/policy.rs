//! A realm's rules for its keys, and how it tells limits to the end client.

use crate::domain::{
    credential::CredentialSource, id::Environment, key::KeyFormat, limit::LimitOutcome, time::Timestamp,
};
use std::time::Duration;

/// One environment of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRules {
    /// Its name.
    pub name: Environment,
    /// The form of its keys.
    pub format: KeyFormat,
}

/// Who manages a realm's keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Management {
    /// Whoever owns them, with a credential of the realm itself; else operators.
    pub by_owners: bool,
    /// Where that credential stands in the metadata of such a call; empty: where it stands in requests.
    pub credentials: Vec<CredentialSource>,
    /// Whether operators may take over keys made elsewhere, although keys are their owners' business.
    pub imports: bool,
}

/// What may happen to keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPolicy {
    /// Active keys of one account in one environment, at most.
    pub max_active_keys: Option<usize>,
    /// What happens when one more is made.
    pub when_full: WhenFull,
    /// How long an old secret works after a rotation that says nothing of it.
    pub default_grace: Duration,
    /// The longest grace.
    pub max_grace: Duration,
    /// How long a key lives that was made without an expiry; absent: for ever.
    pub default_lifetime: Option<Duration>,
    /// The longest life of a key.
    pub max_lifetime: Option<Duration>,
    /// How long a key may lie unused before it rests; absent: for ever.
    pub suspend_unused_after: Option<Duration>,
}

/// What happens when an account has as many active keys as the realm allows and one more is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The new one is refused.
    Refuse,
    /// The oldest gives way in the same act: never both, never none.
    Replace,
}

/// How limits are told to the end client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RateHeaders {
    /// Header with the limit.
    pub limit: Option<String>,
    /// Header with what remains.
    pub remaining: Option<String>,
    /// Header with the time when the whole limit is free again.
    pub reset: Option<(String, ResetForm)>,
    /// Also send `RateLimit` and `RateLimit-Policy` (IETF draft-ietf-httpapi-ratelimit-headers-10).
    pub ietf: bool,
}

/// The form of the reset header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetForm {
    /// Seconds since 1970-01-01.
    EpochSeconds,
    /// Seconds from now.
    DeltaSeconds,
}

impl RateHeaders {
    /// Gives the name and value of each header that describes `outcome`.
    pub fn render(&self, outcome: &LimitOutcome<'_>, now: Timestamp, mut put: impl FnMut(&str, &str)) {
        let (rule, mut value) = (outcome.rule, HeaderValue(String::with_capacity(96)));
        if let Some(name) = &self.limit {
            put(name, value.number(u64::from(rule.limit)));
        }
        if let Some(name) = &self.remaining {
            put(name, value.number(u64::from(outcome.remaining)));
        }
        if let Some((name, form)) = &self.reset {
            let seconds = match form {
                ResetForm::EpochSeconds => now.after(outcome.reset_after).as_secs_ceil(),
                ResetForm::DeltaSeconds => ceil_seconds(outcome.reset_after),
            };
            put(name, value.number(seconds));
        }
        if self.ietf {
            let (quota, window) = (u64::from(rule.limit), rule.window.as_secs());
            let (remaining, reset) = (u64::from(outcome.remaining), ceil_seconds(outcome.reset_after));
            put("ratelimit-policy", value.item(&rule.name, [("q", quota), ("w", window)]));
            put("ratelimit", value.item(&rule.name, [("r", remaining), ("t", reset)]));
        }
    }
}

/// One header's value after the other, in the same room: five are written at every decision.
struct HeaderValue(String);

impl HeaderValue {
    fn number(&mut self, number: u64) -> &str {
        self.0.clear();
        self.push(number);
        &self.0
    }

    /// A string item with two integer parameters, in the words of RFC 9651.
    fn item(&mut self, name: &str, parameters: [(&str, u64); 2]) -> &str {
        self.0.clear();
        self.0.push('"');
        self.0.push_str(name);
        self.0.push('"');
        for (parameter, number) in parameters {
            self.0.push(';');
            self.0.push_str(parameter);
            self.0.push('=');
            self.push(number);
        }
        &self.0
    }

    /// In decimal; the formatting of the standard library takes five times as long.
    fn push(&mut self, mut number: u64) {
        let mut digits = [b'0'; 20];
        let mut first = digits.len();
        for (place, digit) in digits.iter_mut().enumerate().rev() {
            *digit = b'0' | (number % 10) as u8;
            first = place;
            number /= 10;
            if number == 0 {
                break;
            }
        }
        let digits = digits.get(first..).and_then(|digits| std::str::from_utf8(digits).ok());
        self.0.push_str(digits.unwrap_or_default());
    }
}

/// Whole seconds, rounded up, so that nobody who waits that long comes too early.
#[must_use]
pub fn ceil_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_headers_are_written_as_the_standard_library_writes_them() {
        let mut value = HeaderValue(String::new());
        let powers = (0..20).map(|power| 10_u64.pow(power));
        for number in powers.flat_map(|power| [power - 1, power, power + 1]).chain([u64::MAX]) {
            assert_eq!(value.number(number), number.to_string());
        }
        assert_eq!(value.item("per-key", [("q", 600), ("w", 60)]), "\"per-key\";q=600;w=60");
    }
}
