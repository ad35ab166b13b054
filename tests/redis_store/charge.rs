//! Decisions: the script against the model, many clients at once, the fence.

use crate::{
    support::redis::RedisServer,
    world::{Dice, limit, made, open, owner, plan, realm, revocation},
};
use keygate::{
    app::ports::{Fence, Store, StoreError},
    domain::{
        limit::{Charged, LimitRule, Plan, Reading, WindowModel},
        time::Ticks,
    },
};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

fn decided(charged: Charged) -> Vec<Reading> {
    match charged {
        Charged::Decided(readings) => readings.into_vec(),
        Charged::Stale => panic!("a charge without a fence is never stale"),
    }
}

/// What the models say: all or nothing, and shadow limits never stand in the way.
fn expected(rules: &[LimitRule], models: &mut [WindowModel], cost: u32, charging: bool, now: Ticks) -> Vec<Reading> {
    let looks: Vec<Reading> = models.iter_mut().map(|model| model.decide(cost, false, now)).collect();
    let passes = looks.iter().zip(rules).all(|(look, rule)| look.admits || rule.shadow);
    let settle = |(model, look): (&mut WindowModel, Reading)| {
        if passes && charging && look.admits { model.decide(cost, true, now) } else { look }
    };
    models.iter_mut().zip(looks).map(settle).collect()
}

#[tokio::test]
async fn decides_exactly_as_the_model() {
    let server = RedisServer::start();
    let (store, clock) = open(&server).await;
    let mut rules = vec![
        limit("tight", 40, SECOND, 10),
        limit("coarse", 300, SECOND, 1),
        limit("fine", 90, Duration::from_millis(1_300), 120),
        limit("watched", 25, SECOND, 7),
    ];
    rules[3].shadow = true;
    let mut realm = realm(rules);
    let accounts: Vec<_> = (0..8).map(|n| owner(&format!("account-{n}")).account).collect();
    let fresh = |_| realm.limits.iter().map(|rule| WindowModel::new(rule.shape, rule.limit)).collect::<Vec<_>>();
    let mut models: Vec<Vec<WindowModel>> = accounts.iter().map(fresh).collect();

    let mut dice = Dice(7);
    let (mut decisions, mut denied, mut retries) = (0_u32, 0_u32, 0_u32);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(7) {
        let busy = usize::try_from(dice.roll(8).min(dice.roll(8))).unwrap();
        let cost = u32::try_from([0, 1, 1, 2, 3, 5, 8, 13, 30, 200, 301][dice.roll(11) as usize]).unwrap();
        let charging = dice.roll(5) > 0;
        let charged = store.charge(&[], &plan(&realm, &accounts[busy], cost, charging)).await.unwrap();
        let now = clock.told();
        let readings = decided(charged);
        assert_eq!(readings, expected(&realm.limits, &mut models[busy], cost, charging, now), "decision {decisions}");
        decisions += 1;
        denied += u32::from(readings.iter().any(|reading| !reading.admits));
        retries += u32::from(readings.iter().any(|reading| reading.retry_us.is_some()));
        match dice.roll(400) {
            0 => tokio::time::sleep(Duration::from_millis(1_500)).await,
            1..=4 => tokio::time::sleep(Duration::from_millis(180)).await,
            5..=60 => tokio::time::sleep(Duration::from_millis(5)).await,
            61..=62 => {
                // A limit that is raised or lowered keeps what was admitted.
                let (which, to) = (dice.roll(4) as usize, u32::try_from(20 + dice.roll(200)).unwrap());
                realm.limits[which].limit = to;
                models.iter_mut().for_each(|models| models[which].set_limit(to));
            }
            _ => {}
        }
    }
    println!("{decisions} decisions, {denied} denied by some limit, {retries} with a time to retry");
    assert!(decisions > 400 && denied > 100 && retries > 50 && denied < decisions);
}

#[tokio::test]
async fn many_clients_together_are_never_admitted_more_than_the_limit_in_any_window() {
    let server = RedisServer::start();
    let window = Duration::from_millis(1_000);
    let rules = vec![limit("shared", 500, window, 10)];
    let realm = std::sync::Arc::new(realm(rules));
    let stop = Instant::now() + Duration::from_secs(4);
    let tasks = tokio::task::LocalSet::new();
    let admitted = std::rc::Rc::new(std::cell::RefCell::new(Vec::<(u64, u32)>::new()));
    for connection in 0..4_u64 {
        let (store, clock) = open(&server).await;
        for task in 0..2_u64 {
            let (store, clock, realm, admitted) = (store.clone(), clock.clone(), realm.clone(), admitted.clone());
            tasks.spawn_local(async move {
                let account = owner("acme").account;
                let mut dice = Dice(connection * 2 + task);
                while Instant::now() < stop {
                    let cost = u32::try_from(1 + dice.roll(9)).unwrap();
                    let readings = decided(store.charge(&[], &plan(&realm, &account, cost, true)).await.unwrap());
                    if readings[0].admits {
                        admitted.borrow_mut().push((clock.told().as_micros(), cost));
                    } else if dice.roll(3) == 0 {
                        // Come back at the very instant that was told, all of them at once.
                        tokio::time::sleep(Duration::from_micros(readings[0].retry_us.unwrap())).await;
                    }
                }
            });
        }
    }
    tasks.await;
    let mut admitted = admitted.take();
    admitted.sort_unstable();
    let window_us = u64::try_from(window.as_micros()).unwrap();
    let (mut most, mut sum, mut first) = (0, 0, 0);
    for (now, cost) in &admitted {
        sum += cost;
        while admitted[first].0 + window_us <= *now {
            sum -= admitted[first].1;
            first += 1;
        }
        most = most.max(sum);
    }
    println!("{} admitted, at most {most} of 500 in any window", admitted.len());
    assert!(most <= 500, "{most} were admitted in one window");
    assert!(most > 450, "only {most}: the test did not press");
}

#[tokio::test]
async fn a_charge_is_stale_once_the_account_changed() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let owner = owner("acme");
    let key = made(&store, &owner, 1).await;
    let realm = realm(vec![limit("all", 10, SECOND, 10)]);
    let fence = Fence { owner: &owner, stamp: key.stamp };
    let bare = Plan::new(&realm, Some(&owner.account), 1, true);
    let charging = plan(&realm, &owner.account, 1, true);

    assert_eq!(decided(store.charge(&[fence], &charging).await.unwrap())[0].used, 1);
    assert_eq!(store.charge(&[fence], &bare).await.unwrap(), Charged::Decided(Default::default()));
    store.commit(&revocation(&owner, &key.account, &key.key)).await.unwrap();
    assert_eq!(store.charge(&[fence], &charging).await.unwrap(), Charged::Stale);
    assert_eq!(store.charge(&[fence], &bare).await.unwrap(), Charged::Stale);
    assert_eq!(decided(store.charge(&[], &plan(&realm, &owner.account, 0, false)).await.unwrap())[0].used, 1);
}

#[tokio::test]
async fn nothing_is_charged_when_one_limit_denies() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let account = owner("acme").account;
    let wide = Duration::from_secs(3_600);
    let mut realm =
        realm(vec![limit("wide", 100, wide, 10), limit("narrow", 3, wide, 10), limit("watched", 2, wide, 10)]);
    realm.limits[2].shadow = true;
    let used =
        |charged: Charged| decided(charged).iter().map(|reading| (reading.admits, reading.used)).collect::<Vec<_>>();

    let two = plan(&realm, &account, 2, true);
    assert_eq!(used(store.charge(&[], &two).await.unwrap()), [(true, 2), (true, 2), (true, 2)]);
    assert_eq!(used(store.charge(&[], &two).await.unwrap()), [(true, 2), (false, 2), (false, 2)]);
    let one = plan(&realm, &account, 1, true);
    assert_eq!(
        used(store.charge(&[], &one).await.unwrap()),
        [(true, 3), (true, 3), (false, 2)],
        "a shadow denies nobody"
    );
    let never = decided(store.charge(&[], &plan(&realm, &account, 101, true)).await.unwrap());
    assert!(never.iter().all(|reading| !reading.admits && reading.retry_us.is_none()));
}

#[tokio::test]
async fn a_counter_that_a_plan_names_twice_is_charged_once() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let account = owner("acme").account;
    let realm = realm(vec![limit("all", 3, Duration::from_secs(60), 10), limit("all", 3, Duration::from_secs(60), 10)]);
    for used in 1..=3 {
        let readings = decided(store.charge(&[], &plan(&realm, &account, 1, true)).await.unwrap());
        assert_eq!(readings.iter().map(|reading| reading.used).collect::<Vec<_>>(), [used, used]);
    }
    assert!(!decided(store.charge(&[], &plan(&realm, &account, 1, true)).await.unwrap())[0].admits);
}

#[tokio::test]
async fn counters_expire_and_spoilt_ones_are_told() {
    let server = RedisServer::start();
    let (store, _) = open(&server).await;
    let account = owner("acme").account;
    let realm = realm(vec![limit("all", 10, SECOND, 10)]);
    let charging = plan(&realm, &account, 1, true);
    for _ in 0..3 {
        store.charge(&[], &charging).await.unwrap();
    }
    // Reach the binary name through the server itself.
    let eval = |script: &str| server.cli(&["EVAL", script, "0"]);
    assert_eq!(eval("return #redis.call('KEYS', 'kg1:{recurr/acme}:c:*')"), "1");
    let ttl: u64 = eval("return redis.call('PTTL', redis.call('KEYS', 'kg1:*:c:*')[1])").parse().unwrap();
    assert!((600..=1_200).contains(&ttl), "{ttl} ms");
    eval("return redis.call('SETRANGE', redis.call('KEYS', 'kg1:*:c:*')[1], 60, 'x')");
    eval("return redis.call('PERSIST', redis.call('KEYS', 'kg1:*:c:*')[1])");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let spoilt = store.charge(&[], &charging).await;
    assert!(matches!(spoilt, Err(StoreError::Corrupt(_))), "{spoilt:?}");
    eval("local k = redis.call('KEYS', 'kg1:*:c:*')[1] redis.call('DEL', k) return redis.call('HSET', k, 'a', 'b')");
    let spoilt = store.charge(&[], &charging).await;
    assert!(matches!(spoilt, Err(StoreError::Corrupt(_))), "{spoilt:?}");
}
