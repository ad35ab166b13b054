//! After the answer: a secret that is stored under a hash made elsewhere, or under an older server secret, is stored under
//! keygate's own newest digest as soon as it was used.

use super::{
    error::AppError,
    house::App,
    ports::{CommitError, Store},
};
use crate::domain::{
    id::{AccountRef, KeyId},
    key::{Digest, Minted, rekey},
    time::Ticks,
};
use parking_lot::Mutex;
use std::{collections::HashSet, time::Duration};

/// Keeps the keys of one account from moving all at once. Every move changes the account, and whoever decides on it at that
/// moment has to read it again: a few times, and then they give up.
pub(super) struct Pace(Mutex<Places>);

struct Places {
    /// When the next key of an account may move, by the account's hash.
    free: Vec<Ticks>,
    /// Secrets that wait for their turn, or move just now.
    waiting: HashSet<Digest>,
}

/// When a secret is re-keyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// After so long.
    After(Duration),
    /// Somebody waits for that already.
    Taken,
    /// With its next use: too many wait.
    Later,
}

impl Default for Pace {
    fn default() -> Self {
        Self(Mutex::new(Places { free: vec![Ticks::default(); Self::ACCOUNTS], waiting: HashSet::new() }))
    }
}

impl Pace {
    /// Accounts that are told apart; those that share a place share its pace.
    const ACCOUNTS: usize = 1_024;
    /// From one key of an account to the next.
    const STEP: Duration = Duration::from_millis(200);
    /// A key that would wait longer moves with its next use.
    const LONGEST: Duration = Duration::from_secs(4);

    fn turn(&self, hash: u64, secret: &Digest, now: Ticks) -> Turn {
        let place = hash.checked_rem(Self::ACCOUNTS as u64).and_then(|place| usize::try_from(place).ok());
        let mut places = self.0.lock();
        if places.waiting.contains(secret) {
            return Turn::Taken;
        }
        let Some(free) = place.and_then(|place| places.free.get_mut(place)) else { return Turn::Later };
        let turn = now.max(*free);
        if turn.since(now) > Self::LONGEST {
            return Turn::Later;
        }
        *free = turn.after(Self::STEP);
        places.waiting.insert(*secret);
        Turn::After(turn.since(now))
    }

    fn done(&self, secret: &Digest) {
        self.0.lock().waiting.remove(secret);
    }
}

/// What is left to do after an answer.
#[derive(Debug)]
pub struct Rekey {
    /// The key's account.
    pub(super) owner: AccountRef,
    /// The key.
    pub(super) key: KeyId,
    /// What its secret is stored as.
    pub(super) old: Digest,
    /// What it shall be stored as.
    pub(super) minted: Minted,
}

impl Rekey {
    /// The key.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }
}

impl<S: Store> App<S> {
    /// When a secret is re-keyed. Whoever waits says afterwards, in whatever way it ended, that it is done.
    #[must_use]
    pub fn turn_to_rekey(&self, work: &Rekey) -> Turn {
        self.house.rekeying.turn(self.house.hash_of(&work.owner), &work.old, self.house.clock.ticks())
    }

    /// The wait for a secret's turn is over.
    pub fn rekeying_done(&self, work: &Rekey) {
        self.house.rekeying.done(&work.old);
    }

    /// Re-keys the secret of whoever manages, before their act: some come once in months. That it fails hinders nobody.
    pub(super) async fn rekey_manager(&self, work: Option<Rekey>) {
        let Some(work) = work else { return };
        let meter = &self.house.meter;
        match self.rekey(&work).await {
            Ok(()) => meter.rekeyed.one(),
            Err(error) => {
                meter.rekeying_put_off.one();
                tracing::warn!(key_id = %work.key(), %error, "re-keying failed; the next use tries again");
            }
        }
    }

    /// Stores the secret under its new digest. Does nothing when somebody else did already; whoever comes second loses
    /// nothing, since the next use tries again.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn rekey(&self, work: &Rekey) -> Result<(), AppError> {
        let _turn = self.house.act_on(&work.owner).await;
        let Some(account) = self.store.read_account(&work.owner).await? else { return Ok(()) };
        let keys = self.store.read_keys(&work.owner, &[work.key]).await?;
        let Some(key) = keys.into_iter().flatten().find(|key| key.revoked.is_none()) else { return Ok(()) };
        let now = self.house.clock.now();
        let Some(change) = rekey(&work.owner, &account, &key, &work.old, &work.minted, now) else { return Ok(()) };
        match self.commit(&change).await {
            Ok(()) | Err(CommitError::Conflict | CommitError::ReadOnly) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_one_account_move_one_after_the_other_and_a_crowd_is_put_off() {
        let (pace, now) = (Pace::default(), Ticks::from_micros(5_000_000));
        let secret = |number: u8| Digest::from_bytes([number; 32]);
        let after = |count: u32| Turn::After(Pace::STEP.saturating_mul(count));
        for number in 0..21 {
            assert_eq!(pace.turn(7, &secret(number), now), after(number.into()));
            assert_eq!(pace.turn(7, &secret(number), now), Turn::Taken);
        }
        assert_eq!(pace.turn(7, &secret(100), now), Turn::Later);
        // Another account waits for nobody, and a place is free again in time.
        assert_eq!(pace.turn(8, &secret(101), now), after(0));
        assert_eq!(pace.turn(7, &secret(100), now.after(Pace::STEP)), Turn::After(Pace::LONGEST));
        pace.done(&secret(0));
        assert_eq!(pace.turn(7, &secret(0), now.after(Duration::from_secs(60))), after(0));
    }
}
