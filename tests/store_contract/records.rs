//! Cases: reading, listing, idempotency and the audit chain.

use crate::{fixtures::*, world::World};
use keygate::{
    app::ports::{KeyQuery, Store},
    domain::{
        audit::{Act, Chain},
        id::{AccountId, KeyId},
        key::{IdempotencyRecord, ImportedKey, adopt, revoke},
    },
};
use std::time::Duration;

pub async fn what_was_never_written_is_absent<W: World>(world: &W) {
    let nobody = owner("nobody");
    assert_eq!(world.account(&nobody).await, None);
    assert_eq!(world.store().read_keys(&nobody, &[key_id(1)]).await, Ok(vec![None]));
    assert_eq!(world.store().locate_key(&realm_name(), key_id(1)).await, Ok(None));
    assert_eq!(world.store().read_idempotency(&nobody, &[1; 32]).await, Ok(None));
    assert_eq!(world.store().read_audit(&nobody, 1, 10).await, Ok(vec![]));
    let listing = world.store().list_keys(&query(None, None, 10)).await.unwrap();
    assert!(listing.keys.is_empty() && listing.next.is_none());
}

pub async fn keys_are_read_in_the_order_that_was_asked<W: World>(world: &W) {
    let owner = owner("acme");
    let (first, second) = (world.create(&owner, 1).await, world.create(&owner, 2).await);
    let read = world.store().read_keys(&owner, &[second.id, key_id(9), first.id, second.id]).await.unwrap();
    assert_eq!(read, vec![Some(second.clone()), None, Some(first), Some(second)]);
    assert_eq!(world.store().read_keys(&owner, &[]).await, Ok(vec![]));
    assert_eq!(world.store().read_keys(&self::owner("acm"), &[key_id(1)]).await, Ok(vec![None]));
}

pub async fn a_listing_is_ordered_filtered_and_paged<W: World>(world: &W) {
    // One account's name begins with another's, and ids are given out across accounts.
    let accounts = ["ac", "ac-me", "ac.me", "acme", "b"];
    let mut all: Vec<(String, KeyId, bool)> = Vec::new();
    for number in 0..25 {
        let name = accounts[number as usize % 5];
        let owner = owner(name);
        let key = world.create(&owner, 100 - number).await;
        let ends = number % 3 == 0;
        if ends {
            let account = world.account(&owner).await.unwrap();
            let (change, _) =
                revoke(&acting(&owner, Some(&account), world.now()), std::slice::from_ref(&key), None, "").unwrap();
            world.commit(&change).await;
        }
        all.push((name.to_owned(), key.id, ends));
    }
    all.sort();
    for account in [None, Some("ac"), Some("acme"), Some("nobody")] {
        for ended in [None, Some(false), Some(true)] {
            let expected: Vec<_> = all
                .iter()
                .filter(|(name, _, ends)| account.is_none_or(|a| a == name) && ended.is_none_or(|e| e == *ends))
                .map(|(name, id, _)| (name.clone(), *id))
                .collect();
            for limit in [1, 2, 7, 25, 100] {
                assert_eq!(listed(world, account, ended, limit).await, expected, "{account:?} {ended:?} {limit}");
            }
        }
    }
    // A page may begin at a place that holds no key, before or behind everything.
    let after = |name: &str, id| Some((AccountId::new(name).unwrap(), id));
    let behind = KeyQuery { after: after("zzz", key_id(0)), ..query(Some("ac"), None, 5) };
    assert!(world.store().list_keys(&behind).await.unwrap().keys.is_empty());
    let before = KeyQuery { after: after("a", key_id(u64::MAX)), ..query(Some("ac"), None, 100) };
    assert_eq!(world.store().list_keys(&before).await.unwrap().keys.len(), 5);
}

pub async fn accounts_are_listed_in_order_and_page_by_page<W: World>(world: &W) {
    let store = world.store();
    assert_eq!(store.list_accounts(&realm_name(), None, 10).await, Ok(vec![]));
    let mut names = ["ac", "ac-me", "ac.me", "acme", "acme~", "Z", "b"].map(|name| AccountId::new(name).unwrap());
    for (number, name) in (1..).zip(&names) {
        world.create(&owner(name.as_str()), number).await;
    }
    // A second change of an account does not list it twice; another realm's accounts stand elsewhere.
    world.create(&owner("acme"), 100).await;
    names.sort();
    for limit in [1, 2, 3, 7, 100] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.list_accounts(&realm_name(), after.as_ref(), limit).await.unwrap();
            assert!(page.len() <= limit);
            found.extend(page.iter().cloned());
            after = page.last().cloned();
            if page.len() < limit {
                break;
            }
        }
        assert_eq!(found, names, "{limit} at a time");
    }
    assert_eq!(store.list_accounts(&realm_name(), None, 0).await, Ok(vec![]));
    let behind = AccountId::new("acm").unwrap();
    let after = store.list_accounts(&realm_name(), Some(&behind), 1).await.unwrap();
    assert_eq!(after, [AccountId::new("acme").unwrap()], "the name to go on from need not be there");
    let last = AccountId::new("~").unwrap();
    assert_eq!(store.list_accounts(&realm_name(), Some(&last), 5).await, Ok(vec![]));
    for realm in ["contrac", "contract-2", "contracts"] {
        let realm = keygate::domain::id::RealmName::new(realm).unwrap();
        assert_eq!(store.list_accounts(&realm, None, 10).await, Ok(vec![]));
    }
}

pub async fn ten_thousand_keys_are_listed_page_by_page<W: World>(world: &W) {
    let owner = owner("large");
    for batch in 0..10 {
        let account = world.account(&owner).await;
        let keys = (batch * 1_000..(batch + 1) * 1_000)
            .map(|number| ImportedKey { creation: creation(number), minted: minted(number) });
        let (change, _) = adopt(&acting(&owner, account.as_ref(), world.now()), &[], keys.collect()).unwrap();
        world.commit(&change).await;
    }
    let ids: Vec<_> = listed(world, Some("large"), Some(false), 999).await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, (0..10_000).map(key_id).collect::<Vec<_>>());
}

pub async fn an_idempotency_record_is_remembered_until_its_time_is_over<W: World>(world: &W) {
    let owner = owner("acme");
    let record = |slot: u8, seconds| IdempotencyRecord {
        slot: [slot; 32],
        fingerprint: [slot; 32],
        keys: vec![key_id(1), key_id(2)],
        expires_at: world.now().after(Duration::from_secs(seconds)),
    };
    let (short, long) = (record(1, 1), record(2, 3_600));
    for (number, record) in [(1, &short), (2, &long)] {
        let account = world.account(&owner).await;
        let (mut change, _) = creating(&owner, account.as_ref(), number, world.now());
        change.idempotency = Some(record.clone());
        world.commit(&change).await;
        assert_eq!(world.store().read_idempotency(&owner, &record.slot).await, Ok(Some(record.clone())));
    }
    assert_eq!(world.store().read_idempotency(&self::owner("other"), &long.slot).await, Ok(None));
    world.pass(Duration::from_millis(1_100)).await;
    assert_eq!(world.store().read_idempotency(&owner, &short.slot).await, Ok(None));
    world.create(&owner, 3).await;
    assert_eq!(world.store().read_idempotency(&owner, &long.slot).await, Ok(Some(long.clone())));
    // The slot is free again.
    let account = world.account(&owner).await;
    let (mut change, _) = creating(&owner, account.as_ref(), 4, world.now());
    let renewed = record(1, 3_600);
    change.idempotency = Some(renewed.clone());
    world.commit(&change).await;
    assert_eq!(world.store().read_idempotency(&owner, &short.slot).await, Ok(Some(renewed)));
}

pub async fn the_audit_chain_is_kept_whole_and_verifies<W: World>(world: &W) {
    let (owner, other) = (owner("acme"), owner("acme2"));
    for number in 1..=20 {
        world.create(if number % 2 == 0 { &other } else { &owner }, number).await;
    }
    let mut events = Vec::new();
    loop {
        let page = world.store().read_audit(&owner, events.len() as u64 + 1, 4).await.unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 4);
        events.extend(page);
    }
    assert_eq!(events.len(), 11);
    assert_eq!((events[0].act, events[1].act), (Act::AccountCreated, Act::KeyCreated));
    assert_eq!(Chain::verify(&events), Ok(world.account(&owner).await.unwrap().audit));
}

fn query(account: Option<&str>, ended: Option<bool>, limit: usize) -> KeyQuery {
    let account = account.map(|account| AccountId::new(account).unwrap());
    KeyQuery { realm: realm_name(), account, ended, after: None, limit }
}

/// Everything that a listing shows, read in pages of `limit`.
async fn listed<W: World>(world: &W, account: Option<&str>, ended: Option<bool>, limit: usize) -> Vec<(String, KeyId)> {
    let mut query = query(account, ended, limit);
    let mut all = Vec::new();
    loop {
        let page = world.store().list_keys(&query).await.unwrap();
        assert!(page.keys.len() <= limit && (page.next.is_none() || page.keys.len() == limit));
        all.extend(page.keys.into_iter().map(|(account, key)| (account.to_string(), key.id)));
        match page.next {
            Some(next) => query.after = Some(next),
            None => return all,
        }
    }
}
