//! The room for embedded counters: what happens when callers invent more subjects than there is room for.

use crate::{clock::ManualClock, fixtures::*};
use keygate::{
    app::ports::{Store, StoreError},
    domain::{
        limit::{Charged, LimitRule, OnStoreFailure, Plan, Reading},
        realm::Realm,
    },
    store::embedded::Embedded,
};
use std::{sync::Arc, time::Duration};
use tempfile::TempDir;

/// Less than one for each shard, and room in all of them together.
const ROOM: usize = 100;

struct Small {
    store: Embedded,
    clock: Arc<ManualClock>,
    realm: Realm,
    _directory: TempDir,
}

impl Small {
    fn open() -> Self {
        let (directory, clock) = (TempDir::new().unwrap(), Arc::new(ManualClock::new()));
        let store = Embedded::open(directory.path(), &ring(&[(1, 1)]), clock.clone(), ROOM).unwrap();
        Self { store, clock, realm: realm(), _directory: directory }
    }

    async fn try_charge(&self, plan: &Plan<'_>) -> Result<Vec<Reading>, StoreError> {
        match self.store.charge(&[], plan).await? {
            Charged::Decided(readings) => Ok(readings.into_vec()),
            Charged::Stale => panic!("stale without a fence"),
        }
    }

    async fn charge(&self, rules: &[&LimitRule], subject: &str) -> Result<Vec<Reading>, StoreError> {
        self.try_charge(&plan(&self.realm, rules, subject, 1, true)).await
    }

    async fn fill(&self, rule: &LimitRule) {
        for number in 0..ROOM {
            self.charge(&[rule], &format!("s{number}")).await.unwrap();
        }
        assert_eq!(self.store.counters(), ROOM);
    }
}

#[tokio::test]
async fn what_counts_still_never_makes_room_for_what_is_new() {
    let (small, limit) = (Small::open(), rule("requests", 3));
    small.fill(&limit).await;
    for number in 0..10 * ROOM {
        let refused = small.charge(&[&limit], &format!("new {number}")).await;
        assert!(matches!(&refused, Err(StoreError::Full(why)) if why.contains("`requests`")), "{refused:?}");
    }
    assert_eq!(small.store.counters(), ROOM);
    // What is kept is counted as ever: three in all, and no fourth.
    for number in 0..ROOM {
        let subject = format!("s{number}");
        for used in [2, 3] {
            assert_eq!(small.charge(&[&limit], &subject).await.unwrap()[0].used, used);
        }
        assert!(!small.charge(&[&limit], &subject).await.unwrap()[0].admits);
    }
    // A look needs no room, nor does what is denied anyway.
    for (cost, charging) in [(1, false), (0, true), (4, true)] {
        let look = plan(&small.realm, &[&limit], "new", cost, charging);
        assert_eq!(small.try_charge(&look).await.unwrap()[0].admits, cost < 4);
    }
}

#[tokio::test]
async fn windows_that_are_over_make_room() {
    let (small, limit) = (Small::open(), rule("requests", 3));
    small.fill(&limit).await;
    small.clock.pass(Duration::from_secs(30));
    small.charge(&[&limit], "s0").await.unwrap();
    small.clock.pass(Duration::from_secs(32));
    // All but one are over. The others are found wherever they lie, though not all at the first look.
    let mut kept = 0;
    for number in 0..10 * ROOM {
        kept += usize::from(small.charge(&[&limit], &format!("new {number}")).await.is_ok());
        assert!(small.store.counters() <= ROOM);
    }
    assert_eq!(kept, ROOM - 1);
    assert_eq!(small.charge(&[&limit], "s0").await.unwrap()[0].used, 2);
}

#[tokio::test]
async fn a_limit_that_may_be_passed_over_is_and_lifts_no_other() {
    let (small, limit) = (Small::open(), rule("requests", 2));
    small.fill(&limit).await;
    let lenient = LimitRule { on_store_failure: OnStoreFailure::Allow, ..rule("lenient", 2) };
    let shadow = LimitRule { shadow: true, ..rule("shadow", 2) };
    assert_eq!(small.charge(&[&lenient], "s0").await, Ok(vec![Reading::UNKEPT]));
    // The kept one is counted, and denies, beside those that are not.
    for used in [2, 2] {
        let readings = small.charge(&[&lenient, &limit, &shadow], "s0").await.unwrap();
        assert_eq!(readings[1].used, used);
        let denied = !readings[1].admits;
        assert!(readings.iter().all(|reading| reading.kept) == denied, "{readings:?}");
    }
    assert!(!small.charge(&[&limit], "s0").await.unwrap()[0].admits);
    // One that may not be passed over, and nothing is charged.
    let strict = rule("strict", 2);
    assert!(matches!(small.charge(&[&limit, &lenient, &strict], "s1").await, Err(StoreError::Full(_))));
    assert_eq!(small.charge(&[&limit], "s1").await.unwrap()[0].used, 2);
    assert_eq!(small.store.counters(), ROOM);
}

#[tokio::test]
async fn room_that_a_refused_plan_took_is_given_back() {
    let (small, limit) = (Small::open(), rule("requests", 3));
    for number in 0..ROOM - 1 {
        small.charge(&[&limit], &format!("s{number}")).await.unwrap();
    }
    let (one, two) = (rule("one", 3), rule("two", 3));
    for _ in 0..3 {
        assert!(matches!(small.charge(&[&one, &two], "s").await, Err(StoreError::Full(_))));
    }
    assert_eq!(small.store.counters(), ROOM - 1);
    small.charge(&[&one, &one], "a plan that names one counter twice needs room for one").await.unwrap();
    assert_eq!(small.store.counters(), ROOM);
}

#[test]
fn many_at_once_find_no_more_room_than_there_is() {
    let small = Small::open();
    let kept = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                scope.spawn({
                    let small = &small;
                    move || {
                        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                        let (one, two) = (rule("one", 3), rule("two", 3));
                        let charge = |number| {
                            runtime.block_on(small.charge(&[&one, &two], &format!("{thread} {number}"))).is_ok()
                        };
                        (0..ROOM).filter(|number| charge(*number)).count()
                    }
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
    });
    assert!((ROOM / 2 - 8..=ROOM / 2).contains(&kept), "{kept}");
    assert_eq!(small.store.counters(), 2 * kept);
}
