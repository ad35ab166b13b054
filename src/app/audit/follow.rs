//! What comes new to an account's chain, step by step.

use super::broken;
use crate::{
    app::{
        error::AppError,
        house::App,
        manager::{ManagePermit, Reader},
        ports::Store,
    },
    domain::{
        audit::{AuditEvent, Chain},
        id::{AccountId, AccountRef},
    },
};

/// Events that one step gives, at most.
const STEP: usize = 100;

/// How far a chain was read. Every event that is read later must follow from it.
#[derive(Debug, Clone)]
pub struct Position {
    owner: AccountRef,
    end: Chain,
}

impl Position {
    /// The number of the last event that was read; 0: none.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.end.length
    }
}

impl<S: Store> App<S> {
    /// Where to begin: after the event with the number `after`, or, without one, at the end of the chain as it is now.
    ///
    /// # Errors
    /// When there is no such account, its chain does not reach so far, or the store cannot answer.
    pub async fn begin_to_follow(
        &self,
        permit: ManagePermit<'_, Reader>,
        account: AccountId,
        after: Option<u64>,
    ) -> Result<Position, AppError> {
        let owner = AccountRef { realm: permit.guard().realm.name.clone(), account };
        let chain = self.store.read_account(&owner).await?.ok_or(AppError::UnknownAccount)?.audit;
        let end = match after {
            None => chain,
            Some(0) => Chain::default(),
            Some(after) if after > chain.length => {
                let last = chain.length;
                return Err(AppError::invalid("after", format!("must be at most {last}, the account's last event")));
            }
            Some(after) => {
                let event = self.store.read_audit(&owner, after, 1).await?.into_iter().next();
                let event = event.filter(|event| event.sequence == after).ok_or_else(|| broken(&owner, after))?;
                Chain { length: after, head: event.hash }
            }
        };
        Ok(Position { owner, end })
    }

    /// The next events, at most 100; moves the position behind them. `permit` is for the realm that the position is in.
    ///
    /// # Errors
    /// When they do not follow from what was read before, or the store cannot answer.
    pub async fn follow(
        &self,
        permit: ManagePermit<'_, Reader>,
        position: &mut Position,
    ) -> Result<Vec<AuditEvent>, AppError> {
        if permit.guard().realm.name != position.owner.realm {
            return Err(AppError::Bug("a position in another realm than the permit's"));
        }
        let next = position.end.length.saturating_add(1);
        let events = self.store.read_audit(&position.owner, next, STEP).await?;
        for event in &events {
            let end = position.end.next(event);
            position.end = end.ok_or_else(|| broken(&position.owner, event.sequence))?;
        }
        Ok(events)
    }
}
