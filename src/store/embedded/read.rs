//! Reading the file. Every function reads one snapshot, or says why it takes two.

use super::{Core, tables, write::Trouble};
use crate::{
    app::ports::{EntryQuery, Found, KeyListing, KeyQuery, MemoId, Memos, Sought, StoreError},
    domain::{
        account::{Account, AccountSnapshot},
        audit::AuditEvent,
        entry::{Entry, EntryId},
        id::{AccountId, AccountRef, EntryName, KeyId, RealmName},
        key::{IdempotencyRecord, KeyRecord, KeySnapshot, KeyUses, LastUse, UsesOf},
    },
    store::record::Lookup,
};
use redb::{Range, ReadOnlyTable, ReadTransaction, ReadableDatabase, TableDefinition};
use std::{iter::Peekable, ops::Bound, sync::Arc};

type Records = TableDefinition<'static, &'static [u8], &'static [u8]>;

impl From<redb::Error> for Trouble {
    fn from(error: redb::Error) -> Self {
        Self(error)
    }
}

fn told<T, E: Into<redb::Error>>(result: Result<T, E>) -> Result<T, StoreError> {
    result.map_err(|error| Trouble(error.into()).into())
}

impl Core {
    pub(super) fn find_key(&self, sought: &Sought<'_>) -> Result<Found, StoreError> {
        let read_at = self.clock.ticks();
        for Lookup { owner, key, .. } in self.ways(sought)? {
            // The stamp must be older than what is read under it, and only the lookup tells whose stamp: hence a second
            // snapshot. The secret may have moved to another of its digests since the first.
            let stamp = self.stamps.current(&owner);
            let snapshot = self.snapshot()?;
            let Some(key) = self.key(&snapshot, &owner, key)? else { continue };
            let Some(account) = self.account(&snapshot, &owner)? else { continue };
            if sought.digests.iter().any(|digest| key.secret(digest).is_some()) {
                let last = if sought.uses { self.last_use(&snapshot, &owner, key.id)? } else { None };
                let organizations = self.organizations(sought.realm, &account)?;
                let found = KeySnapshot::new(sought.realm, owner, account, key, read_at, stamp).within(organizations);
                return Ok(Found::Key(Arc::new(found.last_used(last.map(|last| last.at)))));
            }
        }
        Ok(Found::Nothing(read_at))
    }

    pub(super) fn find_key_by_id(&self, owner: &AccountRef, id: KeyId) -> Result<Option<Arc<KeySnapshot>>, StoreError> {
        // Both older than what is read under them.
        let (read_at, stamp) = (self.clock.ticks(), self.stamps.current(owner));
        let snapshot = self.snapshot()?;
        let Some(key) = self.key(&snapshot, owner, id)? else { return Ok(None) };
        let Some(account) = self.account(&snapshot, owner)? else { return Ok(None) };
        let organizations = self.organizations(&owner.realm, &account)?;
        let last = self.last_use(&snapshot, owner, id)?;
        let found = KeySnapshot::new(&owner.realm, owner.clone(), account, key, read_at, stamp).within(organizations);
        Ok(Some(Arc::new(found.last_used(last.map(|last| last.at)))))
    }

    /// Where the digests lead, all as of one instant.
    fn ways(&self, sought: &Sought<'_>) -> Result<Vec<Lookup>, StoreError> {
        let snapshot = self.snapshot()?;
        let lookups = told(snapshot.open_table(tables::LOOKUPS))?;
        let mut ways = Vec::new();
        for digest in sought.digests {
            if let Some(bytes) = told(lookups.get(digest.as_bytes()))? {
                let lookup = self.codec.decode_lookup(digest, bytes.value())?;
                if lookup.owner.realm == *sought.realm {
                    ways.push(lookup);
                }
            }
        }
        Ok(ways)
    }

    pub(super) fn find_account(&self, owner: &AccountRef) -> Result<AccountSnapshot, StoreError> {
        let found = self.account_alone(owner.clone())?;
        let organizations = found.account.as_ref().map(|account| self.organizations(&owner.realm, account));
        Ok(found.within(organizations.transpose()?.unwrap_or_default()))
    }

    fn account_alone(&self, owner: AccountRef) -> Result<AccountSnapshot, StoreError> {
        // Both older than what is read under them.
        let (read_at, stamp) = (self.clock.ticks(), self.stamps.current(&owner));
        let account = self.read_account(&owner)?;
        Ok(AccountSnapshot::new(owner, account, read_at, stamp))
    }

    /// The organizations that an account is a member of. Each carries a stamp of its own, so that it does not matter when it is read.
    fn organizations(&self, realm: &RealmName, member: &Account) -> Result<Vec<AccountSnapshot>, StoreError> {
        let organization = |id: &AccountId| AccountRef { realm: realm.clone(), account: id.clone() };
        member.organizations.iter().map(|id| self.account_alone(organization(id))).collect()
    }

    pub(super) fn read_account(&self, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        self.account(&self.snapshot()?, owner)
    }

    pub(super) fn read_keys(&self, owner: &AccountRef, ids: &[KeyId]) -> Result<Vec<Option<KeyRecord>>, StoreError> {
        let snapshot = self.snapshot()?;
        ids.iter().map(|id| self.key(&snapshot, owner, *id)).collect()
    }

    pub(super) fn read_uses(&self, owner: &AccountRef, wanted: &[UsesOf]) -> Result<Vec<KeyUses>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::USES))?;
        let secret = |id: KeyId, number: u32| {
            let found = told(table.get(tables::secret(owner, id, number).as_slice()))?;
            found.map(|bytes| self.codec.decode_secret_use(owner, id, number, bytes.value())).transpose()
        };
        let read = |UsesOf { key, secrets }: &UsesOf| {
            let secrets = secrets.iter().map(|number| secret(*key, *number)).collect::<Result<_, _>>()?;
            Ok(KeyUses { last: self.last_use(&snapshot, owner, *key)?, secrets })
        };
        wanted.iter().map(read).collect()
    }

    fn last_use(
        &self,
        snapshot: &ReadTransaction,
        owner: &AccountRef,
        id: KeyId,
    ) -> Result<Option<LastUse>, StoreError> {
        let table = told(snapshot.open_table(tables::USES))?;
        let found = told(table.get(tables::key(owner, id).as_slice()))?;
        found.map(|bytes| self.codec.decode_use(owner, id, bytes.value())).transpose()
    }

    pub(super) fn locate_key(&self, realm: &RealmName, id: KeyId) -> Result<Option<AccountId>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::POINTERS))?;
        let found = told(table.get(tables::pointer(realm, id).as_slice()))?;
        found.map(|bytes| self.codec.decode_pointer(realm, id, bytes.value())).transpose()
    }

    /// Merges the working keys and the ended ones; reads no more of either than the page holds.
    pub(super) fn list_keys(&self, query: &KeyQuery) -> Result<KeyListing, StoreError> {
        let snapshot = self.snapshot()?;
        let mut live = scan(&snapshot, tables::KEYS, query, query.ended != Some(true))?;
        let mut ended = scan(&snapshot, tables::HISTORY, query, query.ended != Some(false))?;
        let mut listing = KeyListing::default();
        loop {
            let from_live = match (place(live.peek())?, place(ended.peek())?) {
                (None, None) => return Ok(listing),
                (Some(live), Some(ended)) => live <= ended,
                (live, _) => live.is_some(),
            };
            if listing.keys.len() >= query.limit.max(1) {
                listing.next = listing.keys.last().map(|(account, key)| (account.clone(), key.id));
                return Ok(listing);
            }
            let Some(entry) = (if from_live { live.next() } else { ended.next() }) else { return Ok(listing) };
            let (place, bytes) = told(entry)?;
            let (account, id) = tables::split_key(place.value())
                .ok_or_else(|| StoreError::Corrupt("a key stands in a place that is not legal".to_owned()))?;
            let owner = AccountRef { realm: query.realm.clone(), account };
            let key = self.codec.decode_key(&owner, id, bytes.value())?;
            listing.keys.push((owner.account, key));
        }
    }

    pub(super) fn list_accounts(
        &self,
        realm: &RealmName,
        after: Option<&AccountId>,
        limit: usize,
    ) -> Result<Vec<AccountId>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::ACCOUNTS))?;
        let (start, end) = tables::range(realm, None);
        let after =
            after.map(|account| tables::account(&AccountRef { realm: realm.clone(), account: account.clone() }));
        let first = after.as_ref().map_or(Bound::Included(start.as_slice()), |after| Bound::Excluded(after.as_slice()));
        let range = told(table.range::<&[u8]>((first, Bound::Excluded(end.as_slice()))))?;
        let mut accounts = Vec::new();
        for entry in range.take(limit) {
            let (place, _) = told(entry)?;
            let account = tables::split_account(place.value())
                .ok_or_else(|| StoreError::Corrupt("an account stands in a place that is not legal".to_owned()))?;
            accounts.push(account);
        }
        Ok(accounts)
    }

    pub(super) fn read_idempotency(
        &self,
        owner: &AccountRef,
        slot: &[u8; 32],
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::IDEMPOTENCY))?;
        let found = told(table.get(tables::idempotency(owner, slot).as_slice()))?;
        let sealed = found.as_ref().map(|bytes| bytes.value().get(8..).unwrap_or_default());
        let record = sealed.map(|sealed| self.codec.decode_idempotency(owner, slot, sealed)).transpose()?;
        Ok(record.filter(|record| self.clock.now() < record.expires_at))
    }

    pub(super) fn read_entry(&self, owner: &AccountRef, id: &EntryId) -> Result<Option<Entry>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::ENTRIES))?;
        let found = told(table.get(tables::entry(owner, id.kind, id.name.as_str()).as_slice()))?;
        found.map(|bytes| self.codec.decode_entry(owner, id, bytes.value())).transpose()
    }

    pub(super) fn list_entries(&self, query: &EntryQuery<'_>) -> Result<Vec<(EntryName, Entry)>, StoreError> {
        let EntryQuery { owner, kind, after, limit } = *query;
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::ENTRIES))?;
        let (start, end) = tables::entries(owner, kind);
        let after = after.map(|name| tables::entry(owner, kind, name.as_str()));
        let first = after.as_ref().map_or(Bound::Included(start.as_slice()), |after| Bound::Excluded(after.as_slice()));
        let range = told(table.range::<&[u8]>((first, Bound::Excluded(end.as_slice()))))?;
        let entry = |found| {
            let (place, bytes): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>) = told(found)?;
            let name = tables::split_entry(owner, kind, place.value())
                .ok_or_else(|| StoreError::Corrupt("an entry stands in a place that is not legal".to_owned()))?;
            let id = EntryId { kind, name };
            let entry = self.codec.decode_entry(owner, &id, bytes.value())?;
            Ok((id.name, entry))
        };
        range.take(limit).map(entry).collect()
    }

    pub(super) fn read_audit(
        &self,
        owner: &AccountRef,
        from: u64,
        limit: usize,
    ) -> Result<Vec<AuditEvent>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::AUDIT))?;
        let (first, last) = (tables::event(owner, from), tables::event(owner, u64::MAX));
        let range = told(table.range::<&[u8]>(first.as_slice()..=last.as_slice()))?;
        let events = range.take(limit).map(|entry| {
            let (place, bytes) = told(entry)?;
            let sequence = place.value().last_chunk::<8>().copied().map_or(0, u64::from_be_bytes);
            self.codec.decode_event(owner, sequence, bytes.value())
        });
        events.collect()
    }

    pub(super) fn read_memo(&self, id: &MemoId<'_>) -> Result<Option<Vec<u8>>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::MEMOS))?;
        let found = told(table.get(tables::memo(id).as_slice()))?;
        found.map(|bytes| self.codec.decode_memo(id, bytes.value())).transpose()
    }

    /// A memo as it stands in the file.
    pub(super) fn sealed_memo(&self, place: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::MEMOS))?;
        Ok(told(table.get(place))?.map(|bytes| bytes.value().to_vec()))
    }

    pub(super) fn list_memos(&self, first: &MemoId<'_>, limit: usize) -> Result<Memos, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::MEMOS))?;
        let (shelf, end) = tables::shelf(first);
        let start = tables::memo(first);
        let range = told(table.range::<&[u8]>((Bound::Included(start.as_slice()), Bound::Excluded(end.as_slice()))))?;
        let memo = |found| {
            let (place, bytes): (redb::AccessGuard<'_, &[u8]>, redb::AccessGuard<'_, &[u8]>) = told(found)?;
            let name = place.value().strip_prefix(shelf.as_slice()).unwrap_or_default().to_vec();
            let value = self.codec.decode_memo(&MemoId { name: &name, ..*first }, bytes.value())?;
            Ok((name, value))
        };
        range.take(limit).map(memo).collect()
    }

    /// Which versions of the server secret the file was sealed with, as it is written down.
    pub(super) fn marks(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let snapshot = self.snapshot()?;
        let table = told(snapshot.open_table(tables::META))?;
        Ok(told(table.get(super::open::SECRETS_ENTRY))?.map(|bytes| bytes.value().to_vec()))
    }

    pub(super) fn ping(&self) -> Result<(), StoreError> {
        let snapshot = self.snapshot()?;
        told(snapshot.open_table(tables::ACCOUNTS)).map(drop)
    }

    fn snapshot(&self) -> Result<ReadTransaction, StoreError> {
        told(self.database.begin_read())
    }

    fn account(&self, snapshot: &ReadTransaction, owner: &AccountRef) -> Result<Option<Account>, StoreError> {
        let table = told(snapshot.open_table(tables::ACCOUNTS))?;
        let found = told(table.get(tables::account(owner).as_slice()))?;
        found.map(|bytes| self.codec.decode_account(owner, bytes.value())).transpose()
    }

    /// A key, working or ended.
    fn key(&self, snapshot: &ReadTransaction, owner: &AccountRef, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let place = tables::key(owner, id);
        for definition in [tables::KEYS, tables::HISTORY] {
            let table = told(snapshot.open_table(definition))?;
            if let Some(bytes) = told(table.get(place.as_slice()))? {
                return self.codec.decode_key(owner, id, bytes.value()).map(Some);
            }
        }
        Ok(None)
    }
}

type Scan = Peekable<Range<'static, &'static [u8], &'static [u8]>>;

/// The records of a table that a listing may show, in order; none at all when they are not `wanted`.
fn scan(snapshot: &ReadTransaction, table: Records, query: &KeyQuery, wanted: bool) -> Result<Scan, StoreError> {
    let (start, end) = tables::range(&query.realm, query.account.as_ref());
    let after = query
        .after
        .as_ref()
        .map(|(account, id)| tables::key(&AccountRef { realm: query.realm.clone(), account: account.clone() }, *id));
    let first = match &after {
        Some(after) if *after >= start => Bound::Excluded(after.as_slice()),
        _ => Bound::Included(start.as_slice()),
    };
    // A page may begin past the end of its account; the database does not take a range that ends before it begins.
    let past_the_end = after.as_ref().is_some_and(|after| *after >= end);
    let bounds = if wanted && !past_the_end {
        (first, Bound::Excluded(end.as_slice()))
    } else {
        (Bound::Included(end.as_slice()), Bound::Excluded(end.as_slice()))
    };
    let table: ReadOnlyTable<&[u8], &[u8]> = told(snapshot.open_table(table))?;
    told(table.range::<&[u8]>(bounds)).map(Iterator::peekable)
}

type Row<'e> = Result<(redb::AccessGuard<'e, &'static [u8]>, redb::AccessGuard<'e, &'static [u8]>), redb::StorageError>;

fn place<'e>(entry: Option<&'e Row<'_>>) -> Result<Option<&'e [u8]>, StoreError> {
    match entry {
        None => Ok(None),
        Some(Ok((place, _))) => Ok(Some(place.value())),
        Some(Err(error)) => Err(StoreError::Unavailable(error.to_string())),
    }
}
