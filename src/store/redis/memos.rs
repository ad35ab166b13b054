//! Memos: what work in the background remembers between its steps.

use super::{Redis, keyspace, scripts};
use crate::app::ports::{Expected, MemoId, Memos, StoreError};
use redis::{Value, cmd};

impl Redis {
    pub(super) async fn memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        self.sealed_memo(id).await?.map(|stored| self.codec.decode_memo(id, &stored)).transpose()
    }

    /// Two round trips: the names, then the memos. One that goes in between is left out.
    pub(super) async fn memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        let [memos, names] = keyspace::memos(first);
        let mut command = cmd("ZRANGEBYLEX");
        command.arg(names).arg([b"[", first.name].concat()).arg("+").arg("LIMIT").arg(0).arg(limit);
        let names = self.members(Some(self.connection.query(&command).await?))?;
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("HMGET");
        command.arg(memos).arg(&names);
        let stored = match self.connection.query(&command).await? {
            Value::Array(stored) if stored.len() == names.len() => stored,
            _ => return Err(self.connection.misunderstood("a list of memos")),
        };
        let mut found = Vec::with_capacity(names.len());
        for (name, stored) in names.into_iter().zip(stored) {
            let Some(stored) = self.bytes(Some(stored))? else { continue };
            let value = self.codec.decode_memo(&MemoId { name: &name, ..*first }, &stored)?;
            found.push((name, value));
        }
        Ok(found)
    }

    pub(super) async fn set_memo(
        &self,
        id: &MemoId<'_>,
        expected: Expected<'_>,
        value: Option<&[u8]>,
    ) -> Result<bool, StoreError> {
        let standing = match expected {
            Expected::Anything => None,
            Expected::Absent => Some(Vec::new()),
            // It may be sealed with an older server secret: what is compared is what stands there.
            Expected::Is(value) => match self.sealed_memo(id).await? {
                Some(sealed) if self.codec.decode_memo(id, &sealed)? == value => Some(sealed),
                _ => return Ok(false),
            },
        };
        let sealed = value.map(|value| self.codec.encode_memo(id, &value.to_vec())).unwrap_or_default();
        scripts::memo(&self.connection, id, standing.as_deref(), &sealed).await
    }

    async fn sealed_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let [memos, _] = keyspace::memos(id);
        let stored = self.connection.query(cmd("HGET").arg(memos).arg(id.name)).await?;
        self.bytes(Some(stored))
    }
}
