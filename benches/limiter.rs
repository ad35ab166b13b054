//! What the parts of one decision cost inside the process, as multiples of a reference from the same run: adding one to a
//! number that is found in a hash map of 100,000, the least that any keyed counter can cost.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a bench that cannot measure fails loudly")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot measure fails loudly"
)]
#![allow(dead_code, reason = "every bench uses its part of the shared modules")]

#[path = "support/keys.rs"]
mod keys;
#[path = "support/median.rs"]
mod median;

use keygate::{
    app::ports::{Clock, Store},
    config::parse_realm,
    domain::{
        id::{AccountId, Environment, KeyId},
        key::{SecretRing, ServerSecret},
        limit::{Charged, Plan, Shape, Subject, Window},
        realm::Realm,
        time::{Ticks, Timestamp},
    },
    store::embedded::Embedded,
};
use median::median;
use std::{
    collections::HashMap,
    hint::black_box,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const COUNT: usize = 100_000;
const ROUNDS: usize = 7;

/// The bench realm with two more limits.
const MORE_LIMITS: &str = r#"
[[limits]]
name = "by-account"
limit = 1_000_000_000
window = "1h"
per = ["account"]

[[limits]]
name = "by-address"
limit = 1_000_000_000
window = "1d"
per = ["account", "address"]
"#;

struct RealClock(Instant);

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.micros())
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(self.micros())
    }

    fn observe(&self, _: Timestamp) {}
}

impl RealClock {
    fn micros(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_micros()).expect("less than centuries")
    }
}

fn main() {
    let mut order: Vec<usize> = (0..COUNT).collect();
    keys::Numbers(3).shuffle(&mut order);
    let order = &order[..];

    let mut counts: HashMap<u64, u64> = (0..COUNT as u64).map(|number| (number, 0)).collect();
    let reference = measure(order, |at| {
        *counts.get_mut(&(at as u64)).expect("it is there") += 1;
    });
    println!("medians of {ROUNDS} rounds over {COUNT} keys in shuffled turn");
    println!("  {:<58} {:>9} {:>7}", "", "ns", "ratio");
    let line = |what: &str, nanos: f64| println!("  {what:<58} {nanos:>9.0} {:>7.1}", nanos / reference);
    line("reference: add one in a hash map", reference);

    let shape = Shape::new(Duration::from_secs(60), Shape::DEFAULT_PRECISION).expect("a legal shape");
    let mut windows: Vec<_> = (0..COUNT).map(|_| Window::new(vec![0; shape.ring_length()])).collect();
    let clock: Arc<dyn Clock> = Arc::new(RealClock(Instant::now()));
    line("clock: one reading", measure(order, |_| discard(clock.ticks())));
    let window = measure(order, |at| {
        let now = Ticks::from_micros(1_000_000_000 + at as u64);
        black_box(windows[at].look(shape, u32::MAX, 1, now));
        black_box(windows[at].charge(shape, 1, now));
    });
    line("window: look and charge", window);

    let realm = parse_realm("bench.toml", keys::REALM_FILE).expect("the bench's realm is legal");
    let keys = keys::make(COUNT);
    line("key: recognize its format", measure(order, |at| assert!(realm.recognize(&keys[at]).is_some())));
    let ring = ring();
    let digester = ring.digester(&realm);
    line("key: keyed digest (HMAC-SHA256)", measure(order, |at| discard(digester.newest(0, &keys[at]))));

    charges(&realm, order, &ring, &clock, |what, nanos| line(what, nanos));
    let three = format!("{}{MORE_LIMITS}", keys::REALM_FILE);
    let three = parse_realm("bench.toml", &three).expect("the bench's realm is legal");
    charges(&three, order, &ring, &clock, |what, nanos| line(what, nanos));
}

fn charges(realm: &Realm, order: &[usize], ring: &SecretRing, clock: &Arc<dyn Clock>, line: impl Fn(&str, f64)) {
    let dir = tempfile::TempDir::with_prefix("keygate-bench-").expect("a temporary directory can be made");
    let store = Embedded::open(dir.path(), ring, Arc::clone(clock), 10_000_000);
    let store = store.expect("a store can be made");
    let accounts: Vec<AccountId> =
        (0..COUNT).map(|at| AccountId::new(&format!("account-{:06}", at / 10)).expect("a legal id")).collect();
    let environment = Environment::new(keys::ENVIRONMENT).expect("a legal name");
    let plan = |at: usize| {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&(at as u64).to_be_bytes());
        let account = Some(&accounts[at]);
        let subject = Subject {
            account,
            target_account: account,
            key: Some(KeyId::from_bytes(id)),
            bearer: None,
            address: Some([203, 0, 113, 7].into()),
            custom: None,
            descriptor: None,
        };
        let mut plan = Plan::new(realm, account, 1, true);
        for rule in &realm.limits {
            plan.add(Some(&environment), rule, &subject).expect("the subject has every part");
        }
        plan
    };
    let count = realm.limits.len();
    line(&format!("plan of {count}: put together"), measure(order, |at| discard(plan(at))));
    let charge = measure(order, |at| {
        let plan = plan(at);
        let mut charging = pin!(store.charge(&[], &plan));
        match charging.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Charged::Decided(readings))) => assert!(readings.iter().all(|reading| reading.admits)),
            _ => panic!("the embedded store decides at once"),
        }
    });
    line(&format!("plan of {count}: put together and charged, embedded store"), charge);
}

/// Takes a result, so that the work for it is done.
fn discard<T>(result: T) {
    black_box(result);
}

fn ring() -> SecretRing {
    SecretRing::new(vec![ServerSecret::new(1, Zeroizing::new([7; 32]))]).expect("there is one")
}

/// Median nanoseconds of one call, after a round that does not count.
fn measure(order: &[usize], mut work: impl FnMut(usize)) -> f64 {
    let mut round = || {
        let begun = Instant::now();
        for at in order {
            work(black_box(*at));
        }
        begun.elapsed().as_nanos() as f64 / order.len() as f64
    };
    round();
    median((0..ROUNDS).map(|_| round()))
}
