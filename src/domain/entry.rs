//! What an account holds beside its keys: small records, each found by its kind and name. All of them change with the account,
//! in its commits, and so move its version and end in its audit chain.

use super::{
    id::{EntryName, MemberId},
    member::Member,
    onboarding::Signup,
    vault::StoredCredential,
};

/// The kind of an entry. Its code stands in stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryKind {
    /// A member, by the member's id.
    Member,
    /// A sealed credential, by its environment and provider.
    Credential,
    /// A signup that waits for its code, by its place.
    Signup,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Member, Self::Credential, Self::Signup];

    /// The kind of a stored code.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The kind as stored.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Member => 1,
            Self::Credential => 6,
            Self::Signup => 70,
        }
    }
}

/// Tells an entry of an account from every other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntryId {
    /// Its kind.
    pub kind: EntryKind,
    /// Its name among those of its kind.
    pub name: EntryName,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A member.
    Member(Member),
    /// A sealed credential.
    Credential(StoredCredential),
    /// A signup that waits for its code.
    Signup(Signup),
}

/// An entry that a change writes, or removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryChange {
    /// Which.
    pub id: EntryId,
    /// What it is afterwards; nothing: it is gone.
    pub entry: Option<Entry>,
}

impl From<&MemberId> for EntryId {
    fn from(member: &MemberId) -> Self {
        Self { kind: EntryKind::Member, name: EntryName::from(member) }
    }
}
