//! The one place where a failure of a use case becomes a gRPC status.

use super::refusal::TooMany;
use crate::{
    app::{
        error::{AppError, Violation},
        onboarding::OnboardingError,
        ports::StoreError,
        vault::VaultError,
    },
    domain::{deny::DenyReason, directory::DirectoryError, key::LifecycleError, member::MemberError},
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The status of a failure. Every variant stands here: a new one must find its place before it compiles. What stands behind
/// keygate, or went wrong inside it, is for the log: callers need not have shown who they are.
#[must_use]
pub fn status(error: &AppError) -> Status {
    let message = error.to_string();
    match error {
        AppError::Invalid(violations) => invalid(&message, violations),
        AppError::Target(violation) => invalid(&message, std::slice::from_ref(violation)),
        AppError::Unauthenticated | AppError::OwnKey { .. } | AppError::NoOwner { .. } => {
            Status::unauthenticated(message)
        }
        AppError::NotAllowed { .. } | AppError::OwnersOnly { .. } | AppError::OperatorsOnly | AppError::Wider => {
            Status::permission_denied(message)
        }
        AppError::NotMinted(DenyReason::ForbiddenAccount) => Status::permission_denied(message),
        AppError::UnknownKey(_)
        | AppError::UnknownAccount
        | AppError::OthersAccount
        | AppError::UnknownCredential
        | AppError::NotMinted(DenyReason::UnknownAccount) => Status::not_found(message),
        AppError::ReadOnly | AppError::NoEmbedTokens { .. } | AppError::NotMinted(_) => {
            Status::failed_precondition(message)
        }
        AppError::NoRelease => Status::permission_denied(message),
        AppError::Vault(error) => match error {
            VaultError::Off => Status::failed_precondition(message),
            VaultError::Lost(_) | VaultError::Other(_) => {
                Status::unavailable("a credential cannot be opened: its key-encryption key is not there")
            }
            VaultError::Service { .. } => Status::unavailable("the key service did not answer: try again"),
        },
        AppError::Contended => Status::aborted(message),
        AppError::Lifecycle(error) => match error {
            LifecycleError::Version { .. } => Status::aborted(message),
            LifecycleError::Revoked(_)
            | LifecycleError::TooManyKeys(_)
            | LifecycleError::TooManySecrets
            | LifecycleError::AccountInactive => Status::failed_precondition(message),
            LifecycleError::Grace(_) => one_field("grace", message),
            LifecycleError::Expiry | LifecycleError::ExpiryTooFar(_) => one_field("expires_at", message),
            LifecycleError::Beginning => one_field("not_before", message),
            LifecycleError::TooMuchMetadata => one_field("metadata", message),
        },
        AppError::Directory(error) | AppError::Member(MemberError::Account(error)) => match error {
            DirectoryError::Exists => Status::already_exists(message),
            DirectoryError::Version { .. } => Status::aborted(message),
            DirectoryError::TooDeep
            | DirectoryError::TooManyOrganizations
            | DirectoryError::Offboarded
            | DirectoryError::OrganizationOffboarded
            | DirectoryError::OfOperators => Status::failed_precondition(message),
        },
        AppError::Member(error) => match error {
            MemberError::Unknown => Status::not_found(message),
            MemberError::Exists => Status::already_exists(message),
            MemberError::NotKnownHere | MemberError::TooMany | MemberError::TooManyKeys | MemberError::Account(_) => {
                Status::failed_precondition(message)
            }
            MemberError::IssuerUnknown | MemberError::IssuerRole => Status::permission_denied(message),
            MemberError::IssuerMissing | MemberError::IssuerNeedless => one_field("member_id", message),
        },
        AppError::Onboarding(error) => match error {
            OnboardingError::NotKnownHere => Status::failed_precondition(message),
            OnboardingError::Undelivered => Status::unavailable(message),
            OnboardingError::Full => TooMany::Signups.refusal(&message),
        },
        AppError::Store(error) => match error {
            StoreError::Unavailable(_) => Status::unavailable("the store is unavailable: try again"),
            StoreError::Deadline(_) => Status::unavailable("the store did not answer in time: try again"),
            StoreError::Unconfirmed(_) => Status::unavailable(
                "it was done, and may be undone if the store is lost now: not enough of its replicas have it. See what is \
                 there before trying again",
            ),
            StoreError::Full(_) => Status::unavailable("the store is full: nothing can be written"),
            StoreError::Corrupt(_) => Status::data_loss("the store holds a record that cannot be trusted"),
        },
        AppError::NoKeys { .. } => {
            Status::unavailable("the public keys of the token's issuer are not known: try again")
        }
        AppError::Entropy(_) => Status::internal("the operating system gives no random bytes"),
        AppError::Bug(_) => Status::internal("internal error: a defect of keygate"),
    }
}

/// Errors travel in HTTP/2 trailers, the message percent-encoded and the details in base 64; many clients take 8 KiB of them.
fn invalid(message: &str, violations: &[Violation]) -> Status {
    const MESSAGE_CHARS: usize = 640;
    const DETAILS_BYTES: usize = 3_584;
    /// What a violation takes beside its texts.
    const FRAME_BYTES: usize = 8;
    let mut details = ErrorDetails::new();
    let mut left = DETAILS_BYTES;
    for (at, violation) in violations.iter().enumerate() {
        let bytes = violation.field.len().saturating_add(violation.problem.len()).saturating_add(FRAME_BYTES);
        left = left.saturating_sub(bytes);
        if left == 0 {
            let more = violations.len().saturating_sub(at);
            details.add_bad_request_violation(violation.field.clone(), format!("is wrong too; {more} are not told"));
            break;
        }
        details.add_bad_request_violation(violation.field.clone(), violation.problem.clone());
    }
    let end = message.char_indices().nth(MESSAGE_CHARS).map_or(message.len(), |(at, _)| at);
    let shown = message.get(..end).unwrap_or_default();
    let mark = if shown.len() < message.len() { "…" } else { "" };
    Status::with_error_details(Code::InvalidArgument, format!("{shown}{mark}"), details)
}

fn one_field(field: &str, problem: String) -> Status {
    let message = format!("`{field}` {problem}");
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request_violation(field, problem))
}
