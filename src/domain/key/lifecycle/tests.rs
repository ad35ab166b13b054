//! What may happen to a key, where only a realm's rules decide.

use super::*;
use crate::domain::{
    id::{AccountId, Environment, RealmName},
    key::KeyState,
    realm::WhenFull,
};
use std::collections::BTreeMap;

const START: Timestamp = Timestamp::from_micros(1_000_000_000_000);

fn policy(most: usize, when_full: WhenFull) -> KeyPolicy {
    KeyPolicy {
        max_active_keys: Some(most),
        when_full,
        default_grace: Duration::ZERO,
        max_grace: Duration::from_secs(30 * 86_400),
        default_lifetime: None,
        max_lifetime: None,
        suspend_unused_after: None,
    }
}

fn owner() -> AccountRef {
    AccountRef { realm: RealmName::new("realm").unwrap(), account: AccountId::new("acme").unwrap() }
}

fn minted(number: u8) -> Minted {
    let digest = Digest::from_bytes([number; 32]);
    Minted { digest, scheme: DigestScheme::Native, secret_version: 1, hint: String::new() }
}

fn creation(number: u8, expires_at: Option<Timestamp>) -> Creation {
    Creation {
        id: KeyId::from_bytes([number; 16]),
        environment: Environment::new("live").unwrap(),
        name: format!("key {number}"),
        scopes: Vec::new(),
        metadata: BTreeMap::new(),
        expires_at,
        not_before: None,
        networks: Vec::new(),
        member: None,
    }
}

fn seconds(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

/// A key without any rule: number, and the second in which it expires.
fn key(number: u8, expires: Option<u64>) -> KeyRecord {
    let (owner, policy) = (owner(), policy(1_000, WhenFull::Refuse));
    let acting = Acting { owner: &owner, account: None, policy: &policy, actor: &Actor::System, now: START };
    create(&acting, &[], creation(number, expires.map(seconds)), minted(number)).unwrap().1
}

fn ended(change: &Change) -> Vec<KeyId> {
    change.end.iter().map(|key| key.id).collect()
}

#[test]
fn expired_keys_give_way_first_and_only_where_room_is_needed() {
    let owner = owner();
    let live = [key(1, None), key(2, Some(5)), key(3, None)];
    let made = |most, when_full, now| {
        let policy = policy(most, when_full);
        let acting = Acting { owner: &owner, account: None, policy: &policy, actor: &Actor::System, now };
        create(&acting, &live, creation(9, None), minted(9)).map(|(change, _)| ended(&change))
    };
    let id = |number| KeyId::from_bytes([number; 16]);
    for when_full in [WhenFull::Refuse, WhenFull::Replace] {
        assert_eq!(made(4, when_full, seconds(10)), Ok(vec![]));
        assert_eq!(made(3, when_full, seconds(10)), Ok(vec![id(2)]));
    }
    assert_eq!(made(3, WhenFull::Refuse, seconds(1)), Err(LifecycleError::TooManyKeys(3)));
    assert_eq!(made(3, WhenFull::Replace, seconds(1)), Ok(vec![id(1)]));
    assert_eq!(made(2, WhenFull::Refuse, seconds(10)), Err(LifecycleError::TooManyKeys(2)));
    assert_eq!(made(2, WhenFull::Replace, seconds(10)), Ok(vec![id(2), id(1)]));
}

#[test]
fn an_import_takes_the_place_of_expired_keys_alone() {
    let (owner, now) = (owner(), seconds(10));
    let live = [key(1, None), key(2, Some(5))];
    let adopted = |most, numbers: &[u8]| {
        // An import never replaces a key, whatever the realm says of creations.
        let policy = policy(most, WhenFull::Replace);
        let acting = Acting { owner: &owner, account: None, policy: &policy, actor: &Actor::System, now };
        let keys = numbers.iter().map(|n| ImportedKey { creation: creation(*n, None), minted: minted(*n) });
        adopt(&acting, &live, keys.collect()).map(|(change, _)| ended(&change))
    };
    assert_eq!(adopted(3, &[8]), Ok(vec![]));
    assert_eq!(adopted(3, &[8, 9]), Ok(vec![live[1].id]));
    assert_eq!(adopted(3, &[7, 8, 9]), Err(LifecycleError::TooManyKeys(3)));
}

#[test]
fn an_expired_key_comes_back_only_where_there_is_a_place() {
    let owner = owner();
    let live = [key(1, Some(5)), key(2, None), key(3, Some(5))];
    let renewed = |most, key: &KeyRecord, expires_at, now| {
        let policy = policy(most, WhenFull::Replace);
        let acting = Acting { owner: &owner, account: None, policy: &policy, actor: &Actor::System, now };
        let patch = KeyPatch { expires_at: Some(expires_at), ..KeyPatch::default() };
        update(&acting, &live, key, None, patch).map(|(_, key)| key.state(now))
    };
    for expires_at in [None, Some(seconds(60))] {
        assert_eq!(renewed(1, &live[0], expires_at, seconds(10)), Err(LifecycleError::TooManyKeys(1)));
        assert_eq!(renewed(2, &live[0], expires_at, seconds(10)), Ok(KeyState::Active));
        // A key that has its place keeps it, also where the realm allows fewer keys than it did.
        assert_eq!(renewed(1, &live[0], expires_at, seconds(1)), Ok(KeyState::Active));
        assert_eq!(renewed(1, &live[1], expires_at, seconds(10)), Ok(KeyState::Active));
    }
}

#[test]
fn a_secret_whose_grace_runs_outlives_any_number_of_rotations() {
    let (owner, policy) = (owner(), policy(1_000, WhenFull::Refuse));
    let mut key = key(1, None);
    let mut forgotten = Vec::new();
    for number in 2..=30u8 {
        let now = seconds(u64::from(number) * 10);
        let acting = Acting { owner: &owner, account: None, policy: &policy, actor: &Actor::System, now };
        let grace = Duration::from_secs(if number == 2 { 86_400 } else { 1 });
        let (change, rotated) = rotate(&acting, &key, None, Some(grace), &minted(number)).unwrap();
        forgotten.extend(change.forgotten);
        key = rotated;
        let first = key.secret(&minted(1).digest).expect("the first secret is remembered");
        assert!(first.works(now), "rotation {number}");
        assert!(key.secrets.len() <= Limits::SECRETS);
    }
    // Of the others, the oldest were forgotten in order.
    assert_eq!(forgotten, (2..=23).map(|number| minted(number).digest).collect::<Vec<_>>());
    assert_eq!(key.secrets.len(), Limits::SECRETS);
}
