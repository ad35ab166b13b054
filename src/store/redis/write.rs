//! Applying a change: what must be found outside the account first, then the account as a whole, then what is forgotten.

use super::{
    Redis,
    keyspace::{self, AccountKeys},
    scripts::{CommitCall, MARK, stored_mark},
};
use crate::{
    app::ports::{CommitError, StoreError},
    domain::{
        commit::{Change, NewLookup},
        key::{Digest, KeyRecord, KeyUse},
    },
    store::record::Lookup,
};
use redis::{Pipeline, Value, cmd, pipe};

impl Redis {
    pub(super) async fn write(&self, change: &Change) -> Result<(), CommitError> {
        self.announce(change).await?;
        self.call(change).run(&self.connection).await?;
        self.forget(change).await;
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

        let mut overwrite = pipe();
        for ((lookup, record), reply) in change.lookups.iter().zip(&lookups).zip(replies) {
            if reply == Value::Nil {
                self.must_lead_nowhere(lookup).await?;
                overwrite.cmd("SET").arg(keyspace::lookup(&lookup.digest)).arg(record);
            }
        }
        self.run(&overwrite).await?;
        Ok(())
    }

    /// A lookup that stands there already is in the way only if it leads to a key that carries its digest.
    async fn must_lead_nowhere(&self, new: &NewLookup) -> Result<(), CommitError> {
        let stored = self.connection.query(cmd("GET").arg(keyspace::lookup(&new.digest))).await?;
        let Some(stored) = self.bytes(Some(stored))? else { return Ok(()) };
        let standing = self.codec.decode_lookup(&new.digest, &stored)?;
        match self.resolve(&new.digest, &standing).await? {
            Some(_) => Err(CommitError::DigestTaken(new.digest)),
            None => Ok(()),
        }
    }

    fn call<'a>(&self, change: &'a Change) -> CommitCall<'a> {
        let owner = &change.owner;
        let sealed = |key: &KeyRecord| (*key.id.as_bytes(), self.codec.encode_key(owner, key.id, key));
        CommitCall {
            owner,
            expected: change.expected,
            mark: change.account.mark(),
            account: self.codec.encode_account(owner, &change.account),
            ended: change.end.iter().map(sealed).collect(),
            put: change.put.iter().map(sealed).collect(),
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
        let mut commands = pipe();
        for digest in change.forgotten.iter().filter(|digest| !again(**digest)) {
            commands.cmd("DEL").arg(keyspace::lookup(digest));
        }
        let _ = self.run(&commands).await;
    }

    /// Written in one round trip.
    pub(super) async fn write_uses(&self, uses: &[KeyUse]) -> Result<(), StoreError> {
        let mut commands = pipe();
        for KeyUse { owner, key, last } in uses {
            let name = AccountKeys::new(owner).uses();
            commands.cmd("HSET").arg(name).arg(key.as_bytes()).arg(self.codec.encode_use(owner, *key, last));
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
