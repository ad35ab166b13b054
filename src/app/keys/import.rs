//! Taking over keys that were made elsewhere: raw, or as hashes. Rows succeed or fail one by one; the rows of one account
//! are committed together.

use super::{ATTEMPTS, Outcome};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded, mint},
        manager::ManagePermit,
        ports::{CommitError, Found, Freshness, Sought, Store},
    },
    domain::{
        id::{AccountId, AccountRef, KeyId, Scope},
        key::{Creation, Digest, DigestScheme, ImportedKey, Minted, Repeatable, adopt, expiry},
        realm::AccountPolicy,
        secret::Secret,
        time::Timestamp,
    },
};
use std::collections::{BTreeMap, HashMap, HashSet};

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
}

impl<S: Store> App<S> {
    /// Imports a batch and gives a verdict for each row.
    ///
    /// # Errors
    /// When the batch's idempotency key was used for another one, or the store cannot answer. Accounts that were written
    /// before the store failed stay written: the same batch again finds their rows already present.
    pub async fn import_keys(
        &self,
        permit: ManagePermit,
        guard: &Guarded,
        batch: ImportKeys,
    ) -> Result<Vec<Verdict>, AppError> {
        let mut verdicts = Vec::with_capacity(batch.rows.len());
        let mut by_account: BTreeMap<AccountId, Vec<Ready>> = BTreeMap::new();
        let mut seen: HashSet<Digest> = HashSet::new();
        for (index, row) in batch.rows.into_iter().enumerate() {
            let verdict = match row.and_then(|row| self.prepare(guard, row)) {
                Err(problem) => Verdict::Refused(problem),
                Ok((_, key)) if !seen.insert(key.minted.digest) => {
                    Verdict::Refused("the same secret stands in an earlier row of this batch".to_owned())
                }
                Ok((account, key)) => match self.stored_as(guard, &key.minted.digest).await? {
                    Some(id) => Verdict::AlreadyPresent(id),
                    None => {
                        by_account.entry(account).or_default().push(Ready { row: index, key });
                        Verdict::Imported(None)
                    }
                },
            };
            verdicts.push(verdict);
        }
        for (account, ready) in by_account {
            let owner = AccountRef { realm: guard.realm.name.clone(), account };
            let rows: Vec<usize> = ready.iter().map(|ready| ready.row).collect();
            let outcome = self.import_account(&permit, guard, &owner, ready, batch.dry_run, batch.repeatable).await?;
            for row in rows {
                if let (Some(slot), Some(verdict)) = (verdicts.get_mut(row), outcome.get(&row)) {
                    slot.clone_from(verdict);
                }
            }
        }
        Ok(verdicts)
    }

    fn prepare(&self, guard: &Guarded, row: ImportRow) -> Result<(AccountId, ImportedKey), String> {
        let minted = match row.secret {
            ImportedSecret::Raw(secret) => {
                let form = guard.realm.recognize(secret.expose()).filter(|form| form.environment == row.environment);
                let form = form.ok_or(
                    "the key has neither the form of this environment's keys nor one of the realm's legacy formats",
                )?;
                mint(guard, row.environment, form.prefix, secret.expose()).map_err(|error| error.to_string())?
            }
            ImportedSecret::Hash { scheme, hash, hint } => {
                let digest = guard.digester.of_hash(row.environment, scheme, &hash);
                let (secret_version, digest) = digest.ok_or("the environment is not known")?;
                Minted { digest, scheme, secret_version, hint }
            }
        };
        let id = self.house.new_key_id(self.house.clock.now()).map_err(|error| error.to_string())?;
        let environment = guard.realm.environment_at(row.environment).ok_or("the environment is not known")?.clone();
        let now = self.house.clock.now();
        let expires_at = expiry(&guard.realm.keys, row.expires_at, now).map_err(|error| error.to_string())?;
        let (name, scopes, metadata) = (row.name, row.scopes, row.metadata);
        let creation = Creation { id, environment, name, scopes, metadata, expires_at };
        Ok((row.account, ImportedKey { creation, minted }))
    }

    /// The key that holds this very secret already. A digest that once led to a key whose secret has changed since is free.
    async fn stored_as(&self, guard: &Guarded, digest: &Digest) -> Result<Option<KeyId>, AppError> {
        let digests = std::slice::from_ref(digest);
        let sought = Sought { realm: &guard.realm.name, digests, freshness: Freshness::Fresh, due: None };
        Ok(match self.store.find_key(&sought).await? {
            Found::Key(key) => key.key.secret(digest).map(|_| key.key.id),
            Found::Nothing(_) => None,
        })
    }

    async fn import_account(
        &self,
        permit: &ManagePermit,
        guard: &Guarded,
        owner: &AccountRef,
        mut ready: Vec<Ready>,
        dry_run: bool,
        repeatable: Option<Repeatable>,
    ) -> Result<HashMap<usize, Verdict>, AppError> {
        let mut verdicts = HashMap::new();
        let refuse = |ready: &[Ready], problem: &str| {
            ready.iter().map(|ready| (ready.row, Verdict::Refused(problem.to_owned()))).collect()
        };
        let _turn = self.house.act_on(owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(owner).await?;
            // A repeat is no error: what it brings again was found present, and what it did not finish goes on here.
            self.repeated(owner, repeatable.as_ref()).await?;
            if account.is_none() && guard.realm.keys.accounts == AccountPolicy::MadeFirst {
                return Ok(refuse(&ready, "there is no such account in this realm"));
            }
            let now = self.house.clock.now();
            let surplus = self.surplus(guard, owner, &ready, now).await?;
            if !surplus.is_empty() {
                let problem = "the account has as many active keys in this environment as the realm allows";
                verdicts.extend(surplus.iter().map(|row| (*row, Verdict::Refused(problem.to_owned()))));
                ready.retain(|ready| !surplus.contains(&ready.row));
            }
            if ready.is_empty() {
                return Ok(verdicts);
            }
            let keys = ready
                .iter()
                .map(|ready| ImportedKey { creation: ready.key.creation.clone(), minted: ready.key.minted.clone() });
            let (mut change, keys) = match adopt(&permit.acting(guard, owner, account.as_ref(), now), keys.collect()) {
                Ok(adopted) => adopted,
                Err(error) => return Ok(refuse(&ready, &error.to_string())),
            };
            change.idempotency = repeatable.map(|r| r.record(keys.iter().map(|key| key.id).collect(), now));
            let committed = if dry_run { Ok(()) } else { self.store.commit(&change).await };
            if let Err(CommitError::DigestTaken(digest)) = committed {
                // Somebody stored the same secret since it was looked up: that row is out, the others try again.
                let (taken, rest): (Vec<Ready>, Vec<Ready>) =
                    ready.into_iter().partition(|ready| ready.key.minted.digest == digest);
                let problem = "the same secret was stored by somebody else at the same time";
                verdicts.extend(taken.into_iter().map(|t| (t.row, Verdict::Refused(problem.to_owned()))));
                ready = rest;
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

    /// Rows that would give the account more active keys than the realm allows, the last ones first to go.
    async fn surplus(
        &self,
        guard: &Guarded,
        owner: &AccountRef,
        ready: &[Ready],
        now: Timestamp,
    ) -> Result<HashSet<usize>, AppError> {
        let Some(most) = guard.realm.keys.max_active_keys else { return Ok(HashSet::new()) };
        let mut surplus = HashSet::new();
        for rules in &guard.realm.environments {
            let active = self.active_keys(owner, &rules.name, now).await?.len();
            let here = ready.iter().filter(|ready| ready.key.creation.environment == rules.name);
            surplus.extend(here.skip(most.saturating_sub(active)).map(|ready| ready.row));
        }
        Ok(surplus)
    }
}
