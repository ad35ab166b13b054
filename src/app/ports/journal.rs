//! What a server writes down of its own acts, beside the store: should the store go back in time, this does not.

use crate::domain::{
    account::{Account, AccountStatus},
    audit::{Act, Chain},
    commit::Change,
    id::{AccountRef, KeyId},
    time::Timestamp,
};
use std::{future::Future, pin::Pin};

/// Where an account stood after an act, and what the act took away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The account.
    pub owner: AccountRef,
    /// When the act was done.
    pub at: Timestamp,
    /// The account's version; 0: it is not there.
    pub version: u64,
    /// Where its audit chain ended.
    pub audit: Chain,
    /// What was noted before of status, secrets and suspensions is settled.
    pub settled: bool,
    /// The status that it got.
    pub status: Option<AccountStatus>,
    /// Keys that ended.
    pub ended: Vec<KeyId>,
    /// Keys that were suspended, or resumed.
    pub holds: Vec<(KeyId, bool)>,
    /// When secrets of keys stop to work, by their numbers.
    pub retirements: Vec<(KeyId, u32, Timestamp)>,
}

impl Mark {
    /// Of an act.
    #[must_use]
    pub fn of(change: &Change, at: Timestamp) -> Self {
        let mut mark = Self { settled: false, ..Self::seen(&change.owner, Some(&change.account), at) };
        mark.ended = change.end.iter().map(|key| key.id).collect();
        for event in &change.events {
            let put = || change.put.iter().find(|key| Some(key.id) == event.key);
            match event.act {
                Act::AccountActivated | Act::AccountSuspended | Act::AccountDeactivated | Act::AccountOffboarded => {
                    mark.status = Some(change.account.status);
                }
                Act::KeySuspended | Act::KeyResumed => {
                    mark.holds.extend(put().map(|key| (key.id, key.suspended)));
                }
                Act::KeyRotated => {
                    let secrets = put().into_iter().flat_map(|key| key.secrets.iter().map(|secret| (key.id, secret)));
                    let ends = |(key, secret): (KeyId, &crate::domain::key::KeySecret)| {
                        Some((key, secret.number, secret.retires_at?))
                    };
                    mark.retirements.extend(secrets.filter_map(ends));
                }
                _ => {}
            }
        }
        mark
    }

    /// Of an account as it was found.
    #[must_use]
    pub fn seen(owner: &AccountRef, account: Option<&Account>, at: Timestamp) -> Self {
        Self {
            owner: owner.clone(),
            at,
            version: account.map_or(0, |account| account.version),
            audit: account.map(|account| account.audit).unwrap_or_default(),
            settled: true,
            status: None,
            ended: Vec::new(),
            holds: Vec::new(),
            retirements: Vec::new(),
        }
    }

    /// Whether it tells of something that was taken away, or given back.
    #[must_use]
    pub fn takes(&self) -> bool {
        self.status.is_some() || !self.ended.is_empty() || !self.holds.is_empty() || !self.retirements.is_empty()
    }
}

/// Keeps marks, in their order.
pub trait Journal: Send + Sync + 'static {
    /// Keeps a mark. One that takes something away is on the disk when this returns. That it cannot be kept changes nothing about the
    /// act, and is told by the log.
    fn note(&self, mark: Mark) -> Noting<'_>;

    /// The mark that was kept last.
    fn newest(&self) -> Option<Mark>;

    /// Every mark, the oldest first. Takes as long as reading a file does.
    ///
    /// # Errors
    /// When they cannot be read.
    fn recall(&self) -> Result<Vec<Mark>, String>;
}

/// A mark on its way.
pub type Noting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
