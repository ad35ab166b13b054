//! Where a record stands, as its MAC covers it and as errors tell it.

use crate::{
    app::ports::{MemoId, StoreError},
    domain::{
        entry::EntryId,
        id::{AccountRef, KeyId, RealmName},
        key::Digest,
    },
};
use std::fmt;

/// The kind of a record and all that tells it from others of its kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    Account(&'a AccountRef),
    Key(&'a AccountRef, KeyId),
    Lookup(&'a Digest),
    Pointer(&'a RealmName, KeyId),
    Event(&'a AccountRef, u64),
    Idempotency(&'a AccountRef, &'a [u8; 32]),
    Entry(&'a AccountRef, &'a EntryId),
    Use(&'a AccountRef, KeyId),
    SecretUse(&'a AccountRef, KeyId, u32),
    Memo(&'a MemoId<'a>),
    Witness,
}

impl Place<'_> {
    /// Gives the fields that a record's MAC covers beside its body. The kind comes first and tells how many follow, so that
    /// no two places have the same fields.
    pub(super) fn with_fields<R>(&self, version: u8, then: impl FnOnce(&[&[u8]]) -> R) -> R {
        let version = &[version][..];
        match self {
            Self::Account(owner) => then(&[b"account", version, realm(owner), account(owner)]),
            Self::Key(owner, id) => then(&[b"key", version, realm(owner), account(owner), id.as_bytes()]),
            Self::Lookup(digest) => then(&[b"lookup", version, digest.as_bytes()]),
            Self::Pointer(realm, id) => then(&[b"pointer", version, realm.as_str().as_bytes(), id.as_bytes()]),
            Self::Event(owner, sequence) => {
                then(&[b"event", version, realm(owner), account(owner), &sequence.to_be_bytes()])
            }
            Self::Use(owner, id) => then(&[b"use", version, realm(owner), account(owner), id.as_bytes()]),
            Self::SecretUse(owner, id, number) => {
                then(&[b"secret use", version, realm(owner), account(owner), id.as_bytes(), &number.to_be_bytes()])
            }
            Self::Entry(owner, EntryId { kind, name }) => {
                then(&[b"entry", version, realm(owner), account(owner), &[kind.code()], name.as_str().as_bytes()])
            }
            Self::Memo(MemoId { realm, shelf, name }) => {
                then(&[b"memo", version, realm.as_str().as_bytes(), &[shelf.code()], name])
            }
            Self::Witness => then(&[b"witness", version]),
            Self::Idempotency(owner, slot) => then(&[b"idempotency", version, realm(owner), account(owner), &slot[..]]),
        }
    }

    pub(super) fn corrupt(&self, what: &str) -> StoreError {
        StoreError::Corrupt(format!("{self} {what}"))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(owner) => write!(f, "account `{}` of realm `{}`", owner.account, owner.realm),
            Self::Key(owner, id) => write!(f, "key `{id}` of account `{}` of realm `{}`", owner.account, owner.realm),
            Self::Use(owner, id) => {
                write!(f, "last use of key `{id}` of account `{}` of realm `{}`", owner.account, owner.realm)
            }
            Self::SecretUse(owner, id, number) => write!(
                f,
                "last use of secret {number} of key `{id}` of account `{}` of realm `{}`",
                owner.account, owner.realm
            ),
            Self::Lookup(digest) => {
                f.write_str("lookup `")?;
                digest.as_bytes().iter().take(4).try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("…`")
            }
            Self::Pointer(realm, id) => write!(f, "pointer of key `{id}` of realm `{realm}`"),
            Self::Event(owner, sequence) => {
                write!(f, "audit event {sequence} of account `{}` of realm `{}`", owner.account, owner.realm)
            }
            Self::Entry(owner, EntryId { kind, name }) => {
                write!(f, "{kind:?} `{name}` of account `{}` of realm `{}`", owner.account, owner.realm)
            }
            Self::Memo(MemoId { realm, shelf, .. }) => write!(f, "memo of shelf {shelf:?} of realm `{realm}`"),
            Self::Witness => f.write_str("witness of the server secret"),
            Self::Idempotency(owner, _) => {
                write!(f, "idempotency record of account `{}` of realm `{}`", owner.account, owner.realm)
            }
        }
    }
}

fn realm(owner: &AccountRef) -> &[u8] {
    owner.realm.as_str().as_bytes()
}

fn account(owner: &AccountRef) -> &[u8] {
    owner.account.as_str().as_bytes()
}
