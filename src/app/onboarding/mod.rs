//! How somebody without a credential obtains a first key: a code goes to an address, and whoever brings it back gets the key.
//!
//! A signup is an entry of one of 16 accounts that hold nothing else, in one of 65,536 places: nothing that belongs to the address
//! exists before the code came back, and abandoned signups are written over once they are over.

mod signup;
mod verify;

pub use signup::{SignupRequest, Started};
pub use verify::VerifyRequest;

use super::{
    authenticate::Denial,
    check_rate_limit::{CheckRateLimit, Selection},
    error::AppError,
    house::{App, Guarded},
    ports::{CommitError, Store},
};
use crate::domain::{
    commit::Change,
    entry::{Entry, EntryChange, EntryId, EntryKind},
    id::{AccountRef, InvalidId},
    key::Repeatable,
    limit::{LimitOutcome, LimitRule, Subject},
    onboarding::{OnboardingRules, Signup, SignupId},
    time::Timestamp,
};
use std::sync::Arc;

/// How often a step starts over when others write to the same place at the same time.
const ATTEMPTS: usize = 16;

/// Why onboarding did not go on, beside a denial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OnboardingError {
    /// The realm's configuration says nothing of it.
    #[error("this realm has no onboarding: its configuration has no `[onboarding]`")]
    NotKnownHere,
    /// The code did not reach whoever signed up.
    #[error("the code could not be delivered")]
    Undelivered,
    /// No place was free.
    #[error("too many signups are open: try again later")]
    Full,
}

/// What came of a call.
pub enum Outcome<'g, T> {
    /// It went well.
    Done(T),
    /// It was denied: why, how the limits stand, and when.
    Denied(Denial<'g>, Vec<LimitOutcome<'g>>, Timestamp),
}

impl<S: Store> App<S> {
    /// Charges limits of the realm; the denial if one of them is exhausted.
    async fn charge_onboarding<'g, T>(
        &self,
        guard: &'g Guarded,
        names: &[Arc<str>],
        environment: usize,
        subject: Subject<'_>,
    ) -> Result<Option<Outcome<'g, T>>, AppError> {
        let limits: Vec<&LimitRule> = names.iter().filter_map(|name| guard.realm.limit(name)).collect();
        if limits.is_empty() {
            return Ok(None);
        }
        let environment = guard.realm.environment_at(environment).ok_or(AppError::Bug("no such environment"))?;
        let selection = Selection::Limits(limits);
        let request = CheckRateLimit { environment, selection, subject, cost: 1, peek: false };
        let decision = self.check_rate_limit(guard, &request).await?;
        Ok(decision.denial.map(|denial| Outcome::Denied(denial, decision.limits, decision.now)))
    }

    async fn read_signup(&self, home: &AccountRef, id: SignupId) -> Result<Option<Signup>, AppError> {
        match self.store.read_entry(home, &entry_id(id)?).await? {
            Some(Entry::Signup(signup)) => Ok(Some(signup)),
            Some(Entry::Member(_) | Entry::Credential(_)) => Err(AppError::Bug("an entry of a signup is none")),
            None => Ok(None),
        }
    }

    /// Puts a change into the store: false when it has to be computed anew.
    async fn put_signup(&self, mut change: Change, id: SignupId, signup: Option<Signup>) -> Result<bool, AppError> {
        change.entries.push(EntryChange { id: entry_id(id)?, entry: signup.map(Entry::Signup) });
        match self.commit(&change).await {
            Ok(()) => Ok(true),
            Err(CommitError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

fn rules(guard: &Guarded) -> Result<&OnboardingRules, AppError> {
    guard.realm.onboarding.as_ref().ok_or_else(|| OnboardingError::NotKnownHere.into())
}

fn home(guard: &Guarded, id: SignupId) -> Result<AccountRef, AppError> {
    Ok(AccountRef { realm: guard.realm.name.clone(), account: id.home().map_err(bug)? })
}

fn entry_id(id: SignupId) -> Result<EntryId, AppError> {
    Ok(EntryId { kind: EntryKind::Signup, name: id.place().map_err(bug)? })
}

fn bug(_: InvalidId) -> AppError {
    AppError::Bug("the place of a signup has no legal name")
}

/// What is kept of a code, and compared with it: keyed from the server secret, for this signup alone.
fn marked_code(guard: &Guarded, id: SignupId, code: &str) -> Repeatable {
    guard.marker.mark("onboarding-code", &id.to_string(), code.as_bytes())
}
