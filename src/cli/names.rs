//! Enums of the API as short lower-case names, both ways: `DENY_REASON_REVOKED_KEY` is `revoked_key`.

use crate::proto::v1::{
    AccountStatus, AuditAct, DenyReason, HashAlgorithm, HashEncoding, HashedPart, ImportOutcome, KeyState,
};
use clap::ValueEnum;
use tonic::Code;

/// The state of a key.
#[must_use]
pub fn key_state(value: i32) -> String {
    name(KeyState::try_from(value).map(|state| state.as_str_name()).ok(), "KEY_STATE_", value)
}

/// The status of an account.
#[must_use]
pub fn account_status(value: i32) -> String {
    name(AccountStatus::try_from(value).map(|status| status.as_str_name()).ok(), "ACCOUNT_STATUS_", value)
}

/// Why a request was denied.
#[must_use]
pub fn deny_reason(value: i32) -> String {
    name(DenyReason::try_from(value).map(|reason| reason.as_str_name()).ok(), "DENY_REASON_", value)
}

/// What became of an imported row.
#[must_use]
pub fn import_outcome(value: i32) -> String {
    name(ImportOutcome::try_from(value).map(|outcome| outcome.as_str_name()).ok(), "IMPORT_OUTCOME_", value)
}

/// What was done, in the audit log.
#[must_use]
pub fn audit_act(value: i32) -> String {
    name(AuditAct::try_from(value).map(|act| act.as_str_name()).ok(), "AUDIT_ACT_", value)
}

/// A value that this program is too old to know is shown as its number.
fn name(known: Option<&'static str>, prefix: &str, value: i32) -> String {
    known.map_or_else(|| format!("value_{value}"), |name| name.strip_prefix(prefix).unwrap_or(name).to_lowercase())
}

/// A gRPC code.
#[must_use]
pub const fn code(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The states that a list can be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Works.
    Active,
    /// Not valid yet.
    Pending,
    /// Does not work until it is resumed.
    Suspended,
    /// Past its expiry.
    Expired,
    /// Ended for ever.
    Revoked,
}

impl From<State> for KeyState {
    fn from(state: State) -> Self {
        match state {
            State::Active => Self::Active,
            State::Pending => Self::Pending,
            State::Suspended => Self::Suspended,
            State::Expired => Self::Expired,
            State::Revoked => Self::Revoked,
        }
    }
}

/// How hashes made elsewhere were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl From<Hash> for HashAlgorithm {
    fn from(hash: Hash) -> Self {
        match hash {
            Hash::Sha256 => Self::Sha256,
            Hash::Sha512 => Self::Sha512,
        }
    }
}

/// How hashes made elsewhere are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// Base 16.
    Hex,
    /// Base 64 with `+` and `/`.
    Base64,
    /// Base 64 with `-` and `_`.
    Base64url,
}

impl From<Encoding> for HashEncoding {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Hex => Self::Hex,
            Encoding::Base64 => Self::Base64,
            Encoding::Base64url => Self::Base64url,
        }
    }
}

/// Which part of a key went into its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The whole key, prefix included.
    Whole,
    /// What follows the prefix.
    Body,
}

impl From<Part> for HashedPart {
    fn from(part: Part) -> Self {
        match part {
            Part::Whole => Self::Whole,
            Part::Body => Self::Body,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;

    #[test]
    fn every_reason_is_named_as_in_the_domain() {
        let named: Vec<String> = (1..=19).chain([40, 41, 45]).chain(50..=52).chain([60, 70]).map(deny_reason).collect();
        assert_eq!(named, domain::deny::DenyReason::ALL.map(domain::deny::DenyReason::name));
    }

    #[test]
    fn every_act_is_named_as_in_the_domain() {
        for act in domain::audit::Act::ALL {
            assert_eq!(audit_act(i32::try_from(act.code()).unwrap()), act.name());
        }
    }

    #[test]
    fn a_value_from_the_future_is_shown_as_its_number() {
        assert_eq!(key_state(1), "active");
        assert_eq!(key_state(99), "value_99");
        assert_eq!(import_outcome(2), "already_present");
        assert_eq!(deny_reason(0), "unspecified");
    }
}
