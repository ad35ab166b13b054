//! What whoever asks for too much is told: a sentence for people, and for programs what there was too much of and when to try
//! again.

use super::turnstile::Kind;
use crate::app::meter::SHED_KINDS;
use std::{collections::HashMap, time::Duration};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Whose reasons these are.
pub(super) const DOMAIN: &str = "keygate";

/// Until there may be room for another call.
const CALLS_RETRY: Duration = Duration::from_millis(100);
/// Until a stream may have ended.
const STREAMS_RETRY: Duration = Duration::from_secs(1);
/// Until a signup may have expired.
const SIGNUPS_RETRY: Duration = Duration::from_secs(60);

/// What there is too much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooMany {
    /// Calls of this kind; or answers that their client does not take.
    Calls(Kind),
    /// Streams of the audit log, and backups.
    Streams,
    /// Signups that wait for their code.
    Signups,
}

impl TooMany {
    /// The refusal.
    pub(super) fn refusal(self, message: &str) -> Status {
        let mut details = ErrorDetails::with_retry_info(Some(self.retry()));
        details.set_error_info(self.reason(), DOMAIN, self.metadata());
        Status::with_error_details(Code::ResourceExhausted, message, details)
    }

    const fn reason(self) -> &'static str {
        match self {
            Self::Calls(Kind::Untaken) => "ANSWERS_NOT_TAKEN",
            Self::Calls(_) => "TOO_MANY_CALLS",
            Self::Streams => "TOO_MANY_STREAMS",
            Self::Signups => "TOO_MANY_SIGNUPS",
        }
    }

    /// Of calls, the name by which they are counted as well.
    fn metadata(self) -> HashMap<String, String> {
        let kind = match self {
            Self::Calls(kind) if kind != Kind::Untaken => SHED_KINDS.get(kind as usize),
            Self::Calls(_) | Self::Streams | Self::Signups => None,
        };
        kind.map(|kind| ("kind".to_owned(), (*kind).to_owned())).into_iter().collect()
    }

    const fn retry(self) -> Duration {
        match self {
            Self::Calls(_) => CALLS_RETRY,
            Self::Streams => STREAMS_RETRY,
            Self::Signups => SIGNUPS_RETRY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_told_what_there_was_too_much_of_and_when_to_try_again() {
        let table = [
            (TooMany::Calls(Kind::Decision), "TOO_MANY_CALLS", Some("decision"), 100),
            (TooMany::Calls(Kind::Act), "TOO_MANY_CALLS", Some("act"), 100),
            (TooMany::Calls(Kind::Bulk), "TOO_MANY_CALLS", Some("bulk"), 100),
            (TooMany::Calls(Kind::Arriving), "TOO_MANY_CALLS", Some("arriving"), 100),
            (TooMany::Calls(Kind::Stream), "TOO_MANY_CALLS", Some("stream"), 100),
            (TooMany::Calls(Kind::Untaken), "ANSWERS_NOT_TAKEN", None, 100),
            (TooMany::Streams, "TOO_MANY_STREAMS", None, 1_000),
            (TooMany::Signups, "TOO_MANY_SIGNUPS", None, 60_000),
        ];
        for (too_many, reason, kind, millis) in table {
            let status = too_many.refusal("a sentence");
            assert_eq!((status.code(), status.message()), (Code::ResourceExhausted, "a sentence"));
            let info = status.get_details_error_info().unwrap();
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, DOMAIN));
            assert_eq!(info.metadata.get("kind").map(String::as_str), kind, "{reason}");
            assert_eq!(info.metadata.len(), usize::from(kind.is_some()), "{reason}");
            let wait = status.get_details_retry_info().unwrap().retry_delay;
            assert_eq!(wait, Some(Duration::from_millis(millis)), "{reason}");
        }
    }
}
