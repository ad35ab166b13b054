use super::*;
use crate::domain::{
    id::{AccountId, AccountRef, Environment, ProviderName, RealmName},
    secret::ProviderCredential,
    vault::Slot,
};
use zeroize::Zeroizing;

fn place(account: &str) -> Place {
    let realm = RealmName::new("recovea").unwrap();
    let owner = AccountRef { realm, account: AccountId::new(account).unwrap() };
    let (environment, provider) = (Environment::new("live").unwrap(), ProviderName::new("openai").unwrap());
    Place { owner, slot: Slot { environment, provider } }
}

fn value() -> (Held, std::sync::Weak<ReleasedValue>) {
    let credential = ProviderCredential::new(Zeroizing::new("sk-secret".to_owned())).ok().unwrap();
    let value = Arc::new(ReleasedValue::new("Bearer ", &credential, ""));
    let watched = Arc::downgrade(&value);
    (Held::Value(value), watched)
}

fn at(millis: u64) -> Ticks {
    Ticks::from_micros(millis * 1_000)
}

#[test]
fn what_is_remembered_holds_for_one_state_of_one_place_and_for_seconds() {
    let memory = Memory::new(Duration::from_secs(5));
    let (held, _) = value();
    memory.keep(place("a"), 7, held, at(0));
    assert!(matches!(memory.recall(&place("a"), 7, at(4_999)), Some(Held::Value(_))));
    assert!(memory.recall(&place("a"), 8, at(1)).is_none(), "the account changed");
    assert!(memory.recall(&place("b"), 7, at(1)).is_none(), "another account");
    assert!(memory.recall(&place("a"), 7, at(5_000)).is_none(), "it is over");
    memory.keep(place("c"), 7, Held::Failed(VaultError::Off), at(0));
    assert!(memory.recall(&place("c"), 7, at(999)).is_some() && memory.recall(&place("c"), 7, at(1_000)).is_none());
}

#[test]
fn what_is_over_is_dropped_and_so_wiped_without_anybody_asking() {
    let memory = Memory::new(Duration::from_secs(5));
    let ((first, first_watched), (second, second_watched)) = (value(), value());
    memory.keep(place("a"), 1, first, at(0));
    memory.keep(place("b"), 1, second, at(3_000));
    assert_eq!(memory.sweep(at(4_999)), 2);
    assert!(first_watched.upgrade().is_some());
    assert_eq!(memory.sweep(at(5_000)), 1);
    assert!(first_watched.upgrade().is_none() && second_watched.upgrade().is_some());
    memory.forget(&place("b"));
    assert!(second_watched.upgrade().is_none());
}

#[test]
fn what_came_again_stays_for_its_own_time() {
    let memory = Memory::new(Duration::from_secs(5));
    memory.keep(place("a"), 1, Held::Nothing, at(0));
    memory.keep(place("a"), 2, Held::Nothing, at(3_000));
    assert_eq!(memory.sweep(at(6_000)), 1);
    assert!(memory.recall(&place("a"), 2, at(6_000)).is_some());
}

#[test]
fn no_more_are_remembered_than_there_is_room_for() {
    let memory = Memory::new(Duration::from_secs(5));
    for number in 0..=REMEMBERED {
        memory.keep(place(&format!("a{number}")), 1, Held::Nothing, at(1));
    }
    assert_eq!(memory.sweep(at(1)), REMEMBERED);
    assert!(memory.recall(&place("a0"), 1, at(1)).is_none() && memory.recall(&place("a1"), 1, at(1)).is_some());
    // The same place again and again takes no room of its own for ever.
    for _ in 0..3 * REMEMBERED {
        memory.keep(place("same"), 1, Held::Nothing, at(2));
    }
    assert!(memory.sweep(at(2)) <= REMEMBERED);
}
