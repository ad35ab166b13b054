//! Opened credentials, for seconds. Each is tied to the state of the account that it was read in: after a change of the account
//! it is found no more, because whoever looks for it looks with another stamp, and the charge confirms that stamp.
//!
//! Bounded in number and in time. What goes is wiped; what somebody still answers with is wiped when that answer is made.

use super::{Place, VaultError};
use crate::domain::{secret::ReleasedValue, time::Ticks};
use parking_lot::Mutex;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

/// So many are remembered at most; what came first goes first.
pub(super) const REMEMBERED: usize = 10_000;
/// For so long a failure is remembered: callers in great number do not all wait for a service that is away.
const FAILURE: Duration = Duration::from_secs(1);

/// What was found in a place.
#[derive(Clone)]
pub(super) enum Held {
    /// No credential.
    Nothing,
    /// One, as the header carries it.
    Value(Arc<ReleasedValue>),
    /// One that cannot be opened now.
    Failed(VaultError),
}

struct Kept {
    stamp: u128,
    at: Ticks,
    held: Held,
}

pub(super) struct Memory {
    lifetime: Duration,
    kept: Mutex<KeptByPlace>,
}

#[derive(Default)]
struct KeptByPlace {
    by_place: HashMap<Place, Kept>,
    /// In the order in which they came: also the order in which they go.
    order: VecDeque<(Ticks, Place)>,
}

impl Memory {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self { lifetime, kept: Mutex::default() }
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// What is remembered of a place in that state of its account.
    pub(super) fn recall(&self, place: &Place, stamp: u128, now: Ticks) -> Option<Held> {
        let kept = self.kept.lock();
        let found = kept.by_place.get(place).filter(|kept| kept.stamp == stamp)?;
        let lifetime = match found.held {
            Held::Failed(_) => self.lifetime.min(FAILURE),
            Held::Nothing | Held::Value(_) => self.lifetime,
        };
        (now.since(found.at) < lifetime).then(|| found.held.clone())
    }

    pub(super) fn keep(&self, place: Place, stamp: u128, held: Held, now: Ticks) {
        let mut kept = self.kept.lock();
        kept.drop_until(|at, count| now.since(at) < self.lifetime && count < REMEMBERED);
        kept.order.push_back((now, place.clone()));
        kept.by_place.insert(place, Kept { stamp, at: now, held });
    }

    pub(super) fn forget(&self, place: &Place) {
        self.kept.lock().by_place.remove(place);
    }

    /// How many places are remembered.
    pub(super) fn len(&self) -> usize {
        self.kept.lock().by_place.len()
    }

    pub(super) fn sweep(&self, now: Ticks) -> usize {
        let mut kept = self.kept.lock();
        kept.drop_until(|at, _| now.since(at) < self.lifetime);
        kept.order.len()
    }
}

impl KeptByPlace {
    /// Drops from the front until what stands there, and how many there are, may stay.
    fn drop_until(&mut self, may_stay: impl Fn(Ticks, usize) -> bool) {
        while let Some((at, place)) = self.order.front() {
            if may_stay(*at, self.order.len()) {
                return;
            }
            // What came again in between has a later place in the order.
            if self.by_place.get(place).is_some_and(|kept| kept.at <= *at) {
                self.by_place.remove(place);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
