//! Cases: charging limits. None depends on where in a bucket it begins, nor on how fast it runs.

use crate::{fixtures::*, world::World};
use keygate::{
    app::ports::Store,
    domain::{
        limit::{Charged, LimitRule, Part, Plan, Shape, Subject},
        realm::Realm,
    },
};
use std::time::Duration;

pub async fn the_limit_is_admitted_exactly_and_a_denial_costs_nothing<W: World>(world: &W) {
    let (realm, limit) = (realm(), rule("requests", 5));
    for used in [2, 4] {
        let reading = world.charge(&plan(&realm, &[&limit], "s", 2, true)).await[0];
        assert!(reading.admits && reading.used == used && reading.retry_us.is_none());
        assert!((60_000_000..=61_000_000).contains(&reading.reset_us), "{reading:?}");
    }
    for _ in 0..3 {
        let denied = world.charge(&plan(&realm, &[&limit], "s", 2, true)).await[0];
        assert!(!denied.admits && denied.used == 4);
        assert!(denied.retry_us.is_some_and(|wait| (1..=61_000_000).contains(&wait)));
    }
    assert!(world.charge(&plan(&realm, &[&limit], "s", 1, true)).await[0].admits);
    assert!(!world.charge(&plan(&realm, &[&limit], "s", 1, true)).await[0].admits);
}

pub async fn all_limits_are_charged_or_none<W: World>(world: &W) {
    let (realm, wide, narrow) = (realm(), rule("wide", 10), rule("narrow", 3));
    for (first, second) in [(&wide, &narrow), (&narrow, &wide)] {
        let subject = &*first.name;
        let readings = world.charge(&plan(&realm, &[first, second], subject, 2, true)).await;
        assert!(readings.iter().all(|reading| reading.admits && reading.used == 2));
        let readings = world.charge(&plan(&realm, &[first, second], subject, 2, true)).await;
        let admitted = readings.iter().filter(|reading| reading.admits).count();
        assert!(admitted == 1 && readings.iter().all(|reading| reading.used == 2), "{readings:?}");
    }
    let rules: Vec<LimitRule> = (0..8).map(|n| rule(&format!("of eight {n}"), if n == 7 { 1 } else { 100 })).collect();
    let all: Vec<&LimitRule> = rules.iter().collect();
    assert!(world.charge(&plan(&realm, &all, "s", 1, true)).await.iter().all(|reading| reading.admits));
    let readings = world.charge(&plan(&realm, &all, "s", 1, true)).await;
    assert!(readings.iter().all(|reading| reading.used == 1) && !readings[7].admits);
}

pub async fn a_shadow_limit_counts_and_never_denies<W: World>(world: &W) {
    let realm = realm();
    let shadow = LimitRule { shadow: true, ..rule("shadow", 2) };
    let real = rule("real", 4);
    let charge = || plan(&realm, &[&shadow, &real], "s", 1, true);
    for (shadow_used, real_used, exceeded) in [(1, 1, false), (2, 2, false), (2, 3, true), (2, 4, true)] {
        let readings = world.charge(&charge()).await;
        assert_eq!((readings[0].used, readings[1].used), (shadow_used, real_used));
        assert_eq!((readings[0].admits, readings[1].admits), (!exceeded, true));
    }
    // What the real limit denies is not counted in the shadow either.
    let roomy = LimitRule { shadow: true, ..rule("roomy shadow", 100) };
    let readings = world.charge(&plan(&realm, &[&roomy, &real], "s", 1, true)).await;
    assert_eq!((readings[0].used, readings[0].admits, readings[1].admits), (0, true, false));
}

pub async fn a_look_changes_nothing<W: World>(world: &W) {
    let (realm, limit) = (realm(), rule("requests", 5));
    let look = |cost| plan(&realm, &[&limit], "s", cost, false);
    for _ in 0..10 {
        let reading = world.charge(&look(5)).await[0];
        assert!(reading.admits && reading.used == 0 && reading.reset_us == 0 && reading.retry_us.is_none());
        assert!(world.charge(&plan(&realm, &[&limit], "s", 0, true)).await[0].used == 0);
    }
    world.charge(&plan(&realm, &[&limit], "s", 5, true)).await;
    let reading = world.charge(&look(1)).await[0];
    assert!(!reading.admits && reading.used == 5 && reading.retry_us.is_some());
    let free = world.charge(&plan(&realm, &[&limit], "s", 0, true)).await[0];
    assert!(free.admits && free.used == 5);
}

pub async fn a_cost_above_the_limit_can_never_succeed<W: World>(world: &W) {
    let (realm, limit) = (realm(), rule("requests", 5));
    for (cost, used) in [(6, 0), (u32::MAX, 0), (3, 3), (6, 3), (u32::MAX, 3)] {
        let reading = world.charge(&plan(&realm, &[&limit], "s", cost, true)).await[0];
        assert_eq!((reading.admits, reading.used, reading.retry_us), (cost == 3, used, None), "{cost}");
    }
}

pub async fn a_limit_lowered_or_raised_keeps_what_was_counted<W: World>(world: &W) {
    let realm = realm();
    let (lowered, middle, raised) = (rule("requests", 2), rule("requests", 5), rule("requests", 1_000_000_000));
    world.charge(&plan(&realm, &[&middle], "s", 4, true)).await;
    let reading = world.charge(&plan(&realm, &[&lowered], "s", 1, true)).await[0];
    assert!(!reading.admits && reading.used == 4 && reading.retry_us.is_some());
    let reading = world.charge(&plan(&realm, &[&raised], "s", 999_999_996, true)).await[0];
    assert!(reading.admits && reading.used == 1_000_000_000);
    assert!(!world.charge(&plan(&realm, &[&raised], "s", 1, true)).await[0].admits);
}

pub async fn another_shape_under_the_same_name_is_another_counter<W: World>(world: &W) {
    let (realm, before) = (realm(), rule("requests", 5));
    let shape = Shape::new(before.window, 30).unwrap();
    let after = LimitRule { shape, ..before.clone() };
    assert_eq!(world.charge(&plan(&realm, &[&before], "s", 5, true)).await[0].used, 5);
    assert_eq!(world.charge(&plan(&realm, &[&after], "s", 1, true)).await[0].used, 1);
    let readings = world.charge(&plan(&realm, &[&after, &before], "s", 0, false)).await;
    assert_eq!((readings[0].used, readings[1].used), (1, 5));
}

pub async fn odd_subjects_never_share_a_counter<W: World>(world: &W) {
    let odd = ["", " ", "a", "A", "a\0", "\0a", "a:b", "a_b", "a/b", "{a}", "}{", "ä", "a\n", "*", "\u{1F511}", "a\\"];
    let long = "x".repeat(512);
    let realms: [Realm; 3] = [realm(), realm_named("contract-2"), realm_named("c")];
    let limits = [rule("requests", 1), rule("requests2", 1), rule("r", 1)];
    let mut two = rule("pair", 1);
    two.per = vec![Part::Subject, Part::Account];
    for realm in &realms {
        for limit in &limits {
            for subject in odd.into_iter().chain([long.as_str()]) {
                let reading = world.charge(&plan(realm, &[limit], subject, 1, true)).await[0];
                assert!(reading.admits, "{} {} {subject:?}", realm.name, limit.name);
            }
        }
        // Two fields whose joined text is the same.
        for (custom, account) in [("a", "b.c"), ("a.b", "c"), ("a.", "b.c"), ("", "a.b.c")] {
            let owner = owner(account);
            let subject = Subject { account: Some(&owner.account), custom: Some(custom), ..Subject::default() };
            let mut plan = Plan::new(realm, Some(&owner.account), 1, true);
            plan.add(Some(&live()), &two, &subject).unwrap();
            assert!(world.charge(&plan).await[0].admits, "{custom:?} {account:?}");
        }
    }
}

pub async fn a_counter_named_twice_in_a_plan_is_charged_once<W: World>(world: &W) {
    let (realm, limit) = (realm(), rule("requests", 5));
    for used in [2, 4] {
        let readings = world.charge(&plan(&realm, &[&limit, &limit], "s", 2, true)).await;
        assert!(readings.iter().all(|reading| reading.admits && reading.used == used), "{readings:?}");
    }
    let readings = world.charge(&plan(&realm, &[&limit, &limit], "s", 2, true)).await;
    assert!(readings.iter().all(|reading| !reading.admits && reading.used == 4), "{readings:?}");
}

pub async fn an_empty_plan_decides_nothing_and_ping_answers<W: World>(world: &W) {
    let realm = realm();
    assert_eq!(
        world.store().charge(&[], &Plan::new(&realm, None, 1, true)).await,
        Ok(Charged::Decided(Default::default()))
    );
    assert_eq!(world.store().ping().await, Ok(()));
}

pub async fn whoever_waits_as_told_succeeds<W: World>(world: &W) {
    let realm = realm();
    let mut limit = rule("short", 4);
    limit.window = Duration::from_secs(1);
    limit.shape = Shape::new(limit.window, 4).unwrap();
    let charge = |cost| plan(&realm, &[&limit], "s", cost, true);
    // A machine that stalls for a whole window in between proves nothing: then from the beginning.
    let denied = loop {
        let began = world.now();
        world.charge(&charge(3)).await;
        world.pass(Duration::from_millis(300)).await;
        world.charge(&charge(1)).await;
        let denied = world.charge(&charge(2)).await[0];
        if world.now() < began.after(limit.window) {
            break denied;
        }
        world.pass(2 * limit.window).await;
    };
    assert!(!denied.admits);
    let wait = denied.retry_us.unwrap();
    world.pass(Duration::from_micros(wait)).await;
    let admitted = world.charge(&charge(2)).await[0];
    assert!(admitted.admits, "{denied:?}, then {admitted:?}");
    world.pass(Duration::from_micros(admitted.reset_us)).await;
    let rest = world.charge(&plan(&realm, &[&limit], "s", 4, false)).await[0];
    assert!(rest.admits && rest.used == 0 && rest.reset_us == 0, "{rest:?}");
}
