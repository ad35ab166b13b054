//! What can be wrong with a copy of the log.

use crate::domain::id::AccountRef;
use std::fmt;

/// The first place where a copy is not what keygate wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The line, from 1.
    pub line: u64,
    /// The account, where one is meant.
    pub owner: Option<AccountRef>,
    /// The number of the event that is meant.
    pub sequence: Option<u64>,
    /// What is wrong.
    pub fault: Fault,
}

impl Broken {
    /// A fault at a line, of an account and an event where one is meant.
    #[must_use]
    pub fn at(line: u64, event: Option<(&AccountRef, u64)>, fault: Fault) -> Self {
        Self { line, owner: event.map(|(owner, _)| owner.clone()), sequence: event.map(|(_, number)| number), fault }
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The line is not one that keygate writes. Says what is wrong with it.
    Malformed(String),
    /// The record's hash does not follow from its fields.
    Changed,
    /// The record is whole by itself, and does not follow from what stands before it.
    Spliced,
    /// Events are missing before this one.
    Missing {
        /// The first of them.
        first: u64,
        /// The last of them.
        last: u64,
    },
    /// The record stands elsewhere than keygate wrote it.
    Reordered,
    /// The copy ends before the account's checkpoint, or before the seal.
    Cut,
    /// A checkpoint states more events than there are.
    Beyond {
        /// How many it states.
        stated: u64,
        /// How many there are.
        found: u64,
    },
    /// There are events that the checkpoint does not state.
    Unsigned {
        /// How many it states.
        stated: u64,
        /// How many there are.
        found: u64,
    },
    /// The chain is whole by itself, and not the one that was signed.
    Rewritten,
    /// The signature is not one of its key over this statement.
    Signature,
    /// The key that it is signed with is none of those that are trusted.
    UnknownKey,
    /// The seal states another number of accounts than there are.
    Accounts {
        /// How many it states.
        stated: u64,
        /// How many there are.
        found: u64,
    },
    /// An account that an older copy holds is not there any more.
    Gone,
    /// Something stands behind the seal.
    Stray,
    /// The copy was made before one that was read before it.
    Older,
}

impl Fault {
    /// The stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Changed => "changed",
            Self::Spliced => "spliced",
            Self::Missing { .. } | Self::Accounts { .. } | Self::Gone => "missing",
            Self::Reordered => "reordered",
            Self::Cut => "cut",
            Self::Beyond { .. } => "checkpoint_beyond_chain",
            Self::Unsigned { .. } | Self::Stray => "unsigned",
            Self::Rewritten => "rewritten",
            Self::Signature => "signature",
            Self::UnknownKey => "unknown_key",
            Self::Older => "older",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Named first, so that every fault can be looked up by what people read too.
        write!(f, "{}: ", self.name())?;
        match self {
            Self::Malformed(what) => write!(f, "not a line that keygate writes: {what}"),
            Self::Changed => f.write_str("the record's hash does not follow from its fields"),
            Self::Spliced => f.write_str("it does not follow from what stands before it"),
            Self::Missing { first, last } if first == last => write!(f, "event {first} is not there"),
            Self::Missing { first, last } => write!(f, "events {first} to {last} are not there"),
            Self::Reordered => f.write_str("it does not stand where keygate wrote it"),
            Self::Cut => f.write_str("the rest is not there"),
            Self::Beyond { stated, found } => write!(f, "{stated} events were signed, {found} are there"),
            Self::Unsigned { stated, found } => write!(f, "the checkpoint states {stated} events, {found} are there"),
            Self::Rewritten => f.write_str("the chain was made anew, it is not the one that was signed"),
            Self::Signature => f.write_str("it does not hold for what is stated"),
            Self::UnknownKey => f.write_str("signed with a key that is none of the given public keys"),
            Self::Accounts { stated, found } => write!(f, "the seal states {stated} accounts, {found} are there"),
            Self::Gone => f.write_str("an older file holds this account, this one does not"),
            Self::Stray => f.write_str("it stands behind the seal"),
            Self::Older => f.write_str("a file before it was made later; the oldest must be given first"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_read_begins_with_the_name_that_the_page_lists() {
        let page = include_str!("../../../../docs/audit.md");
        for fault in [
            Fault::Malformed("it is empty".to_owned()),
            Fault::Changed,
            Fault::Spliced,
            Fault::Missing { first: 1, last: 1 },
            Fault::Missing { first: 1, last: 2 },
            Fault::Reordered,
            Fault::Cut,
            Fault::Beyond { stated: 2, found: 1 },
            Fault::Unsigned { stated: 1, found: 2 },
            Fault::Rewritten,
            Fault::Signature,
            Fault::UnknownKey,
            Fault::Accounts { stated: 2, found: 1 },
            Fault::Gone,
            Fault::Stray,
        ] {
            let (told, name) = (fault.to_string(), fault.name());
            assert!(told.starts_with(&format!("{name}: ")), "{told}");
            assert!(page.contains(&format!("| `{name}` |")), "{name}");
        }
    }
}
