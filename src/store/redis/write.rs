//! Applying a change: what must be found outside the account first, then the account as a whole, then what is forgotten.
//!
//! A digest never leads to two keys. Whoever finds it announced for another act, which may be under way still, first bars
//! that act, beside the account that it would write: from then on it can not be applied. Only if it was not applied before
//! either is its announcement replaced, and only as long as it still stands. So a key that was acknowledged keeps its digest.

use super::{
    Redis, entries,
    keyspace::{self, AccountKeys},
    scripts::{self, CommitCall, MARK, stored_mark},
};
use crate::{
    app::ports::{CommitError, StoreError},
    domain::{
        commit::{Change, NewLookup},
        entry::EntryChange,
        id::AccountRef,
        key::{Digest, KeyRecord, KeyUse, SecretUse},
    },
    store::record::Lookup,
};
use redis::{Pipeline, Value, cmd, pipe};
use std::{slice, time::Duration};
use tokio::time;

/// How long an act stays barred from a digest, in milliseconds: longer than any act may take, a stalled server's too.
const BARRED_MS: u64 = 3_600_000;
/// How long an act that may be under way is waited for before it is barred.
const MOMENT: Duration = Duration::from_millis(30);

/// A new lookup in whose place another one stands.
struct Contested<'c> {
    new: &'c NewLookup,
    record: &'c Vec<u8>,
}

impl Redis {
    /// All steps go to one server: what was announced to one that was the primary, and has to be found behind what is applied
    /// by the next, would be missing there.
    pub(super) async fn write(&self, change: &Change) -> Result<(), CommitError> {
        let here = Self { connection: self.connection.pinned().await?, ..self.clone() };
        here.announce(change).await?;
        here.call(change).run(&here.connection).await?;
        here.forget(change).await;
        Ok(())
    }

    /// Writes the ways that lead to the account. Until the account is written they lead nowhere.
    async fn announce(&self, change: &Change) -> Result<(), CommitError> {
        if change.lookups.is_empty() && change.expected > 0 {
            return Ok(());
        }
        must_differ(&change.lookups)?;
        let owner = &change.owner;
        let mut commands = pipe();
        commands.cmd("GETRANGE").arg(keyspace::account(owner)).arg(0).arg(MARK.saturating_sub(1));
        let lookups: Vec<Vec<u8>> = change.lookups.iter().map(|lookup| self.lookup(change, lookup)).collect();
        for (lookup, record) in change.lookups.iter().zip(&lookups) {
            commands.cmd("SET").arg(keyspace::lookup(&lookup.digest)).arg(record).arg("NX");
        }
        for lookup in &change.lookups {
            let pointer = self.codec.encode_pointer(&owner.realm, lookup.key, &owner.account);
            commands.cmd("SET").arg(keyspace::pointer(&owner.realm, lookup.key)).arg(pointer);
        }
        if change.expected == 0 {
            commands.cmd("ZADD").arg(keyspace::accounts(&owner.realm)).arg(0).arg(owner.account.as_str());
        }
        let mut replies = self.connection.pipeline(&commands).await?.into_iter();
        // Whoever is late is told so, even if the digest is in the way too: it may be this very change, sent again.
        if self.bytes(replies.next())?.unwrap_or_default() != stored_mark(change.expected) {
            return Err(CommitError::Conflict);
        }

        let standing = replies.map(|reply| reply == Value::Nil);
        let announced = change.lookups.iter().zip(&lookups).zip(standing);
        let contested: Vec<Contested<'_>> =
            announced.filter(|(_, standing)| *standing).map(|((new, record), _)| Contested { new, record }).collect();
        if contested.is_empty() { Ok(()) } else { self.take_over(owner, &contested).await }
    }

    /// Lookups that stand there already are in the way if they lead to keys that carry their digests. Those that lead nowhere
    /// are replaced, and the acts that announced them are barred before.
    async fn take_over(&self, owner: &AccountRef, contested: &[Contested<'_>]) -> Result<(), CommitError> {
        let mut reading = pipe();
        for Contested { new, .. } in contested {
            reading.cmd("GET").arg(keyspace::lookup(&new.digest));
        }
        let mut others = Vec::new();
        for (ours, stored) in contested.iter().zip(self.connection.pipeline(&reading).await?) {
            let Some(stored) = self.bytes(Some(stored))? else { return Err(CommitError::Conflict) };
            let standing = self.codec.decode_lookup(&ours.new.digest, &stored)?;
            self.must_lead_nowhere(ours.new, &standing).await?;
            if standing.owner != *owner || standing.key != ours.new.key {
                others.push((ours, stored, standing));
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        time::sleep(MOMENT).await;
        let mut barring = pipe();
        for (ours, _, standing) in &others {
            let bar = AccountKeys::new(&standing.owner).bar(standing.key, &ours.new.digest);
            barring.cmd("SET").arg(bar).arg(1).arg("PX").arg(BARRED_MS);
        }
        self.run(&barring).await?;
        for (ours, stored, standing) in &others {
            self.must_lead_nowhere(ours.new, standing).await?;
            let name = keyspace::lookup(&ours.new.digest);
            if !scripts::replace(&self.connection, &name, stored, Some(ours.record)).await? {
                return Err(CommitError::Conflict);
            }
        }
        Ok(())
    }

    async fn must_lead_nowhere(&self, new: &NewLookup, standing: &Lookup) -> Result<(), CommitError> {
        match self.resolve(slice::from_ref(&new.digest), standing).await? {
            Some(_) => Err(CommitError::DigestTaken(new.digest)),
            None => Ok(()),
        }
    }

    fn call<'a>(&self, change: &'a Change) -> CommitCall<'a> {
        let owner = &change.owner;
        let sealed = |key: &KeyRecord| (*key.id.as_bytes(), self.codec.encode_key(owner, key.id, key));
        let (removed, put): (Vec<_>, Vec<_>) = change.entries.iter().partition(|change| change.entry.is_none());
        let entry = |EntryChange { id, entry }: &EntryChange| {
            Some((entries::field(id), self.codec.encode_entry(owner, id, entry.as_ref()?)))
        };
        CommitCall {
            owner,
            expected: change.expected,
            mark: change.account.mark(),
            account: self.codec.encode_account(owner, &change.account),
            ended: change.end.iter().map(sealed).collect(),
            put: change.put.iter().map(sealed).collect(),
            bars: change.lookups.iter().map(|new| AccountKeys::new(owner).bar(new.key, &new.digest)).collect(),
            entries_removed: removed.iter().map(|removed| entries::field(&removed.id)).collect(),
            entries_put: put.into_iter().filter_map(entry).collect(),
            events: change.events.iter().map(|event| self.codec.encode_event(owner, event.sequence, event)).collect(),
            idempotency: change.idempotency.as_ref().map(|record| {
                let sealed = self.codec.encode_idempotency(owner, &record.slot, record);
                (&record.slot, sealed, record.expires_at)
            }),
        }
    }

    /// Removes lookups that lead nowhere now. One that stays does no harm, so a failure is none.
    async fn forget(&self, change: &Change) {
        let again = |digest| change.lookups.iter().any(|lookup| lookup.digest == digest);
        for digest in change.forgotten.iter().filter(|digest| !again(**digest)) {
            let _ = self.forget_one(change, digest).await;
        }
    }

    /// Somebody else may have taken the digest since the change was applied: then it stays.
    async fn forget_one(&self, change: &Change, digest: &Digest) -> Result<(), StoreError> {
        let name = keyspace::lookup(digest);
        let stored = self.connection.query(cmd("GET").arg(&name)).await?;
        let Some(stored) = self.bytes(Some(stored))? else { return Ok(()) };
        let standing = self.codec.decode_lookup(digest, &stored)?;
        let mut written = change.put.iter().chain(&change.end);
        if standing.owner == change.owner && written.any(|key| key.id == standing.key) {
            scripts::replace(&self.connection, &name, &stored, None).await?;
        }
        Ok(())
    }

    /// Written in one round trip.
    pub(super) async fn write_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let mut commands = pipe();
        for KeyUse { owner, key, secret, last, count } in uses {
            let name = AccountKeys::new(owner).uses();
            // The count stands beside the sealed record, since several servers add to it.
            let used = SecretUse { last: *last, count: 0 };
            let set = commands.cmd("HSET").arg(&name).arg(key.as_bytes()).arg(self.codec.encode_use(owner, *key, last));
            set.arg(AccountKeys::secret(*key, *secret)).arg(self.codec.encode_secret_use(owner, *key, *secret, &used));
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            commands.cmd("HINCRBY").arg(name).arg(AccountKeys::secret_count(*key, *secret)).arg(count);
        }
        self.run(&commands).await
    }

    async fn run(&self, commands: &Pipeline) -> Result<(), StoreError> {
        if !commands.is_empty() {
            self.connection.pipeline(commands).await?;
        }
        Ok(())
    }

    fn lookup(&self, change: &Change, new: &NewLookup) -> Vec<u8> {
        let lookup = Lookup { owner: change.owner.clone(), environment: new.environment.clone(), key: new.key };
        self.codec.encode_lookup(&new.digest, &lookup)
    }
}

/// A digest leads to one key.
fn must_differ(lookups: &[NewLookup]) -> Result<(), CommitError> {
    let mut digests: Vec<&Digest> = lookups.iter().map(|lookup| &lookup.digest).collect();
    digests.sort_unstable();
    match digests.windows(2).find(|pair| matches!(pair, [one, next] if one == next)) {
        Some([twice, ..]) => Err(CommitError::DigestTaken(**twice)),
        _ => Ok(()),
    }
}
