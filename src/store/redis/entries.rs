//! Reading entries of an account.

use super::{Redis, keyspace::AccountKeys};
use crate::{
    app::ports::{EntryQuery, StoreError},
    domain::{
        entry::{Entry, EntryId, EntryKind},
        id::{AccountRef, EntryName},
    },
};
use redis::{Value, cmd};

/// The field that an entry stands under.
pub(super) fn field(id: &EntryId) -> Vec<u8> {
    named(id.kind, id.name.as_str())
}

fn named(kind: EntryKind, name: &str) -> Vec<u8> {
    [&[kind.code()], name.as_bytes()].concat()
}

impl Redis {
    pub(super) async fn entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        let stored = self.connection.query(cmd("HGET").arg(AccountKeys::new(owner).entries()).arg(field(id))).await?;
        self.bytes(Some(stored))?.map(|stored| self.codec.decode_entry(owner, id, &stored)).transpose()
    }

    /// Two round trips: the names, then the records. An entry that goes in between is left out.
    pub(super) async fn entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        let EntryQuery { owner, kind, after, limit } = *query;
        let keys = AccountKeys::new(owner);
        let (sign, after) = after.map_or((b"[", ""), |name| (b"(", name.as_str()));
        let start = [&sign[..], &named(kind, after)].concat();
        // Every name is made of bytes below this one.
        let end = [b"(", &named(kind, "\u{7f}")[..]].concat();
        let mut command = cmd("ZRANGEBYLEX");
        command.arg(keys.entry_names()).arg(start).arg(end).arg("LIMIT").arg(0).arg(limit);
        let fields = self.members(Some(self.connection.query(&command).await?))?;
        if fields.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("HMGET");
        command.arg(keys.entries()).arg(&fields);
        let records = match self.connection.query(&command).await? {
            Value::Array(records) if records.len() == fields.len() => records,
            _ => return Err(self.connection.misunderstood("a list of entries")),
        };
        let mut entries = Vec::with_capacity(fields.len());
        for (field, record) in fields.iter().zip(records) {
            let Some(record) = self.bytes(Some(record))? else { continue };
            let name = field.get(1..).and_then(|name| EntryName::new(std::str::from_utf8(name).ok()?).ok());
            let name = name.ok_or_else(|| {
                StoreError::Corrupt(format!(
                    "the index of entries of account `{}` of realm `{}` holds a name that is not legal",
                    owner.account, owner.realm
                ))
            })?;
            let id = EntryId { kind, name };
            let entry = self.codec.decode_entry(owner, &id, &record)?;
            entries.push((id.name, entry));
        }
        Ok(entries)
    }
}
