//! The numbers of one realm.

use super::{Astray, BUCKETS, Count, Durations, DurationsRead, Failure, Level};
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
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// What is asked at every request of a guarded product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `Authenticate`.
    Authenticate,
    /// Envoy's `Check`.
    Check,
    /// `CheckRateLimit`.
    CheckRateLimit,
    /// Envoy's `ShouldRateLimit`.
    ShouldRateLimit,
}

impl Verb {
    /// Every verb, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Authenticate, Self::Check, Self::CheckRateLimit, Self::ShouldRateLimit];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Check => "check",
            Self::CheckRateLimit => "check_rate_limit",
            Self::ShouldRateLimit => "should_rate_limit",
        }
    }

    /// Whether its questions may come to no realm for that reason.
    #[must_use]
    pub const fn may_go(self, why: Astray) -> bool {
        match self {
            Self::Authenticate | Self::CheckRateLimit => matches!(why, Astray::UnknownRealm),
            Self::Check => !matches!(why, Astray::UnknownRealm),
            Self::ShouldRateLimit => matches!(why, Astray::UnknownRealm | Astray::Unreadable),
        }
    }

    /// Whether it may deny for that reason: who judges limits alone has two.
    #[must_use]
    pub const fn may_deny(self, reason: DenyReason) -> bool {
        match self {
            Self::Authenticate | Self::Check => !matches!(reason, DenyReason::InvalidCode),
            Self::CheckRateLimit | Self::ShouldRateLimit => {
                matches!(reason, DenyReason::RateLimited | DenyReason::CostAboveLimit)
            }
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Allowed,
    /// No.
    Denied(DenyReason),
    /// Nobody can tell.
    Failed(Failure),
}

/// How a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// In memory.
    Hit,
    /// It was remembered that there is none.
    Nothing,
    /// The store was asked.
    Asked,
}

/// How the secret that was let through is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Under the newest server secret.
    Newest,
    /// Under an older one.
    Older,
    /// Under a hash that was made elsewhere.
    Imported,
}

/// What leads from a number to a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// The request id that came with the call.
    pub request_id: Option<String>,
    /// The trace that the call is part of.
    pub trace_id: Option<String>,
}

/// One of the decisions that a bucket counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exemplar {
    /// What leads to it.
    pub marks: Marks,
    /// How long it took.
    pub took: Duration,
    /// When it was made.
    pub at: Timestamp,
}

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

/// What is shown for each bucket of a verb, and from when on another one may be.
#[derive(Debug, Default)]
struct Shown {
    next: AtomicU64,
    exemplar: Mutex<Option<Exemplar>>,
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
    /// How often a bucket may show another decision.
    const SHOWN_US: u64 = 1_000_000;

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
        let Some(shown) = shown else { return };
        let (now, next) = (at.1.as_micros(), shown.next.load(Ordering::Relaxed));
        if now < next {
            return;
        }
        shown.next.store(now.saturating_add(Self::SHOWN_US), Ordering::Relaxed);
        let marks = marks();
        if marks != Marks::default()
            && let Some(mut place) = shown.exemplar.try_lock()
        {
            *place = Some(Exemplar { marks, took, at: at.0 });
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
        let shown = shown.into_iter().flatten().map(|shown| shown.exemplar.lock().clone()).collect();
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

/// Lets a number of lines through in each second and counts the others.
#[derive(Debug, Default)]
struct Sample {
    /// The second that is counted, and how many lines it had.
    second: AtomicU64,
    told: AtomicU64,
    left_out: AtomicU64,
}

impl Sample {
    fn turn(&self, most: u32, now: Ticks) -> Option<u64> {
        if most == 0 {
            return None;
        }
        // One more, so that the first second is another one than none.
        let second = now.as_micros().checked_div(1_000_000).unwrap_or_default().saturating_add(1);
        let counted = self.second.load(Ordering::Relaxed);
        if counted != second
            && self.second.compare_exchange(counted, second, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.told.store(0, Ordering::Relaxed);
        }
        // Read first: most denials of a flood only read.
        let full = self.told.load(Ordering::Relaxed) >= u64::from(most);
        if full || self.told.fetch_add(1, Ordering::Relaxed) >= u64::from(most) {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Ordering::Relaxed))
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

    #[test]
    fn so_many_denials_a_second_are_told_and_the_others_are_counted() {
        let sample = Sample::default();
        let turn = |most, micros| sample.turn(most, Ticks::from_micros(micros));
        assert_eq!((turn(2, 0), turn(2, 1), turn(2, 2), turn(2, 999_999)), (Some(0), Some(0), None, None));
        assert_eq!((turn(2, 1_000_000), turn(2, 1_000_001), turn(2, 1_000_002)), (Some(2), Some(0), None));
        assert_eq!((turn(0, 5_000_000), turn(1, 6_000_000)), (None, Some(1)));
    }
}
