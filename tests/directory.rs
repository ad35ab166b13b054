//! The directory: what may be done to accounts, by whom, and what is refused.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, CreateAccountRequest, CreateKey, DenyReason, GetAccountRequest, KeyState, SetAccountStatusRequest,
};
use support::{
    calls::{Answered, assert_invalid, by_key, charged, key_for, member, signed, texts},
    keygate::Keygate,
    stack::Stack,
};
use tonic::{Code, Request, Status};

fn creating(realm: &str, account: &str, parent: &str) -> CreateAccountRequest {
    let (account_id, parent_account_id) = (account.to_owned(), parent.to_owned());
    CreateAccountRequest { realm: realm.to_owned(), account_id, parent_account_id }
}

fn setting(realm: &str, account: &str, status: AccountStatus) -> SetAccountStatusRequest {
    let (realm, account_id) = (realm.to_owned(), account.to_owned());
    SetAccountStatusRequest { realm, account_id, status: status.into(), ..Default::default() }
}

fn getting(realm: &str, account: &str) -> GetAccountRequest {
    GetAccountRequest { realm: realm.to_owned(), account_id: account.to_owned() }
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

on_both_stores! {
    async fn an_account_is_made_once_and_told_as_it_is(stack) {
        let made = stack.new_account("recover", "client", "").await;
        assert_eq!((made.id.as_str(), made.realm.as_str(), made.status()), ("client", "recover", AccountStatus::Active));
        assert_eq!((made.version, made.above_account_ids.len(), made.organization_ids.len()), (1, 0, 0));
        assert!(made.created_at.is_some());
        let below = stack.new_account("recover", "below", "client").await;
        assert_eq!(below.above_account_ids, ["client"]);

        let mut directory = stack.directory();
        let again = directory.create_account(stack.by_operator(creating("recover", "client", ""))).await.unwrap();
        assert!(again.get_ref().existed && again.get_ref().account.as_ref() == Some(&made));
        let elsewhere = directory.create_account(stack.by_operator(creating("recover", "below", ""))).await;
        let exists = "the account exists already, below another account than the one named, or none";
        refused(elsewhere, Code::AlreadyExists, exists);
        let got = directory.get_account(stack.by_operator(getting("recover", "client"))).await.unwrap();
        assert_eq!(got.get_ref(), &made);
        // Accounts of one realm are none of another.
        let foreign = directory.get_account(stack.by_operator(getting("recoup", "client"))).await;
        refused(foreign, Code::NotFound, "there is no such account in this realm");
    }

    async fn offboarding_ends_the_keys_that_its_preview_names_and_is_for_ever(stack) {
        let mut keys = Vec::new();
        for environment in ["live", "test", "live"] {
            keys.push(stack.new_key("recurr", "acme", environment).await);
        }
        let (_, other) = stack.new_key("recurr", "other", "live").await;
        stack.revoke("recurr", &keys[2].0).await;
        let mut living = vec![keys[0].0.clone(), keys[1].0.clone()];
        living.sort();

        let mut directory = stack.directory();
        let offboard = SetAccountStatusRequest { reason: "over".to_owned(), ..setting("recurr", "acme", AccountStatus::Offboarded) };
        let preview = SetAccountStatusRequest { preview: true, ..offboard.clone() };
        let previewed = directory.set_account_status(stack.by_operator(preview)).await.unwrap().into_inner();
        let sorted = |ids: &[String]| { let mut ids = ids.to_vec(); ids.sort(); ids };
        assert_eq!((sorted(&previewed.ended_key_ids), previewed.more), (living.clone(), false));
        let account = previewed.account.as_ref().unwrap();
        assert_eq!(account.status(), AccountStatus::Active, "nothing happened yet");
        for (_, key) in &keys[..2] {
            stack.authenticate(by_key("recurr", key)).await.allowed();
        }

        // What was previewed is what is done, or nothing.
        let offboard = SetAccountStatusRequest { expected_version: account.version, ..offboard };
        let done = directory.set_account_status(stack.by_operator(offboard.clone())).await.unwrap().into_inner();
        let offboard = SetAccountStatusRequest { expected_version: 0, ..offboard };
        assert_eq!((sorted(&done.ended_key_ids), done.more), (living, false));
        assert_eq!(done.remembered_for, Some(prost_types::Duration::default()));
        for (id, key) in &keys {
            stack.authenticate(by_key("recurr", key)).await.denied_for(DenyReason::RevokedKey);
            assert_eq!(stack.get("recurr", id).await.state(), KeyState::Revoked);
        }
        assert_eq!(stack.get("recurr", &keys[0].0).await.revoke_reason, "over");
        stack.authenticate(by_key("recurr", &other)).await.allowed();

        // Once more changes nothing, and there is no way back.
        let again = directory.set_account_status(stack.by_operator(offboard)).await.unwrap().into_inner();
        assert_eq!((again.ended_key_ids.len(), again.account), (0, done.account));
        let back = directory.set_account_status(stack.by_operator(setting("recurr", "acme", AccountStatus::Active))).await;
        refused(back, Code::FailedPrecondition, "the account was offboarded, and that is for ever");
        let key = CreateKey { scopes: texts(&["read-write"]), ..key_for("acme", "live") };
        let made = stack.try_manage("recurr", keygate::proto::v1::manage_keys_request::Operation::Create(key)).await;
        assert_eq!(made.unwrap_err().code(), Code::FailedPrecondition);
    }

    async fn the_operators_cannot_shut_themselves_out(stack) {
        for status in [AccountStatus::Suspended, AccountStatus::Deactivated, AccountStatus::Offboarded] {
            for preview in [false, true] {
                let request = SetAccountStatusRequest { preview, ..setting("keygate", "operators", status) };
                let told = "the account of the first operators stays active: else nobody could undo it. Revoke single keys of it instead";
                refused(stack.directory().set_account_status(stack.by_operator(request)).await, Code::FailedPrecondition, told);
            }
        }
        // Others that manage can be shut out.
        stack.create("keygate", CreateKey { scopes: texts(&["operator"]), ..key_for("staff", "") }).await;
        stack.set_status("keygate", "staff", AccountStatus::Offboarded).await;
    }

    async fn a_suspended_account_rests_and_works_again(stack) {
        let (_, key) = stack.new_key("recurr", "acme", "live").await;
        for (status, reason) in [
            (AccountStatus::Suspended, DenyReason::SuspendedAccount),
            (AccountStatus::Deactivated, DenyReason::DeactivatedAccount),
        ] {
            stack.set_status("recurr", "acme", status).await;
            stack.authenticate(by_key("recurr", &key)).await.denied_for(reason);
            let set = stack.set_status("recurr", "acme", AccountStatus::Active).await;
            assert_eq!(set.account.unwrap().status(), AccountStatus::Active);
            stack.authenticate(by_key("recurr", &key)).await.allowed();
        }
    }

    async fn every_wrong_request_is_told_what_is_wrong(stack) {
        stack.new_account("recoup", "ann", "").await;
        let mut directory = stack.directory();
        let long = "x".repeat(129);
        for (request, fields) in [
            (creating("nowhere", "a", ""), &["realm"][..]),
            (creating("recoup", "", ""), &["account_id"]),
            (creating("recoup", "a b", "c/d"), &["account_id", "parent_account_id"]),
            (creating("recoup", &long, ""), &["account_id"]),
            (creating("recoup", "a", "a"), &["parent_account_id"]),
            (creating("recoup", "a", "nobody"), &["parent_account_id"]),
        ] {
            assert_invalid(&directory.create_account(stack.by_operator(request)).await.unwrap_err(), fields);
        }
        let unspecified = setting("recoup", "ann", AccountStatus::Unspecified);
        let unknown = SetAccountStatusRequest { status: 9, ..unspecified.clone() };
        let wordy = SetAccountStatusRequest { reason: "x".repeat(257), ..setting("recoup", "", AccountStatus::Active) };
        for (request, fields) in [(unspecified, &["status"][..]), (unknown, &["status"]), (wordy, &["account_id", "reason"])] {
            assert_invalid(&directory.set_account_status(stack.by_operator(request)).await.unwrap_err(), fields);
        }
        for (request, fields) in [
            (member("recoup", "", ""), &["account_id", "organization_id"][..]),
            (member("recoup", "ann", "ann"), &["organization_id"]),
            (member("recoup", "ann", "nobody"), &["organization_id"]),
        ] {
            assert_invalid(&directory.join_organization(stack.by_operator(request)).await.unwrap_err(), fields);
        }
        let nobody = "there is no such account in this realm";
        refused(directory.get_account(stack.by_operator(getting("recoup", "nobody"))).await, Code::NotFound, nobody);
        let suspend = setting("recoup", "nobody", AccountStatus::Suspended);
        refused(directory.set_account_status(stack.by_operator(suspend)).await, Code::NotFound, nobody);
        refused(directory.join_organization(stack.by_operator(member("recoup", "nobody", "ann"))).await, Code::NotFound, nobody);
        refused(directory.leave_organization(stack.by_operator(member("recoup", "nobody", "ann"))).await, Code::NotFound, nobody);
        let late = SetAccountStatusRequest { expected_version: 7, ..setting("recoup", "ann", AccountStatus::Suspended) };
        let moved = "the account is at version 1, not 7: read it again";
        refused(directory.set_account_status(stack.by_operator(late)).await, Code::Aborted, moved);
        // Nothing of all this was done.
        let ann = directory.get_account(stack.by_operator(getting("recoup", "ann"))).await.unwrap();
        assert_eq!((ann.get_ref().version, ann.get_ref().status()), (1, AccountStatus::Active));
    }

    async fn each_act_needs_its_role(stack) {
        stack.new_account("recoup", "ann", "").await;
        stack.new_account("recoup", "band", "").await;
        let mut directory = stack.directory();
        let mut keys = Vec::new();
        for role in ["reader", "revoker", "key-manager", "reader@recover"] {
            let key = CreateKey { scopes: texts(&[role]), ..key_for("staff", "") };
            keys.push((role, stack.create("keygate", key).await.secret));
        }
        let (_, own) = stack.new_key("recoup", "ann", "live").await;
        for (role, key) in keys.iter().map(|(role, key)| (*role, Some(key.as_str()))).chain([("none", None), ("own", Some(own.as_str()))]) {
            let expected = |allowed: &[&str]| match role {
                "none" | "own" => Code::Unauthenticated,
                role if allowed.contains(&role) => Code::Ok,
                _ => Code::PermissionDenied,
            };
            let code = |answer: Result<(), Status>| answer.map_or_else(|status| status.code(), |()| Code::Ok);
            let get = directory.get_account(signed(key, getting("recoup", "ann"))).await;
            assert_eq!(code(get.map(drop)), expected(&["reader", "key-manager"]), "{role} gets");
            let suspend = directory.set_account_status(signed(key, setting("recoup", "ann", AccountStatus::Suspended))).await;
            assert_eq!(code(suspend.map(drop)), expected(&["revoker", "key-manager"]), "{role} suspends");
            let create = directory.create_account(signed(key, creating("recoup", "new", ""))).await;
            assert_eq!(code(create.map(drop)), expected(&["key-manager"]), "{role} creates");
            let join = directory.join_organization(signed(key, member("recoup", "ann", "band"))).await;
            assert_eq!(code(join.map(drop)), expected(&["key-manager"]), "{role} joins");
            let leave = directory.leave_organization(signed(key, member("recoup", "ann", "band"))).await;
            assert_eq!(code(leave.map(drop)), expected(&["key-manager"]), "{role} leaves");
        }
    }

    async fn acts_at_the_same_time_are_each_done_once(stack) {
        let organizations: Vec<String> = (0..16).map(|number| format!("o{number}")).collect();
        stack.new_account("recoup", "ann", "").await;
        for organization in &organizations {
            stack.new_account("recoup", organization, "").await;
        }
        let acts = organizations.iter().map(|organization| {
            let (mut directory, request) = (stack.directory(), stack.by_operator(member("recoup", "ann", organization)));
            tokio::spawn(async move { directory.join_organization(request).await })
        });
        let acts: Vec<_> = acts.collect();
        for act in acts {
            act.await.unwrap().unwrap();
        }
        let ann = stack.directory().get_account(stack.by_operator(getting("recoup", "ann"))).await.unwrap().into_inner();
        let mut sorted = organizations.clone();
        sorted.sort();
        assert_eq!((ann.organization_ids, ann.version), (sorted, 17));

        stack.new_account("recover", "ann", "").await;
        // Offboarding against the making of keys: whichever comes first, no key is left that works.
        let mut tasks = Vec::new();
        for number in 0..16 {
            let (mut client, mut directory) = (stack.client(), stack.directory());
            let key = CreateKey { name: format!("key {number}"), ..key_for("ann", "live") };
            let operation = Some(keygate::proto::v1::manage_keys_request::Operation::Create(key));
            let create = keygate::proto::v1::ManageKeysRequest { realm: "recover".to_owned(), operation };
            let (create, offboard) =
                (stack.by_operator(create), stack.by_operator(setting("recover", "ann", AccountStatus::Offboarded)));
            tasks.push(tokio::spawn(async move { client.manage_keys(create).await.map(drop) }));
            if number == 8 {
                tasks.push(tokio::spawn(async move { directory.set_account_status(offboard).await.map(drop) }));
            }
        }
        for task in tasks {
            if let Err(status) = task.await.unwrap() {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            }
        }
        let page = stack.list("recover", keygate::proto::v1::ListKeys { account_id: "ann".to_owned(), ..Default::default() }).await;
        assert!(page.keys.iter().all(|key| key.state() == KeyState::Revoked), "{:?}", page.keys);
    }
}

/// What one server is told, another knows at once.
#[tokio::test]
async fn a_membership_that_ended_on_one_server_ended_on_every_other() {
    let first = Stack::redis(&[]).await;
    let second = first.second(&[]).await;
    let (_, key) = first.new_key("recoup", "ann", "live").await;
    for account in ["bob", "band"] {
        first.new_account("recoup", account, "").await;
    }
    first.join("recoup", "bob", "band").await;
    let request = || charged(by_key("recoup", &key), "GET", "/api/chats?account_id=bob", 1);
    for _ in 0..10 {
        second.authenticate(request()).await.denied_for(DenyReason::ForbiddenAccount);
        first.join("recoup", "ann", "band").await;
        second.authenticate(request()).await.allowed();
        // Of the account acted on.
        first.leave("recoup", "bob", "band").await;
        second.authenticate(request()).await.denied_for(DenyReason::ForbiddenAccount);
        first.join("recoup", "bob", "band").await;
        second.authenticate(request()).await.allowed();
        first.leave("recoup", "ann", "band").await;
    }
}
