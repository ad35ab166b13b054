//! The tables of the file and the order of their keys. Fields of a composite key are joined with a NUL byte, which no name
//! and no account id contains, and end in fields of fixed length: so keys sort by realm, account and id, and no two meet.

use crate::{
    app::ports::MemoId,
    domain::{
        entry::EntryKind,
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
    },
};
use redb::TableDefinition;

type Bytes = &'static [u8];

/// digest → lookup.
pub(super) const LOOKUPS: TableDefinition<'_, &[u8; 32], Bytes> = TableDefinition::new("lookups");
/// realm, account → account.
pub(super) const ACCOUNTS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("accounts");
/// realm, account, key id → key; those that may work.
pub(super) const KEYS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("keys");
/// realm, account, key id → key; those that were ended.
pub(super) const HISTORY: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("history");
/// realm, key id → account id.
pub(super) const POINTERS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("pointers");
/// realm, account, key id → last use; with the number of a secret behind it: the uses of that.
pub(super) const USES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("uses");
/// realm, account, sequence → audit event.
pub(super) const AUDIT: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("audit");
/// realm, account, slot → when the record may be removed (8 bytes), then the record.
pub(super) const IDEMPOTENCY: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("idempotency");
/// when (8 bytes), then the key of an idempotency record → nothing.
pub(super) const EXPIRIES: TableDefinition<'_, Bytes, ()> = TableDefinition::new("expiries");
/// realm, account, kind (1 byte) and name → entry.
pub(super) const ENTRIES: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("entries");
/// realm, shelf (1 byte) and name → memo.
pub(super) const MEMOS: TableDefinition<'_, Bytes, Bytes> = TableDefinition::new("memos");
/// What the file itself is.
pub(super) const META: TableDefinition<'_, &str, Bytes> = TableDefinition::new("meta");

/// Separates fields; sorts before every byte of a name.
const SEPARATOR: u8 = 0;
/// One above: with it in the separator's place, a prefix becomes the end of its range.
const PAST: u8 = 1;

pub(super) fn account(owner: &AccountRef) -> Vec<u8> {
    join(&owner.realm, Some(&owner.account), &[], SEPARATOR)
}

pub(super) fn key(owner: &AccountRef, id: KeyId) -> Vec<u8> {
    join(&owner.realm, Some(&owner.account), id.as_bytes(), SEPARATOR)
}

pub(super) fn secret(owner: &AccountRef, id: KeyId, number: u32) -> Vec<u8> {
    join(&owner.realm, Some(&owner.account), &[&id.as_bytes()[..], &number.to_be_bytes()].concat(), SEPARATOR)
}

pub(super) fn pointer(realm: &RealmName, id: KeyId) -> Vec<u8> {
    join(realm, None, id.as_bytes(), SEPARATOR)
}

pub(super) fn event(owner: &AccountRef, sequence: u64) -> Vec<u8> {
    join(&owner.realm, Some(&owner.account), &sequence.to_be_bytes(), SEPARATOR)
}

pub(super) fn entry(owner: &AccountRef, kind: EntryKind, name: &str) -> Vec<u8> {
    join(&owner.realm, Some(&owner.account), &[&[kind.code()], name.as_bytes()].concat(), SEPARATOR)
}

/// First key and end of the entries of a kind: every name is made of bytes below the end's.
pub(super) fn entries(owner: &AccountRef, kind: EntryKind) -> (Vec<u8>, Vec<u8>) {
    (entry(owner, kind, ""), entry(owner, kind, "\u{7f}"))
}

/// The name in the key of an entry of that account.
pub(super) fn split_entry(owner: &AccountRef, kind: EntryKind, bytes: &[u8]) -> Option<EntryName> {
    let name = bytes.strip_prefix(entry(owner, kind, "").as_slice())?;
    EntryName::new(std::str::from_utf8(name).ok()?).ok()
}

pub(super) fn memo(id: &MemoId<'_>) -> Vec<u8> {
    join(id.realm, None, &[&[id.shelf.code()], id.name].concat(), SEPARATOR)
}

/// What stands before the name in the keys of a shelf's memos, and the end of the shelf.
pub(super) fn shelf(id: &MemoId<'_>) -> (Vec<u8>, Vec<u8>) {
    let code = id.shelf.code();
    let place = |code| join(id.realm, None, &[code], SEPARATOR);
    (place(code), place(code.saturating_add(1)))
}

pub(super) fn idempotency(owner: &AccountRef, slot: &[u8; 32]) -> Vec<u8> {
    join(&owner.realm, Some(&owner.account), slot, SEPARATOR)
}

pub(super) fn expiry(expires_at: &[u8; 8], idempotency: &[u8]) -> Vec<u8> {
    [&expires_at[..], idempotency].concat()
}

/// First key and end of everything that belongs to a realm, or to one account of it.
pub(super) fn range(realm: &RealmName, account: Option<&AccountId>) -> (Vec<u8>, Vec<u8>) {
    (join(realm, account, &[], SEPARATOR), join(realm, account, &[], PAST))
}

/// The account and the id in the key of a key's record.
pub(super) fn split_key(bytes: &[u8]) -> Option<(AccountId, KeyId)> {
    let (rest, id) = bytes.split_last_chunk::<16>()?;
    Some((split_account(rest)?, KeyId::from_bytes(*id)))
}

/// The account in the key of an account's record.
pub(super) fn split_account(bytes: &[u8]) -> Option<AccountId> {
    let rest = bytes.strip_suffix(&[SEPARATOR])?;
    let mut fields = rest.splitn(2, |byte| *byte == SEPARATOR).skip(1);
    AccountId::new(std::str::from_utf8(fields.next()?).ok()?).ok()
}

fn join(realm: &RealmName, account: Option<&AccountId>, last: &[u8], end: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(192);
    bytes.extend_from_slice(realm.as_str().as_bytes());
    if let Some(account) = account {
        bytes.push(SEPARATOR);
        bytes.extend_from_slice(account.as_str().as_bytes());
    }
    bytes.push(end);
    bytes.extend_from_slice(last);
    bytes
}
