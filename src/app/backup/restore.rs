//! Putting a backup into a store. It goes through the port alone, with the verb that every act goes through, so that a store cannot
//! tell a restore from acts. What a store has already is never turned back: an account only goes forward, along its audit chain.

use super::{
    LeftOut, RestoreError,
    settle::{Outcome, Settled, Settling},
};
use crate::{
    app::ports::{
        Expected, MemoId, Store,
        backup::{Header, HeldMemo, Part},
    },
    domain::id::AccountRef,
};
use tokio::{sync::mpsc, task::JoinSet};

/// Accounts that are written at the same time: what the embedded store syncs together.
const AT_ONCE: usize = 64;
/// Parts that wait for one account.
const WAITING: usize = 64;

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// Accounts that the store did not have.
    pub written: u64,
    /// Accounts that the store had in an older state.
    pub advanced: u64,
    /// Accounts that the store had in the same state.
    pub same: u64,
    /// Accounts that the store has in a newer state: they stay.
    pub newer: u64,
    /// Keys that were written.
    pub keys: u64,
    /// Memos that were written.
    pub memos: u64,
    /// Accounts that went another way in the store than in the backup, or whose secrets others have: they stay.
    pub left_out: Vec<LeftOut>,
}

/// Puts parts into a store, in their order.
pub struct Restorer<S> {
    store: S,
    merge: bool,
    open: Option<(AccountRef, mpsc::Sender<Part>)>,
    writing: JoinSet<Result<Settled, RestoreError>>,
    done: Restored,
}

impl<S: Store> Restorer<S> {
    /// Into that store. `merge`: also into one that holds accounts.
    #[must_use]
    pub fn new(store: S, merge: bool) -> Self {
        Self { store, merge, open: None, writing: JoinSet::new(), done: Restored::default() }
    }

    /// Looks whether the store takes it.
    ///
    /// # Errors
    /// When the store holds accounts and must not, or cannot answer.
    pub async fn begin(&self, header: Header) -> Result<(), RestoreError> {
        for realm in header.realms.into_iter().filter(|_| !self.merge) {
            if !self.store.list_accounts(&realm, None, 1).await?.is_empty() {
                return Err(RestoreError::NotEmpty(realm));
            }
        }
        Ok(())
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn take(&mut self, part: Part) -> Result<(), RestoreError> {
        match part {
            Part::Header(_) => Err(RestoreError::Bug("a second header")),
            Part::Account(named) => {
                let goes_on = self.open.as_ref().is_some_and(|(owner, _)| *owner == named.0);
                if !goes_on {
                    self.open(named.0.clone()).await?;
                }
                self.pass_on(Part::Account(named)).await
            }
            Part::Event(_) | Part::Key(_) | Part::Entry(_) => self.pass_on(part).await,
            Part::Memo(memo) => {
                // What background work remembers of accounts follows the accounts.
                self.settle(0).await?;
                self.write_memo(memo).await
            }
            Part::End(_) => self.settle(0).await,
        }
    }

    /// What was done; to be asked once the last part was taken.
    #[must_use]
    pub fn finish(self) -> Restored {
        self.done
    }

    /// Accounts that were looked at so far.
    #[must_use]
    pub fn accounts(&self) -> u64 {
        let Restored { written, advanced, same, newer, left_out, .. } = &self.done;
        [advanced, same, newer, &(left_out.len() as u64)]
            .into_iter()
            .fold(*written, |sum, more| sum.saturating_add(*more))
    }

    async fn open(&mut self, owner: AccountRef) -> Result<(), RestoreError> {
        self.open = None;
        self.settle(AT_ONCE.saturating_sub(1)).await?;
        let (sender, parts) = mpsc::channel(WAITING);
        self.writing.spawn(Settling::new(self.store.clone(), owner.clone()).run(parts));
        self.open = Some((owner, sender));
        Ok(())
    }

    async fn pass_on(&mut self, part: Part) -> Result<(), RestoreError> {
        let Some((_, sender)) = &self.open else { return Err(RestoreError::Bug("a part of no account")) };
        if sender.send(part).await.is_err() {
            // Whoever wrote it has failed, and says why.
            self.settle(0).await?;
            return Err(RestoreError::Bug("an account was not written to its end"));
        }
        Ok(())
    }

    /// Waits until no more than so many accounts are being written.
    async fn settle(&mut self, most: usize) -> Result<(), RestoreError> {
        if most == 0 {
            self.open = None;
        }
        while self.writing.len() > most {
            let settled = self.writing.join_next().await.transpose();
            let settled = settled.map_err(|_| RestoreError::Bug("an account was not written to its end"))?;
            let Some(settled) = settled else { return Ok(()) };
            let (settled, keys) = match settled? {
                Settled::Done(outcome, keys) => (outcome, keys),
                Settled::LeftOut(left_out) => {
                    self.done.left_out.push(left_out);
                    continue;
                }
            };
            let count = match settled {
                Outcome::Written => &mut self.done.written,
                Outcome::Advanced => &mut self.done.advanced,
                Outcome::Same => &mut self.done.same,
                Outcome::Newer => &mut self.done.newer,
            };
            *count = count.saturating_add(1);
            self.done.keys = self.done.keys.saturating_add(keys);
        }
        Ok(())
    }

    /// What a store that is ahead of the backup remembers of its own work is better.
    async fn write_memo(&mut self, memo: HeldMemo) -> Result<(), RestoreError> {
        let HeldMemo { realm, shelf, name, value } = memo;
        let is_ahead = self.done.newer > 0 || !self.done.left_out.is_empty();
        let expected = if is_ahead { Expected::Absent } else { Expected::Anything };
        let id = MemoId { realm: &realm, shelf, name: &name };
        if self.store.write_memo(&id, expected, Some(&value)).await? {
            self.done.memos = self.done.memos.saturating_add(1);
        }
        Ok(())
    }
}
