//! What Recoup promises of organizations, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{AccountStatus, AuthenticateRequest, Denied, DenyReason};
use std::collections::HashMap;
use support::{
    calls::{Answered, by_key, charged, member, signed},
    keygate::Keygate,
};
use tonic::Code;

/// A request of that key with that query.
fn acting(key: &str, query: &str) -> AuthenticateRequest {
    charged(by_key("recoup", key), "GET", &format!("/api/chats?{query}"), 1)
}

impl Keygate {
    /// Ann and Bob are in a band, Cyd is with a label, Eve is nowhere; Adm administers. A key of each, and of the organizations.
    async fn organizations(&self) -> HashMap<&'static str, String> {
        let mut keys = HashMap::new();
        for account in ["ann", "bob", "cyd", "eve", "adm", "band", "label", "recoup-admin"] {
            keys.insert(account, self.new_key("recoup", account, "live").await.1);
        }
        for (account, organization) in [("ann", "band"), ("bob", "band"), ("cyd", "label"), ("adm", "recoup-admin")] {
            self.join("recoup", account, organization).await;
        }
        keys
    }
}

on_both_stores! {
    async fn p4_a_key_reaches_accounts_of_the_organizations_that_its_account_is_in(stack) {
        let keys = stack.organizations().await;
        for (who, account, reached) in [
            ("ann", "ann", true),
            ("ann", "bob", true),
            ("bob", "ann", true),
            ("ann", "cyd", false),
            ("cyd", "ann", false),
            ("eve", "ann", false),
            ("ann", "eve", false),
            // The organization is an account too, but its members are not in it as members of itself.
            ("ann", "band", false),
            ("band", "ann", false),
        ] {
            let answer = stack.authenticate(acting(&keys[who], &format!("account_id={account}"))).await;
            if reached {
                let allowed = answer.allowed();
                assert_eq!((allowed.account_id.as_str(), allowed.target_account_id.as_str()), (who, account));
            } else {
                let denied = answer.denied_for(DenyReason::ForbiddenAccount);
                assert_eq!(denied.http_status, 403, "{who} acts for {account}");
            }
        }
        // One that does not exist looks like one that is somebody else's.
        let foreign = stack.authenticate(acting(&keys["ann"], "account_id=cyd")).await.denied();
        let nobody = stack.authenticate(acting(&keys["ann"], "account_id=nobody")).await;
        let nobody = nobody.denied_for(DenyReason::UnknownAccount);
        let seen = |denied: Denied| (denied.http_status, denied.headers, denied.body);
        assert_eq!(seen(foreign), seen(nobody));
    }

    async fn p5_an_organization_is_open_to_its_members_and_to_itself(stack) {
        let keys = stack.organizations().await;
        for (who, query, reached) in [
            ("ann", "organization_id=band", true),
            ("band", "organization_id=band", true),
            ("ann", "organization_id=label", false),
            ("band", "organization_id=label", false),
            ("ann", "organization_id=nobody", false),
            ("ann", "organization_id=band&account_id=bob", true),
            ("ann", "organization_id=band&account_id=cyd", false),
            ("ann", "organization_id=label&account_id=bob", false),
        ] {
            let answer = stack.authenticate(acting(&keys[who], query)).await;
            if reached {
                answer.allowed();
            } else {
                assert_eq!(answer.denied_for(DenyReason::ForbiddenAccount).http_status, 403, "{who}: {query}");
            }
        }
    }

    async fn p6_members_of_the_admin_organization_reach_every_account(stack) {
        let keys = stack.organizations().await;
        for query in ["account_id=ann", "account_id=cyd", "account_id=band", "organization_id=label"] {
            stack.authenticate(acting(&keys["adm"], query)).await.allowed();
        }
        // The organization's own key is no member of it.
        let own = stack.authenticate(acting(&keys["recoup-admin"], "account_id=ann")).await;
        own.denied_for(DenyReason::ForbiddenAccount);
        stack.authenticate(acting(&keys["adm"], "account_id=nobody")).await.denied_for(DenyReason::UnknownAccount);
    }

    async fn p7_a_membership_counts_from_the_moment_it_begins_or_ends(stack) {
        let keys = stack.organizations().await;
        let reach = async |who: &str, account: &str| {
            stack.authenticate(acting(&keys[who], &format!("account_id={account}"))).await
        };
        for _ in 0..5 {
            // The caller's own membership.
            reach("cyd", "ann").await.denied_for(DenyReason::ForbiddenAccount);
            stack.join("recoup", "cyd", "band").await;
            reach("cyd", "ann").await.allowed();
            reach("ann", "cyd").await.allowed();
            stack.leave("recoup", "cyd", "band").await;
            reach("cyd", "ann").await.denied_for(DenyReason::ForbiddenAccount);
            // That of the account acted on, whose record is another one than the key's.
            reach("ann", "cyd").await.denied_for(DenyReason::ForbiddenAccount);
        }
    }

    async fn p4_p5_p6_an_organization_gives_nothing_while_it_is_not_active(stack) {
        let keys = stack.organizations().await;
        let acts = async |who: &str, query: &str| stack.authenticate(acting(&keys[who], query)).await;
        let given = [("band", "ann", "account_id=bob"), ("band", "bob", "organization_id=band"),
            ("recoup-admin", "adm", "account_id=bob"), ("recoup-admin", "adm", "organization_id=label")];
        let set = async |status| for organization in ["band", "recoup-admin"] {
            stack.set_status("recoup", organization, status).await;
        };
        for status in [AccountStatus::Suspended, AccountStatus::Deactivated, AccountStatus::Offboarded] {
            // Read anew, and remembered.
            for _ in 0..2 {
                for (_, who, query) in given {
                    acts(who, query).await.allowed();
                }
            }
            set(status).await;
            for _ in 0..2 {
                for (_, who, query) in given {
                    acts(who, query).await.denied_for(DenyReason::ForbiddenAccount);
                    acts(who, "").await.allowed();
                }
            }
            if status != AccountStatus::Offboarded {
                set(AccountStatus::Active).await;
            }
        }
        for (organization, ..) in given {
            let joins = stack.directory().join_organization(signed(Some(stack.operator()), member("recoup", "eve", organization))).await;
            let refused = joins.unwrap_err();
            assert_eq!(refused.code(), Code::FailedPrecondition);
            assert_eq!(refused.message(), "the organization was offboarded, and that is for ever: nobody joins it");
        }
        // What a member is in beside it counts as before.
        stack.join("recoup", "ann", "label").await;
        acts("cyd", "account_id=ann").await.allowed();
    }
}
