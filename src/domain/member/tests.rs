use super::*;
use crate::domain::{
    audit::{Actor, Chain},
    id::{AccountId, AccountRef, Environment, RealmName},
    key::{Creation, Digest, DigestScheme, Minted, create, end_all},
    realm::{KeyPolicy, WhenFull},
};
use sha2::Digest as _;
use std::time::Duration;

const NOW: Timestamp = Timestamp::from_micros(7);

fn owner() -> AccountRef {
    AccountRef { realm: RealmName::new("recurr").unwrap(), account: AccountId::new("acme").unwrap() }
}

fn policy() -> KeyPolicy {
    KeyPolicy {
        max_active_keys: None,
        when_full: WhenFull::Refuse,
        default_grace: Duration::ZERO,
        max_grace: Duration::ZERO,
        default_lifetime: None,
        max_lifetime: None,
        suspend_unused_after: None,
    }
}

fn id(name: &str) -> MemberId {
    MemberId::new(name).unwrap()
}

fn roles(names: &[&str]) -> Vec<MemberRole> {
    names.iter().map(|name| MemberRole::new(name).unwrap()).collect()
}

fn member(names: &[&str], keys: &[u8]) -> Member {
    let keys = keys.iter().map(|number| KeyId::from_bytes([*number; 16])).collect();
    Member { roles: roles(names), added_at: NOW, keys }
}

fn rules(required: bool) -> MemberRules {
    MemberRules { roles: roles(&["viewer", "developer"]), issuers: roles(&["developer"]), required }
}

/// An act on the account, which exists.
fn acting<R>(then: impl FnOnce(&Acting<'_>) -> R) -> R {
    let (owner, policy) = (owner(), policy());
    let account = Change::begin(&owner, None, &Actor::System, NOW).account;
    then(&Acting { owner: &owner, account: Some(&account), policy: &policy, actor: &Actor::System, now: NOW })
}

fn creating(acting: &Acting<'_>, number: u8, issuer: Option<&str>) -> Change {
    let creation = Creation {
        id: KeyId::from_bytes([number; 16]),
        environment: Environment::new("live").unwrap(),
        name: "a key".to_owned(),
        scopes: Vec::new(),
        metadata: BTreeMap::new(),
        expires_at: None,
        not_before: None,
        networks: Vec::new(),
        member: issuer.map(id),
    };
    let digest = Digest::from_bytes([number; 32]);
    let minted = Minted { digest, scheme: DigestScheme::Native, secret_version: 1, hint: String::new() };
    create(acting, &[], creation, minted).unwrap().0
}

fn entry(change: &Change) -> Option<&Member> {
    match change.entries.as_slice() {
        [EntryChange { entry: Some(Entry::Member(member)), .. }] => Some(member),
        _ => None,
    }
}

#[test]
fn who_may_issue_keys_is_said_by_the_realm() {
    let (ann, may, sees) = (id("ann"), member(&["developer", "viewer"], &[]), member(&["viewer"], &[]));
    let (open, strict) = (rules(false), rules(true));
    for (rules, named, found, expected) in [
        (None, None, None, Ok(())),
        (None, Some(&ann), Some(&may), Err(MemberError::IssuerNeedless)),
        (Some(&open), None, None, Ok(())),
        (Some(&strict), None, None, Err(MemberError::IssuerMissing)),
        (Some(&open), Some(&ann), Some(&may), Ok(())),
        (Some(&strict), Some(&ann), Some(&may), Ok(())),
        (Some(&open), Some(&ann), Some(&sees), Err(MemberError::IssuerRole)),
        (Some(&strict), Some(&ann), Some(&sees), Err(MemberError::IssuerRole)),
        (Some(&strict), Some(&ann), None, Err(MemberError::IssuerUnknown)),
    ] {
        assert_eq!(may_issue(rules, named, found), expected);
    }
}

#[test]
fn an_entry_names_exactly_the_keys_that_did_not_end() {
    acting(|acting| {
        let mut change = creating(acting, 3, Some("ann"));
        let first = change.put[0].clone();
        assert_eq!(concerned(&change), BTreeSet::from([id("ann")]));
        keep(&mut change, BTreeMap::from([(id("ann"), member(&["developer"], &[1]))])).unwrap();
        assert_eq!(entry(&change), Some(&member(&["developer"], &[1, 3])));

        // One gives way to another in the same act.
        let mut change = creating(acting, 4, Some("ann"));
        end_all(acting, &mut change, std::slice::from_ref(&first), "");
        keep(&mut change, BTreeMap::from([(id("ann"), member(&["developer"], &[1, 3]))])).unwrap();
        assert_eq!(entry(&change), Some(&member(&["developer"], &[1, 4])));

        // Nobody's key concerns nobody.
        assert!(concerned(&creating(acting, 5, None)).is_empty());
    });
}

#[test]
fn a_member_has_so_many_keys_without_an_end_and_no_more() {
    acting(|acting| {
        let full: Vec<u8> = (0..100).collect();
        let keep_one_more = |number, keys: &[u8]| {
            let mut change = creating(acting, number, Some("ann"));
            keep(&mut change, BTreeMap::from([(id("ann"), member(&["developer"], keys))]))
        };
        assert_eq!(full.len(), MAX_KEYS);
        assert_eq!(keep_one_more(200, &full[1..]), Ok(()));
        assert_eq!(keep_one_more(200, &full), Err(MemberError::TooManyKeys));
    });
}

#[test]
fn a_removal_is_one_change_that_names_the_member_in_every_event() {
    acting(|acting| {
        let account = acting.account.unwrap();
        let (key, other) =
            (creating(acting, 1, Some("ann")).put.remove(0), creating(acting, 2, Some("ann")).put.remove(0));
        let change = remove(acting, account, &id("ann"), &[key, other], "left", Some(account.version)).unwrap();
        let told: Vec<_> =
            change.events.iter().map(|event| (event.act, event.member.clone(), event.key.is_some())).collect();
        let ann = Some(id("ann"));
        assert_eq!(
            told,
            [
                (Act::MemberRemoved, ann.clone(), false),
                (Act::KeyRevoked, ann.clone(), true),
                (Act::KeyRevoked, ann, true)
            ]
        );
        assert_eq!(change.end.len(), 2);
        assert!(change.end.iter().all(|key| key.revoked.as_ref().is_some_and(|end| end.reason == "left")));
        assert_eq!(change.entries, [EntryChange { id: EntryId::from(&id("ann")), entry: None }]);
        let late = remove(acting, account, &id("ann"), &[], "", Some(9)).unwrap_err();
        assert_eq!(late, DirectoryError::Version { current: account.version, expected: 9 }.into());
    });
}

#[test]
fn the_hash_of_an_event_covers_its_member_and_leaves_all_others_as_they_were() {
    acting(|acting| {
        let (change, _) = add(acting, &id("ann"), roles(&["viewer"]), 0).unwrap();
        let told = change.events.last().unwrap();
        let mut other = told.clone();
        other.member = Some(id("bob"));
        assert_ne!(other.expected_hash(), told.hash);
        other.member = None;
        assert_ne!(other.expected_hash(), told.hash);
    });
    // What the form before members hashed to: docs/audit.md computes it in another language too.
    let event =
        Chain::default().append(NOW, &Actor::System, Act::AccountCreated, crate::domain::audit::About::default());
    let mut hasher = sha2::Sha256::new();
    let mut put = |field: &[u8]| {
        hasher.update((field.len() as u64).to_be_bytes());
        hasher.update(field);
    };
    put(&1_u64.to_be_bytes());
    put(&7_u64.to_be_bytes());
    put(b"keygate");
    put(&1_u64.to_be_bytes());
    (0..3).for_each(|_| put(b""));
    put(&0_u64.to_be_bytes());
    put(&[0; 32]);
    assert_eq!(event.hash[..], hasher.finalize()[..]);
}

#[test]
fn the_same_roles_are_no_change_and_an_account_that_is_over_gets_no_members() {
    acting(|acting| {
        let current = member(&["viewer"], &[1]);
        assert!(set_roles(acting, &id("ann"), &current, roles(&["viewer"]), None).unwrap().is_none());
        let (_, changed) = set_roles(acting, &id("ann"), &current, roles(&["developer"]), None).unwrap().unwrap();
        assert_eq!(changed, member(&["developer"], &[1]));
        assert_eq!(add(acting, &id("x"), Vec::new(), MAX_MEMBERS).unwrap_err(), MemberError::TooMany);

        let mut over = acting.account.unwrap().clone();
        over.status = AccountStatus::Offboarded;
        let acting = Acting { account: Some(&over), ..*acting };
        let refused = MemberError::Account(DirectoryError::Offboarded);
        assert_eq!(add(&acting, &id("x"), Vec::new(), 0).unwrap_err(), refused);
        assert_eq!(set_roles(&acting, &id("ann"), &current, Vec::new(), None).unwrap_err(), refused);
    });
}
