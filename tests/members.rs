//! Members of accounts: what may be done to them, by whom, and what is refused.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, AddMemberRequest, CreateKey, GetMemberRequest, ImportKeys, ImportOutcome, ImportRow, KeyState,
    ListKeys, ListMembersRequest, RemoveMemberRequest, SetMemberRolesRequest, UpdateKey, import_row::Secret,
    manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use support::{
    calls::{assert_invalid, key_for, removing, signed, texts, violations, well_formed},
    keygate::Keygate,
};
use tonic::{Code, Request, Status};

fn adding(account: &str, member: &str, roles: &[&str]) -> AddMemberRequest {
    let (account_id, member_id) = (account.to_owned(), member.to_owned());
    AddMemberRequest { realm: "recurr".to_owned(), account_id, member_id, roles: texts(roles) }
}

fn setting(account: &str, member: &str, roles: &[&str]) -> SetMemberRolesRequest {
    let AddMemberRequest { realm, account_id, member_id, roles } = adding(account, member, roles);
    SetMemberRolesRequest { realm, account_id, member_id, roles, expected_version: 0 }
}

fn getting(account: &str, member: &str) -> GetMemberRequest {
    let (account_id, member_id) = (account.to_owned(), member.to_owned());
    GetMemberRequest { realm: "recurr".to_owned(), account_id, member_id }
}

fn listing(account: &str, page_size: i32, page_token: &str) -> ListMembersRequest {
    let (account_id, page_token) = (account.to_owned(), page_token.to_owned());
    ListMembersRequest { realm: "recurr".to_owned(), account_id, page_size, page_token }
}

fn issued(account: &str, member: &str) -> CreateKey {
    CreateKey { member_id: member.to_owned(), ..key_for(account, "live") }
}

impl Keygate {
    fn by_operator<M>(&self, message: M) -> Request<M> {
        signed(Some(self.operator()), message)
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, message: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
}

#[track_caller]
fn wrong<T: std::fmt::Debug>(answer: Result<T, Status>, expected: &[(&str, &str)]) {
    let status = answer.unwrap_err();
    let found = violations(&status);
    let found: Vec<_> = found.iter().map(|(field, problem)| (field.as_str(), problem.as_str())).collect();
    assert_eq!((status.code(), found.as_slice()), (Code::InvalidArgument, expected), "{status:?}");
}

const ACCOUNT: (&str, &str) = ("account_id", "must be 1 to 128 of `A-Z a-z 0-9 . _ - @ : ~`");
const MEMBER: (&str, &str) = ("member_id", "must be 1 to 128 of `A-Z a-z 0-9 . _ - @ : ~ | +`");
const COUNT: (&str, &str) = ("roles", "must be 1 to 3 roles of the realm");
const ROLE: &str = "must be a role of the realm: `viewer`, `developer`, `admin`";

on_both_stores! {
    async fn every_wrong_request_is_told_what_is_wrong(stack) {
        stack.add_member("recurr", "acme", "ann", &["developer"]).await;
        let before = stack.chain("recurr", "acme").await;
        let mut directory = stack.directory();
        let long = "x".repeat(129);
        let elsewhere = AddMemberRequest { realm: "nowhere".to_owned(), ..adding("acme", "bob", &["viewer"]) };
        assert_invalid(&directory.add_member(stack.by_operator(elsewhere)).await.unwrap_err(), &["realm"]);
        for (account, member, roles, expected) in [
            ("", "", &["viewer"][..], &[ACCOUNT, MEMBER][..]),
            ("a b", "a b", &[], &[ACCOUNT, MEMBER, COUNT]),
            (&long, &long, &["viewer"], &[ACCOUNT, MEMBER]),
            ("acme", "bob", &[], &[COUNT]),
            ("acme", "bob", &["viewer", "viewer", "viewer", "viewer"], &[COUNT]),
            ("acme", "bob", &["viewer", "owner", "Admin"], &[("roles[1]", ROLE), ("roles[2]", "must be one as told of `roles[1]`")]),
        ] {
            wrong(directory.add_member(stack.by_operator(adding(account, member, roles))).await, expected);
            wrong(directory.set_member_roles(stack.by_operator(setting(account, member, roles))).await, expected);
        }
        wrong(directory.get_member(stack.by_operator(getting("", "a b"))).await, &[ACCOUNT, MEMBER]);
        let wordy = RemoveMemberRequest { reason: "x".repeat(257), ..removing("recurr", "", "ä") };
        let reason = ("reason", "must be at most 256 bytes without control characters");
        wrong(directory.remove_member(stack.by_operator(wordy)).await, &[ACCOUNT, MEMBER, reason]);
        let size = ("page_size", "must be 1 to 256, or 0 for 100");
        let token = ("page_token", "must be `next_page_token` of the page before, unchanged");
        wrong(directory.list_members(stack.by_operator(listing("", 257, "a b"))).await, &[ACCOUNT, size, token]);
        wrong(directory.list_members(stack.by_operator(listing("acme", -1, ""))).await, &[size]);

        let nobody = "there is no such member in this account";
        refused(directory.get_member(stack.by_operator(getting("acme", "bob"))).await, Code::NotFound, nobody);
        refused(directory.set_member_roles(stack.by_operator(setting("acme", "bob", &["viewer"]))).await, Code::NotFound, nobody);
        refused(stack.remove_member(removing("recurr", "acme", "bob")).await, Code::NotFound, nobody);
        let nowhere = "there is no such account in this realm";
        refused(directory.get_member(stack.by_operator(getting("other", "ann"))).await, Code::NotFound, nowhere);
        refused(directory.set_member_roles(stack.by_operator(setting("other", "ann", &["viewer"]))).await, Code::NotFound, nowhere);
        refused(stack.remove_member(removing("recurr", "other", "ann")).await, Code::NotFound, nowhere);
        refused(directory.list_members(stack.by_operator(listing("other", 0, ""))).await, Code::NotFound, nowhere);

        let there = "the member is there already, with other roles";
        refused(directory.add_member(stack.by_operator(adding("acme", "ann", &["admin"]))).await, Code::AlreadyExists, there);
        let moved = "the account is at version 1, not 9: read it again";
        let late = SetMemberRolesRequest { expected_version: 9, ..setting("acme", "ann", &["admin"]) };
        refused(directory.set_member_roles(stack.by_operator(late)).await, Code::Aborted, moved);
        let late = RemoveMemberRequest { expected_version: 9, ..removing("recurr", "acme", "ann") };
        refused(stack.remove_member(late.clone()).await, Code::Aborted, moved);
        refused(stack.remove_member(RemoveMemberRequest { preview: true, ..late }).await, Code::Aborted, moved);
        assert_eq!(stack.chain("recurr", "acme").await, before, "nothing of all this was done");
    }

    async fn a_realm_without_members_has_none(stack) {
        stack.new_account("recovea", "acme", "").await;
        let mut directory = stack.directory();
        let none = "this realm knows no members: its configuration has no `[members]`";
        let add = AddMemberRequest { realm: "recovea".to_owned(), ..adding("acme", "ann", &["viewer"]) };
        refused(directory.add_member(stack.by_operator(add)).await, Code::FailedPrecondition, none);
        let set = SetMemberRolesRequest { realm: "recovea".to_owned(), ..setting("acme", "ann", &["viewer"]) };
        refused(directory.set_member_roles(stack.by_operator(set)).await, Code::FailedPrecondition, none);
        let list = ListMembersRequest { realm: "recovea".to_owned(), ..listing("acme", 0, "") };
        assert_eq!(directory.list_members(stack.by_operator(list)).await.unwrap().get_ref().members, []);
        let create = Operation::Create(issued("acme", "ann"));
        let needless = ("create.member_id", "must be empty: this realm knows no members");
        wrong(stack.try_manage("recovea", create).await, &[needless]);
    }

    async fn a_wrong_issuer_or_filter_is_told(stack) {
        wrong(stack.try_manage("recurr", Operation::Create(issued("acme", "a b"))).await, &[("create.member_id", MEMBER.1)]);
        let filter = ListKeys { member_id: "a b".to_owned(), ..Default::default() };
        wrong(stack.try_manage("recurr", Operation::List(filter)).await, &[("list.member_id", MEMBER.1)]);
    }

    async fn a_member_is_added_once_and_listed_page_by_page(stack) {
        let ann = stack.add_member("recurr", "acme", "ann", &["viewer", "admin", "viewer"]).await;
        assert_eq!((ann.roles.clone(), ann.account_version, ann.key_ids.len()), (texts(&["admin", "viewer"]), 1, 0));
        assert_eq!((ann.realm.as_str(), ann.account_id.as_str(), ann.added_at.is_some()), ("recurr", "acme", true));
        let again = stack.directory().add_member(stack.by_operator(adding("acme", "ann", &["admin", "viewer"]))).await.unwrap();
        assert!(again.get_ref().existed && again.get_ref().member.as_ref() == Some(&ann));
        assert_eq!(stack.get_member("recurr", "acme", "ann").await.unwrap(), ann);

        // As many as an account may have, and no more.
        let mut directory = stack.directory();
        let mut wanted = vec!["ann".to_owned()];
        for number in 1..256 {
            let member = format!("auth0|{number:03}");
            directory.add_member(stack.by_operator(adding("acme", &member, &["viewer"]))).await.unwrap();
            wanted.push(member);
        }
        let full = "the account has 256 members, which is the most: remove one first";
        refused(directory.add_member(stack.by_operator(adding("acme", "one-more", &["viewer"]))).await, Code::FailedPrecondition, full);
        let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = directory.list_members(stack.by_operator(listing("acme", 0, &token))).await.unwrap().into_inner();
            found.extend(page.members.into_iter().map(|member| member.id));
            (token, pages) = (page.next_page_token, pages + 1);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((found, pages), (wanted, 3));
        stack.remove_member(removing("recurr", "acme", "ann")).await.unwrap();
        directory.add_member(stack.by_operator(adding("acme", "one-more", &["viewer"]))).await.unwrap();
    }

    async fn a_member_has_so_many_keys_without_an_end_and_all_end_with_the_member(stack) {
        stack.add_member("recurr", "acme", "ann", &["developer"]).await;
        let mut last = String::new();
        for _ in 0..100 {
            last = stack.create("recurr", issued("acme", "ann")).await.key.unwrap().id;
        }
        let full = "100 keys of this member did not end, which is the most: revoke one first";
        let one_more = || stack.try_manage("recurr", Operation::Create(issued("acme", "ann")));
        refused(one_more().await, Code::FailedPrecondition, full);
        // Suspended is no end.
        stack.update("recurr", UpdateKey { key_id: last.clone(), state: KeyState::Suspended.into(), ..Default::default() }).await;
        refused(one_more().await, Code::FailedPrecondition, full);
        stack.revoke("recurr", &last).await;
        one_more().await.unwrap();
        let before = stack.get_member("recurr", "acme", "ann").await.unwrap();
        let removed = stack.remove_member(removing("recurr", "acme", "ann")).await.unwrap();
        assert_eq!((&removed.ended_key_ids, before.key_ids.len()), (&before.key_ids, 100));
        let living = ListKeys { state: KeyState::Active.into(), ..Default::default() };
        assert_eq!(stack.list("recurr", living).await.keys, []);
    }

    async fn imported_keys_may_name_who_answers_for_them(stack) {
        stack.add_member("recurr", "acme", "ann", &["admin"]).await;
        stack.add_member("recurr", "acme", "vera", &["viewer"]).await;
        let row = |number: u32, member: &str| ImportRow {
            secret: Some(Secret::RawKey(well_formed("rk_live_", &format!("{number:026}")))),
            account_id: "acme".to_owned(),
            environment: "live".to_owned(),
            name: "taken over".to_owned(),
            member_id: member.to_owned(),
            ..Default::default()
        };
        let mut rows = vec![row(0, ""), row(1, "ann"), row(2, "vera"), row(3, "nobody"), row(4, "a b")];
        rows.extend((5..105).map(|number| row(number, "ann")));
        let Done::Imported(report) = stack.manage("recurr", Operation::Import(ImportKeys { rows, ..Default::default() })).await else { panic!() };
        assert_eq!((report.imported, report.refused), (101, 4));
        let problem = |at: usize| report.verdicts[at].problem.as_str();
        assert_eq!(problem(2), "the key cannot be issued: the member has none of the roles that may issue keys in this realm");
        assert_eq!(problem(3), "the key cannot be issued: `member_id` is no member of the account");
        assert_eq!(problem(4), format!("`member_id` {}", MEMBER.1));
        assert_eq!(problem(104), "100 keys of this member did not end, which is the most: revoke one first");
        assert_eq!(report.verdicts[0].outcome(), ImportOutcome::Imported);
        assert_eq!(stack.get("recurr", &report.verdicts[1].key_id).await.member_id, "ann");
        let removed = stack.remove_member(removing("recurr", "acme", "ann")).await.unwrap();
        assert_eq!(removed.ended_key_ids.len(), 100);
        assert_eq!(stack.get("recurr", &report.verdicts[0].key_id).await.state(), KeyState::Active);
    }

    async fn an_account_that_is_over_gets_no_members_and_lets_them_go(stack) {
        stack.add_member("recurr", "acme", "ann", &["developer"]).await;
        stack.set_status("recurr", "acme", AccountStatus::Offboarded).await;
        let mut directory = stack.directory();
        let over = "the account was offboarded, and that is for ever";
        refused(directory.add_member(stack.by_operator(adding("acme", "bob", &["viewer"]))).await, Code::FailedPrecondition, over);
        refused(directory.set_member_roles(stack.by_operator(setting("acme", "ann", &["viewer"]))).await, Code::FailedPrecondition, over);
        stack.remove_member(removing("recurr", "acme", "ann")).await.unwrap();
    }

    async fn each_act_needs_its_role(stack) {
        stack.add_member("recurr", "acme", "ann", &["developer"]).await;
        let (_, own) = stack.new_key("recurr", "acme", "live").await;
        let mut directory = stack.directory();
        let mut keys = Vec::new();
        for role in ["reader", "revoker", "key-manager", "reader@recover"] {
            let key = CreateKey { scopes: texts(&[role]), ..key_for("staff", "") };
            keys.push((role, stack.create("keygate", key).await.secret));
        }
        for (role, key) in keys.iter().map(|(role, key)| (*role, Some(key.as_str()))).chain([("none", None), ("own", Some(own.as_str()))]) {
            let expected = |allowed: &[&str]| match role {
                "none" | "own" => Code::Unauthenticated,
                role if allowed.contains(&role) => Code::Ok,
                _ => Code::PermissionDenied,
            };
            let code = |answer: Result<(), Status>| answer.map_or_else(|status| status.code(), |()| Code::Ok);
            let get = directory.get_member(signed(key, getting("acme", "ann"))).await;
            assert_eq!(code(get.map(drop)), expected(&["reader", "key-manager"]), "{role} gets");
            let list = directory.list_members(signed(key, listing("acme", 0, ""))).await;
            assert_eq!(code(list.map(drop)), expected(&["reader", "key-manager"]), "{role} lists");
            let add = directory.add_member(signed(key, adding("acme", "ann", &["developer"]))).await;
            assert_eq!(code(add.map(drop)), expected(&["key-manager"]), "{role} adds");
            let set = directory.set_member_roles(signed(key, setting("acme", "ann", &["developer"]))).await;
            assert_eq!(code(set.map(drop)), expected(&["key-manager"]), "{role} sets roles");
            let preview = RemoveMemberRequest { preview: true, ..removing("recurr", "acme", "ann") };
            let remove = directory.remove_member(signed(key, preview)).await;
            assert_eq!(code(remove.map(drop)), expected(&["revoker", "key-manager"]), "{role} removes");
        }
        stack.get_member("recurr", "acme", "ann").await.unwrap();
    }
}
