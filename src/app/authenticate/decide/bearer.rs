//! Whoever presents an access token: the token is judged by itself, and then the account that it names as a key's would be.
//! There is no record of a token: what the store confirms with the charge is the account.

use super::{Attempt, FLAW_REMEMBERED, Settled, claim::Target};
use crate::{
    app::{
        authenticate::{Bearer, Decision, Denial, Verdict},
        check_rate_limit::{fill, missing},
        error::AppError,
        ports::{
            Fence, Freshness, GoodToken, Store, TokenVerdict,
            trace::{self, Kind},
        },
    },
    domain::{
        access::{self, Caller, Wanted},
        account::{Account, AccountSnapshot},
        deny::{Answer, DenyReason},
        embed::EmbedToken,
        id::{AccountRef, Scope},
        key::KeySnapshot,
        limit::{LimitOutcome, Plan, Subject},
        realm::{Matched, Realm},
        secret::SecretRef,
        time::LatestTicks,
        token::{Token, TokenFlaw},
    },
};
use smallvec::{SmallVec, smallvec};
use std::{sync::Arc, time::Duration};

/// What is known of a token.
enum Judged {
    Good(GoodToken),
    Flawed(TokenFlaw, Option<Arc<Token>>),
    Withheld,
}

/// What the request wants, beside its credential.
struct Ask<'a, 'g> {
    operation: Result<Option<Matched<'g, 'a>>, DenyReason>,
    target: Target,
    /// What an embed token says beside what all tokens do.
    embed: Option<Arc<EmbedToken>>,
}

/// What the store knows of whoever presents a token: of the account alone, or of the key too that an embed token came from.
enum Home {
    Account(Arc<AccountSnapshot>),
    Key(Arc<KeySnapshot>),
}

impl Home {
    fn fence(&self) -> Fence<'_> {
        match self {
            Self::Account(account) => Fence::of(account),
            Self::Key(key) => Fence { owner: &key.owner, stamp: key.stamp },
        }
    }

    fn confirmed(&self) -> &LatestTicks {
        match self {
            Self::Account(account) => &account.confirmed,
            Self::Key(key) => &key.confirmed,
        }
    }

    fn organizations(&self) -> &[AccountSnapshot] {
        match self {
            Self::Account(account) => &account.organizations,
            Self::Key(key) => &key.organizations,
        }
    }

    fn key(&self) -> Option<&Arc<KeySnapshot>> {
        match self {
            Self::Account(_) => None,
            Self::Key(key) => Some(key),
        }
    }
}

impl<'a, 'g, S: Store> Attempt<'a, 'g, S> {
    /// Decides for a token.
    pub(super) async fn for_bearer(
        mut self,
        text: SecretRef<'a>,
        operation: Result<Option<Matched<'g, 'a>>, DenyReason>,
    ) -> Result<Decision<'g>, AppError> {
        let good = match self.judge_token(text).await? {
            Judged::Good(good) => good,
            Judged::Flawed(flaw, token) => {
                self.steps.note("token", || flaw.to_string());
                return Ok(self.denied_bearer(flaw.reason(), token));
            }
            Judged::Withheld => {
                let decision = self.withheld();
                return Ok(self.finish(decision));
            }
        };
        let (token, embed) = match good {
            GoodToken::OfIssuer(token) => (token, None),
            GoodToken::Embed(embed) => (Arc::clone(&embed.token), Some(embed)),
        };
        self.steps.note("token", || format!("of `{}`, for account `{}`", token.issuer, token.account));
        let target = self.target(operation.ok().flatten())?;
        let ask = Ask { operation, target, embed };
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
            self.guard.meter.token_looked_up(true);
            return Ok(Judged::Good(token));
        }
        self.guard.meter.token_looked_up(false);
        if !self.may_miss() {
            return Ok(Judged::Withheld);
        }
        let mut verdict = house.tokens.verify(realm, text, self.now);
        if let TokenVerdict::Wait(_, renewal) = verdict {
            let span = trace::here().map(|here| here.step("wait for issuer keys", Kind::Internal));
            renewal.await;
            drop(span);
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
        let Some(home) = self.home(&owner, ask, freshness).await? else {
            let verdict = Verdict::Denied(Denial {
                token: Some(Arc::clone(token)),
                ..Denial::plain(DenyReason::InvalidToken, None)
            });
            return Ok(Some(Decision::new(verdict, Vec::new(), Duration::ZERO, false, self.now)));
        };
        let pinned = ask.embed.as_ref().map(|embed| &embed.target);
        let account = request.account.as_ref().or(ask.target.account.as_ref()).or(pinned);
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
            address: request.source_address,
            operation: asked,
            required_scopes: &request.required_scopes,
        };
        let unborn = Account::unborn(self.now);
        let judged = match (&home, &ask.embed) {
            (Home::Key(key), Some(embed)) => access::judge_embed(&guard.realm, key, embed, &wanted, self.now),
            (Home::Key(_), None) => return Err(AppError::Bug("a key was read for a token that names none")),
            (Home::Account(account), _) => {
                let caller = Caller {
                    id: &owner.account,
                    account: account.account.as_ref().unwrap_or(&unborn),
                    organizations: &account.organizations,
                    scopes: &token.scopes,
                };
                access::judge_bearer(&guard.realm, &caller, &token.environment, &wanted)
            }
        };
        if let (Err(reason), Some(key)) = (&judged, home.key())
            && reason.answer() == Answer::InvalidCredential
        {
            // A key that does not work tells nothing of its limits, and is read again like any that is flawed.
            let data_age = self.app.house.clock.ticks().since(super::known_since(key, *reason));
            if freshness == Freshness::Remembered && data_age >= FLAW_REMEMBERED {
                return Ok(None);
            }
            let verdict = Verdict::Denied(Denial {
                token: Some(Arc::clone(token)),
                ..Denial::plain(*reason, Some(Arc::clone(key)))
            });
            return Ok(Some(Decision::new(verdict, Vec::new(), data_age, false, self.now)));
        }
        let permit = judged.and_then(|permit| ask.operation.map(|_| permit));
        let mut plan = Plan::new(&guard.realm, Some(&owner.account), request.cost, permit.is_ok()).by(self.due);
        if request.check_rate_limit {
            let subject = Subject {
                account: Some(&owner.account),
                target_account: permit.ok().map(|permit| permit.target()),
                key: home.key().map(|key| key.key.id),
                bearer: home.key().is_none().then_some(&token.mark),
                address: request.source_address,
                ..Subject::default()
            };
            fill(&mut plan, guard, &token.environment, matched.map(|m| m.index), &subject)
                .map_err(|part| missing("", &part))?;
        }
        let mut fences: SmallVec<[Fence<'_>; 2]> = smallvec![home.fence()];
        let others = reached.iter().map(AsRef::as_ref);
        let others = others.chain(guard.realm.access.decisive(home.organizations(), &wanted));
        fences.extend(others.clone().map(Fence::of));
        let charged = self.app.store.charge(&fences, &plan).await;
        let confirmed = std::iter::once(home.confirmed()).chain(others.map(|other| &other.confirmed));
        let Some(Settled { limits, data_age, degraded }) = self.settle(charged, &plan, confirmed)? else {
            return Ok(None);
        };
        let denying = LimitOutcome::spokesman(&limits).filter(|outcome| outcome.denies());
        let by_token = |denial: Denial<'g>| {
            Verdict::Denied(Denial { token: Some(Arc::clone(token)), key: home.key().cloned(), ..denial })
        };
        let verdict = match (permit, denying) {
            (Err(reason), _) => by_token(Denial::plain(reason, None)),
            (Ok(_), Some(outcome)) => by_token(Denial::by_limit(outcome, request.cost, None)),
            (Ok(permit), None) => Verdict::Bearer(Box::new(Bearer {
                token: Arc::clone(token),
                scopes: scopes(&guard.realm, token, home.key()),
                key: home.key().cloned(),
                target: permit.target().clone(),
                operation: asked,
            })),
        };
        Ok(Some(Decision::new(verdict, limits, data_age, degraded, self.now)))
    }

    /// What the store knows of whoever presents the token; nothing when the key of an embed token is not there.
    async fn home(
        &self,
        owner: &AccountRef,
        ask: &Ask<'_, '_>,
        freshness: Freshness,
    ) -> Result<Option<Home>, AppError> {
        let store = &self.app.store;
        Ok(match &ask.embed {
            None => Some(Home::Account(store.find_account(owner, freshness, self.due).await?)),
            Some(embed) => store.find_key_by_id(owner, embed.key, freshness, self.due).await?.map(Home::Key),
        })
    }

    fn denied_bearer(self, reason: DenyReason, token: Option<Arc<Token>>) -> Decision<'g> {
        let verdict = Verdict::Denied(Denial { token, ..Denial::plain(reason, None) });
        let decision = Decision::new(verdict, Vec::new(), Duration::ZERO, false, self.now);
        self.finish(decision)
    }
}

/// What a token may do: an embed token nothing that its key may not.
fn scopes(realm: &Realm, token: &Token, key: Option<&Arc<KeySnapshot>>) -> Vec<Scope> {
    match key {
        None => token.scopes.clone(),
        Some(key) if !token.scoped => key.key.scopes.to_vec(),
        Some(key) => {
            let granted = |scope: &&Scope| realm.scopes.grant(&key.key.scopes, scope);
            token.scopes.iter().filter(granted).cloned().collect()
        }
    }
}
