//! Whoever presents an access token: the token is judged by itself, and then the account that it names as a key's would be.
//! There is no record of a token: what the store confirms with the charge is the account.

use super::{Attempt, claim::Target};
use crate::{
    app::{
        authenticate::{Bearer, Decision, Denial, Verdict},
        check_rate_limit::{fill, missing, pass_over},
        error::AppError,
        ports::{Fence, Freshness, Store, TokenVerdict},
    },
    domain::{
        access::{self, Standing, Wanted},
        account::Account,
        deny::DenyReason,
        id::AccountRef,
        limit::{Charged, LimitOutcome, Plan, Subject},
        realm::Matched,
        secret::SecretRef,
        time::Ticks,
        token::{Token, TokenFlaw},
    },
};
use smallvec::{SmallVec, smallvec};
use std::{sync::Arc, time::Duration};

/// What is known of a token.
enum Judged {
    Good(Arc<Token>),
    Flawed(TokenFlaw, Option<Arc<Token>>),
    Withheld,
}

/// What the request wants, beside its credential.
struct Ask<'a, 'g> {
    operation: Result<Option<Matched<'g, 'a>>, DenyReason>,
    target: Target,
}

impl<'a, 'g, S: Store> Attempt<'a, 'g, S> {
    /// Decides for a token.
    pub(super) async fn for_bearer(
        mut self,
        text: SecretRef<'a>,
        operation: Result<Option<Matched<'g, 'a>>, DenyReason>,
    ) -> Result<Decision<'g>, AppError> {
        let token = match self.judge_token(text).await? {
            Judged::Good(token) => token,
            Judged::Flawed(flaw, token) => {
                self.steps.note("token", || flaw.to_string());
                return Ok(self.denied_bearer(flaw.reason(), token));
            }
            Judged::Withheld => {
                let decision = self.withheld();
                return Ok(self.finish(decision));
            }
        };
        self.steps.note("token", || format!("of `{}`, for account `{}`", token.issuer, token.account));
        let target = self.target(operation.ok().flatten())?;
        let ask = Ask { operation, target };
        let mut freshness = Freshness::Remembered;
        for _ in 0..super::READS {
            match self.judge_bearer(&ask, &token, freshness).await? {
                Some(decision) => return Ok(self.finish(decision)),
                None => freshness = Freshness::Fresh,
            }
        }
        Err(AppError::Contended)
    }

    /// Verifies the token, unless that is remembered. What is not remembered costs a signature, and so counts as a miss where
    /// it is not the issuer's.
    async fn judge_token(&mut self, text: SecretRef<'_>) -> Result<Judged, AppError> {
        let (house, realm) = (&self.app.house, &self.guard.realm.name);
        if let Some(token) = house.tokens.recall(realm, text, self.now) {
            return Ok(Judged::Good(token));
        }
        if !self.may_miss() {
            return Ok(Judged::Withheld);
        }
        let mut verdict = house.tokens.verify(realm, text, self.now);
        if let TokenVerdict::Wait(_, renewal) = verdict {
            renewal.await;
            verdict = house.tokens.verify(realm, text, self.now);
        }
        match verdict {
            TokenVerdict::Good(token) => Ok(Judged::Good(token)),
            TokenVerdict::Flawed(flaw, token) => {
                self.asked = matches!(flaw, TokenFlaw::Signature | TokenFlaw::UnknownKey);
                self.note_miss();
                Ok(Judged::Flawed(flaw, token))
            }
            // Waited for once, they are what they are.
            TokenVerdict::Unavailable(issuer) | TokenVerdict::Wait(issuer, _) => Err(AppError::NoKeys { issuer }),
        }
    }

    /// Judges the account that was read and has the store confirm it, charging every limit in the same step. Nothing when what
    /// was read does not hold.
    async fn judge_bearer(
        &mut self,
        ask: &Ask<'_, 'g>,
        token: &Arc<Token>,
        freshness: Freshness,
    ) -> Result<Option<Decision<'g>>, AppError> {
        let (guard, request) = (self.guard, self.request);
        let owner = AccountRef { realm: guard.realm.name.clone(), account: token.account.clone() };
        let home = self.app.store.find_account(&owner, freshness, self.due).await?;
        let unborn = Account::unborn(self.now);
        let account = request.account.as_ref().or(ask.target.account.as_ref());
        let elsewhere = account.filter(|account| **account != owner.account && guard.realm.access.reach_beyond());
        let reached = match elsewhere {
            Some(account) => Some(self.reached(account, freshness).await?),
            None => None,
        };
        let matched = ask.operation.ok().flatten();
        let asked = matched.map(|m| m.operation).filter(|_| self.asks());
        let wanted = Wanted {
            account,
            reached: reached.as_deref(),
            organization: request.organization.as_ref().or(ask.target.organization.as_ref()),
            environment: request.environment.as_ref(),
            operation_scopes: asked.map_or(&[], |operation| &operation.scopes),
            required_scopes: &request.required_scopes,
        };
        let standing = Standing {
            id: &owner.account,
            account: home.account.as_ref().unwrap_or(&unborn),
            environment: &token.environment,
            scopes: &token.scopes,
        };
        let permit =
            access::judge_bearer(&guard.realm, standing, &wanted).and_then(|permit| ask.operation.map(|_| permit));
        let mut plan = Plan::new(&guard.realm, Some(&owner.account), request.cost, permit.is_ok()).by(self.due);
        if request.check_rate_limit {
            let subject = Subject {
                account: Some(&owner.account),
                target_account: permit.ok().map(|permit| permit.target()),
                bearer: Some(&token.mark),
                address: request.source_address,
                ..Subject::default()
            };
            fill(&mut plan, guard, &token.environment, matched.map(|m| m.index), &subject)
                .map_err(|part| missing("", &part))?;
        }
        let mut fences: SmallVec<[Fence<'_>; 2]> = smallvec![Fence { owner: &home.owner, stamp: home.stamp }];
        fences.extend(reached.iter().map(|reached| Fence { owner: &reached.owner, stamp: reached.stamp }));
        let read = || std::iter::once(&home).chain(&reached);
        let (limits, data_age, degraded) = match self.app.store.charge(&fences, &plan).await {
            Ok(Charged::Stale) => {
                self.steps.note("lookup", || "the account changed in between: reading it again".to_owned());
                return Ok(None);
            }
            Ok(Charged::Decided(readings)) => {
                read().for_each(|read| read.confirmed.advance(self.begun));
                let (limits, degraded) = self.app.outcomes(&plan, &readings);
                (limits, Duration::ZERO, degraded)
            }
            Err(error) => {
                let clock = &self.app.house.clock;
                let oldest = read().map(|read| read.confirmed.get()).fold(clock.ticks(), Ticks::min);
                let age = clock.ticks().since(oldest);
                if age > guard.realm.max_staleness {
                    return Err(error.into());
                }
                (pass_over(&plan, error)?, age, true)
            }
        };
        let denying = LimitOutcome::spokesman(&limits).filter(|outcome| outcome.denies());
        let by_token = |denial: Denial<'g>| Verdict::Denied(Denial { token: Some(Arc::clone(token)), ..denial });
        let verdict = match (permit, denying) {
            (Err(reason), _) => by_token(Denial::plain(reason, None)),
            (Ok(_), Some(outcome)) => by_token(Denial::by_limit(outcome, request.cost, None)),
            (Ok(permit), None) => Verdict::Bearer(Box::new(Bearer {
                token: Arc::clone(token),
                target: permit.target().clone(),
                operation: asked,
            })),
        };
        Ok(Some(Decision::new(verdict, limits, data_age, degraded, self.now)))
    }

    fn denied_bearer(self, reason: DenyReason, token: Option<Arc<Token>>) -> Decision<'g> {
        let verdict = Verdict::Denied(Denial { token, ..Denial::plain(reason, None) });
        let decision = Decision::new(verdict, Vec::new(), Duration::ZERO, false, self.now);
        self.finish(decision)
    }
}
