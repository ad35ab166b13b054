//! Why a use case could not do what was asked. A denial is never among these: it is an answer.

use super::{
    onboarding::OnboardingError,
    ports::{CommitError, EntropyError, StoreError},
    vault::VaultError,
};
use crate::domain::{
    deny::DenyReason,
    directory::DirectoryError,
    id::{KeyId, RealmName},
    key::LifecycleError,
    member::MemberError,
};

use std::sync::Arc;

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
    /// Keys of the realm are managed by operators, and somebody presented one of them.
    #[error("the keys of the realm `{realm}` are managed with management keys: a key of the realm itself manages none")]
    OwnKey {
        /// The realm.
        realm: RealmName,
    },
    /// Keys of the realm are managed by their owners, and nobody showed to be one.
    #[error(
        "keys of the realm `{realm}` are managed by their owners: a credential of the realm is needed as metadata, where the \
         realm says, and the one given is missing or not valid, or its account is not active"
    )]
    NoOwner {
        /// The realm.
        realm: RealmName,
    },
    /// Keys of the realm are their owners' business.
    #[error(
        "keys of the realm `{realm}` belong to their owners and cannot be {what} with a management key, which may end them \
         and manage their accounts"
    )]
    OwnersOnly {
        /// The realm.
        realm: RealmName,
        /// What was to be done.
        what: &'static str,
    },
    /// What only operators may do.
    #[error("keys that were made elsewhere are taken over by operators, with a management key")]
    OperatorsOnly,
    /// The key may do more, or lives longer, than the credential that acts on it.
    #[error("the key may do more, or lives longer, than the credential that would change it")]
    Wider,
    /// The realm has no embed tokens.
    #[error("the realm `{realm}` has no embed tokens: its file has no `[embed_tokens]`")]
    NoEmbedTokens {
        /// The realm.
        realm: RealmName,
    },
    /// The key may not do what the embed token should.
    #[error("no token was minted: with the key, the request would be denied as `{}`", .0.name())]
    NotMinted(DenyReason),
    /// Nothing is changed just now, by configuration.
    #[error(
        "management is read-only just now: the server's settings say `read_only` under `[management]`, as they do while a store \
         moves; keys are decided on as ever"
    )]
    ReadOnly,
    /// No such key in this realm.
    #[error("there is no key `{0}` in this realm")]
    UnknownKey(KeyId),
    /// No such account in this realm.
    #[error("there is no such account in this realm")]
    UnknownAccount,
    /// The account is not that of the owner who asks. Whether it exists is not told.
    #[error("there is no such account, or it is another's: in this realm owners see and end their own keys alone")]
    OthersAccount,
    /// No such credential.
    #[error("there is no such credential in this account")]
    UnknownCredential,
    /// Credentials are not released to whoever asks there.
    #[error("no credential is released on this listener: `vault.release_on` in the server's settings does not name it")]
    NoRelease,
    /// A credential cannot be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
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
    /// The public keys of a token's issuer are not known, so keygate cannot judge the token.
    #[error("the public keys of the token issuer `{issuer}` are not known: try again")]
    NoKeys {
        /// The issuer.
        issuer: Arc<str>,
    },
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
            CommitError::ReadOnly => Self::ReadOnly,
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
