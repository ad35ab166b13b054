//! Reading one account, some of its keys, or the key that a digest leads to.

use super::{Redis, keyspace, scripts};
use crate::{
    app::ports::{Found, Sought, StoreError},
    domain::{
        account::{Account, AccountSnapshot},
        audit::AuditEvent,
        id::{AccountId, AccountRef, KeyId, RealmName},
        key::{Digest, IdempotencyRecord, KeyRecord, KeySnapshot, KeyUses, SecretUse, UsesOf},
        time::Ticks,
    },
    store::record::Lookup,
};
use redis::{Value, cmd, pipe};
use std::sync::Arc;

impl Redis {
    /// One round trip. A digest that leads nowhere costs the same.
    pub(super) async fn find(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        // Before asking: what is read is at least as new as this.
        let read_at = self.clock.ticks();
        // More than one only where an act was interrupted, or is under way.
        for way in scripts::find(&self.connection, sought.digests, sought.uses).await? {
            let lookup = self.codec.decode_lookup(way.digest, &way.lookup)?;
            if lookup.owner.realm != *sought.realm {
                continue;
            }
            if let Some((account, key)) = self.opened(sought.digests, &lookup, way.account, way.key)? {
                let stamp = account.mark();
                let organizations = self.organizations(sought.realm, &account, way.organizations, read_at)?;
                let last = way.last_use.map(|last| self.codec.decode_use(&lookup.owner, key.id, &last)).transpose()?;
                let snapshot = KeySnapshot::new(sought.realm, lookup.owner, account, key, read_at, stamp);
                let snapshot = snapshot.within(organizations).last_used(last.map(|last| last.at));
                return Ok(Found::Key(Arc::new(snapshot)));
            }
        }
        Ok(Found::Nothing(read_at))
    }

    /// One round trip.
    pub(super) async fn find_by_id(
        &self,
        owner: &AccountRef,
        id: KeyId,
    ) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        let read_at = self.clock.ticks();
        let found = scripts::account(&self.connection, owner, Some(id)).await?;
        let Some((account, record)) = found.account.zip(found.key) else { return Ok(None) };
        let key = self.codec.decode_key(owner, id, &record)?;
        let account = self.account(owner, &account)?;
        let (stamp, organizations) =
            (account.mark(), self.organizations(&owner.realm, &account, found.organizations, read_at)?);
        let last = found.last_use.map(|last| self.codec.decode_use(owner, id, &last)).transpose()?;
        let snapshot = KeySnapshot::new(&owner.realm, owner.clone(), account, key, read_at, stamp);
        Ok(Some(Arc::new(snapshot.within(organizations).last_used(last.map(|last| last.at)))))
    }

    /// One round trip.
    pub(super) async fn find_owner(&self, owner: &AccountRef) -> Result<AccountSnapshot, StoreError> {
        let read_at = self.clock.ticks();
        let found = scripts::account(&self.connection, owner, None).await?;
        let snapshot = self.snapshot(owner.clone(), found.account, read_at)?;
        let organizations = match &snapshot.account {
            Some(account) => self.organizations(&owner.realm, account, found.organizations, read_at)?,
            None => Vec::new(),
        };
        Ok(snapshot.within(organizations))
    }

    /// The organizations of a member, by the records that were read with its own.
    fn organizations(
        &self,
        realm: &RealmName,
        member: &Account,
        records: Vec<Option<Vec<u8>>>,
        read_at: Ticks,
    ) -> Result<Vec<AccountSnapshot>, StoreError> {
        if records.len() != member.organizations.len() {
            return Err(self.connection.misunderstood("a list of organizations"));
        }
        let owner = |id: &AccountId| AccountRef { realm: realm.clone(), account: id.clone() };
        let found = member.organizations.iter().zip(records);
        found.map(|(id, record)| self.snapshot(owner(id), record, read_at)).collect()
    }

    fn snapshot(
        &self,
        owner: AccountRef,
        record: Option<Vec<u8>>,
        read_at: Ticks,
    ) -> Result<AccountSnapshot, StoreError> {
        let account = record.map(|record| self.account(&owner, &record)).transpose()?;
        let stamp = account.as_ref().map_or(0, Account::mark);
        Ok(AccountSnapshot::new(owner, account, read_at, stamp))
    }

    /// The key that a lookup leads to, with its account; nothing when the lookup leads nowhere. The key carries one of the
    /// digests: its secret may have moved from the one that led here to another.
    pub(super) async fn resolve(
        &self,
        digests: &[Digest],
        lookup: &Lookup,
    ) -> Result<Option<(Account, KeyRecord)>, StoreError> {
        let (mut account, mut record) = self.account_and_key(&lookup.owner, lookup.key).await?;
        if account.is_none() && record.is_some() {
            // The account came to exist in between; or its record is lost.
            (account, record) = self.account_and_key(&lookup.owner, lookup.key).await?;
        }
        self.opened(digests, lookup, account, record)
    }

    /// The account and the key of a lookup, if the key carries one of the digests.
    fn opened(
        &self,
        digests: &[Digest],
        lookup: &Lookup,
        account: Option<Vec<u8>>,
        record: Option<Vec<u8>>,
    ) -> Result<Option<(Account, KeyRecord)>, StoreError> {
        let owner = &lookup.owner;
        let Some(record) = record else { return Ok(None) };
        let key = self.codec.decode_key(owner, lookup.key, &record)?;
        let carried = digests.iter().any(|digest| key.secret(digest).is_some());
        if !carried || key.environment != lookup.environment {
            return Ok(None);
        }
        let account = account.ok_or_else(|| {
            let AccountRef { realm, account } = owner;
            StoreError::Corrupt(format!("account `{account}` of realm `{realm}` has keys and no record"))
        })?;
        Ok(Some((self.account(owner, &account)?, key)))
    }

    /// The records of an account and a key of it. The account first: if it changes in between, its older version is never
    /// confirmed by a charge. The live key before the ended one: a key that ends in between is found. Not as a transaction,
    /// because a full server refuses those, even to read.
    async fn account_and_key(
        &self,
        owner: &AccountRef,
        id: KeyId,
    ) -> Result<(Option<Vec<u8>>, Option<Vec<u8>>), StoreError> {
        let (keys, id) = (keyspace::AccountKeys::new(owner), &id.as_bytes()[..]);
        let mut commands = pipe();
        commands.cmd("GET").arg(keys.record());
        commands.cmd("HGET").arg(keys.live()).arg(id).cmd("HGET").arg(keys.ended()).arg(id);
        let mut replies = self.connection.pipeline(&commands).await?.into_iter();
        let account = self.bytes(replies.next())?;
        let (live, ended) = (self.bytes(replies.next())?, self.bytes(replies.next())?);
        Ok((account, live.or(ended)))
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
        Ok(self.key_records_of(&[(owner.clone(), ids.to_vec())]).await?.pop().unwrap_or_default())
    }

    /// Keys of several accounts, in one round trip.
    pub(super) async fn key_records_of(
        &self,
        wanted: &[(AccountRef, Vec<KeyId>)],
    ) -> Result<Vec<Vec<Option<KeyRecord>>>, StoreError> {
        let mut commands = pipe();
        // Live ones first: a key that ends in between is then found twice, never not at all.
        for (owner, ids) in wanted.iter().filter(|(_, ids)| !ids.is_empty()) {
            let keys = keyspace::AccountKeys::new(owner);
            for hash in [keys.live(), keys.ended()] {
                let command = commands.cmd("HMGET").arg(hash);
                ids.iter().for_each(|id| {
                    command.arg(&id.as_bytes()[..]);
                });
            }
        }
        if commands.is_empty() {
            return Ok(wanted.iter().map(|_| Vec::new()).collect());
        }
        let mut replies = self.connection.pipeline(&commands).await?.into_iter();
        let mut records = |count| match replies.next() {
            Some(Value::Array(records)) if records.len() == count => Ok(records),
            _ => Err(self.connection.misunderstood("a list of records")),
        };
        let keys_of = |(owner, ids): &(AccountRef, Vec<KeyId>)| {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            let found = records(ids.len())?.into_iter().zip(records(ids.len())?);
            let key = |(id, (live, ended)): (&KeyId, (Value, Value))| {
                let record = self.bytes(Some(ended))?.or(self.bytes(Some(live))?);
                record.map(|record| self.codec.decode_key(owner, *id, &record)).transpose()
            };
            ids.iter().zip(found).map(key).collect()
        };
        wanted.iter().map(keys_of).collect()
    }

    /// When keys were last used: three fields of one hash for each secret, and one for each key.
    pub(super) async fn uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("HMGET");
        command.arg(keyspace::AccountKeys::new(owner).uses());
        for UsesOf { key, secrets } in wanted {
            command.arg(&key.as_bytes()[..]);
            for number in secrets {
                command.arg(keyspace::AccountKeys::secret(*key, *number));
                command.arg(keyspace::AccountKeys::secret_count(*key, *number));
            }
        }
        let wrong = || self.connection.misunderstood("a list of uses");
        let Value::Array(found) = self.connection.query(&command).await? else { return Err(wrong()) };
        let mut found = found.into_iter();
        let mut next = || self.bytes(Some(found.next().ok_or_else(wrong)?));
        let mut uses = Vec::with_capacity(wanted.len());
        for UsesOf { key, secrets } in wanted {
            let last = next()?.map(|stored| self.codec.decode_use(owner, *key, &stored)).transpose()?;
            let mut each = Vec::with_capacity(secrets.len());
            for number in secrets {
                let (stored, count) = (next()?, next()?);
                let used = stored.map(|stored| self.codec.decode_secret_use(owner, *key, *number, &stored));
                // A count carries no seal: what is no number was not written by keygate.
                let count = count.and_then(|text| std::str::from_utf8(&text).ok()?.parse().ok()).unwrap_or(0);
                each.push(used.transpose()?.map(|used| SecretUse { count, ..used }));
            }
            uses.push(KeyUses { last, secrets: each });
        }
        Ok(uses)
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

    pub(super) async fn events(
        &self,
        owner: &AccountRef,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let from = from.max(1);
        let Some(last) = u64::try_from(limit).ok().and_then(|limit| limit.checked_sub(1)) else {
            return Ok(Vec::new());
        };
        let start = from.saturating_sub(1);
        let end = start.saturating_add(last).min(i64::MAX.unsigned_abs());
        let list = keyspace::AccountKeys::new(owner).events();
        let wrong = || self.connection.misunderstood("a list of events");
        let Value::Array(stored) = self.connection.query(cmd("LRANGE").arg(list).arg(start).arg(end)).await? else {
            return Err(wrong());
        };
        let event = |(sequence, stored): (u64, Value)| {
            let stored = self.bytes(Some(stored))?.ok_or_else(wrong)?;
            self.codec.decode_event(owner, sequence, &stored)
        };
        (from..).zip(stored).map(event).collect()
    }
}
