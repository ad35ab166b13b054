//! Why a use case could not do what was asked. A denial is never among these: it is an answer.

use super::{
    onboarding::OnboardingError,
    ports::{CommitError, EntropyError, StoreError},
};
use crate::domain::{
    directory::DirectoryError,
    id::{KeyId, RealmName},
    key::LifecycleError,
    member::MemberError,
};

/// A field of a request and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The field, as in the API: `create.account_id`.
    pub field: String,
    /// What is wrong and what is allowed. Never repeats the value.
    pub problem: String,
}

/// Why a use case failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// The request is wrong; every wrong field is named.
    #[error("{}", sentence(.0))]
    Invalid(Vec<Violation>),
    /// What the request acts on is not named, or not in one way only. Whoever sent it did that, not whoever asks.
    #[error("the request is not valid: `{}`: {}", .0.field, .0.problem)]
    Target(Violation),
    /// No management credential, or one that is not valid.
    #[error(
        "a management key is needed as `authorization: Bearer …` metadata, and the one given is missing or not valid"
    )]
    Unauthenticated,
    /// The management key may not do this.
    #[error("this management key lacks the role `{role}` for the realm `{realm}`")]
    NotAllowed {
        /// The role that is missing.
        role: &'static str,
        /// The realm that was to be managed.
        realm: RealmName,
    },
    /// No such key in this realm.
    #[error("there is no key `{0}` in this realm")]
    UnknownKey(KeyId),
    /// No such account in this realm.
    #[error("there is no such account in this realm")]
    UnknownAccount,
    /// The key's state or the realm's policy does not allow it.
    #[error(transparent)]
    Lifecycle(#[from] LifecycleError),
    /// The account's state does not allow it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What the realm says of members, or the account's state, does not allow it.
    #[error(transparent)]
    Member(#[from] MemberError),
    /// Nobody can sign up here, or not now.
    #[error(transparent)]
    Onboarding(#[from] OnboardingError),
    /// Others kept changing the account at the same time.
    #[error("the account is being changed by others at the same time: try again")]
    Contended,
    /// The store cannot answer, so keygate cannot judge.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A defect of keygate.
    #[error("internal error: {0}")]
    Bug(&'static str),
}

impl AppError {
    /// One wrong field.
    #[must_use]
    pub fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid(vec![Violation { field: field.to_owned(), problem: problem.into() }])
    }
}

impl From<CommitError> for AppError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Conflict => Self::Contended,
            CommitError::DigestTaken(_) => Self::Bug("a new secret met an old one"),
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

fn sentence(violations: &[Violation]) -> String {
    let each: Vec<String> = violations.iter().map(|v| format!("`{}`: {}", v.field, v.problem)).collect();
    format!("the request is not valid: {}", each.join("; "))
}
