//! The one place where a failure of a use case becomes a gRPC status.

use crate::{
    app::{error::AppError, ports::StoreError},
    domain::key::LifecycleError,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The status of a failure. Every variant stands here: a new one must find its place before it compiles.
#[must_use]
pub fn status(error: &AppError) -> Status {
    let message = error.to_string();
    match error {
        AppError::Invalid(violations) => {
            let mut details = ErrorDetails::new();
            for violation in violations {
                details.add_bad_request_violation(violation.field.clone(), violation.problem.clone());
            }
            Status::with_error_details(Code::InvalidArgument, message, details)
        }
        AppError::Target(violation) => {
            let details = ErrorDetails::with_bad_request_violation(violation.field.clone(), violation.problem.clone());
            Status::with_error_details(Code::InvalidArgument, message, details)
        }
        AppError::Unauthenticated => Status::unauthenticated(message),
        AppError::NotAllowed { .. } => Status::permission_denied(message),
        AppError::UnknownKey(_) | AppError::UnknownAccount => Status::not_found(message),
        AppError::Contended => Status::aborted(message),
        AppError::Lifecycle(error) => match error {
            LifecycleError::Version { .. } => Status::aborted(message),
            LifecycleError::Revoked(_)
            | LifecycleError::TooManyKeys(_)
            | LifecycleError::TooManySecrets
            | LifecycleError::AccountInactive => Status::failed_precondition(message),
            LifecycleError::Grace(_) => one_field("grace", message),
            LifecycleError::Expiry | LifecycleError::ExpiryTooFar(_) => one_field("expires_at", message),
            LifecycleError::TooMuchMetadata => one_field("metadata", message),
        },
        AppError::Store(error) => match error {
            StoreError::Unavailable(_) | StoreError::Deadline(_) | StoreError::Full(_) => Status::unavailable(message),
            StoreError::Corrupt(_) => Status::data_loss(message),
        },
        AppError::Entropy(_) | AppError::Bug(_) => Status::internal(message),
    }
}

fn one_field(field: &str, problem: String) -> Status {
    let message = format!("`{field}` {problem}");
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request_violation(field, problem))
}
