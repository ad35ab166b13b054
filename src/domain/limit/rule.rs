//! One limit as a realm's configuration states it.

use super::{DescriptorPattern, MAX_COST};
use crate::domain::{realm::OperationSet, time::Ticks};
use std::{num::NonZeroU64, sync::Arc, time::Duration};

/// A limit: at most `limit` cost in any window of length `window`, counted apart for every combination of `per`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// The name in the realm's configuration.
    pub name: Arc<str>,
    /// The largest cost admitted in any window, 1 to [`MAX_COST`].
    pub limit: u32,
    /// The window's length.
    pub window: Duration,
    /// How the window is cut into buckets.
    pub shape: Shape,
    /// What the limit counts per, beside the environment.
    pub per: Vec<Part>,
    /// The operations that the limit applies to.
    pub operations: OperationSet,
    /// The descriptors that it applies to, in place of operations.
    pub descriptor: Option<DescriptorPattern>,
    /// What decides when the store cannot answer.
    pub on_store_failure: OnStoreFailure,
    /// Counts and reports, and never denies.
    pub shadow: bool,
}

/// What a limit can count per.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The account that owns the key.
    Account,
    /// The account that the request acts on.
    TargetAccount,
    /// The key.
    Key,
    /// The client's address; IPv6 by its /64 network.
    Address,
    /// A free text that the caller of `CheckRateLimit` gives.
    Subject,
    /// All entries of a descriptor.
    Descriptor,
}

impl LimitRule {
    /// Whether it counts per something that only a caller with a key has.
    #[must_use]
    pub fn knows_caller(&self) -> bool {
        self.per.iter().any(|part| part.knows_caller())
    }

    /// Whether a request may pass that the store cannot count.
    #[must_use]
    pub fn may_be_passed_over(&self) -> bool {
        self.shadow || self.on_store_failure == OnStoreFailure::Allow
    }

    /// Checks a limit's size.
    ///
    /// # Errors
    /// When it is not 1 to [`MAX_COST`].
    pub fn check_limit(limit: u64) -> Result<u32, RuleError> {
        u32::try_from(limit).ok().filter(|limit| (1..=MAX_COST).contains(limit)).ok_or(RuleError::Limit)
    }
}

impl Part {
    /// Every part that a realm's configuration can name.
    pub const ALL: [Self; 5] = [Self::Account, Self::TargetAccount, Self::Key, Self::Address, Self::Subject];

    /// Whether only a caller with a key has it.
    #[must_use]
    pub const fn knows_caller(self) -> bool {
        matches!(self, Self::Account | Self::TargetAccount | Self::Key)
    }

    /// The name used in a realm's configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::TargetAccount => "target_account",
            Self::Key => "key",
            Self::Address => "address",
            Self::Subject => "subject",
            Self::Descriptor => "descriptor",
        }
    }
}

/// What decides when the store cannot answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreFailure {
    /// Nobody passes: the caller gets an error.
    Deny,
    /// The limit is passed over, and the answer says `degraded`.
    Allow,
}

/// How a window is cut: `buckets` buckets of `bucket_us` microseconds, together at least as long as the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    bucket_us: NonZeroU64,
    buckets: u32,
}

/// Why a limit's numbers are not legal: says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// `limit` is out of range.
    #[error("must be 1 to 1,000,000,000")]
    Limit,
    /// `window` is out of range.
    #[error("must be 1 second to 366 days")]
    Window,
    /// `precision` is out of range.
    #[error("must be 1 to 120")]
    Precision,
}

impl Shape {
    /// The precision of a limit that says nothing of its own.
    pub const DEFAULT_PRECISION: u32 = 60;

    /// Cuts `window` into `precision` buckets.
    ///
    /// # Errors
    /// When the window is not 1 second to 366 days, or the precision not 1 to 120.
    pub fn new(window: Duration, precision: u32) -> Result<Self, RuleError> {
        const MAX_WINDOW: Duration = Duration::from_secs(366 * 86_400);
        if !(Duration::from_secs(1)..=MAX_WINDOW).contains(&window) {
            return Err(RuleError::Window);
        }
        if !(1..=120).contains(&precision) {
            return Err(RuleError::Precision);
        }
        let window_us = u64::try_from(window.as_micros()).map_err(|_| RuleError::Window)?;
        let bucket_us = NonZeroU64::new(window_us.div_ceil(u64::from(precision))).ok_or(RuleError::Window)?;
        Ok(Self { bucket_us, buckets: precision })
    }

    /// The length of a bucket in microseconds.
    #[must_use]
    pub const fn bucket_us(self) -> u64 {
        self.bucket_us.get()
    }

    /// The index of the bucket that an instant lies in.
    #[must_use]
    pub fn bucket_at(self, at: Ticks) -> u64 {
        at.as_micros() / self.bucket_us
    }

    /// How many full buckets count beside the current one.
    #[must_use]
    pub const fn buckets(self) -> u32 {
        self.buckets
    }

    /// How many buckets count at a time, the current one among them.
    #[must_use]
    pub const fn ring_length(self) -> usize {
        (self.buckets as usize).saturating_add(1)
    }

    /// Microseconds from the start of a bucket until it no longer counts.
    #[must_use]
    pub const fn lifetime_us(self) -> u64 {
        self.bucket_us.get().saturating_mul((self.buckets as u64).saturating_add(1))
    }
}
