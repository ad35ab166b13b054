//! Cases: entries of an account are written with it or not at all, and listed by kind in the order of their names.

use crate::{fixtures::*, world::World};
use keygate::{
    app::ports::{EntryQuery, Store},
    domain::{
        audit::Actor,
        commit::Change,
        entry::{Entry, EntryChange, EntryId, EntryKind},
        id::{AccountRef, EntryName, MemberId, MemberRole},
        member::Member,
    },
};

fn member(number: u64) -> Entry {
    let roles = vec![MemberRole::new("developer").unwrap()];
    Entry::Member(Member { roles, added_at: at(number), keys: vec![key_id(number), key_id(7)] })
}

fn at(number: u64) -> keygate::domain::time::Timestamp {
    keygate::domain::time::Timestamp::from_micros(number)
}

fn id(name: &str) -> EntryId {
    EntryId::from(&MemberId::new(name).unwrap())
}

async fn change<W: World>(world: &W, owner: &AccountRef, entries: &[(&str, Option<u64>)]) -> Change {
    let account = world.account(owner).await;
    let mut change = Change::begin(owner, account.as_ref(), &Actor::System, world.now());
    let entry = |(name, number): &(&str, Option<u64>)| EntryChange { id: id(name), entry: number.map(member) };
    change.entries = entries.iter().map(entry).collect();
    change
}

async fn listed<W: World>(world: &W, owner: &AccountRef, limit: usize) -> Vec<String> {
    let (mut names, mut after): (Vec<String>, Option<EntryName>) = (Vec::new(), None);
    loop {
        let query = EntryQuery { owner, kind: EntryKind::Member, after: after.as_ref(), limit };
        let page = world.store().list_entries(&query).await.unwrap();
        assert!(page.len() <= limit);
        names.extend(page.iter().map(|(name, _)| name.to_string()));
        match page.last() {
            Some((name, _)) => after = Some(name.clone()),
            None => return names,
        }
    }
}

pub async fn entries_are_written_replaced_and_removed_with_their_account<W: World>(world: &W) {
    let (acme, other) = (owner("acme"), owner("acme2"));
    assert_eq!(world.store().read_entry(&acme, &id("ann")).await, Ok(None));
    assert!(listed(world, &acme, 5).await.is_empty());
    world.commit(&change(world, &acme, &[("ann", Some(1)), ("bob", Some(2))]).await).await;
    world.commit(&change(world, &other, &[("ann", Some(3))]).await).await;
    world.commit(&change(world, &acme, &[("ann", Some(4)), ("bob", None), ("never", None)]).await).await;
    let read = async |owner: &AccountRef, name: &str| world.store().read_entry(owner, &id(name)).await.unwrap();
    assert_eq!(read(&acme, "ann").await, Some(member(4)));
    assert_eq!(read(&acme, "bob").await, None);
    assert_eq!(read(&other, "ann").await, Some(member(3)));
    assert_eq!(listed(world, &acme, 5).await, ["ann"]);
    assert_eq!(world.account(&acme).await.unwrap().version, 2);
}

pub async fn entries_from_an_old_version_are_not_written<W: World>(world: &W) {
    let acme = owner("acme");
    world.commit(&change(world, &acme, &[("ann", Some(1))]).await).await;
    let late = change(world, &acme, &[("ann", None), ("bob", Some(2))]).await;
    world.commit(&change(world, &acme, &[("eve", Some(3))]).await).await;
    assert!(world.store().commit(&late).await.is_err());
    assert_eq!(listed(world, &acme, 5).await, ["ann", "eve"]);
}

pub async fn entries_are_listed_in_order_and_page_by_page<W: World>(world: &W) {
    // In byte order; one name begins with another, and another account's stand elsewhere.
    let names = ["+", "A", "Z", "a", "aa", "a|b", "b", "~"];
    let (acme, other) = (owner("acme"), owner("acm"));
    let mixed: Vec<_> = (1..).zip(names.iter().rev()).map(|(number, name)| (*name, Some(number))).collect();
    world.commit(&change(world, &acme, &mixed).await).await;
    world.commit(&change(world, &other, &[("aaa", Some(1))]).await).await;
    for limit in [1, 2, 3, 8, 100] {
        assert_eq!(listed(world, &acme, limit).await, names, "{limit}");
    }
}
