//! The account: the aggregate that everything of one tenant hangs on.

use super::{
    audit::{About, Act, Actor, AuditEvent, Chain},
    id::{AccountId, AccountRef},
    time::{LatestTicks, Ticks, Timestamp},
};

/// An account's own record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The accounts above this one, the nearest first. Given when the account is made, and never changed.
    pub above: Vec<AccountId>,
    /// The organizations that it is a member of, in their order.
    pub organizations: Vec<AccountId>,
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
        Self {
            above: Vec::new(),
            organizations: Vec::new(),
            status: AccountStatus::Active,
            version: 0,
            created_at: now,
            audit: Chain::default(),
        }
    }

    /// The account right above this one.
    #[must_use]
    pub fn parent(&self) -> Option<&AccountId> {
        self.above.first()
    }

    /// Whether it is a member of the organization.
    #[must_use]
    pub fn is_member_of(&self, organization: &AccountId) -> bool {
        self.organizations.binary_search(organization).is_ok()
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
    pub fn record(&mut self, now: Timestamp, actor: &Actor, act: Act, about: About<'_>) -> AuditEvent {
        self.audit.append(now, actor, act, about)
    }
}

/// An account as it was read, there or not: what the charge confirms when a request acts on an account that is not its key's.
#[derive(Debug)]
pub struct AccountSnapshot {
    /// The account.
    pub owner: AccountRef,
    /// Its record, if it exists.
    pub account: Option<Account>,
    /// The store's own mark of the state that was read; see the port's `charge`.
    pub stamp: u128,
    /// When the store last confirmed that this still holds.
    pub confirmed: LatestTicks,
    /// The organizations that it is a member of, each as it was read. Of those in turn none are told.
    pub organizations: Box<[AccountSnapshot]>,
}

impl AccountSnapshot {
    /// An account as it was read at that moment, under that mark.
    #[must_use]
    pub fn new(owner: AccountRef, account: Option<Account>, read_at: Ticks, stamp: u128) -> Self {
        Self { owner, account, stamp, confirmed: LatestTicks::new(read_at), organizations: Box::default() }
    }

    /// The same of a member of those organizations.
    #[must_use]
    pub fn within(self, organizations: Vec<Self>) -> Self {
        Self { organizations: organizations.into(), ..self }
    }
}
