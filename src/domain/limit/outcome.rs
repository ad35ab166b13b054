//! What charging a plan came to.

use super::{LimitRule, Plan, Reading};
use smallvec::SmallVec;
use std::time::Duration;

/// One for each item of a plan; most plans have one.
pub type Readings = SmallVec<[Reading; 1]>;

/// A store's answer to a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charged {
    /// One reading for each item of the plan, in its order. Everything was charged, or nothing.
    Decided(Readings),
    /// The account changed since it was read: nothing was charged; read it again.
    Stale,
}

/// How one limit stands after the decision.
#[derive(Debug, Clone)]
pub struct LimitOutcome<'a> {
    /// The limit.
    pub rule: &'a LimitRule,
    /// Cost that would still be admitted now.
    pub remaining: u32,
    /// Until the last counted cost leaves.
    pub reset_after: Duration,
    /// True when the limit would not admit the request.
    pub exceeded: bool,
    /// Until the cost would be admitted; absent when it is, or never will be.
    pub retry_after: Option<Duration>,
    /// True when the store could not be asked, or could not count, and `on_store_failure` decided.
    pub degraded: bool,
}

impl<'a> LimitOutcome<'a> {
    /// What a reading means for its limit.
    #[must_use]
    pub fn new(rule: &'a LimitRule, reading: &Reading) -> Self {
        if !reading.kept {
            return Self::passed_over(rule);
        }
        Self {
            rule,
            remaining: rule.limit.saturating_sub(reading.used),
            reset_after: Duration::from_micros(reading.reset_us),
            exceeded: !reading.admits,
            retry_after: reading.retry_us.map(Duration::from_micros),
            degraded: false,
        }
    }

    /// A limit that was passed over because the store could not be asked, or had no room for its counter.
    #[must_use]
    pub fn passed_over(rule: &'a LimitRule) -> Self {
        Self {
            rule,
            remaining: rule.limit,
            reset_after: Duration::ZERO,
            exceeded: false,
            retry_after: None,
            degraded: true,
        }
    }

    /// Whether this limit denies the request.
    #[must_use]
    pub fn denies(&self) -> bool {
        self.exceeded && !self.rule.shadow
    }

    /// Outcomes for a whole plan.
    #[must_use]
    pub fn for_plan(plan: &Plan<'a>, readings: &[Reading]) -> Vec<Self> {
        plan.items().iter().zip(readings).map(|(item, reading)| Self::new(item.rule, reading)).collect()
    }

    /// The outcome that headers and a denial speak of: the limit that denied (the one to wait for longest), else the one
    /// with the smallest share left.
    #[must_use]
    pub fn spokesman<'o>(outcomes: impl IntoIterator<Item = &'o Self> + Clone) -> Option<&'o Self>
    where
        'a: 'o,
    {
        let never = Duration::MAX;
        let denying =
            outcomes.clone().into_iter().filter(|o| o.denies()).max_by_key(|o| o.retry_after.unwrap_or(never));
        let share = |o: &&Self| u64::from(o.remaining).saturating_mul(1 << 32).checked_div(u64::from(o.rule.limit));
        denying.or_else(|| outcomes.into_iter().filter(|o| !o.rule.shadow).min_by_key(share))
    }
}
