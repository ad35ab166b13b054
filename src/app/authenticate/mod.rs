//! Who is calling, and may they: one credential, one decision, and every limit that applies charged in the same step.

mod decide;

use super::{
    error::AppError,
    explain::Step,
    house::{App, Guarded},
    misses::Misses,
    ports::Store,
    rekey::Rekey,
};
use crate::domain::{
    credential::Taken,
    deny::DenyReason,
    id::{AccountId, Environment, Scope},
    key::KeySnapshot,
    limit::{LimitOutcome, LimitRule},
    realm::{Operation, Provider},
    request::CanonicalRequest,
    secret::{ReleasedValue, SecretRef},
    time::{Ticks, Timestamp},
    token::Token,
};
use std::{net::IpAddr, sync::Arc, time::Duration};

/// How old the knowledge may be that a credential is flawed. A digest that leads nowhere is remembered for as long, so that
/// a key that never was and one that is no more cost the same: neither the answer nor its time tells them apart.
pub const FLAW_REMEMBERED: Duration = Duration::from_secs(1);

/// Where the credential is.
#[derive(Clone, Copy)]
pub enum Presented<'a> {
    /// Nowhere.
    Nothing,
    /// The key itself.
    Key(SecretRef<'a>),
    /// The access token itself.
    Token(SecretRef<'a>),
    /// Taken by other rules than those for requests.
    Taken(Taken<'a>),
    /// Somewhere in the request's headers.
    InHeaders,
}

/// A request to authenticate, its fields checked.
pub struct AuthenticateRequest<'a> {
    /// The credential.
    pub presented: Presented<'a>,
    /// The request that came with it.
    pub request: CanonicalRequest<'a>,
    /// The operation that somebody named, in place of the one that the request matches; by index.
    pub operation: Option<usize>,
    /// The client's address.
    pub source_address: Option<IpAddr>,
    /// The account acted on.
    pub account: Option<AccountId>,
    /// The organization acted within.
    pub organization: Option<AccountId>,
    /// The pinned environment.
    pub environment: Option<Environment>,
    /// Scopes needed beside those of the operation.
    pub required_scopes: Vec<Scope>,
    /// What the request costs.
    pub cost: u32,
    /// Whether to charge the limits.
    pub check_rate_limit: bool,
    /// Whether to tell the steps.
    pub explain: bool,
    /// Whether to release the credential of the provider that the request goes to.
    pub release: Release,
    /// When the question came, where the clock was read already.
    pub begun: Option<(Timestamp, Ticks)>,
}

impl<'a> AuthenticateRequest<'a> {
    /// Asks who that is, and nothing else: no limit is charged.
    #[must_use]
    pub fn who(presented: Presented<'a>, request: CanonicalRequest<'a>) -> Self {
        Self {
            presented,
            request,
            operation: None,
            source_address: None,
            account: None,
            organization: None,
            environment: None,
            required_scopes: Vec::new(),
            cost: 0,
            check_rate_limit: false,
            explain: false,
            release: Release::NotAsked,
            begun: None,
        }
    }
}

/// Whether a provider's credential is released to whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// It was not asked for.
    NotAsked,
    /// It is needed, and whoever asks may not have it.
    Refused,
    /// It is needed, and whoever asks may have it.
    Granted,
}

/// What a request goes on with.
pub struct Released<'g> {
    /// The provider that it goes to.
    pub provider: &'g Provider,
    /// The value of the provider's header; absent: the account deposited none, and the realm lets such requests pass.
    pub value: Option<Arc<ReleasedValue>>,
}

impl Released<'_> {
    /// The header that carries the credential, where there is one.
    #[must_use]
    pub fn header(&self) -> Option<(&str, &str)> {
        self.value.as_ref().map(|value| (self.provider.header.as_str(), value.expose()))
    }
}

/// The decision and what it rests on.
pub struct Decision<'g> {
    /// Yes or no.
    pub verdict: Verdict<'g>,
    /// The limits that applied, after the decision.
    pub limits: Vec<LimitOutcome<'g>>,
    /// How old the data was that decided.
    pub data_age: Duration,
    /// Whether the store could not be asked.
    pub degraded: bool,
    /// The steps, if asked for.
    pub steps: Vec<Step>,
    /// When it was decided.
    pub now: Timestamp,
    /// Work that is left for after the answer.
    pub rekey: Option<Rekey>,
    /// What an allowed request goes on with.
    pub released: Option<Released<'g>>,
}

/// Yes or no.
pub enum Verdict<'g> {
    /// The request may pass.
    Allowed {
        /// The key.
        key: Arc<KeySnapshot>,
        /// The account acted on.
        target: AccountId,
        /// The operation.
        operation: Option<&'g Operation>,
    },
    /// The request may pass: an access token came with it.
    Bearer(Box<Bearer<'g>>),
    /// The request may pass, whoever sent it: nobody asked.
    Public {
        /// The operation.
        operation: &'g Operation,
    },
    /// It may not.
    Denied(Denial<'g>),
}

/// Whoever presented an access token, and what they may do.
pub struct Bearer<'g> {
    /// What the token says.
    pub token: Arc<Token>,
    /// What the token may do.
    pub scopes: Vec<Scope>,
    /// The key that the token was minted from, if it is an embed token.
    pub key: Option<Arc<KeySnapshot>>,
    /// The account acted on.
    pub target: AccountId,
    /// The operation.
    pub operation: Option<&'g Operation>,
}

/// Why not.
pub struct Denial<'g> {
    /// The true reason.
    pub reason: DenyReason,
    /// The key in question, where it is known.
    pub key: Option<Arc<KeySnapshot>>,
    /// The token in question, once its signature was found to be good.
    pub token: Option<Arc<Token>>,
    /// The limit that denied.
    pub limit: Option<&'g LimitRule>,
    /// How long to wait.
    pub retry_after: Option<Duration>,
}

impl<S: Store> App<S> {
    /// Decides on a request.
    ///
    /// # Errors
    /// When the request is wrong for this realm, or the store cannot answer.
    pub async fn authenticate<'g>(
        &self,
        guard: &'g Guarded,
        request: &AuthenticateRequest<'_>,
    ) -> Result<Decision<'g>, AppError> {
        decide::Attempt::new(self, guard, request).run().await
    }
}

impl<'g> Decision<'g> {
    /// A request that has no canonical form. Nothing else of it was judged.
    pub(super) fn malformed(problem: &impl std::fmt::Display, now: Timestamp) -> Self {
        let verdict = Verdict::Denied(Denial::plain(DenyReason::MalformedRequest, None));
        let steps = vec![Step { stage: "request", finding: problem.to_string() }];
        Self { steps, ..Self::new(verdict, Vec::new(), Duration::ZERO, false, now) }
    }

    fn new(
        verdict: Verdict<'g>,
        limits: Vec<LimitOutcome<'g>>,
        data_age: Duration,
        degraded: bool,
        now: Timestamp,
    ) -> Self {
        Self { verdict, limits, data_age, degraded, steps: Vec::new(), now, rekey: None, released: None }
    }
}

impl<'g> Denial<'g> {
    fn plain(reason: DenyReason, key: Option<Arc<KeySnapshot>>) -> Self {
        Self { reason, key, token: None, limit: None, retry_after: None }
    }

    /// A denial of whatever is not known to work: too many keys came from that address that do not.
    fn for_misses() -> Self {
        Self { retry_after: Some(Misses::WAIT), ..Self::plain(DenyReason::TooManyMisses, None) }
    }

    /// A denial of a one-time code.
    pub(in crate::app) fn of_code() -> Self {
        Self::plain(DenyReason::InvalidCode, None)
    }

    /// A denial by a limit.
    #[must_use]
    pub fn by_limit(outcome: &LimitOutcome<'g>, cost: u32, key: Option<Arc<KeySnapshot>>) -> Self {
        let hopeless = cost > outcome.rule.limit;
        let reason = if hopeless { DenyReason::CostAboveLimit } else { DenyReason::RateLimited };
        Self { reason, key, token: None, limit: Some(outcome.rule), retry_after: outcome.retry_after }
    }
}
