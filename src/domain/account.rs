//! The account: the aggregate that everything of one tenant hangs on.

use super::{
    audit::{Act, Actor, AuditEvent, Chain},
    id::{AccountId, Environment, KeyId},
    time::Timestamp,
};

/// An account's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The account above this one, whose keys reach it too.
    pub parent: Option<AccountId>,
    /// Whether its keys work.
    pub status: AccountStatus,
    /// Increases with every commit to anything of the account.
    pub version: u64,
    /// When the account came to exist.
    pub created_at: Timestamp,
    /// Where its audit chain ends.
    pub audit: Chain,
}

/// Whether an account's keys work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountStatus {
    /// They do.
    Active,
    /// They do not, until the account is active again.
    Suspended,
    /// They do not.
    Deactivated,
    /// They do not, and all were revoked.
    Offboarded,
}

impl AccountStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Active, Self::Suspended, Self::Deactivated, Self::Offboarded];

    /// The status as stored.
    #[must_use]
    pub const fn code(self) -> u32 {
        match self {
            Self::Active => 1,
            Self::Suspended => 2,
            Self::Deactivated => 3,
            Self::Offboarded => 4,
        }
    }

    /// The status of a stored code.
    #[must_use]
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.code() == code)
    }
}

impl Account {
    /// An account that does not exist yet: version 0.
    #[must_use]
    pub fn unborn(now: Timestamp) -> Self {
        Self { parent: None, status: AccountStatus::Active, version: 0, created_at: now, audit: Chain::default() }
    }

    /// Tells this state of the account from every other: the version, and the first 8 bytes of the end of the audit chain.
    /// The version alone comes again when a store loses data, or turns it back, and then goes another way; the chain holds
    /// times and random ids. 0: the account does not exist.
    #[must_use]
    pub fn mark(&self) -> u128 {
        let head = self.audit.head.first_chunk::<8>().copied().map_or(0, u64::from_be_bytes);
        u128::from(self.version) << 64 | u128::from(head)
    }

    /// Extends the audit chain by one event.
    pub fn record(
        &mut self,
        now: Timestamp,
        actor: &Actor,
        act: Act,
        key: Option<(KeyId, &Environment)>,
        fields: &[&'static str],
    ) -> AuditEvent {
        self.audit.append(now, actor, act, key, fields)
    }
}
