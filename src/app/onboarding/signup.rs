//! Signing up: a code goes out, and its signup waits.

use super::{ATTEMPTS, OnboardingError, Outcome, home, marked_code, rules};
use crate::{
    app::{
        error::AppError,
        house::{App, Guarded},
        ports::{Parcel, Store},
    },
    domain::{
        audit::Actor,
        commit::Change,
        limit::Subject,
        onboarding::{Address, OnboardingRules, Signup, SignupId},
        secret::Secret,
        time::Timestamp,
    },
};
use std::net::IpAddr;

/// A request to sign up, its fields checked.
#[derive(Debug)]
pub struct SignupRequest {
    /// Where the code goes.
    pub address: Address,
    /// What the key will be called.
    pub name: String,
    /// Where the request came from.
    pub source: IpAddr,
}

/// A signup that waits.
#[derive(Debug)]
pub struct Started {
    /// Which.
    pub id: SignupId,
    /// Until when.
    pub expires_at: Timestamp,
}

impl<S: Store> App<S> {
    /// Sends a code to an address. Looks at nothing that belongs to the address, so that nobody learns whether it was seen
    /// before, from neither the answer nor its time.
    ///
    /// # Errors
    /// When the realm has no onboarding, the code could not be delivered, no place is free, or the store cannot answer.
    pub async fn signup<'g>(
        &self,
        guard: &'g Guarded,
        request: &SignupRequest,
    ) -> Result<Outcome<'g, Started>, AppError> {
        let rules = rules(guard)?;
        let custom = Some(request.address.as_str());
        let subject = Subject { address: Some(request.source), custom, ..Subject::default() };
        if let Some(denied) = self.charge_onboarding(guard, &rules.signup_limits, rules.environment, subject).await? {
            return Ok(denied);
        }
        let code = rules.code.generate(|buffer| self.house.entropy.fill(buffer))?;
        // First the code, then the place: a code that did not go out leaves nothing behind.
        self.send(guard, rules, request, &code).await?;
        self.keep_signup(guard, rules, request, &code).await.map(Outcome::Done)
    }

    async fn send(
        &self,
        guard: &Guarded,
        rules: &OnboardingRules,
        request: &SignupRequest,
        code: &Secret,
    ) -> Result<(), AppError> {
        let mut id = [0; 12];
        self.house.entropy.fill(&mut id)?;
        let now = self.house.clock.now();
        let parcel = Parcel {
            realm: &guard.realm.name,
            delivery: &rules.delivery,
            id: data_encoding::HEXLOWER.encode(&id),
            address: request.address.as_str(),
            name: &request.name,
            code,
            now,
            expires_at: now.after(rules.lifetime),
        };
        let brought = self.house.messenger.deliver(parcel).await;
        let [well, ill] = &guard.meter.codes;
        if brought.is_ok() {
            well.one()
        } else {
            ill.one()
        }
        brought.map_err(|error| {
            let realm = guard.realm.name.as_str();
            tracing::warn!(realm, %error, "a one-time code could not be delivered");
            OnboardingError::Undelivered.into()
        })
    }

    /// Takes a place that is free, or whose signup is over.
    async fn keep_signup(
        &self,
        guard: &Guarded,
        rules: &OnboardingRules,
        request: &SignupRequest,
        code: &Secret,
    ) -> Result<Started, AppError> {
        let (mut taken, mut conflicts) = (0, 0);
        while taken < ATTEMPTS && conflicts < ATTEMPTS {
            let mut random = [0; 16];
            self.house.entropy.fill(&mut random)?;
            let id = SignupId::new(random);
            let home = home(guard, id)?;
            let _turn = self.house.act_on(&home).await;
            let account = self.store.read_account(&home).await?;
            let now = self.house.clock.now();
            if self.read_signup(&home, id).await?.is_some_and(|other| !other.is_over(now)) {
                taken = taken.saturating_add(1);
                continue;
            }
            let marked = marked_code(guard, id, code.expose());
            let signup = Signup::begin(id, &marked, &request.address, &request.name, rules, now);
            let expires_at = signup.expires_at;
            let change = Change::begin(&home, account.as_ref(), &Actor::System, now);
            if self.put_signup(change, id, Some(signup)).await? {
                return Ok(Started { id, expires_at });
            }
            conflicts = conflicts.saturating_add(1);
        }
        Err(if taken < ATTEMPTS { AppError::Contended } else { OnboardingError::Full.into() })
    }
}
