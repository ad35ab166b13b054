//! What work in the background remembers between its steps.

use crate::{fixtures::realm_name, world::World};
use keygate::{
    app::ports::{Expected, MemoId, Memos, Shelf, Store},
    domain::id::RealmName,
};

const SHELVES: [Shelf; 4] = [Shelf::Notices, Shelf::Cursors, Shelf::Due, Shelf::Dead];

fn due<'a>(realm: &'a RealmName, name: &'a [u8]) -> MemoId<'a> {
    MemoId { realm, shelf: Shelf::Due, name }
}

/// Writes, or removes, under a name of a shelf; tells whether what was expected stood there.
async fn write<W: World>(world: &W, id: &MemoId<'_>, expected: Expected<'_>, value: Option<&[u8]>) -> bool {
    world.store().write_memo(id, expected, value).await.unwrap()
}

async fn read<W: World>(world: &W, id: &MemoId<'_>) -> Option<Vec<u8>> {
    world.store().read_memo(id).await.unwrap()
}

pub async fn a_memo_is_written_if_what_is_expected_stands_there<W: World>(world: &W) {
    let realm = realm_name();
    let id = MemoId { realm: &realm, shelf: Shelf::Cursors, name: b"a\0\xff}:" };
    assert_eq!(read(world, &id).await, None);
    for (expected, value, done, stands) in [
        (Expected::Is(b"1"), Some(&b"2"[..]), false, None),
        (Expected::Absent, Some(&b"1"[..]), true, Some(&b"1"[..])),
        (Expected::Absent, Some(b"2"), false, Some(b"1")),
        (Expected::Is(b"2"), Some(b"3"), false, Some(b"1")),
        (Expected::Is(b"1"), Some(b""), true, Some(b"")),
        (Expected::Is(b""), Some(b"4"), true, Some(b"4")),
        (Expected::Anything, Some(b"5"), true, Some(b"5")),
        (Expected::Is(b"4"), None, false, Some(b"5")),
        (Expected::Is(b"5"), None, true, None),
        (Expected::Is(b"5"), None, false, None),
        (Expected::Anything, None, true, None),
    ] {
        assert_eq!(write(world, &id, expected, value).await, done, "{expected:?} {value:?}");
        assert_eq!(read(world, &id).await.as_deref(), stands, "{expected:?} {value:?}");
    }
}

pub async fn memos_of_realms_and_shelves_are_apart<W: World>(world: &W) {
    let realms = [realm_name(), RealmName::new("another").unwrap()];
    let places = || realms.iter().flat_map(|realm| SHELVES.map(|shelf| MemoId { realm, shelf, name: b"same" }));
    for (number, id) in (0_u8..).zip(places()) {
        assert!(write(world, &id, Expected::Absent, Some(&[number])).await, "{id:?}");
    }
    for (number, id) in (0_u8..).zip(places()) {
        assert_eq!(read(world, &id).await, Some(vec![number]), "{id:?}");
        let first = MemoId { name: b"", ..id };
        assert_eq!(world.store().list_memos(&first, 10).await.unwrap(), [(b"same".to_vec(), vec![number])]);
    }
}

pub async fn memos_are_listed_in_the_order_of_their_names_from_any_on<W: World>(world: &W) {
    let realm = realm_name();
    let names: [&[u8]; 6] = [b"\0", b"\x01\0", b"a", b"a\0", b"b", b"\xff\xff"];
    for name in names.iter().rev() {
        write(world, &due(&realm, name), Expected::Absent, Some(name)).await;
    }
    let listed = async |first: &[u8], limit| -> Vec<Vec<u8>> {
        let memos: Memos = world.store().list_memos(&due(&realm, first), limit).await.unwrap();
        memos
            .into_iter()
            .map(|(name, value)| if name == value { name } else { panic!("{name:?}: {value:?}") })
            .collect()
    };
    assert_eq!(listed(b"", 10).await, names);
    assert_eq!(listed(b"", 2).await, names[..2]);
    assert_eq!(listed(b"a", 3).await, names[2..5], "from a name on, itself included");
    assert_eq!(listed(b"aa", 10).await, names[4..], "from between two");
    write(world, &due(&realm, b"a\0"), Expected::Anything, None).await;
    assert_eq!(listed(b"a", 2).await, [&b"a"[..], b"b"]);
}

/// What many take at the same time, one of them takes: on this rests that a message is handed over by one server at a time.
pub async fn of_many_that_take_a_memo_one_does<W: World>(world: &W) {
    let realm = realm_name();
    for round in 0..20_u8 {
        let name = [round];
        let id = due(&realm, &name);
        write(world, &id, Expected::Absent, Some(b"there")).await;
        let take = || write(world, &id, Expected::Is(b"there"), None);
        let (a, b, c, d) = tokio::join!(take(), take(), take(), take());
        assert_eq!([a, b, c, d].into_iter().filter(|taken| *taken).count(), 1);
    }
}
