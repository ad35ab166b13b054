//! What is asked of a realm, and what came of it: the words by which answers are counted.

use super::{Astray, Failure};
use crate::domain::deny::DenyReason;

/// What is asked at every request of a guarded product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `Authenticate`.
    Authenticate,
    /// Envoy's `Check`.
    Check,
    /// `CheckRateLimit`.
    CheckRateLimit,
    /// Envoy's `ShouldRateLimit`.
    ShouldRateLimit,
}

impl Verb {
    /// Every verb, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Authenticate, Self::Check, Self::CheckRateLimit, Self::ShouldRateLimit];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Check => "check",
            Self::CheckRateLimit => "check_rate_limit",
            Self::ShouldRateLimit => "should_rate_limit",
        }
    }

    /// Whether its questions may come to no realm for that reason.
    #[must_use]
    pub const fn may_go(self, why: Astray) -> bool {
        match self {
            Self::Authenticate | Self::CheckRateLimit => matches!(why, Astray::UnknownRealm),
            Self::Check => !matches!(why, Astray::UnknownRealm),
            Self::ShouldRateLimit => matches!(why, Astray::UnknownRealm | Astray::Unreadable),
        }
    }

    /// Whether it may deny for that reason: who judges limits alone has two.
    #[must_use]
    pub const fn may_deny(self, reason: DenyReason) -> bool {
        match self {
            Self::Authenticate | Self::Check => !matches!(reason, DenyReason::InvalidCode),
            Self::CheckRateLimit | Self::ShouldRateLimit => {
                matches!(reason, DenyReason::RateLimited | DenyReason::CostAboveLimit)
            }
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Allowed,
    /// No.
    Denied(DenyReason),
    /// Nobody can tell.
    Failed(Failure),
}

/// How a key was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// In memory.
    Hit,
    /// It was remembered that there is none.
    Nothing,
    /// The store was asked.
    Asked,
}

/// How the secret that was let through is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// Under the newest server secret.
    Newest,
    /// Under an older one.
    Older,
    /// Under a hash that was made elsewhere.
    Imported,
}
