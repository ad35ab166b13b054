//! Exit codes: a closed list, the same for every command. Denial and failure never share one.

use std::process::ExitCode;
use tonic::Code;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or allowed.
    Success,
    /// It could not be done: server out of reach, internal error, input or output failed, rows refused.
    Failure,
    /// Wrong usage or wrong configuration.
    Usage,
    /// The answer is no: the request is denied, the text is no key, the log is not what keygate wrote.
    Denied,
    /// The management key is missing, unknown or not allowed this act.
    NotAllowed,
    /// What was asked for does not exist.
    NotFound,
    /// The act collides with the state of the store or with another act.
    Conflict,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Denied => 3,
            Self::NotAllowed => 4,
            Self::NotFound => 5,
            Self::Conflict => 6,
        }
    }

    /// How a command ends when the server answers with that code.
    #[must_use]
    pub const fn from_code(code: Code) -> Self {
        match code {
            Code::Ok => Self::Success,
            Code::InvalidArgument | Code::OutOfRange => Self::Usage,
            Code::Unauthenticated | Code::PermissionDenied => Self::NotAllowed,
            Code::NotFound => Self::NotFound,
            Code::Aborted | Code::AlreadyExists | Code::FailedPrecondition => Self::Conflict,
            Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::ResourceExhausted
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The list of exit codes as every command's help ends with it, after `$examples`.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "\n\nExit codes:\n",
            "  0  done, or allowed\n",
            "  1  failed: server out of reach, internal error, input or output, rows refused\n",
            "  2  wrong usage, or wrong configuration\n",
            "  3  denied: the request is not allowed, the text is no key, the log is not what keygate wrote\n",
            "  4  the management key is unknown or not allowed this\n",
            "  5  not found\n",
            "  6  conflict: wrong version or state, or changed by another at the same time"
        )
    };
}
pub(super) use help;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_grpc_code_ends_as_documented() {
        let ends: Vec<u8> = (0..=16).map(|code| Exit::from_code(Code::from_i32(code)).number()).collect();
        // In the order of the codes: OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND,
        // ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE,
        // UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED.
        assert_eq!(ends, [0, 1, 1, 2, 1, 5, 6, 4, 1, 6, 6, 2, 1, 1, 1, 1, 4]);
    }
}
