//! The numbers of one realm.

use super::{
    BUCKETS, Count, Durations, DurationsRead, Failure, Level,
    asked::{Answer, Remembered, Stored, Verb},
    exemplar::{Exemplar, Marks, Shown},
    sample::Sample,
};
use crate::{
    app::ports::meter::{Stripes, bucket_of},
    domain::{
        deny::DenyReason,
        id::RealmName,
        limit::LimitOutcome,
        realm::Realm,
        time::{Ticks, Timestamp},
        webhook::Webhook,
    },
};
use std::{sync::Arc, time::Duration};

/// How often a limit was found so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitState {
    /// At least 80 % of it were used, and it admitted.
    pub near: u64,
    /// It did not admit.
    pub over: u64,
    /// It was passed over: the store could not count, and the limit allows that.
    pub passed_over: u64,
}

#[derive(Debug)]
struct Stripe {
    verbs: [VerbCounts; Verb::ALL.len()],
    keys: [Count; 3],
    tokens: [Count; 2],
    stored: [Count; 3],
    degraded: Count,
    limits: Box<[LimitCounts]>,
}

#[derive(Debug, Default)]
struct VerbCounts {
    allowed: Count,
    denied: [Count; DenyReason::ALL.len()],
    failed: [Count; Failure::ALL.len()],
    took: Durations,
}

#[derive(Debug, Default)]
struct LimitCounts {
    near: Count,
    over: Count,
    passed_over: Count,
}

/// A subscriber's messages.
#[derive(Debug, Default)]
pub struct HookCounts {
    /// Messages that arrived.
    pub delivered: Count,
    /// Attempts that failed.
    pub failed: Count,
    /// Messages that were given up.
    pub dead: Count,
}

/// The numbers of one realm.
#[derive(Debug)]
pub struct RealmMeter {
    name: RealmName,
    limits: Box<[Arc<str>]>,
    stripes: Stripes<Stripe>,
    shown: Box<[[Shown; BUCKETS]]>,
    hooks: Box<[(String, HookCounts)]>,
    /// Accounts with news for subscribers, and entries that were due, as the last round found them.
    pub backlog: [Level; 2],
    /// Credentials that were released; that were not there; that could not be opened.
    pub releases: [Count; 3],
    /// One-time codes that were brought, and that could not be.
    pub codes: [Count; 2],
    denials: Sample,
}

impl RealmMeter {
    pub(super) fn new(on: bool, realm: &Realm) -> Self {
        let limits: Box<[Arc<str>]> = realm.limits.iter().map(|limit| Arc::clone(&limit.name)).collect();
        let stripe = || Stripe {
            verbs: Default::default(),
            keys: Default::default(),
            tokens: Default::default(),
            stored: Default::default(),
            degraded: Count::default(),
            limits: limits.iter().map(|_| LimitCounts::default()).collect(),
        };
        let stripes = Stripes::new(on, stripe);
        let shown = if on { Verb::ALL.len() } else { 0 };
        Self {
            name: realm.name.clone(),
            stripes,
            limits,
            shown: (0..shown).map(|_| Default::default()).collect(),
            hooks: realm.webhooks.iter().map(|hook| (hook.name.clone(), HookCounts::default())).collect(),
            backlog: Default::default(),
            releases: Default::default(),
            codes: Default::default(),
            denials: Sample::default(),
        }
    }

    /// Whether these numbers can go on for that realm.
    pub(super) fn fits(&self, realm: &Realm) -> bool {
        let hooks = |known: &[(String, HookCounts)], hooks: &[Webhook]| {
            known.len() == hooks.len() && known.iter().zip(hooks).all(|((name, _), hook)| *name == hook.name)
        };
        self.name == realm.name
            && self.limits.len() == realm.limits.len()
            && self.limits.iter().zip(&realm.limits).all(|(name, limit)| *name == limit.name)
            && hooks(&self.hooks, &realm.webhooks)
    }

    /// The realm.
    #[must_use]
    pub fn name(&self) -> &RealmName {
        &self.name
    }

    /// Notes an answer, and how long it took.
    pub fn answered(&self, verb: Verb, answer: Answer, took: Duration) {
        let Some(counts) = self.stripes.here().and_then(|stripe| stripe.verbs.get(verb as usize)) else { return };
        let count = match answer {
            Answer::Allowed => Some(&counts.allowed),
            Answer::Denied(reason) => counts.denied.get(reason as usize),
            Answer::Failed(failure) => counts.failed.get(failure as usize),
        };
        if let Some(count) = count {
            count.one();
        }
        counts.took.note(took);
    }

    /// Shows a decision for its bucket, if that has not shown another one a moment ago; `marks` is asked only then.
    pub fn show(&self, verb: Verb, took: Duration, at: (Timestamp, Ticks), marks: impl FnOnce() -> Marks) {
        let shown = self.shown.get(verb as usize).and_then(|buckets| buckets.get(bucket_of(took)));
        if let Some(shown) = shown {
            shown.show(took, at, marks);
        }
    }

    /// Notes how limits stood.
    pub fn limits(&self, outcomes: &[LimitOutcome<'_>]) {
        for outcome in outcomes {
            let used = u64::from(outcome.rule.limit.saturating_sub(outcome.remaining));
            let near = used.saturating_mul(5) >= u64::from(outcome.rule.limit).saturating_mul(4);
            if near || outcome.exceeded || outcome.degraded {
                self.limit(outcome, near);
            }
        }
    }

    fn limit(&self, outcome: &LimitOutcome<'_>, near: bool) {
        let Some(stripe) = self.stripes.here() else { return };
        let at = self.limits.iter().position(|name| Arc::ptr_eq(name, &outcome.rule.name));
        let at = at.or_else(|| self.limits.iter().position(|name| *name == outcome.rule.name));
        let Some(counts) = at.and_then(|at| stripe.limits.get(at)) else { return };
        if outcome.degraded {
            counts.passed_over.one();
        } else if outcome.exceeded {
            counts.over.one();
        } else if near {
            counts.near.one();
        }
    }

    /// Notes that the store could not be asked, and the answer rests on what was known before.
    pub fn degraded(&self) {
        if let Some(stripe) = self.stripes.here() {
            stripe.degraded.one();
        }
    }

    /// Notes how a key was found.
    pub fn key_looked_up(&self, found: Remembered) {
        if let Some(count) = self.stripes.here().and_then(|stripe| stripe.keys.get(found as usize)) {
            count.one();
        }
    }

    /// Notes whether a token was remembered.
    pub fn token_looked_up(&self, remembered: bool) {
        if let Some(count) = self.stripes.here().and_then(|stripe| stripe.tokens.get(usize::from(!remembered))) {
            count.one();
        }
    }

    /// Notes how a secret is stored that was let through.
    pub fn key_used(&self, stored: Stored) {
        if let Some(count) = self.stripes.here().and_then(|stripe| stripe.stored.get(stored as usize)) {
            count.one();
        }
    }

    /// A subscriber's messages, if it is one of the realm.
    #[must_use]
    pub fn hook(&self, name: &str) -> Option<&HookCounts> {
        self.hooks.iter().find(|(known, _)| known == name).map(|(_, counts)| counts)
    }

    /// Every subscriber.
    pub fn hooks(&self) -> impl Iterator<Item = (&str, &HookCounts)> {
        self.hooks.iter().map(|(name, counts)| (name.as_str(), counts))
    }

    /// Whether a denial may be told in the log now, `most` of them a second, and how many were not since the last that was.
    pub fn tell_denial(&self, most: u32, now: Ticks) -> Option<u64> {
        self.denials.turn(most, now)
    }

    /// How often a question was answered so.
    #[must_use]
    pub fn answers(&self, verb: Verb, answer: Answer) -> u64 {
        self.stripes.sum(|stripe| {
            let Some(counts) = stripe.verbs.get(verb as usize) else { return 0 };
            let count = match answer {
                Answer::Allowed => Some(&counts.allowed),
                Answer::Denied(reason) => counts.denied.get(reason as usize),
                Answer::Failed(failure) => counts.failed.get(failure as usize),
            };
            count.map_or(0, Count::get)
        })
    }

    /// How long answers took, and one decision for each bucket that has one to show.
    #[must_use]
    pub fn took(&self, verb: Verb) -> (DurationsRead, Vec<Option<Exemplar>>) {
        let mut read = DurationsRead::default();
        let counts = self.stripes.all().filter_map(|stripe| stripe.verbs.get(verb as usize));
        counts.for_each(|counts| counts.took.add_to(&mut read));
        let shown = self.shown.get(verb as usize);
        let shown = shown.into_iter().flatten().map(Shown::read).collect();
        (read, shown)
    }

    /// How often keys were found so.
    #[must_use]
    pub fn keys(&self, found: Remembered) -> u64 {
        self.stripes.sum(|stripe| stripe.keys.get(found as usize).map_or(0, Count::get))
    }

    /// How often tokens were remembered, and how often they were not.
    #[must_use]
    pub fn tokens(&self, remembered: bool) -> u64 {
        self.stripes.sum(|stripe| stripe.tokens.get(usize::from(!remembered)).map_or(0, Count::get))
    }

    /// How often secrets were let through that are stored so.
    #[must_use]
    pub fn stored(&self, stored: Stored) -> u64 {
        self.stripes.sum(|stripe| stripe.stored.get(stored as usize).map_or(0, Count::get))
    }

    /// How often the store could not be asked.
    #[must_use]
    pub fn degraded_count(&self) -> u64 {
        self.stripes.sum(|stripe| stripe.degraded.get())
    }

    /// Every limit and how often it was found near, over, or passed over.
    pub fn limit_states(&self) -> impl Iterator<Item = (&str, LimitState)> {
        self.limits.iter().enumerate().map(|(at, name)| {
            let sum = |count: fn(&LimitCounts) -> &Count| {
                self.stripes.sum(|stripe| stripe.limits.get(at).map_or(0, |counts| count(counts).get()))
            };
            let state = LimitState {
                near: sum(|counts| &counts.near),
                over: sum(|counts| &counts.over),
                passed_over: sum(|counts| &counts.passed_over),
            };
            (&**name, state)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_place() {
        let mut places: Vec<usize> = DenyReason::ALL.iter().map(|reason| *reason as usize).collect();
        places.sort_unstable();
        assert_eq!(places, (0..DenyReason::ALL.len()).collect::<Vec<_>>());
    }
}
