//! What the house counts of itself: plain numbers for whoever shows them. A decision costs a few additions to its own thread's
//! numbers; realms, limits and reasons are places in arrays, found when the realm is loaded. A realm that goes takes its
//! numbers with it.

mod asked;
mod connections;
mod exemplar;
mod realm;
mod sample;
mod secrets;

pub use super::ports::{
    meter::{BOUNDS_US, BUCKETS, Command, Count, Durations, DurationsRead, Level, StoreFault, StoreMeter, take_stripe},
    trace::TraceMeter,
};
pub use asked::{Answer, Remembered, Stored, Verb};
pub use connections::{ConnectionsMeter, Ending};
pub use exemplar::{Exemplar, Marks};
pub use realm::{LimitState, RealmMeter};
pub use secrets::SecretsMeter;

use super::{error::AppError, ports::StoreError, vault::VaultError};
use crate::domain::{realm::Realm, time::Timestamp};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

/// Why nothing could be decided: never a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The question was wrong, or not one that whoever asked may ask.
    Invalid,
    /// The store could not be reached.
    StoreUnavailable,
    /// The store did not answer in time.
    StoreDeadline,
    /// The store has no room.
    StoreFull,
    /// The store holds what cannot be trusted.
    StoreCorrupt,
    /// The public keys of a token's issuer are not known.
    IssuerUnavailable,
    /// A provider's credential cannot be opened.
    VaultUnavailable,
    /// Others kept changing the account.
    Contended,
    /// A defect, or an operating system without random bytes.
    Internal,
}

impl Failure {
    /// Every failure, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::StoreUnavailable,
        Self::StoreDeadline,
        Self::StoreFull,
        Self::StoreCorrupt,
        Self::IssuerUnavailable,
        Self::VaultUnavailable,
        Self::Contended,
        Self::Internal,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid_request",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreDeadline => "store_deadline",
            Self::StoreFull => "store_full",
            Self::StoreCorrupt => "store_corrupt",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::VaultUnavailable => "vault_unavailable",
            Self::Contended => "contended",
            Self::Internal => "internal",
        }
    }

    /// What a use case's error is.
    #[must_use]
    pub fn of(error: &AppError) -> Self {
        match error {
            AppError::Store(StoreError::Unavailable(_) | StoreError::Unconfirmed(_)) => Self::StoreUnavailable,
            AppError::Store(StoreError::Deadline(_)) => Self::StoreDeadline,
            AppError::Store(StoreError::Full(_)) => Self::StoreFull,
            AppError::Store(StoreError::Corrupt(_)) => Self::StoreCorrupt,
            AppError::NoKeys { .. } => Self::IssuerUnavailable,
            AppError::Vault(VaultError::Off) => Self::Invalid,
            AppError::Vault(_) => Self::VaultUnavailable,
            AppError::Contended => Self::Contended,
            AppError::Entropy(_) | AppError::Bug(_) => Self::Internal,
            AppError::Invalid(_)
            | AppError::Target(_)
            | AppError::Unauthenticated
            | AppError::NotAllowed { .. }
            | AppError::OwnKey { .. }
            | AppError::NoOwner { .. }
            | AppError::OwnersOnly { .. }
            | AppError::OperatorsOnly
            | AppError::Wider
            | AppError::NoEmbedTokens { .. }
            | AppError::ReadOnly
            | AppError::NotMinted(_)
            | AppError::UnknownKey(_)
            | AppError::UnknownAccount
            | AppError::OthersAccount
            | AppError::UnknownCredential
            | AppError::NoRelease
            | AppError::Directory(_)
            | AppError::Member(_)
            | AppError::Onboarding(_)
            | AppError::Lifecycle(_) => Self::Invalid,
        }
    }
}

/// Why a question never came to a realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Astray {
    /// It names a realm that is none.
    UnknownRealm,
    /// Nothing says which realm guards the host.
    NoRealm,
    /// The route, or the realm that it goes to, is not set up for such requests.
    Misconfigured,
    /// The request has no canonical form.
    Malformed,
    /// The question could not be read.
    Unreadable,
}

impl Astray {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::UnknownRealm, Self::NoRealm, Self::Misconfigured, Self::Malformed, Self::Unreadable];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnknownRealm => "unknown_realm",
            Self::NoRealm => "no_realm",
            Self::Misconfigured => "misconfigured",
            Self::Malformed => "malformed_request",
            Self::Unreadable => "unreadable",
        }
    }
}

/// What came of an act of management.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ActResult {
    /// It was done.
    Done,
    /// Whoever asked made a mistake, or may not.
    Refused,
    /// keygate, or what it rests on, could not.
    Failed,
    /// It took too long: whether it is done is not known.
    TimedOut,
}

impl ActResult {
    /// Every result, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Done, Self::Refused, Self::Failed, Self::TimedOut];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
        }
    }
}

/// The configuration that is in force. Whoever puts another in force says so here.
#[derive(Debug, Default)]
pub struct ConfigurationMeter {
    /// How many were put in force, the first with the start.
    pub generation: Level,
    /// When the last one was, in microseconds since 1970.
    pub loaded_at_us: Level,
    /// When one was last refused, likewise; 0: never.
    pub refused_at_us: Level,
    /// How many were refused.
    pub refused: Count,
}

impl ConfigurationMeter {
    /// Another one is in force.
    pub fn loaded(&self, now: Timestamp) {
        self.generation.set(self.generation.get().saturating_add(1));
        self.loaded_at_us.set(now.as_micros());
    }

    /// One was refused: the one before stays in force.
    pub fn refused(&self, now: Timestamp) {
        self.refused.one();
        self.refused_at_us.set(now.as_micros());
    }
}

/// What calls were that were refused because too many were in work: whatever is no act; acts; acts that read or write much
/// at a time; calls whose request was still on its way; streams of answers;
/// calls of clients that do not take their answers.
pub const SHED_KINDS: [&str; 6] = ["decision", "act", "bulk", "arriving", "stream", "untaken"];

/// Everything that is counted of one server. Cheap where it is off: then nothing is counted and nobody asks.
#[derive(Debug, Default)]
pub struct Meter {
    on: bool,
    realms: Mutex<Vec<Weak<RealmMeter>>>,
    astray: [[Count; Astray::ALL.len()]; Verb::ALL.len()],
    acts: Mutex<BTreeMap<&'static str, [u64; ActResult::ALL.len()]>>,
    /// Keys by the version of the server secret that they hang on.
    pub secrets: SecretsMeter,
    /// Calls that were refused because too many were in work, in the order of [`SHED_KINDS`].
    pub shed: [Count; SHED_KINDS.len()],
    /// What became of connections.
    pub connections: ConnectionsMeter,
    /// Accounts that were found behind what this server had written down of them.
    pub gone_back: Count,
    /// Keys that stopped to work again because of that.
    pub ended_again: Count,
    /// Notes of uses that found no room.
    pub uses_dropped: Count,
    /// Notes of uses that were written.
    pub uses_written: Count,
    /// Notes of uses that could not be written.
    pub uses_lost: Count,
    /// Secrets that were moved to the newest server secret.
    pub rekeyed: Count,
    /// Secrets that could not be, or had to wait.
    pub rekeying_put_off: Count,
    /// Events of the audit log that were written to the file, and attempts that failed.
    pub exported: Count,
    /// Attempts to write one that failed.
    pub export_failures: Count,
    /// How long key services took, and how often they failed: to wrap, and to open.
    pub key_service: [(Durations, Count); 2],
    /// The configuration in force.
    pub configuration: ConfigurationMeter,
    /// How following calls goes.
    pub traces: Arc<TraceMeter>,
}

impl Meter {
    /// One that counts.
    #[must_use]
    pub fn on() -> Self {
        Self { on: true, ..Self::default() }
    }

    /// Whether it counts.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// The numbers of a realm: those of a realm of that name, with the same limits and subscribers, if there is one.
    pub fn realm(&self, realm: &Realm) -> Arc<RealmMeter> {
        let mut realms = self.realms.lock();
        realms.retain(|known| known.strong_count() > 0);
        let mut living = realms.iter().filter_map(Weak::upgrade);
        if let Some(known) = living.find(|known| known.fits(realm)) {
            return known;
        }
        let made = Arc::new(RealmMeter::new(self.on, realm));
        realms.push(Arc::downgrade(&made));
        made
    }

    /// The numbers of every realm that there is, by name.
    #[must_use]
    pub fn realms(&self) -> Vec<Arc<RealmMeter>> {
        let mut living: Vec<Arc<RealmMeter>> = self.realms.lock().iter().filter_map(Weak::upgrade).collect();
        living.sort_by(|a, b| a.name().cmp(b.name()));
        // The newer one of two is the one that counts now.
        living.reverse();
        living.dedup_by(|later, earlier| later.name() == earlier.name());
        living.reverse();
        living
    }

    /// Notes a question that came to no realm.
    pub fn astray(&self, verb: Verb, why: Astray) {
        if let Some(count) = self.astray.get(verb as usize).and_then(|counts| counts.get(why as usize)) {
            count.one();
        }
    }

    /// How many questions came to no realm for that reason.
    #[must_use]
    pub fn astray_count(&self, verb: Verb, why: Astray) -> u64 {
        self.astray.get(verb as usize).and_then(|counts| counts.get(why as usize)).map_or(0, Count::get)
    }

    /// Makes acts known that nobody did yet.
    pub fn expect_acts(&self, acts: &[&'static str]) {
        let mut known = self.acts.lock();
        for act in acts {
            known.entry(act).or_default();
        }
    }

    /// Notes an act of management.
    pub fn act(&self, act: &'static str, result: ActResult) {
        let mut acts = self.acts.lock();
        if let Some(count) = acts.entry(act).or_default().get_mut(result as usize) {
            *count = count.saturating_add(1);
        }
    }

    /// Every act and what came of it how often.
    #[must_use]
    pub fn acts(&self) -> Vec<(&'static str, [u64; ActResult::ALL.len()])> {
        self.acts.lock().iter().map(|(act, counts)| (*act, *counts)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_names_are_their_places() {
        assert!(Failure::ALL.iter().enumerate().all(|(at, failure)| *failure as usize == at));
        assert!(Astray::ALL.iter().enumerate().all(|(at, why)| *why as usize == at));
        assert!(ActResult::ALL.iter().enumerate().all(|(at, result)| *result as usize == at));
        assert!(Verb::ALL.iter().enumerate().all(|(at, verb)| *verb as usize == at));
        assert!(Ending::ALL.iter().enumerate().all(|(at, why)| *why as usize == at));
    }

    #[test]
    fn another_configuration_is_another_generation_and_a_refused_one_is_none() {
        let meter = ConfigurationMeter::default();
        meter.loaded(Timestamp::from_micros(5));
        meter.refused(Timestamp::from_micros(7));
        assert_eq!((meter.generation.get(), meter.loaded_at_us.get()), (1, 5));
        assert_eq!((meter.refused.get(), meter.refused_at_us.get()), (1, 7));
    }

    #[test]
    fn an_act_that_was_not_foreseen_is_counted_too() {
        let meter = Meter::on();
        meter.expect_acts(&["create"]);
        meter.act("rotate", ActResult::Refused);
        meter.act("rotate", ActResult::Refused);
        assert_eq!(meter.acts(), [("create", [0; 4]), ("rotate", [0, 2, 0, 0])]);
    }
}
