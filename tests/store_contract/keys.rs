//! Cases: keys, their digests, and what a charge confirms.

use crate::{fixtures::*, world::World};
use keygate::{
    app::ports::{CommitError, Fence, Found, Freshness, Sought, Store},
    domain::{
        id::RealmName,
        key::{KeyPatch, KeyState, rekey, revoke, rotate, update},
        limit::Charged,
    },
};
use std::time::Duration;

pub async fn a_created_key_is_found_confirmed_and_located<W: World>(world: &W) {
    let owner = owner("acme");
    let key = world.create(&owner, 1).await;
    for freshness in [Freshness::Remembered, Freshness::Remembered, Freshness::Fresh] {
        let found = world.find(&digest(1), freshness).await.unwrap();
        assert_eq!((&found.owner, &found.key), (&owner, &key));
        assert_eq!(Some(&found.account), world.account(&owner).await.as_ref());
        assert!(world.confirms(&found).await);
    }
    let located = world.store().locate_key(&realm_name(), key.id).await.unwrap();
    assert_eq!(located, Some(owner.account));
}

pub async fn a_stale_reading_is_never_confirmed_and_charges_nothing<W: World>(world: &W) {
    let owner = owner("acme");
    let key = world.create(&owner, 1).await;
    let other = world.create(&owner, 2).await;
    let before = world.find(&digest(1), Freshness::Remembered).await.unwrap();

    // A change to another key of the account is a change of the account.
    let account = world.account(&owner).await.unwrap();
    let patch = KeyPatch { name: Some("renamed".to_owned()), ..KeyPatch::default() };
    let (change, _) = update(&acting(&owner, Some(&account), world.now()), &[], &other, None, patch).unwrap();
    world.commit(&change).await;

    let (realm, limit) = (realm(), rule("requests", 5));
    let plan_of = |charging| plan(&realm, &[&limit], "s", 3, charging);
    let fence = Fence { owner: &owner, stamp: before.stamp };
    assert_eq!(world.store().charge(&[fence], &plan_of(true)).await, Ok(Charged::Stale));
    assert_eq!(world.charge(&plan_of(false)).await[0].used, 0);

    let again = world.find(&digest(1), Freshness::Fresh).await.unwrap();
    assert_eq!(again.key, key);
    assert_eq!(again.account.version, account.version + 1);
    let fence = Fence { owner: &owner, stamp: again.stamp };
    assert!(matches!(world.store().charge(&[fence], &plan_of(true)).await, Ok(Charged::Decided(_))));
    assert_eq!(world.charge(&plan_of(false)).await[0].used, 3);
    let remembered = world.find(&digest(1), Freshness::Remembered).await.unwrap();
    assert!(world.confirms(&remembered).await, "a fresh reading replaces the remembered one");
}

pub async fn a_revoked_key_is_found_with_its_true_state_and_leaves_the_working_ones<W: World>(world: &W) {
    let owner = owner("acme");
    let key = world.create(&owner, 1).await;
    let before = world.find(&digest(1), Freshness::Remembered).await.unwrap();
    let account = world.account(&owner).await.unwrap();
    let now = world.now();
    let (change, ended) =
        revoke(&acting(&owner, Some(&account), now), std::slice::from_ref(&key), None, "leaked").unwrap();
    world.commit(&change).await;
    assert!(!world.confirms(&before).await);
    let after = world.find(&digest(1), Freshness::Fresh).await.unwrap();
    assert_eq!(after.key, ended[0]);
    assert_eq!(after.key.state(now), KeyState::Revoked);
    assert_eq!(world.store().read_keys(&owner, &[key.id]).await, Ok(vec![Some(ended[0].clone())]));
    assert_eq!(world.store().locate_key(&realm_name(), key.id).await, Ok(Some(owner.account)));
}

pub async fn a_rotated_key_is_found_under_both_secrets_until_one_is_forgotten<W: World>(world: &W) {
    let owner = owner("acme");
    let mut key = world.create(&owner, 1).await;
    // A key remembers 8 secrets: the ninth pushes out the first.
    for number in 2..=9 {
        let account = world.account(&owner).await.unwrap();
        let grace = Some(Duration::ZERO);
        let (change, rotated) =
            rotate(&acting(&owner, Some(&account), world.now()), &key, None, grace, &minted(number)).unwrap();
        world.commit(&change).await;
        key = rotated;
        let newest = world.find(&digest(number), Freshness::Remembered).await.unwrap();
        assert_eq!(newest.key, key);
        if number < 9 {
            assert_eq!(world.find(&digest(1), Freshness::Fresh).await.unwrap().key, key);
        }
    }
    assert!(world.find(&digest(1), Freshness::Fresh).await.is_none());
    assert!(world.find(&digest(1), Freshness::Remembered).await.is_none());
    assert!(world.find(&digest(2), Freshness::Remembered).await.is_some());
}

pub async fn a_change_from_an_old_version_conflicts_and_writes_nothing<W: World>(world: &W) {
    let owner = owner("acme");
    let (first, _) = creating(&owner, None, 1, world.now());
    let (second, _) = creating(&owner, None, 2, world.now());
    world.commit(&first).await;
    let before = world.account(&owner).await;
    assert_eq!(world.store().commit(&second).await, Err(CommitError::Conflict));
    assert_eq!(world.store().commit(&first).await, Err(CommitError::Conflict));
    assert_eq!(world.account(&owner).await, before);
    assert!(world.find(&digest(2), Freshness::Fresh).await.is_none());
    assert_eq!(world.store().read_keys(&owner, &[key_id(2)]).await, Ok(vec![None]));

    // A change to an account that does not exist.
    let nobody = self::owner("nobody");
    let (stray, _) = creating(&nobody, before.as_ref(), 3, world.now());
    assert_eq!(world.store().commit(&stray).await, Err(CommitError::Conflict));
}

pub async fn a_digest_that_leads_to_a_key_is_taken_and_writes_nothing<W: World>(world: &W) {
    let (mine, yours) = (owner("mine"), owner("yours"));
    let key = world.create(&mine, 1).await;
    let (mut change, _) = creating(&yours, None, 2, world.now());
    change.lookups[0].digest = digest(1);
    change.put[0].secrets[0].digest = digest(1);
    assert_eq!(world.store().commit(&change).await, Err(CommitError::DigestTaken(digest(1))));
    assert_eq!(world.account(&yours).await, None);
    assert_eq!(world.find(&digest(1), Freshness::Fresh).await.unwrap().key, key);

    // Also once the key was ended: what was revoked never comes back as another key.
    let account = world.account(&mine).await.unwrap();
    let (revocation, _) = revoke(&acting(&mine, Some(&account), world.now()), &[key], None, "over").unwrap();
    world.commit(&revocation).await;
    assert_eq!(world.store().commit(&change).await, Err(CommitError::DigestTaken(digest(1))));

    // And twice in one change.
    let (mut twice, _) = creating(&yours, None, 4, world.now());
    let mut second = twice.put[0].clone();
    second.id = key_id(5);
    twice.lookups.push(keygate::domain::commit::NewLookup { key: second.id, ..twice.lookups[0].clone() });
    twice.put.push(second);
    assert_eq!(world.store().commit(&twice).await, Err(CommitError::DigestTaken(digest(4))));
    assert_eq!(world.account(&yours).await, None);
}

pub async fn a_dangling_lookup_is_overwritten<W: World>(world: &W) {
    let (mine, yours) = (owner("mine"), owner("yours"));
    // A lookup that leads to a key which does not carry its digest: as after a write that was cut off.
    let (mut dangling, _) = creating(&mine, None, 1, world.now());
    let stray = keygate::domain::commit::NewLookup { digest: digest(7), environment: live(), key: key_id(1) };
    dangling.lookups.push(stray.clone());
    let stray = keygate::domain::commit::NewLookup { digest: digest(8), environment: live(), key: key_id(99) };
    dangling.lookups.push(stray);
    world.commit(&dangling).await;
    for number in [7, 8] {
        assert!(world.find(&digest(number), Freshness::Fresh).await.is_none());
        let key = world.create(&yours, number).await;
        let found = world.find(&digest(number), Freshness::Remembered).await.unwrap();
        assert_eq!((&found.owner, &found.key), (&yours, &key));
    }
}

pub async fn a_key_is_found_by_whichever_digest_its_secret_is_stored_under<W: World>(world: &W) {
    let owner = owner("acme");
    let any = [digest(3), digest(2), digest(1)];
    for freshness in [Freshness::Fresh, Freshness::Remembered] {
        assert!(world.find_any(&any, freshness).await.is_none());
    }
    let key = world.create(&owner, 1).await;
    for freshness in [Freshness::Remembered, Freshness::Remembered, Freshness::Fresh] {
        assert_eq!(world.find_any(&any, freshness).await.unwrap().key, key);
    }
    assert!(world.find_any(&any[..2], Freshness::Fresh).await.is_none());
    let account = world.account(&owner).await.unwrap();
    let change = rekey(&owner, &account, &key, &digest(1), &minted(2), world.now()).unwrap();
    let before = world.find_any(&any, Freshness::Remembered).await.unwrap();
    world.commit(&change).await;
    assert!(!world.confirms(&before).await);
    for freshness in [Freshness::Fresh, Freshness::Remembered] {
        let moved = world.find_any(&any, freshness).await.unwrap();
        assert!(moved.key.secret(&digest(2)).is_some() && moved.key.secret(&digest(1)).is_none());
        assert!(world.confirms(&moved).await);
    }
}

pub async fn a_key_of_one_realm_is_unknown_to_another<W: World>(world: &W) {
    world.create(&owner("acme"), 1).await;
    let other = RealmName::new("other").unwrap();
    for freshness in [Freshness::Remembered, Freshness::Fresh] {
        let sought = Sought { realm: &other, digests: &[digest(1)], freshness, uses: false, due: None };
        assert!(matches!(world.store().find_key(&sought).await, Ok(Found::Nothing(_))));
    }
    assert_eq!(world.store().locate_key(&other, key_id(1)).await, Ok(None));
    assert!(world.find(&digest(1), Freshness::Remembered).await.is_some());
}

pub async fn a_missing_key_is_not_hidden_once_it_is_created<W: World>(world: &W) {
    for _ in 0..3 {
        assert!(world.find(&digest(1), Freshness::Remembered).await.is_none());
    }
    let key = world.create(&owner("acme"), 1).await;
    assert_eq!(world.find(&digest(1), Freshness::Remembered).await.unwrap().key, key);
}
