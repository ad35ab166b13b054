//! Reading one account, some of its keys, or the key that a digest leads to.

use super::{Redis, keyspace};
use crate::{
    app::ports::{Found, StoreError},
    domain::{
        account::Account,
        id::{AccountId, AccountRef, KeyId, RealmName},
        key::{Digest, IdempotencyRecord, KeyRecord, KeySnapshot},
    },
    store::record::Lookup,
};
use redis::{Value, cmd, pipe};
use std::sync::Arc;

impl Redis {
    /// Two round trips: the lookup, then the account and the key as of one instant.
    pub(super) async fn find(&self, realm: &RealmName, digest: &Digest) -> Result<Found, StoreError> {
        // Before asking: what is read is at least as new as this.
        let read_at = self.clock.ticks();
        let stored = self.connection.query(cmd("GET").arg(keyspace::lookup(digest))).await?;
        let Some(stored) = self.bytes(Some(stored))? else { return Ok(Found::Nothing(read_at)) };
        let lookup = self.codec.decode_lookup(digest, &stored)?;
        if lookup.owner.realm != *realm {
            return Ok(Found::Nothing(read_at));
        }
        let Some((account, key)) = self.resolve(digest, &lookup).await? else { return Ok(Found::Nothing(read_at)) };
        let stamp = account.version;
        Ok(Found::Key(Arc::new(KeySnapshot { owner: lookup.owner, account, key, read_at, stamp })))
    }

    /// The key that a lookup leads to, with its account; nothing when the lookup leads nowhere.
    pub(super) async fn resolve(
        &self,
        digest: &Digest,
        lookup: &Lookup,
    ) -> Result<Option<(Account, KeyRecord)>, StoreError> {
        let owner = &lookup.owner;
        let keys = keyspace::AccountKeys::new(owner);
        let id = &lookup.key.as_bytes()[..];
        // As of one instant: an account that is older than its key would be confirmed by a charge that must not.
        let mut commands = pipe();
        commands.atomic().cmd("GET").arg(keys.record());
        commands.cmd("HGET").arg(keys.live()).arg(id).cmd("HGET").arg(keys.ended()).arg(id);
        let mut replies = self.connection.pipeline(&commands).await?.into_iter();
        let account = self.bytes(replies.next())?;
        let (live, ended) = (self.bytes(replies.next())?, self.bytes(replies.next())?);

        let Some(record) = live.or(ended) else { return Ok(None) };
        let key = self.codec.decode_key(owner, lookup.key, &record)?;
        if key.secret(digest).is_none() || key.environment != lookup.environment {
            return Ok(None);
        }
        let account = account.ok_or_else(|| {
            let AccountRef { realm, account } = owner;
            StoreError::Corrupt(format!("account `{account}` of realm `{realm}` has keys and no record"))
        })?;
        Ok(Some((self.account(owner, &account)?, key)))
    }

    pub(super) async fn account_record(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        let stored = self.connection.query(cmd("GET").arg(keyspace::account(owner))).await?;
        self.bytes(Some(stored))?.map(|stored| self.account(owner, &stored)).transpose()
    }

    pub(super) async fn key_records(
        &self,
        owner: &AccountRef,
        ids: &[KeyId],
    ) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keyspace::AccountKeys::new(owner);
        // Live ones first: a key that ends in between is then found twice, never not at all.
        let mut commands = pipe();
        for hash in [keys.live(), keys.ended()] {
            let command = commands.cmd("HMGET").arg(hash);
            ids.iter().for_each(|id| {
                command.arg(&id.as_bytes()[..]);
            });
        }
        let mut replies = self.connection.pipeline(&commands).await?.into_iter();
        let mut records = || match replies.next() {
            Some(Value::Array(records)) if records.len() == ids.len() => Ok(records),
            _ => Err(self.connection.misunderstood("a list of records")),
        };
        let found = records()?.into_iter().zip(records()?);
        let key = |(id, (live, ended)): (&KeyId, (Value, Value))| {
            let record = self.bytes(Some(ended))?.or(self.bytes(Some(live))?);
            record.map(|record| self.codec.decode_key(owner, *id, &record)).transpose()
        };
        ids.iter().zip(found).map(key).collect()
    }

    pub(super) async fn locate(&self, realm: &RealmName, key: KeyId) -> Result<Option<AccountId>, StoreError> {
        let stored = self.connection.query(cmd("GET").arg(keyspace::pointer(realm, key))).await?;
        let Some(stored) = self.bytes(Some(stored))? else { return Ok(None) };
        let account = self.codec.decode_pointer(realm, key, &stored)?;
        // A pointer is written before its key: an act that was interrupted leaves one that leads nowhere.
        let owner = AccountRef { realm: realm.clone(), account };
        let keys = keyspace::AccountKeys::new(&owner);
        let id = &key.as_bytes()[..];
        let mut commands = pipe();
        commands.cmd("HEXISTS").arg(keys.live()).arg(id).cmd("HEXISTS").arg(keys.ended()).arg(id);
        let exists = self.connection.pipeline(&commands).await?.contains(&Value::Int(1));
        Ok(exists.then_some(owner.account))
    }

    pub(super) async fn idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let key = keyspace::AccountKeys::new(owner).idempotency(slot);
        let stored = self.connection.query(cmd("GET").arg(key)).await?;
        let record =
            self.bytes(Some(stored))?.map(|stored| self.codec.decode_idempotency(owner, slot, &stored)).transpose()?;
        Ok(record.filter(|record| self.clock.now() < record.expires_at))
    }
}
