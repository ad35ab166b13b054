//! Bringing the code back: the key is made, once.

use super::{ATTEMPTS, Outcome, home, marked_code, rules};
use crate::{
    app::{
        authenticate::Denial,
        error::AppError,
        house::{App, Guarded},
        keys::{Created, OwnedKey},
        ports::{CommitError, Store},
    },
    domain::{
        audit::Actor,
        commit::Change,
        id::{AccountId, AccountRef},
        key::{Acting, Creation, create},
        limit::Subject,
        onboarding::{OnboardingRules, Signup, SignupId},
        secret::SecretRef,
    },
};
use std::{collections::BTreeMap, net::IpAddr};

/// A request to verify a signup, its fields checked.
pub struct VerifyRequest<'a> {
    /// Which.
    pub id: SignupId,
    /// The code that came back.
    pub code: SecretRef<'a>,
    /// Where the request came from.
    pub source: IpAddr,
}

/// The entry of a key's metadata that tells the address that it was sent to.
const ADDRESS: &str = "onboarding_address";

impl<S: Store> App<S> {
    /// Makes the key of an address whose code came back. A wrong code, a signup that never was, one that is over and one that
    /// was used are denied alike.
    ///
    /// # Errors
    /// When the realm has no onboarding, the account may have no more keys, or the store cannot answer. Asked again in time, the
    /// same code still works then.
    pub async fn verify<'g>(
        &self,
        guard: &'g Guarded,
        request: &VerifyRequest<'_>,
    ) -> Result<Outcome<'g, Created>, AppError> {
        let rules = rules(guard)?;
        let subject = Subject { address: Some(request.source), ..Subject::default() };
        if let Some(denied) = self.charge_onboarding(guard, &rules.verify_limits, rules.environment, subject).await? {
            return Ok(denied);
        }
        let created = match self.try_code(guard, rules, request).await? {
            Some(signup) => self.make_first_key(guard, rules, request.id, &signup).await?,
            None => None,
        };
        let Some(created) = created else {
            let denial = Denial::of_code();
            return Ok(Outcome::Denied(denial, Vec::new(), self.house.clock.now()));
        };
        // What made the key remembers that it did: a signup that stays by accident makes no second one.
        if let Err(error) = self.forget_signup(guard, request.id).await {
            tracing::warn!(%error, "a signup that was used stays until it is over");
        }
        Ok(Outcome::Done(created))
    }

    /// Counts a try, and gives the signup if the code was right. Nobody hears what came of a try that is not counted, so trying
    /// many at the same time gains nothing.
    async fn try_code(
        &self,
        guard: &Guarded,
        rules: &OnboardingRules,
        request: &VerifyRequest<'_>,
    ) -> Result<Option<Signup>, AppError> {
        let home = home(guard, request.id)?;
        let marked = marked_code(guard, request.id, &rules.code.as_written(request.code.expose()));
        let _turn = self.house.act_on(&home).await;
        for _ in 0..ATTEMPTS {
            let Some(account) = self.store.read_account(&home).await? else { return Ok(None) };
            let now = self.house.clock.now();
            let signup = self.read_signup(&home, request.id).await?;
            let Some(signup) = signup.filter(|signup| signup.is_open(request.id, rules, now)) else { return Ok(None) };
            let (right, left) = signup.tried(&marked, rules);
            let change = Change::begin(&home, Some(&account), &Actor::System, now);
            if self.put_signup(change, request.id, left).await? {
                return Ok(right.then_some(signup));
            }
        }
        Err(AppError::Contended)
    }

    /// Makes the key, and in the same commit remembers that this signup made one. Nothing when it did before.
    async fn make_first_key(
        &self,
        guard: &Guarded,
        rules: &OnboardingRules,
        id: SignupId,
        signup: &Signup,
    ) -> Result<Option<Created>, AppError> {
        let owner = self.account_of(guard, rules, &signup.address).await?;
        let used = guard.marker.mark("onboarding", &id.to_string(), b"");
        let (secret, minted) = self.house.new_secret(guard, rules.environment)?;
        let environment = guard.realm.environment_at(rules.environment).ok_or(AppError::Bug("no such environment"))?;
        let key_id = self.house.new_key_id(self.house.clock.now())?;
        let scopes = match rules.scopes.as_slice() {
            [] => guard.realm.scopes.defaults().to_vec(),
            scopes => scopes.to_vec(),
        };
        let _turn = self.house.act_on(&owner).await;
        for _ in 0..ATTEMPTS {
            let account = self.store.read_account(&owner).await?;
            if self.repeated(&owner, Some(&used)).await?.is_some() {
                return Ok(None);
            }
            let now = self.house.clock.now();
            let live = match guard.realm.keys.max_active_keys {
                Some(_) => self.live_keys(&owner, Some(environment), usize::MAX).await?.0,
                None => Vec::new(),
            };
            let creation = Creation {
                id: key_id,
                environment: environment.clone(),
                name: signup.name.clone(),
                scopes: scopes.clone(),
                metadata: BTreeMap::from([(ADDRESS.to_owned(), signup.address.clone())]),
                expires_at: None,
                not_before: None,
                networks: Vec::new(),
                member: None,
            };
            let (account, policy) = (account.as_ref(), &guard.realm.keys);
            let acting = Acting { owner: &owner, account, policy, actor: &Actor::System, now };
            let (mut change, key) = create(&acting, &live, creation, minted.clone())?;
            self.keep_members(&mut change).await?;
            change.idempotency = Some(used.record(vec![key_id], now));
            let replaced = change.end.iter().map(|key| key.id).collect();
            match self.commit(&change).await {
                Ok(()) => {
                    let owned = OwnedKey::new(owner.account, key);
                    return Ok(Some(Created { owned, secret: Some(secret), replaced }));
                }
                Err(CommitError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(AppError::Contended)
    }

    /// The account that belongs to an address: always the same one, also after the server secret was rotated.
    async fn account_of(
        &self,
        guard: &Guarded,
        rules: &OnboardingRules,
        address: &str,
    ) -> Result<AccountRef, AppError> {
        let marked = guard.marker.mark("onboarding-account", address, b"");
        let mut newest = None;
        for slot in marked.slots() {
            let half = slot.first_chunk::<16>().copied().unwrap_or_default();
            let id = format!("{}{}", rules.account_prefix, data_encoding::HEXLOWER.encode(&half));
            let account = AccountId::new(&id).map_err(|_| AppError::Bug("an account's id is not legal"))?;
            let owner = AccountRef { realm: guard.realm.name.clone(), account };
            if self.store.read_account(&owner).await?.is_some() {
                return Ok(owner);
            }
            newest.get_or_insert(owner);
        }
        newest.ok_or(AppError::Bug("there is no server secret"))
    }

    async fn forget_signup(&self, guard: &Guarded, id: SignupId) -> Result<(), AppError> {
        let home = home(guard, id)?;
        let _turn = self.house.act_on(&home).await;
        for _ in 0..ATTEMPTS {
            let Some(account) = self.store.read_account(&home).await? else { return Ok(()) };
            // The place may have been taken by another one meanwhile.
            if !self.read_signup(&home, id).await?.is_some_and(|signup| signup.is(id)) {
                return Ok(());
            }
            let now = self.house.clock.now();
            let change = Change::begin(&home, Some(&account), &Actor::System, now);
            if self.put_signup(change, id, None).await? {
                return Ok(());
            }
        }
        Err(AppError::Contended)
    }
}
