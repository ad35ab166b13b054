//! May they call this often: charges limits, or looks at them, without a credential.

use super::{
    authenticate::Denial,
    error::AppError,
    house::{App, Guarded},
    ports::{Store, StoreError},
    seldom::Seldom,
};
use crate::domain::{
    id::Environment,
    limit::{Charged, LimitOutcome, LimitRule, MissingPart, Part, Plan, Reading, Subject},
    time::Timestamp,
};

/// Which limits are meant.
#[derive(Debug, Clone)]
pub enum Selection<'g> {
    /// These.
    Limits(Vec<&'g LimitRule>),
    /// All that apply to the operation with that index.
    Operation(usize),
}

/// A request to charge limits, its fields checked.
#[derive(Debug)]
pub struct CheckRateLimit<'g, 'a> {
    /// The environment.
    pub environment: &'g Environment,
    /// The limits.
    pub selection: Selection<'g>,
    /// Whom to charge.
    pub subject: Subject<'a>,
    /// What the request costs.
    pub cost: u32,
    /// Only look.
    pub peek: bool,
}

/// How the limits stand.
pub struct LimitDecision<'g> {
    /// Present when denied.
    pub denial: Option<Denial<'g>>,
    /// The limits, after the decision.
    pub limits: Vec<LimitOutcome<'g>>,
    /// Whether the store could not be asked.
    pub degraded: bool,
    /// When it was decided.
    pub now: Timestamp,
}

impl<S: Store> App<S> {
    /// Charges limits, all or none.
    ///
    /// # Errors
    /// When the subject lacks what a limit counts per, or the store cannot answer.
    pub async fn check_rate_limit<'g>(
        &self,
        guard: &'g Guarded,
        request: &CheckRateLimit<'g, '_>,
    ) -> Result<LimitDecision<'g>, AppError> {
        let mut plan = Plan::new(&guard.realm, request.subject.account, request.cost, !request.peek);
        match &request.selection {
            Selection::Limits(limits) => {
                for limit in limits {
                    plan.add(Some(request.environment), limit, &request.subject)
                        .map_err(|part| missing("subject.", &part))?;
                }
            }
            Selection::Operation(index) => {
                fill(&mut plan, guard, request.environment, Some(*index), &request.subject)
                    .map_err(|part| missing("subject.", &part))?;
            }
        }
        let (limits, degraded) = self.charge_unfenced(&plan).await?;
        let denying = LimitOutcome::spokesman(&limits).filter(|outcome| outcome.denies());
        let denial = denying.map(|outcome| Denial::by_limit(outcome, request.cost, None));
        Ok(LimitDecision { denial, limits, degraded, now: self.house.clock.now() })
    }

    /// How the limits of a plan stand, and whether there was no room to count one of them, which the log tells seldom.
    pub(super) fn outcomes<'g>(&self, plan: &Plan<'g>, readings: &[Reading]) -> (Vec<LimitOutcome<'g>>, bool) {
        static UNKEPT: Seldom = Seldom::new();
        let outcomes = LimitOutcome::for_plan(plan, readings);
        let uncounted = outcomes.iter().find(|outcome| outcome.degraded).map(|outcome| &*outcome.rule.name);
        if let Some(limit) = uncounted
            && let Some(left_out) = UNKEPT.turn(self.house.clock.ticks())
        {
            let realm = plan.realm().as_str();
            tracing::warn!(realm, limit, left_out, "there is no room for a new counter: its limit is passed over");
        }
        (outcomes, uncounted.is_some())
    }

    /// Charges a plan that rests on nothing that was read, and tells whether the store could not be asked.
    pub(super) async fn charge_unfenced<'g>(&self, plan: &Plan<'g>) -> Result<(Vec<LimitOutcome<'g>>, bool), AppError> {
        match self.store.charge(&[], plan).await {
            Ok(Charged::Decided(readings)) => Ok(self.outcomes(plan, &readings)),
            Ok(Charged::Stale) => Err(AppError::Bug("a charge without a fence cannot be stale")),
            Err(error) => Ok((pass_over(plan, error)?, true)),
        }
    }
}

/// Adds every limit that applies to the operation.
pub(super) fn fill<'g>(
    plan: &mut Plan<'g>,
    guard: &'g Guarded,
    environment: &Environment,
    operation: Option<usize>,
    subject: &Subject<'_>,
) -> Result<(), MissingPart> {
    let applying = guard.realm.limits.iter().filter(|limit| limit.operations.contains(operation));
    for limit in applying {
        plan.add(Some(environment), limit, subject)?;
    }
    Ok(())
}

/// Passes over limits that the store could not decide, where every one of them allows it. What a store holds and cannot be
/// trusted is no silence: it is never passed over, or whoever spoils a counter would lift its limit.
pub(super) fn pass_over<'g>(plan: &Plan<'g>, error: StoreError) -> Result<Vec<LimitOutcome<'g>>, AppError> {
    if matches!(error, StoreError::Corrupt(_)) {
        return Err(error.into());
    }
    if !plan.items().iter().all(|item| item.rule.may_be_passed_over()) {
        return Err(error.into());
    }
    Ok(plan.items().iter().map(|item| LimitOutcome::passed_over(item.rule)).collect())
}

/// `within` is where the subject's fields stand in the request.
pub(super) fn missing(within: &str, missing: &MissingPart) -> AppError {
    let field = match missing.part {
        Part::Account => "account_id",
        Part::TargetAccount => "target_account_id",
        Part::Key => "key_id",
        Part::Address => "source_address",
        Part::Subject => "custom",
        Part::Descriptor => "descriptor",
    };
    let problem = format!("is needed: the limit `{}` counts per {}", missing.limit, missing.part.name());
    AppError::invalid(&format!("{within}{field}"), problem)
}
