//! Accounts as they are read beside a key, and what a charge confirms of them.

use crate::{
    fixtures::{acting, owner, plan, realm, rule},
    world::World,
};
use keygate::{
    app::ports::{Fence, Freshness, Store},
    domain::{
        account::{Account, AccountSnapshot, AccountStatus},
        audit::Actor,
        directory,
        id::AccountId,
        limit::{Charged, Plan},
    },
};
use std::sync::Arc;

async fn read<W: World>(world: &W, account: &str) -> Arc<AccountSnapshot> {
    world.store().find_account(&owner(account), Freshness::Remembered, None).await.unwrap()
}

async fn confirms<W: World>(world: &W, read: &AccountSnapshot) -> bool {
    let realm = realm();
    let fence = Fence { owner: &read.owner, stamp: read.stamp };
    world.store().charge(&[fence], &Plan::new(&realm, None, 1, true)).await.unwrap() != Charged::Stale
}

async fn make<W: World>(world: &W, account: &str) {
    let change = directory::create(&owner(account), None, &Actor::System, world.now()).unwrap();
    world.commit(&change).await;
}

async fn join<W: World>(world: &W, account: &str, record: &Account, organization: &AccountId) {
    let of_organization = (organization, &Account::unborn(world.now()));
    let change = directory::join(&owner(account), record, of_organization, &Actor::System, world.now());
    world.commit(&change.unwrap().unwrap()).await;
}

pub async fn organizations_are_read_with_their_members_and_confirmed_until_they_change<W: World>(world: &W) {
    for account in ["acme", "band"] {
        make(world, account).await;
    }
    for organization in ["band", "nowhere"] {
        let record = world.account(&owner("acme")).await.unwrap();
        join(world, "acme", &record, &owner(organization).account).await;
    }
    let found = read(world, "acme").await;
    let [band, nowhere] = &found.organizations[..] else { panic!("{found:?}") };
    assert_eq!((&band.owner, &nowhere.owner), (&owner("band"), &owner("nowhere")));
    assert_eq!((band.account.clone(), nowhere.account.clone()), (world.account(&owner("band")).await, None));
    assert!(band.organizations.is_empty() && confirms(world, band).await && confirms(world, nowhere).await);

    let (band_ref, record) = (owner("band"), band.account.as_ref().unwrap());
    let acting = acting(&band_ref, Some(record), world.now());
    let change = directory::set_status(&acting, record, AccountStatus::Suspended, &[], "", None).unwrap().unwrap();
    world.commit(&change).await;
    make(world, "nowhere").await;
    assert!(!confirms(world, band).await && !confirms(world, nowhere).await && confirms(world, &found).await);
    let again = world.store().find_account(&owner("acme"), Freshness::Fresh, None).await.unwrap();
    let [band, nowhere] = &again.organizations[..] else { panic!("{again:?}") };
    assert_eq!(band.account.as_ref().map(|band| band.status), Some(AccountStatus::Suspended));
    assert!(nowhere.account.is_some() && confirms(world, band).await && confirms(world, nowhere).await);
}

pub async fn an_account_is_confirmed_until_it_changes<W: World>(world: &W) {
    make(world, "acme").await;
    let before = read(world, "acme").await;
    assert_eq!(before.account.as_ref().map(|account| account.version), Some(1));
    assert!(confirms(world, &before).await && confirms(world, &before).await);

    let (owner, organization) = (owner("acme"), owner("band").account);
    let account = before.account.as_ref().unwrap();
    join(world, "acme", account, &organization).await;
    assert!(!confirms(world, &before).await);
    let after = read(world, "acme").await;
    assert!(after.account.as_ref().unwrap().is_member_of(&organization) && confirms(world, &after).await);
    assert_eq!(after.account, world.account(&owner).await);
}

pub async fn an_account_that_is_not_there_is_confirmed_until_it_is<W: World>(world: &W) {
    let nobody = read(world, "acme").await;
    assert!(nobody.account.is_none() && confirms(world, &nobody).await);
    make(world, "acme").await;
    assert!(!confirms(world, &nobody).await);
    let there = read(world, "acme").await;
    assert!(there.account.is_some() && confirms(world, &there).await);
}

pub async fn a_charge_rests_on_every_fence_or_charges_nothing<W: World>(world: &W) {
    make(world, "caller").await;
    make(world, "target").await;
    let (caller, target, nobody) =
        (read(world, "caller").await, read(world, "target").await, read(world, "nobody").await);
    let limit = rule("requests", 10);
    let realm = realm();
    let charge = async |read: &[&AccountSnapshot]| {
        let fences: Vec<Fence<'_>> = read.iter().map(|read| Fence { owner: &read.owner, stamp: read.stamp }).collect();
        match world.store().charge(&fences, &plan(&realm, &[&limit], "s", 1, true)).await.unwrap() {
            Charged::Stale => None,
            Charged::Decided(readings) => Some(readings[0].used),
        }
    };
    assert_eq!(charge(&[&caller, &target]).await, Some(1));
    assert_eq!(charge(&[&caller, &nobody]).await, Some(2));

    let record = target.account.as_ref().unwrap();
    let target_ref = owner("target");
    let acting = acting(&target_ref, Some(record), world.now());
    let change = directory::set_status(&acting, record, AccountStatus::Suspended, &[], "", None).unwrap().unwrap();
    world.commit(&change).await;
    assert_eq!(charge(&[&caller, &target]).await, None, "the second account changed");
    assert_eq!(charge(&[&target, &caller]).await, None, "the first account changed");
    let target = read(world, "target").await;
    assert_eq!(charge(&[&caller, &target]).await, Some(3), "nothing was charged in between");
}
