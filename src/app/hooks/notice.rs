//! Before an act: a notice that its account will have news, and what is to be told of its keys later. Written before, since an
//! act that was done must not be forgotten; a notice of one that was not leads nowhere, and goes after a while.

use super::due::{Due, DueKind};
use crate::{
    app::{
        error::AppError,
        house::App,
        ports::{CommitError, Expected, MemoId, Shelf, Store, StoreError, journal::Mark},
    },
    domain::{commit::Change, webhook::EventKind},
};

impl<S: Store> App<S> {
    /// Applies a change and tells subscribers of it. There is no other way to commit an act.
    pub(in crate::app) async fn commit(&self, change: &Change) -> Result<(), CommitError> {
        if self.house.read_only {
            return Err(CommitError::ReadOnly);
        }
        self.commit_regardless(change).await
    }

    /// The same although management is read-only: what takes away again what was taken away before.
    pub(in crate::app) async fn commit_regardless(&self, change: &Change) -> Result<(), CommitError> {
        self.announce_and_commit(change).await?;
        if let Some(journal) = &self.house.journal {
            journal.note(Mark::of(change, self.house.clock.now())).await;
        }
        Ok(())
    }

    async fn announce_and_commit(&self, change: &Change) -> Result<(), CommitError> {
        let has_hooks = self.house.realm(change.owner.realm.as_str()).is_ok_and(|guard| !guard.hooks.is_empty());
        if !has_hooks || change.events.is_empty() {
            return self.store.commit(change).await;
        }
        self.announce(change).await.map_err(|error| match error {
            AppError::Store(error) => error,
            other => StoreError::Unavailable(other.to_string()),
        })?;
        self.store.commit(change).await?;
        self.house.news.notify_one();
        Ok(())
    }

    async fn announce(&self, change: &Change) -> Result<(), AppError> {
        let (realm, account) = (&change.owner.realm, &change.owner.account);
        let value = [&self.house.clock.now().as_micros().to_be_bytes()[..], &self.nonce()?].concat();
        let id = MemoId { realm, shelf: Shelf::Notices, name: account.as_str().as_bytes() };
        self.store.write_memo(&id, Expected::Anything, Some(&value)).await?;
        let guard = self.house.realm(realm.as_str())?;
        let policy = &guard.realm.keys;
        for hook in &guard.hooks {
            for key in &change.put {
                let due = |kind, at| Due { at, hook: hook.name.clone(), kind, account: account.clone(), key: key.id };
                if let Some(end) = key.expires_at.filter(|_| hook.wants(EventKind::Expiring)) {
                    self.write_due(realm, &due(DueKind::Expiring, end.before(hook.expiring_within)), end).await?;
                }
                let rests = key.rests_at(None, policy.suspend_unused_after);
                if let Some(end) = rests.filter(|_| hook.wants(EventKind::Resting)) {
                    self.write_due(realm, &due(DueKind::Resting, end.before(hook.resting_within)), end).await?;
                }
            }
        }
        Ok(())
    }
}
