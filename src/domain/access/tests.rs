use super::*;
use crate::domain::{
    id::{AccountRef, RealmName},
    time::Ticks,
};
use proptest::prelude::*;

fn id(text: &str) -> AccountId {
    AccountId::new(text).unwrap()
}

fn ids(list: &[&str]) -> Vec<AccountId> {
    list.iter().map(|text| id(text)).collect()
}

fn account(above: &[&str], organizations: &[&str], status: AccountStatus) -> Account {
    let unborn = Account::unborn(Timestamp::from_micros(0));
    Account { above: ids(above), organizations: ids(organizations), status, ..unborn }
}

fn read(name: &str, account: Option<Account>) -> AccountSnapshot {
    let owner = AccountRef { realm: RealmName::new("realm").unwrap(), account: id(name) };
    AccountSnapshot::new(owner, account, Ticks::from_micros(0), 0)
}

fn wanted<'a>(
    account: Option<&'a AccountId>,
    organization: Option<&'a AccountId>,
    reached: Option<&'a AccountSnapshot>,
) -> Wanted<'a> {
    Wanted {
        address: None,
        account,
        reached,
        organization,
        environment: None,
        operation_scopes: &[],
        required_scopes: &[],
    }
}

fn rules(text: &str) -> AccessRules {
    AccessRules {
        sub_accounts: text.contains('s'),
        shared_organizations: text.contains('o'),
        admin_organization: text.contains('a').then(|| id("admins")),
    }
}

/// Who calls, what stands above the target, where the two are members, what the target's status is, and what comes of it under
/// each set of rules: none, sub-accounts, shared organizations, admin organization, all.
#[test]
fn who_reaches_whom() {
    use AccountStatus::{Active, Deactivated, Offboarded, Suspended};
    use DenyReason::{DeactivatedAccount, ForbiddenAccount, SuspendedAccount, UnknownAccount};
    const NO: Result<(), DenyReason> = Err(ForbiddenAccount);
    const YES: Result<(), DenyReason> = Ok(());
    const NOWHERE: Result<(), DenyReason> = Err(UnknownAccount);
    const OFF: Result<(), DenyReason> = Err(DeactivatedAccount);
    type Row<'r> = (&'r [&'r str], Option<(&'r [&'r str], &'r [&'r str], AccountStatus)>, [Result<(), DenyReason>; 5]);
    let table: [Row<'_>; 14] = [
        (&[], Some((&[], &[], Active)), [NO, NO, NO, NO, NO]),
        (&[], Some((&["me"], &[], Active)), [NO, YES, NO, NO, YES]),
        (&[], Some((&["near", "me", "far"], &[], Active)), [NO, YES, NO, NO, YES]),
        (&[], Some((&["other"], &[], Active)), [NO, NO, NO, NO, NO]),
        (&["band"], Some((&[], &["band"], Active)), [NO, NO, YES, NO, YES]),
        (&["band", "label"], Some((&[], &["label", "x"], Active)), [NO, NO, YES, NO, YES]),
        (&["band"], Some((&[], &["label"], Active)), [NO, NO, NO, NO, NO]),
        // A member of an organization named like the caller, and one above which such an organization stands.
        (&[], Some((&[], &["me"], Active)), [NO, NO, NO, NO, NO]),
        (&["admins"], Some((&[], &[], Active)), [NO, NO, NO, YES, YES]),
        (&[], None, [NO, NOWHERE, NOWHERE, NOWHERE, NOWHERE]),
        (&["band"], Some((&["me"], &["band"], Deactivated)), [NO, OFF, OFF, NO, OFF]),
        (&["band"], Some((&["me"], &["band"], Offboarded)), [NO, OFF, OFF, NO, OFF]),
        (&["admins"], Some((&[], &[], Suspended)), [NO, NO, NO, Err(SuspendedAccount), Err(SuspendedAccount)]),
        // Whoever does not reach it does not learn that it is deactivated.
        (&[], Some((&["other"], &[], Deactivated)), [NO, NO, NO, NO, NO]),
    ];
    let (me, target) = (id("me"), id("target"));
    for (memberships, found, expected) in table {
        let caller = account(&[], memberships, Active);
        let record = found.map(|(above, organizations, status)| account(above, organizations, status));
        let reached = read("target", record);
        for (kind, expected) in ["", "s", "o", "a", "soa"].into_iter().zip(expected) {
            let judged = reach(&rules(kind), &me, &caller, &wanted(Some(&target), None, Some(&reached)));
            let expected = expected.map(|()| &target);
            assert_eq!(judged, expected, "rules `{kind}`, member of {memberships:?}, target {found:?}");
        }
    }
}

#[test]
fn an_organization_is_open_to_itself_its_members_and_admins() {
    let (me, band, label) = (id("me"), id("band"), id("label"));
    let member = account(&[], &["band"], AccountStatus::Active);
    let admin = account(&[], &["admins"], AccountStatus::Active);
    for kind in ["", "s", "o", "a", "soa"] {
        let rules = rules(kind);
        assert_eq!(reach(&rules, &me, &member, &wanted(None, Some(&band), None)), Ok(&me));
        assert_eq!(reach(&rules, &me, &member, &wanted(None, Some(&me), None)), Ok(&me));
        assert_eq!(reach(&rules, &me, &member, &wanted(None, Some(&label), None)), Err(DenyReason::ForbiddenAccount));
        let administers = reach(&rules, &me, &admin, &wanted(None, Some(&label), None)).is_ok();
        assert_eq!(administers, kind.contains('a'));
    }
}

#[test]
fn what_was_read_of_another_account_proves_nothing() {
    let (me, target) = (id("me"), id("target"));
    let caller = account(&[], &["band"], AccountStatus::Active);
    let other = read("other", Some(account(&["me"], &["band"], AccountStatus::Active)));
    for reached in [None, Some(&other)] {
        let judged = reach(&rules("so"), &me, &caller, &wanted(Some(&target), None, reached));
        assert_eq!(judged, Err(DenyReason::ForbiddenAccount));
    }
}

fn names(most: usize) -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set("[a-d]", 0..most).prop_map(|names| names.into_iter().collect())
}

proptest! {
    /// Two tenants that share neither an account above nor an organization never reach each other, whatever the rules are,
    /// whatever else they are in.
    #[test]
    fn no_tenant_reaches_another(
        (mine, theirs) in (names(4), names(4)),
        (my_above, their_above) in (names(3), names(3)),
        kind in "s?o?a?",
        target in "[e-h]",
        organization in prop::option::of("[a-h]"),
    ) {
        let tenant = |prefix: &str, names: &[String]| -> Vec<AccountId> {
            names.iter().map(|name| id(&format!("{prefix}-{name}"))).collect()
        };
        let unborn = || Account::unborn(Timestamp::from_micros(0));
        let caller = Account { above: tenant("mine", &my_above), organizations: tenant("mine", &mine), ..unborn() };
        let other = Account { above: tenant("theirs", &their_above), organizations: tenant("theirs", &theirs), ..unborn() };
        let (me, target) = (id("mine-e"), id(&format!("theirs-{target}")));
        let organization = organization.map(|name| id(&format!("theirs-{name}")));
        let reached = read(target.as_str(), Some(other));
        let judged = reach(&rules(&kind), &me, &caller, &wanted(Some(&target), organization.as_ref(), Some(&reached)));
        prop_assert_eq!(judged, Err(DenyReason::ForbiddenAccount));
        if let Some(organization) = &organization {
            let judged = reach(&rules(&kind), &me, &caller, &wanted(None, Some(organization), None));
            prop_assert_eq!(judged, Err(DenyReason::ForbiddenAccount));
        }
    }
}
