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
    deny::DenyReason,
    id::{AccountId, Environment, Scope},
    key::KeySnapshot,
    limit::{LimitOutcome, LimitRule},
    realm::Operation,
    request::CanonicalRequest,
    secret::SecretRef,
    time::Timestamp,
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
    /// The request may pass, whoever sent it: nobody asked.
    Public {
        /// The operation.
        operation: &'g Operation,
    },
    /// It may not.
    Denied(Denial<'g>),
}

/// Why not.
pub struct Denial<'g> {
    /// The true reason.
    pub reason: DenyReason,
    /// The key in question, where it is known.
    pub key: Option<Arc<KeySnapshot>>,
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
        Self { verdict, limits, data_age, degraded, steps: Vec::new(), now, rekey: None }
    }
}

impl<'g> Denial<'g> {
    fn plain(reason: DenyReason, key: Option<Arc<KeySnapshot>>) -> Self {
        Self { reason, key, limit: None, retry_after: None }
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
        Self { reason, key, limit: Some(outcome.rule), retry_after: outcome.retry_after }
    }
}
