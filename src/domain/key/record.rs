//! A key's record.

use super::{Digest, DigestScheme, PendingUse};
use crate::domain::{
    account::{Account, AccountSnapshot},
    id::{AccountRef, Environment, KeyId, MemberId, RealmName, Scope},
    network::Network,
    time::{LatestTicks, Ticks, Timestamp},
};
use smallvec::SmallVec;
use std::{collections::BTreeMap, net::IpAddr, sync::OnceLock, time::Duration};

/// The numbers that bound a key's record; `docs/limits.md` lists them.
pub struct Limits;

impl Limits {
    /// Characters of a name.
    pub const NAME_CHARS: usize = 128;
    /// Scopes of a key.
    pub const SCOPES: usize = 32;
    /// Entries of metadata.
    pub const METADATA: usize = 32;
    /// Bytes of a metadata entry's name.
    pub const METADATA_NAME: usize = 64;
    /// Bytes of a metadata entry's value.
    pub const METADATA_VALUE: usize = 512;
    /// Bytes of the reason given with a revocation.
    pub const REASON: usize = 256;
    /// Secrets of one key that work at a time.
    pub const WORKING_SECRETS: usize = 4;
    /// Secrets of one key that are remembered, retired ones included.
    pub const SECRETS: usize = 8;
    /// Bytes of an idempotency key.
    pub const IDEMPOTENCY_KEY: usize = 128;
    /// Networks that a key may be bound to.
    pub const NETWORKS: usize = 32;
    /// Keys that one act ends or writes at most.
    pub const KEYS_PER_ACT: usize = 1_000;
}

/// Everything that is stored of a key. What every decision looks at stands first and, for the processor's cache, in this
/// very order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C)]
pub struct KeyRecord {
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it begins to work; absent: at once.
    pub not_before: Option<Timestamp>,
    /// Does not work until it is resumed.
    pub suspended: bool,
    /// Where it may be used from, in their order; none: from anywhere.
    pub networks: SmallVec<[Network; 0]>,
    /// The environment that the key belongs to.
    pub environment: Environment,
    /// Newest first; at least one, and nearly always one.
    pub secrets: SmallVec<[KeySecret; 1]>,
    /// What the key may do.
    pub scopes: SmallVec<[Scope; 1]>,
    /// Present once the key was ended, for ever.
    pub revoked: Option<Revocation>,
    /// Stable for the key's whole life.
    pub id: KeyId,
    /// For people.
    pub name: String,
    /// Free entries of the key's manager.
    pub metadata: BTreeMap<String, String>,
    /// When the key was made.
    pub created_at: Timestamp,
    /// When a manager last let it work again; it counts as used then.
    pub resumed_at: Option<Timestamp>,
    /// When its record last changed.
    pub updated_at: Timestamp,
    /// Increases with every change, from 1.
    pub version: u64,
    /// Who made it: see [`crate::domain::audit::Actor::text`].
    pub created_by: String,
    /// The member of the account in whose name it was issued.
    pub member: Option<MemberId>,
}

/// One secret of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySecret {
    /// Tells it from the key's other secrets: 1, 2 and so on, in the order in which they were made. A secret that is stored a
    /// second time keeps its number.
    pub number: u32,
    /// What the secret is stored as.
    pub digest: Digest,
    /// How the digest comes from the secret.
    pub scheme: DigestScheme,
    /// The version of the server secret in the digest.
    pub secret_version: u32,
    /// What may be shown of it.
    pub hint: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to work; absent for the current one.
    pub retires_at: Option<Timestamp>,
}

/// How a key ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: Timestamp,
    /// Why, in the words of whoever did it.
    pub reason: String,
    /// Who.
    pub by: String,
}

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It does.
    Active,
    /// Not yet.
    Pending,
    /// Not until it is resumed.
    Suspended,
    /// Its time is over.
    Expired,
    /// Ended for ever.
    Revoked,
}

impl KeySecret {
    /// Whether the secret still works.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> bool {
        self.retires_at.is_none_or(|end| now < end)
    }
}

impl KeyRecord {
    /// Whether the key works at `now`. Judged at use, also from remembered data: nobody has to run a job.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> KeyState {
        if self.revoked.is_some() {
            KeyState::Revoked
        } else if self.expires_at.is_some_and(|end| now >= end) {
            KeyState::Expired
        } else if self.suspended {
            KeyState::Suspended
        } else if self.not_before.is_some_and(|begin| now < begin) {
            KeyState::Pending
        } else {
            KeyState::Active
        }
    }

    /// Whether the key may be used from there. One that is bound to networks may not be used from nowhere known.
    #[must_use]
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        self.networks.is_empty()
            || address.is_some_and(|address| self.networks.iter().any(|network| network.holds(address)))
    }

    /// When the key will rest as one that nobody uses, if it is not used before: so long after its last use, or after it was
    /// made, began to work, or was resumed.
    #[must_use]
    pub fn rests_at(&self, last_use: Option<Timestamp>, after: Option<Duration>) -> Option<Timestamp> {
        let active_since = self.resumed_at.max(self.not_before).max(Some(self.created_at));
        last_use.max(active_since).zip(after).map(|(since, after)| since.after(after))
    }

    /// The same as [`KeyRecord::state`], told by somebody who knows when the key was last used and how long a key may lie unused.
    #[must_use]
    pub fn state_after(&self, now: Timestamp, last_use: Option<Timestamp>, after: Option<Duration>) -> KeyState {
        match self.state(now) {
            KeyState::Active if self.rests_at(last_use, after).is_some_and(|end| now >= end) => KeyState::Suspended,
            state => state,
        }
    }

    /// The number of the next secret.
    #[must_use]
    pub fn next_secret(&self) -> u32 {
        self.secrets.iter().map(|secret| secret.number).max().unwrap_or(0).saturating_add(1)
    }

    /// Whether the key counts against the number of keys that a realm allows: it works, or would if it were resumed.
    #[must_use]
    pub fn counts(&self, now: Timestamp) -> bool {
        matches!(self.state(now), KeyState::Active | KeyState::Pending | KeyState::Suspended)
    }

    /// The secret that is stored as `digest`.
    #[must_use]
    pub fn secret(&self, digest: &Digest) -> Option<&KeySecret> {
        self.secrets.iter().find(|secret| secret.digest.matches(digest))
    }

    /// What may be shown of the newest secret.
    #[must_use]
    pub fn hint(&self) -> &str {
        self.secrets.first().map_or("", |secret| secret.hint.as_str())
    }
}

/// A key as it was read: the hot path decides on this, and the store confirms with the charge that it still holds. In this
/// order for the same reason as [`KeyRecord`].
#[derive(Debug)]
#[repr(C)]
pub struct KeySnapshot {
    /// The store's own mark of the state that was read; see the port's `charge`.
    pub stamp: u128,
    /// When the store last confirmed that this still holds.
    pub confirmed: LatestTicks,
    /// What an answer tells of the key, in the form of whoever answers: made at the first use, and never of more than this.
    pub face: OnceLock<Box<[u8]>>,
    /// When it was read.
    pub read_at: Ticks,
    /// When the key was last let through, as far as it was asked for or happened here, until that is written.
    pub pending_use: PendingUse,
    /// The account that owns the key.
    pub owner: AccountRef,
    /// The key's record.
    pub key: KeyRecord,
    /// The account's record.
    pub account: Account,
    /// The organizations that the account is a member of, each as it was read.
    pub organizations: Box<[AccountSnapshot]>,
}

impl KeySnapshot {
    /// A key of `realm` as it was read at that moment, under that mark.
    ///
    /// The owner's realm is the caller's own text: one for every key of the realm, compared at every use, and so kept in the
    /// processor's cache.
    #[must_use]
    pub fn new(
        realm: &RealmName,
        owner: AccountRef,
        account: Account,
        key: KeyRecord,
        read_at: Ticks,
        stamp: u128,
    ) -> Self {
        Self {
            owner: AccountRef { realm: realm.clone(), account: owner.account },
            account,
            key,
            confirmed: LatestTicks::new(read_at),
            read_at,
            pending_use: PendingUse::default(),
            face: OnceLock::new(),
            stamp,
            organizations: Box::default(),
        }
    }

    /// The same of a key whose account is a member of those organizations.
    #[must_use]
    pub fn within(self, organizations: Vec<AccountSnapshot>) -> Self {
        Self { organizations: organizations.into(), ..self }
    }

    /// The same of a key that was last used then, as far as the store was told.
    #[must_use]
    pub fn last_used(self, latest: Option<Timestamp>) -> Self {
        Self { pending_use: PendingUse::since(latest), ..self }
    }
}
