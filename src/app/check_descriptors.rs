//! How often may what a descriptor describes come: every limit that the descriptors of one call select, charged together or
//! not at all.

use super::{
    check_rate_limit::missing,
    error::AppError,
    house::{App, Guarded},
    ports::Store,
};
use crate::domain::{
    limit::{LimitOutcome, LimitRule, MAX_COST, OnStoreFailure, Part, Plan, Shape, encode_descriptor, selected},
    realm::{OperationSet, Realm},
    time::Timestamp,
};
use std::{sync::Arc, time::Duration};

/// A descriptor with the limits that it selects.
pub struct Described<'g> {
    /// The entries, encoded.
    name: Vec<u8>,
    /// What it costs; 0 only looks.
    cost: u32,
    limits: Vec<&'g LimitRule>,
    /// What whoever asks demands in place of them.
    instead: Option<LimitRule>,
}

/// A limit that stands in the request itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Override {
    /// The largest cost in a window; 0 admits nothing.
    pub limit: u32,
    /// The window's length.
    pub window: Duration,
}

/// How the limits stand.
pub struct DescriptorDecision<'d> {
    outcomes: Vec<LimitOutcome<'d>>,
    /// For each descriptor the outcomes that are its own.
    own: Vec<Vec<usize>>,
    /// When it was decided.
    pub now: Timestamp,
}

impl<'g> Described<'g> {
    /// The name of a limit that stands in a request whose descriptor selects none of the realm's. No limit of a realm can
    /// have it.
    const OVERRIDE: &'static str = "(override)";

    /// Finds the limits of a descriptor.
    ///
    /// # Errors
    /// When the override's window is not 1 second to 366 days.
    pub fn new(
        realm: &'g Realm,
        entries: &[(&str, &str)],
        cost: u32,
        instead: Option<Override>,
    ) -> Result<Self, AppError> {
        let limits = selected(&realm.limits, entries);
        let instead = instead.map(|instead| overriding(instead, limits.first().copied())).transpose()?;
        Ok(Self { name: encode_descriptor(entries), cost, limits, instead })
    }

    fn limits(&self) -> impl Iterator<Item = &LimitRule> {
        let own = if self.instead.is_some() { &[][..] } else { &self.limits };
        self.instead.iter().chain(own.iter().copied())
    }
}

/// The limit that stands in a request. What it replaces gives its name, and says what happens when the store is away.
fn overriding(instead: Override, replaced: Option<&LimitRule>) -> Result<LimitRule, AppError> {
    let problem = |error| AppError::invalid("descriptors", format!("the window of `limit` {error}"));
    Ok(LimitRule {
        name: replaced.map_or_else(|| Arc::from(Described::OVERRIDE), |limit| Arc::clone(&limit.name)),
        limit: instead.limit.min(MAX_COST),
        window: instead.window,
        shape: Shape::new(instead.window, Shape::DEFAULT_PRECISION).map_err(problem)?,
        per: vec![Part::Descriptor],
        operations: OperationSet::Only(Vec::new()),
        descriptor: None,
        on_store_failure: replaced.map_or(OnStoreFailure::Deny, |limit| limit.on_store_failure),
        shadow: replaced.is_some_and(|limit| limit.shadow),
    })
}

impl<'d> DescriptorDecision<'d> {
    /// What the answer for one descriptor speaks of; nothing when no limit that denies was found for it.
    #[must_use]
    pub fn of(&self, descriptor: usize) -> Option<&LimitOutcome<'d>> {
        let own = self.own.get(descriptor)?;
        LimitOutcome::spokesman(own.iter().filter_map(|index| self.outcomes.get(*index)))
    }

    /// What the answer as a whole speaks of.
    #[must_use]
    pub fn spokesman(&self) -> Option<&LimitOutcome<'d>> {
        LimitOutcome::spokesman(&self.outcomes)
    }

    /// Every outcome.
    #[must_use]
    pub fn outcomes(&self) -> &[LimitOutcome<'d>] {
        &self.outcomes
    }
}

impl<S: Store> App<S> {
    /// Charges the limits of all descriptors, all or none.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn check_descriptors<'d>(
        &self,
        guard: &'d Guarded,
        described: &'d [Described<'d>],
    ) -> Result<DescriptorDecision<'d>, AppError> {
        let mut plan = Plan::new(&guard.realm, None, 0, true);
        let mut own = Vec::with_capacity(described.len());
        for one in described {
            let added = one.limits().map(|limit| plan.add_descriptor(limit, &one.name, one.cost));
            own.push(added.collect::<Result<Vec<_>, _>>().map_err(|part| missing("", &part))?);
        }
        let (outcomes, _) = self.charge_unfenced(&plan).await?;
        Ok(DescriptorDecision { outcomes, own, now: self.house.clock.now() })
    }
}
