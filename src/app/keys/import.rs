//! Taking over keys that were made elsewhere: raw, or as hashes. Rows succeed or fail one by one; the rows of one account
//! are committed together.

use super::{ATTEMPTS, Outcome};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded, mint},
        key_permit::{Importer, KeyPermit},
        ports::{CommitError, Found, Freshness, Sought, Store},
        together::together,
    },
    domain::{
        id::{AccountId, AccountRef, KeyId, MemberId, Scope},
        key::{
            Creation, Digest, DigestScheme, ImportedKey, KeyRecord, Minted, Repeatable, adopt, check_beginning, expiry,
        },
        member::{MAX_KEYS, MemberError, may_issue},
        network::Network,
        secret::Secret,
        time::Timestamp,
    },
};
use std::collections::{BTreeMap, HashSet};

/// A batch of keys, its fields checked as far as they concern the batch.
pub struct ImportKeys {
    /// The rows; a row that was wrong in itself is its problem.
    pub rows: Vec<Result<ImportRow, String>>,
    /// Judge and write nothing.
    pub dry_run: bool,
    /// Recognizes a repeat.
    pub repeatable: Option<Repeatable>,
}

/// One key, its fields checked.
pub struct ImportRow {
    /// Its secret.
    pub secret: ImportedSecret,
    /// The account that will own it.
    pub account: AccountId,
    /// Index of its environment in the realm.
    pub environment: usize,
    /// Its name.
    pub name: String,
    /// Its scopes.
    pub scopes: Vec<Scope>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
    /// When it begins to work.
    pub not_before: Option<Timestamp>,
    /// Where it may be used from.
    pub networks: Vec<Network>,
    /// The member who answers for it.
    pub member: Option<MemberId>,
}

/// The secret of an imported key.
pub enum ImportedSecret {
    /// The key itself.
    Raw(Secret),
    /// A hash of it.
    Hash {
        /// How it was made.
        scheme: DigestScheme,
        /// The hash.
        hash: Vec<u8>,
        /// What may be shown of the key.
        hint: String,
    },
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is a key now; in a dry run it would be.
    Imported(Option<KeyId>),
    /// The same secret was stored before.
    AlreadyPresent(KeyId),
    /// It was refused: says why and what is allowed.
    Refused(String),
}

/// A row that is ready to become a key.
struct Ready {
    row: usize,
    key: ImportedKey,
    /// What its secret may be stored as: raw or as a hash, under any version of the server secret.
    digests: Vec<Digest>,
}

impl<S: Store> App<S> {
    /// Imports a batch and gives a verdict for each row.
    ///
    /// # Errors
    /// When the batch's idempotency key was used for another one that wrote to one of the accounts, or the store cannot
    /// answer. Accounts that were written before the store failed stay written: the same batch again goes on from there.
    pub async fn import_keys(
        &self,
        permit: KeyPermit<'_, Importer>,
        batch: ImportKeys,
    ) -> Result<Vec<Verdict>, AppError> {
        let guard = permit.guard();
        let mut verdicts = Vec::with_capacity(batch.rows.len());
        let mut by_account: BTreeMap<AccountId, Vec<Ready>> = BTreeMap::new();
        let mut seen: HashSet<Digest> = HashSet::new();
        for (index, row) in batch.rows.into_iter().enumerate() {
            let verdict = match row.and_then(|row| self.prepare(guard, index, row)) {
                Err(problem) => Verdict::Refused(problem),
                Ok((_, ready)) if ready.digests.iter().any(|digest| seen.contains(digest)) => {
                    Verdict::Refused("the same secret stands in an earlier row of this batch".to_owned())
                }
                Ok((account, ready)) => {
                    seen.extend(&ready.digests);
                    by_account.entry(account).or_default().push(ready);
                    Verdict::Imported(None)
                }
            };
            verdicts.push(verdict);
        }
        // What writes nothing needs no memory.
        let repeatable = batch.repeatable.as_ref().filter(|_| !batch.dry_run);
        let owner = |account| AccountRef { realm: guard.realm.name.clone(), account };
        // Another batch under the same idempotency key is refused before any of it is written.
        for account in by_account.keys() {
            self.repeated(&owner(account.clone()), repeatable).await?;
        }
        for (account, rows) in by_account {
            let owner = owner(account);
            for (row, verdict) in self.import_account(&permit, &owner, rows, batch.dry_run, repeatable).await? {
                if let Some(slot) = verdicts.get_mut(row) {
                    *slot = verdict;
                }
            }
        }
        Ok(verdicts)
    }

    fn prepare(&self, guard: &Guarded, index: usize, row: ImportRow) -> Result<(AccountId, Ready), String> {
        let (minted, digests) = match row.secret {
            ImportedSecret::Raw(secret) => {
                let text = secret.expose();
                let form = guard.realm.recognize(text).filter(|form| form.environment == row.environment);
                let form = form.ok_or(
                    "the key has neither the form of this environment's keys nor one of the realm's legacy formats",
                )?;
                let minted = mint(guard, row.environment, form.prefix, text).map_err(|error| error.to_string())?;
                let imported = form.legacy.unwrap_or_default();
                let candidates = guard.digester.candidates(row.environment, text, form.prefix, imported);
                (minted, candidates.map(|(_, _, digest)| digest).collect())
            }
            ImportedSecret::Hash { scheme, hash, hint } => {
                let all: Vec<(u32, Digest)> = guard.digester.of_hash(row.environment, scheme, &hash).collect();
                let (secret_version, digest) = *all.first().ok_or("the environment is not known")?;
                let minted = Minted { digest, scheme, secret_version, hint };
                (minted, all.into_iter().map(|(_, digest)| digest).collect())
            }
        };
        let id = self.house.new_key_id(self.house.clock.now()).map_err(|error| error.to_string())?;
        let environment = guard.realm.environment_at(row.environment).ok_or("the environment is not known")?.clone();
        let now = self.house.clock.now();
        let expires_at = expiry(&guard.realm.keys, row.expires_at, now).map_err(|error| error.to_string())?;
        check_beginning(row.not_before, expires_at).map_err(|error| format!("`not_before` {error}"))?;
        let (name, scopes, metadata, member) = (row.name, row.scopes, row.metadata, row.member);
        let (not_before, networks) = (row.not_before, row.networks);
        let creation = Creation { id, environment, name, scopes, metadata, expires_at, not_before, networks, member };
        Ok((row.account, Ready { row: index, key: ImportedKey { creation, minted }, digests }))
    }

    /// For each row the key that holds its very secret already, ended ones included. A digest that once led to a key whose
    /// secret was forgotten since is free.
    async fn stored_as(&self, guard: &Guarded, rows: &[Ready]) -> Result<Vec<Option<KeyId>>, AppError> {
        let questions = rows.iter().map(|row| {
            let (store, realm, digests) = (self.store.clone(), guard.realm.name.clone(), row.digests.clone());
            // What is found is remembered, also for decisions.
            let uses = guard.heeds_uses();
            async move {
                let sought = Sought { realm: &realm, digests: &digests, freshness: Freshness::Fresh, uses, due: None };
                Ok(match store.find_key(&sought).await? {
                    Found::Key(found) => {
                        digests.iter().any(|digest| found.key.secret(digest).is_some()).then_some(found.key.id)
                    }
                    Found::Nothing(_) => None,
                })
            }
        });
        together(questions.collect::<Vec<_>>()).await
    }

    /// The rows that name a member who may not answer for their keys, with the reason.
    async fn not_issued(
        &self,
        guard: &Guarded,
        owner: &AccountRef,
        rows: &[Ready],
    ) -> Result<BTreeMap<usize, MemberError>, AppError> {
        let mut room: BTreeMap<&MemberId, Result<usize, MemberError>> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for (row, id) in rows.iter().filter_map(|row| Some((row.row, row.key.creation.member.as_ref()?))) {
            if !room.contains_key(id) {
                let member = self.read_member(owner, id).await?;
                let judged = may_issue(guard.realm.members.as_ref(), Some(id), member.as_ref());
                let held = member.map_or(0, |member| member.keys.len());
                room.insert(id, judged.map(|()| MAX_KEYS.saturating_sub(held)));
            }
            match room.get_mut(id) {
                Some(Ok(0)) => drop(refused.insert(row, MemberError::TooManyKeys)),
                Some(Ok(left)) => *left = left.saturating_sub(1),
                Some(Err(error)) => drop(refused.insert(row, *error)),
                None => {}
            }
        }
        Ok(refused)
    }

    async fn import_account(
        &self,
        permit: &KeyPermit<'_, Importer>,
        owner: &AccountRef,
        mut ready: Vec<Ready>,
        dry_run: bool,
        repeatable: Option<&Repeatable>,
    ) -> Result<Vec<(usize, Verdict)>, AppError> {
        let guard = permit.guard();
        let mut verdicts = Vec::with_capacity(ready.len());
        let refuse = |ready: &[Ready], problem: &str| -> Vec<(usize, Verdict)> {
            ready.iter().map(|ready| (ready.row, Verdict::Refused(problem.to_owned()))).collect()
        };
        let _turn = self.house.act_on(owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(owner).await?;
            let before = self.repeated(owner, repeatable).await?;
            let mut new = Vec::with_capacity(ready.len());
            let stored = self.stored_as(guard, &ready).await?;
            for (row, stored) in ready.into_iter().zip(stored) {
                match stored {
                    Some(id) if before.as_ref().is_some_and(|keys| keys.contains(&id)) => {
                        verdicts.push((row.row, Verdict::Imported(Some(id))));
                    }
                    Some(id) => verdicts.push((row.row, Verdict::AlreadyPresent(id))),
                    None => new.push(row),
                }
            }
            ready = new;
            if before.is_some() {
                // The rows of an account are committed together: what this batch left out before stays out.
                verdicts.extend(refuse(&ready, "this batch was imported before, and without this row"));
                return Ok(verdicts);
            }
            let now = self.house.clock.now();
            let live = match guard.realm.keys.max_active_keys {
                Some(_) => self.live_keys(owner, None, usize::MAX).await?.0,
                None => Vec::new(),
            };
            let surplus = surplus(guard, &live, &ready, now);
            let (over, within): (Vec<Ready>, Vec<Ready>) =
                ready.into_iter().partition(|ready| surplus.contains(&ready.row));
            ready = within;
            verdicts
                .extend(refuse(&over, "the account has as many active keys in this environment as the realm allows"));
            let refused = self.not_issued(guard, owner, &ready).await?;
            verdicts.extend(refused.iter().map(|(row, error)| (*row, Verdict::Refused(error.to_string()))));
            ready.retain(|ready| !refused.contains_key(&ready.row));
            if ready.is_empty() {
                return Ok(verdicts);
            }
            let keys = ready
                .iter()
                .map(|ready| ImportedKey { creation: ready.key.creation.clone(), minted: ready.key.minted.clone() });
            let acting = permit.acting(owner, account.as_ref(), now);
            let (mut change, keys) = match adopt(&acting, &live, keys.collect()) {
                Ok(adopted) => adopted,
                Err(error) => {
                    verdicts.extend(refuse(&ready, &error.to_string()));
                    return Ok(verdicts);
                }
            };
            self.keep_members(&mut change).await?;
            change.idempotency = repeatable.map(|r| r.record(keys.iter().map(|key| key.id).collect(), now));
            let committed = if dry_run { Ok(()) } else { self.commit(&change).await };
            if let Err(CommitError::DigestTaken(_)) = committed {
                // Somebody stored one of the secrets since they were looked up: then it is found now.
                continue;
            }
            if let Outcome::Done(keys) = Outcome::of(committed, keys)? {
                let made = ready.iter().zip(keys);
                verdicts.extend(made.map(|(r, key)| (r.row, Verdict::Imported((!dry_run).then_some(key.id)))));
                return Ok(verdicts);
            }
        }
        Err(AppError::Contended)
    }
}

/// Rows that would give the account more active keys than the realm allows, the last ones first to go.
fn surplus(guard: &Guarded, live: &[KeyRecord], ready: &[Ready], now: Timestamp) -> HashSet<usize> {
    let Some(most) = guard.realm.keys.max_active_keys else { return HashSet::new() };
    let surplus = guard.realm.environments.iter().flat_map(|rules| {
        let active = live.iter().filter(|key| key.environment == rules.name && key.counts(now)).count();
        let here = ready.iter().filter(|ready| ready.key.creation.environment == rules.name);
        here.skip(most.saturating_sub(active)).map(|ready| ready.row)
    });
    surplus.collect()
}
