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

/// Those organizations as they were read, all with one status.
fn organizations(names: &[AccountId], status: AccountStatus) -> Vec<AccountSnapshot> {
    names.iter().map(|name| read(name.as_str(), Some(account(&[], &[], status)))).collect()
}

fn caller<'a>(id: &'a AccountId, account: &'a Account, organizations: &'a [AccountSnapshot]) -> Caller<'a> {
    Caller { id, account, organizations, scopes: &[] }
}

fn wanted<'a>(
    account: Option<&'a AccountId>,
    organization: Option<&'a AccountId>,
    reached: Option<&'a AccountSnapshot>,
) -> Wanted<'a> {
    Wanted { address: None, account, reached, organization, environment: None, operation: None, required_scopes: &[] }
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
        let own = account(&[], memberships, Active);
        let (active, resting) =
            (organizations(&own.organizations, Active), organizations(&own.organizations, Deactivated));
        let record = found.map(|(above, organizations, status)| account(above, organizations, status));
        let reached = read("target", record);
        for (kind, expected) in ["", "s", "o", "a", "soa"].into_iter().zip(expected) {
            let wanted = wanted(Some(&target), None, Some(&reached));
            let judged = reach(&rules(kind), &caller(&me, &own, &active), &wanted);
            let expected = expected.map(|()| &target);
            assert_eq!(judged, expected, "rules `{kind}`, member of {memberships:?}, target {found:?}");
            // What an organization gives, it gives while it is active, and only where it was read.
            let alone = reach(&rules(kind), &caller(&me, &account(&[], &[], Active), &[]), &wanted).err();
            for organizations in [&resting[..], &[]] {
                assert_eq!(reach(&rules(kind), &caller(&me, &own, organizations), &wanted).err(), alone);
            }
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
        for status in AccountStatus::ALL {
            let read = organizations(&ids(&["band", "admins"]), status);
            let (member, admin) = (caller(&me, &member, &read), caller(&me, &admin, &read));
            let acts = |caller: &Caller<'_>, within| reach(&rules, caller, &wanted(None, Some(within), None)).is_ok();
            let is_active = status == AccountStatus::Active;
            assert_eq!(acts(&member, &band), is_active, "{status:?}");
            assert!(acts(&member, &me) && !acts(&member, &label));
            assert_eq!(acts(&admin, &label), is_active && kind.contains('a'), "{status:?}");
        }
    }
}

#[test]
fn a_decision_rests_on_the_organizations_that_could_turn_it() {
    let read_of_caller = organizations(&ids(&["admins", "band", "label"]), AccountStatus::Active);
    let shared = read("target", Some(account(&[], &["label", "x"], AccountStatus::Active)));
    let (target, band) = (id("target"), id("band"));
    let names = |kind: &str, wanted: &Wanted<'_>| -> Vec<String> {
        let rules = rules(kind);
        rules.decisive(&read_of_caller, wanted).map(|found| found.owner.account.to_string()).collect()
    };
    let beyond = wanted(Some(&target), None, Some(&shared));
    assert_eq!(names("soa", &wanted(None, None, None)), [""; 0], "on its own account");
    assert_eq!((names("", &beyond), names("s", &beyond)), (vec![], vec![]));
    assert_eq!((names("o", &beyond), names("a", &beyond)), (vec!["label".to_owned()], vec!["admins".to_owned()]));
    assert_eq!(names("soa", &wanted(Some(&target), Some(&band), Some(&shared))), ["admins", "band", "label"]);
    assert_eq!(names("", &wanted(None, Some(&band), None)), ["band"]);
}

#[test]
fn what_was_read_of_another_account_proves_nothing() {
    let (me, target) = (id("me"), id("target"));
    let own = account(&[], &["band"], AccountStatus::Active);
    let band = organizations(&own.organizations, AccountStatus::Active);
    let other = read("other", Some(account(&["me"], &["band"], AccountStatus::Active)));
    for reached in [None, Some(&other)] {
        let judged = reach(&rules("so"), &caller(&me, &own, &band), &wanted(Some(&target), None, reached));
        assert_eq!(judged, Err(DenyReason::ForbiddenAccount));
    }
}

/// Two accounts anywhere among the same few names, and what was read of the organizations.
fn household() -> impl Strategy<Value = (Account, Account, Vec<AccountSnapshot>)> {
    let few = || prop::sample::subsequence(ids(&["admins", "band", "label", "me", "target"]), 0..=5);
    let status = prop::sample::select(AccountStatus::ALL.to_vec());
    (few(), few(), few(), few(), prop::collection::vec(prop::option::of(status), 5)).prop_map(
        |(above, organizations, their_above, theirs, found)| {
            let unborn = || Account::unborn(Timestamp::from_micros(0));
            let read = |(name, status): (&AccountId, Option<AccountStatus>)| {
                read(name.as_str(), status.map(|status| account(&[], &[], status)))
            };
            let read = organizations.iter().zip(found).map(read).collect();
            let caller = Account { above, organizations, ..unborn() };
            (caller, Account { above: their_above, organizations: theirs, ..unborn() }, read)
        },
    )
}

proptest! {
    /// Nobody reaches an account that no rule names: none below them, none with which they share an organization that is active,
    /// and none as a member of an active admin organization.
    #[test]
    fn no_tenant_reaches_another(
        (own, other, organizations) in household(),
        kind in "s?o?a?",
        organization in prop::option::of("admins|band|label|other"),
    ) {
        let (me, target) = (id("me"), id("target"));
        let organization = organization.map(|name| id(&name));
        let is_active = |name: &AccountId| organizations.iter().any(|found| {
            found.owner.account == *name && found.account.as_ref().is_some_and(|a| a.status == AccountStatus::Active)
        });
        let administers = kind.contains('a') && is_active(&id("admins"));
        let below = kind.contains('s') && other.above.contains(&me);
        let shares = kind.contains('o') && other.organizations.iter().any(is_active);
        let within = organization.as_ref().is_none_or(|name| administers || is_active(name));
        let reached = read("target", Some(other));
        let caller = caller(&me, &own, &organizations);
        let judged = reach(&rules(&kind), &caller, &wanted(Some(&target), organization.as_ref(), Some(&reached)));
        prop_assert_eq!(judged.is_ok(), within && (administers || below || shares));
        let at_home = reach(&rules(&kind), &caller, &wanted(None, organization.as_ref(), None));
        prop_assert_eq!(at_home.is_ok(), within);
        for refused in [judged, at_home].into_iter().filter_map(Result::err) {
            prop_assert_eq!(refused, DenyReason::ForbiddenAccount);
        }
    }
}
