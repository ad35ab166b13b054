use super::*;
use crate::domain::{
    audit::Chain,
    id::RealmName,
    realm::{KeyPolicy, WhenFull},
};
use std::time::Duration;

fn id(text: &str) -> AccountId {
    AccountId::new(text).unwrap()
}

fn owner(account: &str) -> AccountRef {
    AccountRef { realm: RealmName::new("recover").unwrap(), account: id(account) }
}

fn organization_account() -> Account {
    Account::unborn(now())
}

fn now() -> Timestamp {
    Timestamp::from_micros(7)
}

fn made(account: &str, parent: Option<(&AccountId, &Account)>) -> Account {
    create(&owner(account), parent, &Actor::System, now()).unwrap().account
}

#[test]
fn an_account_knows_all_that_stand_above_it_the_nearest_first() {
    let (top, near) = (id("top"), id("near"));
    let above = made("top", None);
    let parent = made("near", Some((&top, &above)));
    let account = made("account", Some((&near, &parent)));
    assert_eq!((account.above.clone(), account.parent()), (vec![near.clone(), top], Some(&near)));
    assert_eq!((account.version, account.audit.length), (1, 1));
}

#[test]
fn accounts_stand_above_one_another_so_deep_and_no_deeper() {
    let mut deepest = made("0", None);
    for depth in 1..=MAX_DEPTH {
        deepest = made(&depth.to_string(), Some((&id(&(depth - 1).to_string()), &deepest)));
    }
    assert_eq!(deepest.above.len(), MAX_DEPTH);
    let last = id(&MAX_DEPTH.to_string());
    let deeper = create(&owner("deeper"), Some((&last, &deepest)), &Actor::System, now());
    assert_eq!(deeper.unwrap_err(), DirectoryError::TooDeep);
}

#[test]
fn memberships_are_kept_in_order_once_each_and_no_more_than_allowed() {
    let mut account = made("account", None);
    let mut numbers: Vec<usize> = (0..MAX_ORGANIZATIONS).collect();
    numbers.reverse();
    for number in numbers {
        let organization = id(&format!("o{number:03}"));
        let change = join(&owner("account"), &account, (&organization, &organization_account()), &Actor::System, now())
            .unwrap()
            .unwrap();
        assert_eq!(change.events.last().unwrap().other.as_ref(), Some(&organization));
        account = change.account;
        assert!(
            join(&owner("account"), &account, (&organization, &organization_account()), &Actor::System, now())
                .unwrap()
                .is_none()
        );
    }
    assert!(account.organizations.is_sorted() && account.organizations.len() == MAX_ORGANIZATIONS);
    let one_more = join(&owner("account"), &account, (&id("more"), &organization_account()), &Actor::System, now());
    assert_eq!(one_more.unwrap_err(), DirectoryError::TooManyOrganizations);

    let left = leave(&owner("account"), &account, &id("o007"), &Actor::System, now()).unwrap();
    assert!(!left.account.is_member_of(&id("o007")) && left.account.is_member_of(&id("o008")));
    assert!(leave(&owner("account"), &left.account, &id("o007"), &Actor::System, now()).is_none());
}

#[test]
fn an_offboarded_account_stays_so() {
    let policy = KeyPolicy {
        max_active_keys: None,
        when_full: WhenFull::Refuse,
        default_grace: Duration::ZERO,
        max_grace: Duration::ZERO,
        default_lifetime: None,
        max_lifetime: None,
        suspend_unused_after: None,
    };
    let owner = owner("account");
    let set = |account: &Account, status, expected| {
        let acting =
            Acting { owner: &owner, account: Some(account), policy: &policy, actor: &Actor::System, now: now() };
        set_status(&acting, account, status, &[], "", expected)
    };
    let mut account = made("account", None);
    use AccountStatus::{Active, Deactivated, Offboarded, Suspended};
    let mut events = Vec::new();
    for status in [Suspended, Active, Deactivated, Suspended, Deactivated, Active, Offboarded] {
        let before = account.version;
        assert_eq!(
            set(&account, status, Some(before + 1)).unwrap_err(),
            DirectoryError::Version { current: before, expected: before + 1 }
        );
        let change = set(&account, status, Some(before)).unwrap().unwrap();
        events.extend(change.events);
        account = change.account;
        assert_eq!((account.status, account.version), (status, before + 1));
        assert!(set(&account, status, None).unwrap().is_none(), "it is so already");
    }
    for status in [Active, Suspended, Deactivated] {
        assert_eq!(set(&account, status, None).unwrap_err(), DirectoryError::Offboarded);
    }
    assert_eq!(
        join(&owner, &account, (&id("o"), &organization_account()), &Actor::System, now()).unwrap_err(),
        DirectoryError::Offboarded
    );
    let joined = join(&owner, &made("other", None), (&id("o"), &account), &Actor::System, now());
    assert_eq!(joined.unwrap_err(), DirectoryError::OrganizationOffboarded);
    let below = create(&self::owner("below"), Some((&owner.account, &account)), &Actor::System, now());
    assert_eq!(below.unwrap_err(), DirectoryError::Offboarded);
    let born = made("account", None);
    let first = create(&owner, None, &Actor::System, now()).unwrap().events;
    assert_eq!(Chain::verify(first.iter().chain(&events)).map(|end| end.length), Ok(born.audit.length + 7));
}
