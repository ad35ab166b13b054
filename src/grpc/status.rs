//! The one place where a failure of a use case becomes a gRPC status.

use crate::{
    app::{error::AppError, ports::StoreError},
    domain::key::LifecycleError,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The status of a failure. Every variant stands here: a new one must find its place before it compiles. What stands behind
/// keygate, or went wrong inside it, is for the log: callers need not have shown who they are.
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
            StoreError::Unavailable(_) => Status::unavailable("the store is unavailable: try again"),
            StoreError::Deadline(_) => Status::unavailable("the store did not answer in time: try again"),
            StoreError::Full(_) => Status::unavailable("the store is full: nothing can be written"),
            StoreError::Corrupt(_) => Status::data_loss("the store holds a record that cannot be trusted"),
        },
        AppError::Entropy(_) => Status::internal("the operating system gives no random bytes"),
        AppError::Bug(_) => Status::internal("internal error: a defect of keygate"),
    }
}

fn one_field(field: &str, problem: String) -> Status {
    let message = format!("`{field}` {problem}");
    Status::with_error_details(Code::InvalidArgument, message, ErrorDetails::with_bad_request_violation(field, problem))
}
