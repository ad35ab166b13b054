//! What an error of Redis means, in words that say what to do. Must never repeat a password, which no error of it holds.

use super::{OpenError, scripts, target::Address};
use crate::app::ports::{Problem, ProblemCode, StoreError};
use redis::{ErrorKind, RedisError, ServerErrorKind};
use std::fmt::Display;

/// The code of an error, as Redis writes it first.
fn code(error: &RedisError) -> &str {
    error.code().unwrap_or_default()
}

/// Whether whoever asks is not known there any more: a new connection reads the password anew.
pub(super) fn is_stranger(error: &RedisError) -> bool {
    error.kind() == ErrorKind::AuthenticationFailed || ["WRONGPASS", "NOAUTH"].contains(&code(error))
}

/// Whether another server may be the primary by now.
pub(super) fn is_demoted(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading)
    )
}

/// Why a call failed.
pub(super) fn call(address: &str, error: &RedisError) -> StoreError {
    let text = error.to_string();
    if text.contains("command not allowed when used memory") {
        return StoreError::Full(format!("Redis at `{address}` has reached its `maxmemory`: raise it, or remove data"));
    }
    if text.contains(scripts::BROKEN_COUNTER) || text.contains("WRONGTYPE") {
        return StoreError::Corrupt(format!("Redis at `{address}` holds something that keygate did not write: {text}"));
    }
    match known("Redis", address, error) {
        Some(problem) => StoreError::Unavailable(format!("{problem} ({text})")),
        None => StoreError::Unavailable(format!("Redis at `{address}`: {text}")),
    }
}

/// Why a connection came to nothing.
pub(super) fn opening(what: &str, address: &Address, error: &RedisError) -> OpenError {
    match known(what, address, error) {
        Some(problem) => OpenError::Refused(problem),
        None => OpenError::Unreachable(StoreError::Unavailable(format!("{what} at `{address}`: {error}"))),
    }
}

/// The problem behind an error, if it is one that has a name.
pub(super) fn known(what: &str, address: impl Display, error: &RedisError) -> Option<Problem> {
    let grave = |code, problem: &str, remedy: &str| {
        Some(Problem::grave(code, format!("{what} at `{address}` {problem}"), remedy.to_owned()))
    };
    match error.kind() {
        _ if is_stranger(error) => grave(
            ProblemCode::Password,
            "does not take the user and password that it was given",
            "give keygate the password of its user, in the address or in `password_file`; see also `ACL LOG` there",
        ),
        ErrorKind::Server(ServerErrorKind::BusyLoading) => grave(
            ProblemCode::Loading,
            "is still loading its data",
            "wait; `INFO persistence` there tells how far it is",
        ),
        ErrorKind::Server(ServerErrorKind::ReadOnly) => grave(
            ProblemCode::Replica,
            "is a replica, which takes no writes",
            "give the address of the primary, or of sentinels",
        ),
        ErrorKind::Server(ServerErrorKind::MasterDown) => grave(
            ProblemCode::Replica,
            "is a replica that has lost its primary",
            "give the address of the primary, or of sentinels",
        ),
        ErrorKind::Server(ServerErrorKind::NoPerm) => grave(
            ProblemCode::Permission,
            &format!("does not let keygate's user do what it must: {}", error.detail().unwrap_or_default()),
            "give the user what `deploy/redis/users.acl` gives it",
        ),
        _ if code(error) == "MISCONF" => grave(
            ProblemCode::Disk,
            "cannot write to its disk, so it takes no changes",
            "make room on its disk and see its log; it goes on by itself once it can write",
        ),
        _ => None,
    }
}
