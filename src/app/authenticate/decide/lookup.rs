//! Where a key is looked for, and what that may cost the store.

use super::{Attempt, claim::Claim};
use crate::{
    app::{
        error::AppError,
        meter::Remembered,
        ports::{Found, Freshness, Sought, Store},
        seldom::Seldom,
    },
    domain::{
        account::AccountSnapshot,
        id::{AccountId, AccountRef},
        key::{Digest, DigestScheme, KeySnapshot},
        time::Ticks,
    },
};
use std::sync::Arc;

/// A key and how its text led to it.
pub(super) struct Candidate {
    pub key: Arc<KeySnapshot>,
    pub digest: Digest,
    pub scheme: DigestScheme,
    pub secret_version: u32,
}

pub(super) enum Lookup {
    Found(Candidate),
    Nothing(Ticks),
    /// Too many keys came from there that do not work: the store is not asked.
    Withheld,
}

impl<'a, S: Store> Attempt<'a, '_, S> {
    /// The key that the text leads to, by the first of its digests that it carries.
    pub(super) async fn find(&mut self, claim: &Claim<'_, '_>, freshness: Freshness) -> Result<Lookup, AppError> {
        let (realm, form) = (&self.guard.realm.name, claim.form);
        let imported = form.legacy.unwrap_or_default();
        let candidates = self.guard.digester.candidates(form.environment, claim.text.expose(), form.prefix, imported);
        let (mut ways, mut digests) = (Vec::new(), Vec::new());
        for (scheme, secret_version, digest) in candidates {
            let remembered = match freshness {
                Freshness::Remembered => self.app.store.recall(realm, &digest),
                Freshness::Fresh => None,
            };
            if let Some(key) = remembered {
                self.guard.meter.key_looked_up(Remembered::Hit);
                return Ok(Lookup::Found(Candidate { key, digest, scheme, secret_version }));
            }
            ways.push((scheme, secret_version));
            digests.push(digest);
        }
        let uses = self.guard.heeds_uses();
        let sought = Sought { realm, digests: &digests, freshness, uses, due: self.due };
        if freshness == Freshness::Remembered {
            // Before what is remembered as unknown, too: else the answers would tell it from a key that was revoked.
            if !self.may_miss() {
                return Ok(Lookup::Withheld);
            }
            if let Some(at) = self.app.store.recall_nothing(&sought) {
                self.guard.meter.key_looked_up(Remembered::Nothing);
                return Ok(Lookup::Nothing(at));
            }
        }
        self.asked = true;
        self.guard.meter.key_looked_up(Remembered::Asked);
        // Apart, so that a decision on what is remembered does not carry room for it.
        match Box::pin(self.ask(&sought, claim)).await? {
            Found::Nothing(at) => Ok(Lookup::Nothing(at)),
            Found::Key(key) => {
                let mut carried = ways.into_iter().zip(digests);
                let ((scheme, secret_version), digest) =
                    carried
                        .find(|(_, digest)| key.key.secret(digest).is_some())
                        .ok_or(AppError::Bug("a key was found that carries none of the digests"))?;
                Ok(Lookup::Found(Candidate { key, digest, scheme, secret_version }))
            }
        }
    }

    /// Asks the store for the key and, in the same round trip, for the account that the request names, where it may be another
    /// than the key's.
    pub(super) async fn ask(&mut self, sought: &Sought<'_>, claim: &Claim<'_, '_>) -> Result<Found, AppError> {
        let store = &self.app.store;
        let Some(account) = self.named(claim).filter(|_| self.guard.realm.access.reach_beyond()) else {
            return Ok(store.find_key(sought).await?);
        };
        let owner = AccountRef { realm: sought.realm.clone(), account: account.clone() };
        let (found, named) =
            tokio::join!(store.find_key(sought), store.find_account(&owner, sought.freshness, self.due));
        // A failure is met again when the account is needed.
        self.named = named.ok();
        Ok(found?)
    }

    /// The account that the request names.
    pub(super) fn named<'c>(&self, claim: &'c Claim<'_, '_>) -> Option<&'c AccountId>
    where
        'a: 'c,
    {
        self.request.account.as_ref().or(claim.target.account.as_ref())
    }

    /// The account that the request acts on and that is not its key's.
    pub(super) async fn reached(
        &mut self,
        account: &AccountId,
        freshness: Freshness,
    ) -> Result<Arc<AccountSnapshot>, AppError> {
        let reached = match self.named.take() {
            Some(named) => named,
            None => {
                let owner = AccountRef { realm: self.guard.realm.name.clone(), account: account.clone() };
                self.app.store.find_account(&owner, freshness, self.due).await?
            }
        };
        self.steps.note("account", || {
            let known = if reached.account.is_some() { "is known" } else { "does not exist" };
            format!("`{account}`, which the request acts on, {known}")
        });
        Ok(reached)
    }

    /// Whether a key may be looked up that may turn out not to work.
    pub(super) fn may_miss(&self) -> bool {
        self.app.house.misses.admit(self.request.source_address, self.begun)
    }

    /// Notes that the key does not work, if that cost the store an answer.
    pub(super) fn note_miss(&self) {
        static SPENT: Seldom = Seldom::new();
        let source = self.request.source_address;
        if self.asked
            && self.app.house.misses.note(source, self.begun)
            && let Some(left_out) = SPENT.turn(self.begun)
        {
            let (realm, source) = (self.guard.realm.name.as_str(), source.map(tracing::field::display));
            tracing::warn!(
                realm,
                source,
                left_out,
                "too many keys from one address do not work: most others have to wait"
            );
        }
    }
}
