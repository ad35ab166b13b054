//! Telling subscribers what happened. An account's audit chain is the outbox: it is written with the act itself, so nothing is
//! told that was not done, and nothing done is forgotten. Beside it stand memos: which accounts may have news, how far each
//! subscriber was told of each account, what is to be told at a time, and what could not be delivered.

mod dead;
mod deliver;
mod due;
mod notice;

pub use dead::{DeadLetter, DeadPage, Redelivered};
pub use deliver::Rounds;

use super::{
    error::AppError,
    house::App,
    ports::{
        Store,
        trace::{self, Kind},
    },
    seldom::Seldom,
};
use crate::domain::{
    id::RealmName,
    time::Timestamp,
    webhook::{Letter, Webhook},
};

/// Accounts that are told something at the same time, at most.
const AT_ONCE: usize = 16;
/// How long a server keeps to itself what it is delivering, beside the delivery's own time.
const LEASE: std::time::Duration = std::time::Duration::from_secs(30);

impl<S: Store> App<S> {
    /// Hands a letter over; what went wrong is logged, once a second at most.
    async fn hand_over(&self, realm: &RealmName, letter: &Letter) -> Result<(), super::ports::Undelivered> {
        static FAILED: Seldom = Seldom::new();
        let courier = self.house.courier.get().ok_or_else(|| super::ports::Undelivered {
            problem: "this server sends nothing".to_owned(),
            for_good: false,
        })?;
        let step = || Some(trace::here()?.step("deliver webhook", Kind::Client));
        let span = step().or_else(|| self.house.following.work("deliver webhook", &self.house.clock));
        let sent = courier.send(realm, letter, self.house.clock.now()).await;
        if let Some(span) = &span {
            span.note("keygate.realm", realm.to_string());
            span.note("keygate.webhook", letter.hook.to_string());
            span.ended(sent.is_err().then_some("undelivered"));
        }
        drop(span);
        self.count_delivery(realm, letter, sent.is_ok());
        if let Err(undelivered) = &sent
            && let Some(left_out) = FAILED.turn(self.house.clock.ticks())
        {
            let (hook, id, problem) = (&letter.hook, &letter.id, &undelivered.problem);
            tracing::warn!(realm = realm.as_str(), hook, id, problem, left_out, "a message was not delivered");
        }
        sent
    }

    fn count_delivery(&self, realm: &RealmName, letter: &Letter, arrived: bool) {
        let meter = &self.house.meter;
        if letter.hook == Webhook::EXPORT {
            return if arrived { meter.exported.one() } else { meter.export_failures.one() };
        }
        let Ok(guard) = self.house.realm(realm.as_str()) else { return };
        if let Some(counts) = guard.meter.hook(&letter.hook) {
            let count = if arrived { &counts.delivered } else { &counts.failed };
            count.one();
        }
    }

    /// Eight bytes that tell one writing of a memo from another.
    fn nonce(&self) -> Result<[u8; 8], AppError> {
        let mut random = [0; 8];
        self.house.entropy.fill(&mut random)?;
        Ok(random)
    }
}

fn instant(bytes: &[u8]) -> Timestamp {
    Timestamp::from_micros(bytes.first_chunk::<8>().copied().map_or(0, u64::from_be_bytes))
}
