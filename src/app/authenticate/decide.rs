//! One attempt to authenticate, step by step: credential, format, operation, lookup, access, limits.

mod bearer;
mod claim;
mod lookup;
mod release;

use super::{AuthenticateRequest, Decision, Denial, FLAW_REMEMBERED, Verdict};
use crate::{
    app::{
        check_rate_limit::{fill, missing, pass_over},
        error::AppError,
        explain::Steps,
        house::{App, Guarded, mint},
        meter::Stored,
        ports::{Fence, Freshness, Store, StoreError},
        rekey::Rekey,
    },
    domain::{
        access::{self, Wanted},
        account::AccountSnapshot,
        credential::Taken,
        deny::{Answer, DenyReason},
        id::Environment,
        key::{DigestScheme, KeySnapshot, LastUse},
        limit::{Charged, LimitOutcome, Plan, Subject},
        realm::Matched,
        time::{LatestTicks, Ticks, Timestamp},
        token::has_form,
    },
};
use claim::Claim;
use lookup::{Candidate, Lookup};
use smallvec::{SmallVec, smallvec};
use std::{sync::Arc, time::Duration};

/// How often a key is read again when its account changes between reading and charging.
const READS: usize = 4;

pub(super) struct Attempt<'a, 'g, S> {
    app: &'a App<S>,
    guard: &'g Guarded,
    request: &'a AuthenticateRequest<'a>,
    now: Timestamp,
    /// When the attempt began: whatever the store confirms, it confirms later.
    begun: Ticks,
    /// When the store must have answered, in however many steps.
    due: Option<Ticks>,
    /// Whether the store was asked for the key.
    asked: bool,
    /// The account that the request names, if it was read together with the key.
    named: Option<Arc<AccountSnapshot>>,
    steps: Steps,
}

/// What a charge came to.
struct Settled<'g> {
    limits: Vec<LimitOutcome<'g>>,
    data_age: Duration,
    degraded: bool,
}

impl<'a, 'g, S: Store> Attempt<'a, 'g, S> {
    pub(super) fn new(app: &'a App<S>, guard: &'g Guarded, request: &'a AuthenticateRequest<'a>) -> Self {
        let (now, begun) = request.begun.unwrap_or_else(|| app.house.clock.reading());
        let due = app.store.patience().map(|patience| begun.after(patience));
        Self { app, guard, request, now, begun, due, asked: false, named: None, steps: Steps::new(request.explain) }
    }

    pub(super) async fn run(mut self) -> Result<Decision<'g>, AppError> {
        let operation = self.match_operation();
        if let Ok(Some(matched)) = operation
            && matched.operation.public
            && self.asks()
            && !self.demands_a_caller()
        {
            return Box::pin(self.let_pass(matched)).await;
        }
        let Taken { text, accepts } = match self.take_credential() {
            Ok(taken) => taken,
            Err(reason) => return Ok(self.denied(reason, Duration::ZERO)),
        };
        let guard = self.guard;
        let form = if accepts.key { guard.realm.recognize(text.expose()) } else { None };
        let Some(form) = form else {
            // Where both may stand, what has not even the form of a token is a key that is none.
            if accepts.token && (!accepts.key || has_form(text)) {
                // Apart, so that a decision on a key does not carry room for it.
                return Box::pin(self.for_bearer(text, operation)).await;
            }
            self.steps
                .note("format", || "not a key of this realm: wrong prefix, length, alphabet or checksum".to_owned());
            return Ok(self.denied(DenyReason::MalformedKey, Duration::ZERO));
        };
        self.steps.note("format", || {
            let environment = guard.realm.environment_at(form.environment).map_or("", Environment::as_str);
            format!("{} key of environment `{environment}`", if form.legacy.is_some() { "legacy" } else { "native" })
        });
        let asks = self.asks();
        self.steps.note("operation", || match operation {
            Ok(Some(matched)) if !asks => format!("none asked for: limits of `{}`", matched.operation.name),
            Ok(Some(matched)) => format!("`{}`", matched.operation.name),
            Ok(None) => "none asked for".to_owned(),
            Err(_) => "method and path match none".to_owned(),
        });
        let target = self.target(operation.ok().flatten())?;
        let claim = Claim { text, form, operation, target };

        let mut freshness = Freshness::Remembered;
        for _ in 0..READS {
            let candidate = match self.find(&claim, freshness).await? {
                Lookup::Found(candidate) => candidate,
                Lookup::Nothing(at) => {
                    self.steps.note("lookup", || "no such key".to_owned());
                    let age = self.app.house.clock.ticks().since(at);
                    self.note_miss();
                    return Ok(self.denied(DenyReason::UnknownKey, age));
                }
                Lookup::Withheld => {
                    let decision = self.withheld();
                    return Ok(self.finish(decision));
                }
            };
            self.steps.note("lookup", || format!("key `{}`", candidate.key.key.id));
            match self.judge_and_charge(&claim, candidate, freshness).await? {
                Some(decision) => return Ok(self.finish(decision)),
                None => freshness = Freshness::Fresh,
            }
        }
        Err(AppError::Contended)
    }

    /// A request that needs no credential is charged to the limits that know no caller, and passes.
    async fn let_pass(mut self, matched: Matched<'g, 'a>) -> Result<Decision<'g>, AppError> {
        let (guard, request) = (self.guard, self.request);
        self.steps.note("operation", || format!("`{}`, for everyone", matched.operation.name));
        let mut plan = Plan::new(&guard.realm, None, request.cost, true);
        if request.check_rate_limit {
            let subject = Subject { address: request.source_address, ..Subject::default() };
            let applying = guard.realm.limits.iter().filter(|limit| limit.operations.contains(Some(matched.index)));
            for limit in applying.filter(|limit| !limit.knows_caller()) {
                plan.add(None, limit, &subject).map_err(|part| missing("", &part))?;
            }
        }
        let (limits, degraded) = self.app.charge_unfenced(&plan).await?;
        let denying = LimitOutcome::spokesman(&limits).filter(|outcome| outcome.denies());
        let verdict = match denying {
            Some(outcome) => Verdict::Denied(Denial::by_limit(outcome, request.cost, None)),
            None => Verdict::Public { operation: matched.operation },
        };
        let decision = Decision::new(verdict, limits, Duration::ZERO, degraded, self.now);
        Ok(self.finish(decision))
    }

    /// Judges what was read and has the store confirm it, charging every limit in the same step.
    /// Nothing when what was read does not hold, or not surely.
    async fn judge_and_charge(
        &mut self,
        claim: &Claim<'_, 'g>,
        candidate: Candidate,
        freshness: Freshness,
    ) -> Result<Option<Decision<'g>>, AppError> {
        let (guard, request, key) = (self.guard, self.request, &candidate.key);
        let matched = claim.operation.ok().flatten();
        // Where no request was named, the fallback's limits hold, but nobody asked to do anything that needs its scopes.
        let asked = matched.map(|m| m.operation).filter(|_| self.asks());
        let account = self.named(claim);
        let elsewhere = account.filter(|account| **account != key.owner.account && guard.realm.access.reach_beyond());
        let reached = match elsewhere {
            // Apart, since few requests act on another account than their key's.
            Some(account) => Some(Box::pin(self.reached(account, freshness)).await?),
            None => None,
        };
        let wanted = Wanted {
            address: request.source_address,
            account,
            reached: reached.as_deref(),
            organization: request.organization.as_ref().or(claim.target.organization.as_ref()),
            environment: request.environment.as_ref(),
            operation: asked,
            required_scopes: &request.required_scopes,
        };
        let judged = access::judge(&guard.realm, key, &candidate.digest, &wanted, self.now);
        let permit = judged.and_then(|permit| claim.operation.map(|_| permit));
        let clock = &self.app.house.clock;
        let flawed = permit.err().filter(|reason| reason.answer() == Answer::InvalidCredential);
        if let Some(reason) = flawed {
            // What is remembered was not counted when it was found.
            if !self.asked && freshness == Freshness::Remembered && !self.may_miss() {
                return Ok(Some(self.withheld()));
            }
            // Confirmed by reading, as a digest that leads nowhere is: the store must not tell the two apart by what they cost.
            let data_age = clock.ticks().since(known_since(key, reason));
            if freshness == Freshness::Remembered && data_age >= FLAW_REMEMBERED {
                self.steps.note("lookup", || "it was flawed a while ago: reading it again".to_owned());
                return Ok(None);
            }
            self.note_miss();
            let verdict = Verdict::Denied(Denial::plain(reason, Some(Arc::clone(key))));
            return Ok(Some(Decision::new(verdict, Vec::new(), data_age, false, self.now)));
        }
        // Read before it is charged, so that the charge confirms it: apart, since few realms release anything.
        let (permit, released) = match permit {
            Ok(permit) if !guard.realm.providers.is_empty() => match Box::pin(self.release(claim, key)).await? {
                Ok(released) => (Ok(permit), released),
                Err(reason) => (Err(reason), None),
            },
            other => (other, None),
        };
        // Whoever is known but may not do this still hears how their limits stand, and is charged nothing.
        let mut plan = Plan::new(&guard.realm, Some(&key.owner.account), request.cost, permit.is_ok()).by(self.due);
        if request.check_rate_limit {
            let subject = Subject {
                account: Some(&key.owner.account),
                target_account: permit.ok().map(|permit| permit.target()),
                key: Some(key.key.id),
                bearer: None,
                address: request.source_address,
                custom: None,
                descriptor: None,
            };
            fill(&mut plan, guard, &key.key.environment, matched.map(|m| m.index), &subject)
                .map_err(|part| missing("", &part))?;
        }
        let others = reached.iter().map(AsRef::as_ref).chain(guard.realm.access.decisive(&key.organizations, &wanted));
        let mut fences: SmallVec<[Fence<'_>; 2]> = smallvec![Fence { owner: &key.owner, stamp: key.stamp }];
        fences.extend(others.clone().map(Fence::of));
        let charged = self.app.store.charge(&fences, &plan).await;
        let confirmed = std::iter::once(&key.confirmed).chain(others.map(|other| &other.confirmed));
        let Some(Settled { limits, data_age, degraded }) = self.settle(charged, &plan, confirmed)? else {
            return Ok(None);
        };
        let denying = LimitOutcome::spokesman(&limits).filter(|outcome| outcome.denies());
        let verdict = match (permit, denying) {
            (Err(reason), _) => Verdict::Denied(Denial::plain(reason, Some(Arc::clone(key)))),
            (Ok(_), Some(outcome)) => Verdict::Denied(Denial::by_limit(outcome, request.cost, Some(Arc::clone(key)))),
            (Ok(permit), None) => {
                let used = LastUse { at: self.now, address: request.source_address };
                self.app.house.note_use(key, permit.secret(), used);
                let (target, key) = (permit.target().clone(), Arc::clone(key));
                guard.meter.key_used(self.stored(&candidate));
                Verdict::Allowed { key, target, operation: asked }
            }
        };
        let mut decision = Decision::new(verdict, limits, data_age, degraded, self.now);
        if matches!(decision.verdict, Verdict::Allowed { .. }) {
            decision.released = released;
            if !degraded {
                decision.rekey = self.rekey(claim, &candidate)?;
            }
        }
        Ok(Some(decision))
    }

    /// What the store answered to a charge, with everything that it confirmed. Nothing when what was read does not hold any more.
    fn settle<'c>(
        &mut self,
        charged: Result<Charged, StoreError>,
        plan: &Plan<'g>,
        confirmed: impl Iterator<Item = &'c LatestTicks>,
    ) -> Result<Option<Settled<'g>>, AppError> {
        match charged {
            Ok(Charged::Stale) => {
                self.steps.note("lookup", || "the account changed in between: reading it again".to_owned());
                Ok(None)
            }
            Ok(Charged::Decided(readings)) => {
                confirmed.for_each(|confirmed| confirmed.advance(self.begun));
                let (limits, degraded) = self.app.outcomes(plan, &readings);
                Ok(Some(Settled { limits, data_age: Duration::ZERO, degraded }))
            }
            Err(error) => {
                let now = self.app.house.clock.ticks();
                let data_age = now.since(confirmed.map(LatestTicks::get).fold(now, Ticks::min));
                if data_age > self.guard.realm.max_staleness {
                    return Err(error.into());
                }
                Ok(Some(Settled { limits: pass_over(plan, error)?, data_age, degraded: true }))
            }
        }
    }

    fn stored(&self, candidate: &Candidate) -> Stored {
        match candidate.scheme {
            DigestScheme::Imported(..) => Stored::Imported,
            // Also one that another server uses already, and this one from its next moment on.
            DigestScheme::Native if candidate.secret_version >= self.guard.digester.newest_version() => Stored::Newest,
            DigestScheme::Native => Stored::Older,
        }
    }

    /// A secret that is not stored under keygate's own newest digest shall be, once it was used.
    fn rekey(&self, claim: &Claim<'_, '_>, candidate: &Candidate) -> Result<Option<Rekey>, AppError> {
        if self.stored(candidate) == Stored::Newest {
            return Ok(None);
        }
        let minted = mint(self.guard, claim.form.environment, claim.form.prefix, claim.text.expose())?;
        let (owner, key) = (candidate.key.owner.clone(), candidate.key.key.id);
        Ok(Some(Rekey { owner, key, old: candidate.digest, minted }))
    }

    /// What is told in place of anything about a key, where too many from that address do not work.
    fn withheld(&mut self) -> Decision<'g> {
        self.steps.note("lookup", || "too many keys from this address do not work: not looked up".to_owned());
        let verdict = Verdict::Denied(Denial::for_misses());
        Decision::new(verdict, Vec::new(), Duration::ZERO, false, self.now)
    }

    fn denied(self, reason: DenyReason, data_age: Duration) -> Decision<'g> {
        let verdict = Verdict::Denied(Denial::plain(reason, None));
        let decision = Decision::new(verdict, Vec::new(), data_age, false, self.now);
        self.finish(decision)
    }

    fn finish(mut self, mut decision: Decision<'g>) -> Decision<'g> {
        for outcome in &decision.limits {
            self.steps.note("limit", || {
                let (name, limit) = (&outcome.rule.name, outcome.rule.limit);
                let found = if outcome.exceeded { "exceeded" } else { "admits" };
                format!("`{name}` {found}: {} of {limit} left", outcome.remaining)
            });
        }
        self.steps.note("decision", || match &decision.verdict {
            Verdict::Allowed { .. } | Verdict::Bearer(_) | Verdict::Public { .. } => "allowed".to_owned(),
            Verdict::Denied(denial) => denial.reason.name().replace('_', " "),
        });
        decision.steps = self.steps.into_vec();
        decision
    }
}

/// Since when it is known that the key is flawed so. That the account did not change says nothing of the key's uses: those were read
/// with the key.
fn known_since(key: &KeySnapshot, reason: DenyReason) -> Ticks {
    if reason == DenyReason::UnusedKey { key.read_at } else { key.confirmed.get() }
}
