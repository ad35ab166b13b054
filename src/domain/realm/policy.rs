//! A realm's rules for its keys, and how it tells limits to the end client.

use crate::domain::{id::Environment, key::KeyFormat, limit::LimitOutcome, time::Timestamp};
use std::time::Duration;

/// One environment of a realm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentRules {
    /// Its name.
    pub name: Environment,
    /// The form of its keys.
    pub format: KeyFormat,
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
    /// How accounts come to exist.
    pub accounts: AccountPolicy,
}

/// What happens when an account has as many active keys as the realm allows and one more is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The new one is refused.
    Refuse,
    /// The oldest gives way in the same act: never both, never none.
    Replace,
}

/// How accounts come to exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountPolicy {
    /// With their first key.
    WithFirstKey,
    /// They are made first; a key for an unknown account is refused.
    MadeFirst,
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
    /// The headers that describe `outcome`.
    pub fn render<'a>(&'a self, outcome: &LimitOutcome<'_>, now: Timestamp, mut put: impl FnMut(&'a str, String)) {
        let rule = outcome.rule;
        if let Some(name) = &self.limit {
            put(name, rule.limit.to_string());
        }
        if let Some(name) = &self.remaining {
            put(name, outcome.remaining.to_string());
        }
        if let Some((name, form)) = &self.reset {
            let seconds = match form {
                ResetForm::EpochSeconds => now.after(outcome.reset_after).as_secs_ceil(),
                ResetForm::DeltaSeconds => ceil_seconds(outcome.reset_after),
            };
            put(name, seconds.to_string());
        }
        if self.ietf {
            let (name, reset) = (&rule.name, ceil_seconds(outcome.reset_after));
            put("ratelimit-policy", format!("\"{name}\";q={};w={}", rule.limit, rule.window.as_secs()));
            put("ratelimit", format!("\"{name}\";r={};t={reset}", outcome.remaining));
        }
    }
}

/// Whole seconds, rounded up, so that nobody who waits that long comes too early.
#[must_use]
pub fn ceil_seconds(span: Duration) -> u64 {
    span.as_secs().saturating_add(u64::from(span.subsec_nanos() > 0))
}
