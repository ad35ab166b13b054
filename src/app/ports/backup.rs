//! What a backup is made of, and who turns it into the bytes of a file.

use super::Shelf;
use crate::domain::{
    account::Account,
    audit::AuditEvent,
    entry::{Entry, EntryId},
    id::{AccountRef, RealmName},
    key::{KeyRecord, KeyUses},
    time::Timestamp,
};

/// A part of a backup. A header comes first and an end last. What follows an account, up to the next part that is of no account,
/// belongs to it: its events, in their order, then its keys, then its entries. An account that changed while it was read is named
/// again, and what follows then is what changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What it is a backup of.
    Header(Header),
    /// An account begins, or goes on.
    Account(Box<(AccountRef, Account)>),
    /// An event of its audit chain.
    Event(Box<AuditEvent>),
    /// A key of it, working or ended.
    Key(Box<HeldKey>),
    /// An entry of it.
    Entry(Box<(EntryId, Entry)>),
    /// What work in the background remembers.
    Memo(HeldMemo),
    /// There is no more.
    End(Totals),
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// When it was begun.
    pub at: Timestamp,
    /// The realms, in their order.
    pub realms: Vec<RealmName>,
}

/// A key in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldKey {
    /// Its record.
    pub key: KeyRecord,
    /// When it and each of its secrets were last used, in the order of the secrets.
    pub uses: KeyUses,
}

/// A memo in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldMemo {
    /// The realm.
    pub realm: RealmName,
    /// Its shelf.
    pub shelf: Shelf,
    /// Its name.
    pub name: Vec<u8>,
    /// What it says.
    pub value: Vec<u8>,
}

/// How much a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accounts.
    pub accounts: u64,
    /// Keys, ended ones included. One of a large account that changed meanwhile is counted each time.
    pub keys: u64,
}

/// Knows what the file of a backup looks like.
pub trait Archive: Send + Sync + 'static {
    /// Begins a file.
    fn begin(&self) -> Box<dyn Scribe>;
}

/// Writes one file.
pub trait Scribe: Send {
    /// The bytes of the next part.
    fn write(&mut self, part: &Part) -> Vec<u8>;
}
