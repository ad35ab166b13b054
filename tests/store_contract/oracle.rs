//! The embedded counters against the slow model, and against an oracle that only knows what a limit promises.

use crate::{
    clock::{ManualClock, RacingClock},
    embedded::open,
    fixtures::*,
};
use keygate::{
    app::ports::{Clock, Store},
    domain::{
        limit::{Charged, LimitRule, Plan, Reading, Shape, WindowModel},
        realm::Realm,
    },
    store::embedded::Embedded,
};
use proptest::prelude::*;
use std::{
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};
use tempfile::TempDir;

static REALM: LazyLock<Realm> = LazyLock::new(realm);

/// The embedded store decides without ever waiting.
fn charge(store: &Embedded, plan: &Plan<'_>) -> Vec<Reading> {
    match pin!(store.charge(&[], plan)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(Charged::Decided(readings))) => readings.into_vec(),
        other => panic!("{other:?}"),
    }
}

fn store(clock: Arc<dyn Clock>) -> (Embedded, TempDir) {
    let directory = TempDir::new().unwrap();
    (open(directory.path(), &ring(&[(1, 1)]), clock).unwrap(), directory)
}

fn limit(window_ms: u64, precision: u32, limit: u32) -> LimitRule {
    let window = Duration::from_millis(window_ms);
    LimitRule { window, shape: Shape::new(window, precision).unwrap(), ..rule("requests", limit) }
}

#[derive(Debug, Clone)]
enum Step {
    Pass(u64),
    Charge(u32),
    Look(u32),
    SetLimit(u32),
}

fn steps() -> impl Strategy<Value = (u64, u32, u32, Vec<Step>)> {
    (1_000u64..5_000, 1u32..=120, 1u32..60).prop_flat_map(|(window_ms, precision, most)| {
        let shape = Shape::new(Duration::from_millis(window_ms), precision).unwrap();
        let (bucket, life) = (shape.bucket_us(), shape.lifetime_us());
        let pass = prop_oneof![
            1 => Just(1), 2 => Just(bucket - 1), 2 => Just(bucket), 1 => Just(bucket + 1), 3 => 0..bucket * 3,
            2 => 0..life, 1 => Just(life), 1 => Just(life - 1), 1 => life..life * 3,
        ];
        let step = prop_oneof![
            4 => pass.prop_map(Step::Pass),
            8 => (0..most + 2).prop_map(Step::Charge),
            1 => Just(Step::Charge(u32::MAX)),
            2 => (0..most + 2).prop_map(Step::Look),
            1 => (1..most * 2 + 1).prop_map(Step::SetLimit),
        ];
        (Just(window_ms), Just(precision), Just(most), prop::collection::vec(step, 1..120))
    })
}

#[test]
fn every_reading_is_the_models() {
    let clock = Arc::new(ManualClock::new());
    let (store, _directory) = store(clock.clone());
    let next = std::cell::Cell::new(0u64);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(600));
    runner
        .run(&steps(), |(window_ms, precision, most, steps)| {
            next.set(next.get() + 1);
            let subject = next.get().to_string();
            let mut rule = limit(window_ms, precision, most);
            let mut model = WindowModel::new(rule.shape, most);
            for step in steps {
                let (cost, charging) = match step {
                    Step::Pass(micros) => {
                        clock.pass(Duration::from_micros(micros));
                        continue;
                    }
                    Step::SetLimit(limit) => {
                        rule.limit = limit;
                        model.set_limit(limit);
                        continue;
                    }
                    Step::Charge(cost) => (cost, true),
                    Step::Look(cost) => (cost, false),
                };
                let read = charge(&store, &plan(&REALM, &[&rule], &subject, cost, charging))[0];
                prop_assert_eq!(read, model.decide(cost, charging, clock.ticks()));
            }
            Ok(())
        })
        .unwrap();
}

/// The largest share of the limit that any trailing window admitted, by what was admitted when.
fn worst_share(mut admitted: Vec<(u64, u32)>, window_us: u64, limit: u32) -> f64 {
    admitted.sort_unstable();
    let (mut first, mut inside, mut worst) = (0, 0u64, 0u64);
    for (at, cost) in &admitted {
        inside += u64::from(*cost);
        while admitted[first].0 + window_us <= *at {
            inside -= u64::from(admitted[first].1);
            first += 1;
        }
        worst = worst.max(inside);
    }
    worst as f64 / f64::from(limit)
}

/// Small and repeatable; the schedules need variety, not secrecy.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

#[test]
fn no_schedule_of_a_million_decisions_passes_the_limit() {
    let clock = Arc::new(RacingClock::new(1));
    let (store, _directory) = store(clock.clone());
    let mut decisions = 0;
    let mut fullest: f64 = 0.0;
    for (round, precision) in [1, 2, 7, 60, 120].into_iter().enumerate() {
        for schedule in 0..4 {
            let rule = limit(1_000, precision, 200);
            let bucket = rule.shape.bucket_us();
            let mut random = Random((round * 4 + schedule) as u64);
            let subject = format!("{precision} {schedule}");
            let mut admitted = Vec::new();
            for turn in 0u64..52_000 {
                let now = clock.peek();
                match schedule {
                    // Bursts that end with a bucket, with some buckets left out.
                    0 if turn % 40 == 0 => {
                        clock.skip((bucket * (1 + random.below(3)) - now % bucket).saturating_sub(60))
                    }
                    // Bursts that begin with a bucket.
                    1 if turn % 40 == 0 => clock.skip(bucket * (1 + random.below(3)) - now % bucket),
                    // Saturation: always at the limit.
                    2 => clock.skip(random.below(400)),
                    3 => clock.skip(random.below(3_000)),
                    _ => {}
                }
                let cost = if schedule == 3 { 1 + random.below(90) as u32 } else { 1 };
                if charge(&store, &plan(&REALM, &[&rule], &subject, cost, true))[0].admits {
                    admitted.push((RacingClock::last_read(), cost));
                }
                decisions += 1;
            }
            let worst = worst_share(admitted, 1_000_000, 200);
            assert!(worst <= 1.0, "precision {precision}, schedule {schedule}: {worst} of the limit in one window");
            fullest = fullest.max(worst);
        }
    }
    assert!(decisions >= 1_000_000, "{decisions}");
    assert_eq!(fullest, 1.0, "the schedules must reach the limit");
}

#[test]
fn four_threads_together_never_pass_a_limit_and_plans_stay_whole() {
    let clock = Arc::new(RacingClock::new(3));
    let (store, _directory) = store(clock.clone());
    let rules = [limit(1_000, 60, 500), LimitRule { name: "second".into(), ..limit(1_500, 7, 600) }];
    let mut admitted = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..4u64)
            .map(|number| {
                let (store, rules, clock) = (&store, &rules, &clock);
                scope.spawn(move || {
                    let mut random = Random(number);
                    let mut admitted = Vec::new();
                    for turn in 0..60_000 {
                        if turn % 50 == 0 {
                            clock.skip(random.below(60_000));
                        }
                        let cost = 1 + random.below(4) as u32;
                        // Both orders: threads that locked as they were told would wait for each other.
                        let order = if turn % 2 == 0 { [&rules[0], &rules[1]] } else { [&rules[1], &rules[0]] };
                        let readings = charge(store, &plan(&REALM, &order, "s", cost, true));
                        if readings.iter().all(|reading| reading.admits) {
                            admitted.push((RacingClock::last_read(), cost));
                        }
                    }
                    admitted
                })
            })
            .collect();
        for thread in threads {
            admitted.extend(thread.join().unwrap());
        }
    });
    let shares = [worst_share(admitted.clone(), 1_000_000, 500), worst_share(admitted.clone(), 1_500_000, 600)];
    assert!(shares.iter().all(|share| *share <= 1.0), "{shares:?}");
    assert!(shares.iter().any(|share| *share > 0.98), "{shares:?}");
}

#[test]
fn windows_that_count_nothing_are_forgotten() {
    let clock = Arc::new(ManualClock::new());
    let (store, _directory) = store(clock.clone());
    let rule = limit(1_000, 10, 5);
    for second in 0..20 {
        for number in 0..2_000 {
            charge(&store, &plan(&REALM, &[&rule], &format!("{second} {number}"), 1, true));
        }
        clock.pass(Duration::from_secs(2));
    }
    let remembered = store.counters();
    assert!(remembered < 8_000, "{remembered} of 40,000 windows are remembered, and 2,000 lived at a time");
}

#[test]
#[ignore = "a measurement: run with --release --nocapture"]
fn cost_of_a_charge() {
    struct Fixed;
    impl Clock for Fixed {
        fn now(&self) -> keygate::domain::time::Timestamp {
            Default::default()
        }
        fn ticks(&self) -> keygate::domain::time::Ticks {
            keygate::domain::time::Ticks::from_micros(5_000_000)
        }
        fn observe(&self, _: keygate::domain::time::Timestamp) {}
    }
    let (store, _directory) = store(Arc::new(Fixed));
    let rule = rule("requests", 1_000_000_000);
    for subjects in [1usize, 1_000, 100_000] {
        let names: Vec<String> = (0..subjects).map(|n| format!("subject-{n}")).collect();
        names.iter().for_each(|name| drop(charge(&store, &plan(&REALM, &[&rule], name, 1, true))));
        let rounds = 2_000_000usize;
        #[expect(clippy::disallowed_methods, reason = "measures real time")]
        let run = |decide: &dyn Fn(&Plan<'_>)| {
            let started = std::time::Instant::now();
            for turn in 0..rounds {
                decide(&plan(&REALM, &[&rule], &names[turn.wrapping_mul(7_919) % subjects], 1, true));
            }
            started.elapsed().as_nanos() / rounds as u128
        };
        // A plan is made for each request: what that costs is taken off.
        let planning = run(&|plan| assert!(!std::hint::black_box(plan).items().is_empty()));
        let both = run(&|plan| drop(std::hint::black_box(charge(&store, plan))));
        println!(
            "{subjects} subjects: {} ns a charge, beside {planning} ns for the plan",
            both.saturating_sub(planning)
        );
    }
}
