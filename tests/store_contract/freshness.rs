//! Readers race with writers: after a commit was acknowledged, nothing rests on what was before.

use crate::{
    clock::ManualClock,
    embedded::{CachedWorld, open},
    fixtures::*,
    world::{World, sought},
};
use keygate::{
    app::ports::{Fence, Found, Freshness, Store},
    domain::{
        key::{KeyPatch, revoke, update},
        limit::{Charged, Plan},
    },
    store::{Backend, CacheSettings, Cached, embedded::Embedded},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Ends the readers, also when the writer fails: a failed test must not hang.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The version of the account that a charge confirmed, beginning from whatever is remembered.
async fn confirmed(store: &Backend, number: u64) -> (u64, bool) {
    let realm = realm();
    let mut freshness = Freshness::Remembered;
    loop {
        let Found::Key(key) = sought(store, &[digest(number)], freshness).await.unwrap() else {
            panic!("key {number} is hidden");
        };
        let plan = Plan::new(&realm, Some(&key.owner.account), 1, true);
        let fence = Fence { owner: &key.owner, stamp: key.stamp };
        if store.charge(&[fence], &plan).await.unwrap() != Charged::Stale {
            return (key.account.version, key.key.revoked.is_some());
        }
        freshness = Freshness::Fresh;
    }
}

#[test]
fn no_charge_confirms_what_was_before_an_acknowledged_commit() {
    let world = block(CachedWorld::open());
    let owner = owner("acme");
    block(world.create(&owner, 1));
    let (acknowledged, revoked, done) = (AtomicU64::new(1), AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let stop = Stop(&done);
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    block(async {
                        let mut decisions = 0u64;
                        while !done.load(Ordering::SeqCst) {
                            let (version, is_revoked) =
                                (acknowledged.load(Ordering::SeqCst), revoked.load(Ordering::SeqCst));
                            let (read, read_revoked) = confirmed(world.store(), 1).await;
                            assert!(read >= version, "version {read} was confirmed after {version} was acknowledged");
                            assert!(read_revoked || !is_revoked, "a revoked key was confirmed as working");
                            decisions += 1;
                        }
                        decisions
                    })
                })
            })
            .collect();
        block(async {
            for _ in 0..150 {
                let account = world.account(&owner).await.unwrap();
                let key = world.store().read_keys(&owner, &[key_id(1)]).await.unwrap().remove(0).unwrap();
                let (change, _) =
                    update(&acting(&owner, Some(&account), world.now()), &[], &key, None, KeyPatch::default()).unwrap();
                world.commit(&change).await;
                acknowledged.store(change.account.version, Ordering::SeqCst);
            }
            let account = world.account(&owner).await.unwrap();
            let key = world.store().read_keys(&owner, &[key_id(1)]).await.unwrap().remove(0).unwrap();
            let (change, _) = revoke(&acting(&owner, Some(&account), world.now()), &[key], None, "").unwrap();
            world.commit(&change).await;
            acknowledged.store(change.account.version, Ordering::SeqCst);
            revoked.store(true, Ordering::SeqCst);
            thread::sleep(std::time::Duration::from_millis(20));
        });
        drop(stop);
        for reader in readers {
            assert!(reader.join().unwrap() > 100, "a reader was starved");
        }
    });
}

#[test]
fn no_remembered_miss_hides_an_acknowledged_key() {
    let world = block(CachedWorld::open());
    let (wanted, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let stop = Stop(&done);
        for _ in 0..3 {
            scope.spawn(|| {
                block(async {
                    while !done.load(Ordering::SeqCst) {
                        let next = wanted.load(Ordering::SeqCst);
                        let _ = sought(world.store(), &[digest(next)], Freshness::Remembered).await;
                    }
                });
            });
        }
        block(async {
            let owner = owner("acme");
            for number in 0..150 {
                wanted.store(number, Ordering::SeqCst);
                assert!(number % 5 > 0 || world.find(&digest(number), Freshness::Remembered).await.is_none());
                world.create(&owner, number).await;
                confirmed(world.store(), number).await;
            }
        });
        drop(stop);
    });
}

/// A store, its clock, and how little shall be remembered of it.
fn little_memory(directory: &tempfile::TempDir) -> (Embedded, Arc<ManualClock>, CacheSettings) {
    let clock = Arc::new(ManualClock::new());
    let store = open(directory.path(), &ring(&[(1, 1)]), clock.clone()).unwrap();
    (store, clock, CacheSettings { keys: 64, accounts: 64, misses: 64, miss_lifetime: Duration::from_secs(5) })
}

#[test]
fn memory_for_keys_and_misses_is_bounded_and_a_miss_is_forgotten_in_time() {
    let directory = tempfile::TempDir::new().unwrap();
    let (store, clock, settings) = little_memory(&directory);
    // Two nodes over one store: neither hears of the other's commits.
    let (mine, yours) =
        (Cached::new(store.clone(), settings, clock.clone()), Cached::new(store.clone(), settings, clock.clone()));
    let is_there = |number| {
        let found = block(sought(&mine, &[digest(number)], Freshness::Remembered)).unwrap();
        matches!(found, Found::Key(_))
    };
    assert!(!is_there(1));
    let (change, _) = creating(&owner("acme"), None, 1, Default::default());
    block(yours.commit(&change)).unwrap();
    assert!(!is_there(1), "the miss is remembered");
    clock.pass(Duration::from_secs(5));
    assert!(is_there(1));
    for number in 2..2_000 {
        is_there(number);
    }
    for number in 10_000..10_300 {
        let (change, _) = creating(&owner(&format!("a{number}")), None, number, Default::default());
        if number < 10_100 {
            block(mine.commit(&change)).unwrap();
            assert!(is_there(number));
        }
    }
    assert!(mine.remembered() <= 64, "{}", mine.remembered());
}

#[test]
fn a_key_with_much_text_takes_the_place_of_several() {
    let directory = tempfile::TempDir::new().unwrap();
    let (store, clock, settings) = little_memory(&directory);
    let memory = Cached::new(store, settings, clock);
    for number in 1..=40 {
        let (mut change, _) = creating(&owner(&format!("a{number}")), None, number, Default::default());
        let entries = (0..16).map(|entry| (format!("entry-{entry}"), "x".repeat(512)));
        change.put[0].metadata = entries.collect();
        block(memory.commit(&change)).unwrap();
        let found = block(sought(&memory, &[digest(number)], Freshness::Remembered)).unwrap();
        assert!(matches!(found, Found::Key(_)));
    }
    // 8 KiB each, kept twice: 17 of the 64 places.
    assert!(memory.remembered() <= 4, "{}", memory.remembered());
}
