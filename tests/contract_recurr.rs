//! What Recurr promises its developers, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, AuditAct, AuthenticateRequest, CheckRateLimitRequest, CreateKey, Denied, DenyReason, KeyState,
    LimitNames, ListKeys, ManageKeysRequest, RemoveMemberRequest, RevokeAccountKeys, Subject, UpdateKey,
    check_rate_limit_request::Selection, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use std::fs;
use support::{
    calls::{
        Answered, assert_invalid, by_bearer, by_headers, by_key, charged, header_list, key_for, now, removing, signed,
        texts, violations, well_formed,
    },
    keygate::{DataDir, Keygate},
    redis::RedisServer,
    stored::Stored,
};
use tonic::Code;

const UNAUTHORIZED: &str = r#"{"error":{"type":"unauthorized","message":"Invalid or missing API key."}}"#;
const FORBIDDEN: &str =
    r#"{"error":{"type":"forbidden","message":"This API key does not have access to this resource."}}"#;

#[track_caller]
fn assert_unauthorized(denied: &Denied) {
    assert_eq!((denied.http_status, denied.body.as_str()), (401, UNAUTHORIZED), "{denied:?}");
    assert_eq!(denied.headers, header_list(&[("content-type", "application/json"), ("www-authenticate", "Bearer")]));
}

fn pinned(key: &str, environment: &str) -> AuthenticateRequest {
    AuthenticateRequest { environment: environment.to_owned(), ..by_bearer("recurr", key) }
}

fn scoped(account: &str, environment: &str, scopes: &[&str]) -> CreateKey {
    CreateKey { scopes: texts(scopes), ..key_for(account, environment) }
}

fn issued(account: &str, member: &str) -> CreateKey {
    CreateKey { member_id: member.to_owned(), ..key_for(account, "live") }
}

on_both_stores! {
    async fn u1_the_key_decides_the_environment_on_the_same_urls(stack) {
        for environment in ["live", "test"] {
            let (id, key) = stack.new_key("recurr", "acme", environment).await;
            assert!(key.starts_with(&format!("rk_{environment}_")), "{key}");
            let request = charged(by_bearer("recurr", &key), "GET", "/v1/subscribers", 1);
            let allowed = stack.authenticate(request).await.allowed();
            assert_eq!((allowed.environment.as_str(), allowed.key_id), (environment, id));
            assert_eq!(allowed.operation, "read");
        }
        // Bearer only, and nowhere else.
        let (_, key) = stack.new_key("recurr", "acme", "live").await;
        let answer = stack.authenticate(by_headers("recurr", &[("x-api-key", &key)])).await;
        assert_unauthorized(&answer.denied_for(DenyReason::MissingCredential));
    }

    async fn u2_environments_share_nothing(stack) {
        let (live_id, live) = stack.new_key("recurr", "acme", "live").await;
        let (test_id, test) = stack.new_key("recurr", "acme", "test").await;

        // Identity: a request pinned to the other environment, and a key that was dressed up as one of the other.
        stack.authenticate(pinned(&live, "live")).await.allowed();
        stack.authenticate(pinned(&test, "test")).await.allowed();
        for (key, other) in [(&live, "test"), (&test, "live")] {
            let denied = stack.authenticate(pinned(key, other)).await.denied_for(DenyReason::WrongEnvironment);
            assert_unauthorized(&denied);
        }
        let dressed = well_formed("rk_live_", &test["rk_test_".len()..test.len() - 6]);
        assert_unauthorized(&stack.authenticate(by_bearer("recurr", &dressed)).await.denied_for(DenyReason::UnknownKey));

        // Limits.
        let request = |key: &str, cost| charged(by_bearer("recurr", key), "GET", "/v1/subscribers", cost);
        stack.authenticate(request(&test, 1_000)).await.allowed();
        stack.authenticate(request(&test, 1)).await.denied_for(DenyReason::RateLimited);
        assert_eq!(stack.authenticate(request(&live, 1)).await.limits[0].remaining, 999);
        let by_name = |environment: &str| CheckRateLimitRequest {
            realm: "recurr".to_owned(),
            environment: environment.to_owned(),
            selection: Some(Selection::Limits(LimitNames { names: texts(&["requests"]) })),
            subject: Some(Subject { account_id: "acme".to_owned(), ..Default::default() }),
            peek: true,
            ..Default::default()
        };
        assert!(!stack.check(by_name("test")).await.allowed);
        assert_eq!(stack.check(by_name("live")).await.limits[0].remaining, 999);
        assert_invalid(&stack.try_check(by_name("")).await.unwrap_err(), &["environment"]);

        // Listings.
        for (environment, id) in [("live", &live_id), ("test", &test_id)] {
            let filter = ListKeys { environment: environment.to_owned(), ..Default::default() };
            let page = stack.list("recurr", filter).await;
            assert_eq!(page.keys.iter().map(|key| &key.id).collect::<Vec<_>>(), [id]);
        }

        // Management.
        let revoke = RevokeAccountKeys {
            account_id: "acme".to_owned(),
            environment: "test".to_owned(),
            reason: "leaked".to_owned(),
        };
        let Done::Revoked(revoked) = stack.manage("recurr", Operation::RevokeAccount(revoke)).await else { panic!() };
        assert_eq!(revoked.keys.iter().map(|key| &key.id).collect::<Vec<_>>(), [&test_id]);
        stack.authenticate(by_bearer("recurr", &test)).await.denied_for(DenyReason::RevokedKey);
        stack.authenticate(by_bearer("recurr", &live)).await.allowed();
    }

    async fn u3_a_missing_malformed_revoked_or_wrong_environment_key_is_401(stack) {
        let (id, key) = stack.new_key("recurr", "acme", "live").await;
        let answer = stack.authenticate(by_headers("recurr", &[])).await;
        assert_unauthorized(&answer.denied_for(DenyReason::MissingCredential));
        for malformed in ["rk_live_xxxxxxxxxxxxxxxxxxxxxxx", "sk_live_abc", &key.to_uppercase(), &format!("{key}x")] {
            let answer = stack.authenticate(by_bearer("recurr", malformed)).await;
            assert_unauthorized(&answer.denied_for(DenyReason::MalformedKey));
        }
        assert_unauthorized(&stack.authenticate(pinned(&key, "test")).await.denied_for(DenyReason::WrongEnvironment));
        stack.revoke("recurr", &id).await;
        assert_unauthorized(&stack.authenticate(by_bearer("recurr", &key)).await.denied_for(DenyReason::RevokedKey));
    }

    async fn u4_a_key_is_created_by_a_member_with_role_developer_or_admin(stack) {
        for (member, roles) in [("vera", &["viewer"][..]), ("dan", &["developer"]), ("ada", &["admin", "viewer"])] {
            stack.add_member("recurr", "acme", member, roles).await;
        }
        stack.add_member("recurr", "other", "olga", &["admin"]).await;
        for member in ["dan", "ada"] {
            let made = stack.create("recurr", issued("acme", member)).await.key.unwrap();
            assert_eq!((made.member_id.as_str(), stack.get("recurr", &made.id).await.member_id.as_str()), (member, member));
            assert_eq!(stack.get_member("recurr", "acme", member).await.unwrap().key_ids, [made.id]);
        }
        let create = async |member: &str| {
            let operation = Some(Operation::Create(issued("acme", member)));
            let request = ManageKeysRequest { realm: "recurr".to_owned(), operation };
            stack.client().manage_keys(signed(Some(stack.operator()), request)).await.unwrap_err()
        };
        let nobody = create("").await;
        assert_invalid(&nobody, &["create.member_id"]);
        let words = "must name a member of the account: in this realm keys are issued by members only";
        assert_eq!(violations(&nobody)[0].1, words);
        let role = "the key cannot be issued: the member has none of the roles that may issue keys in this realm";
        let stranger = "the key cannot be issued: `member_id` is no member of the account";
        for (member, words) in [("vera", role), ("nobody", stranger), ("olga", stranger)] {
            let status = create(member).await;
            assert_eq!((status.code(), status.message()), (Code::PermissionDenied, words), "{member}");
        }
        // Roles count from the moment that they change; keys that were issued stay.
        stack.set_roles("recurr", "acme", "vera", &["developer"]).await;
        stack.create("recurr", issued("acme", "vera")).await;
        let roles = stack.set_roles("recurr", "acme", "dan", &["viewer"]).await;
        assert_eq!((roles.roles, roles.key_ids.len()), (texts(&["viewer"]), 1));
        assert_eq!(create("dan").await.code(), Code::PermissionDenied);
        let of_dan = ListKeys { member_id: "dan".to_owned(), ..Default::default() };
        let page = stack.list("recurr", of_dan).await;
        assert_eq!(page.keys.iter().map(|key| (key.member_id.as_str(), key.state())).collect::<Vec<_>>(), [("dan", KeyState::Active)]);
    }

    async fn u5_a_key_that_reads_only_cannot_write(stack) {
        let reader = stack.create("recurr", scoped("acme", "live", &["read-only"])).await.secret;
        let writer = stack.create("recurr", scoped("acme", "live", &["read-write"])).await.secret;
        let request = |key: &str, method: &str| charged(by_bearer("recurr", key), method, "/v1/subscribers/7", 1);
        for method in ["GET", "HEAD"] {
            stack.authenticate(request(&reader, method)).await.allowed();
            stack.authenticate(request(&writer, method)).await.allowed();
        }
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let denied = stack.authenticate(request(&reader, method)).await.denied_for(DenyReason::InsufficientScope);
            assert_eq!((denied.http_status, denied.body.as_str()), (403, FORBIDDEN));
            stack.authenticate(request(&writer, method)).await.allowed();
        }
        // The same by scope, for those who do not go by method and path.
        let needs = |key: &str, scope: &str| AuthenticateRequest {
            required_scopes: texts(&[scope]),
            method: "GET".to_owned(),
            path: "/".to_owned(),
            ..by_bearer("recurr", key)
        };
        stack.authenticate(needs(&reader, "read-only")).await.allowed();
        stack.authenticate(needs(&reader, "read-write")).await.denied_for(DenyReason::InsufficientScope);
        stack.authenticate(needs(&writer, "read-write")).await.allowed();
        // Least privilege where nothing is said, and no scope that the realm does not know.
        let made = stack.create("recurr", scoped("acme", "live", &[])).await;
        assert_eq!(made.key.unwrap().scopes, ["read-only"]);
        let unknown = Operation::Create(scoped("acme", "live", &["read-only", "admin"]));
        assert_invalid(&stack.try_manage("recurr", unknown).await.unwrap_err(), &["create.scopes[1]"]);
        // A denied request costs nothing: eight were allowed.
        let peek = AuthenticateRequest { cost: Some(0), ..request(&writer, "GET") };
        assert_eq!(stack.authenticate(peek).await.limits[0].remaining, 1_000 - 8);
    }

    async fn u6_shown_once_and_listed_by_prefix_last_four_and_creation_date(stack) {
        let before = now();
        let made = stack.create("recurr", key_for("acme", "live")).await;
        let (key, secret) = (made.key.unwrap(), made.secret);
        let hint = format!("rk_live_…{}", &secret[secret.len() - 4..]);
        for shown in [stack.get("recurr", &key.id).await, stack.list("recurr", ListKeys::default()).await.keys.remove(0)] {
            assert_eq!((shown.hint.as_str(), shown.secrets[0].hint.as_str()), (hint.as_str(), hint.as_str()));
            let created = shown.created_at.unwrap().seconds;
            assert!((before..=now() + 1).contains(&created), "{created}");
            assert!(!format!("{shown:?}").contains(&secret["rk_live_".len()..secret.len() - 4]));
            assert!(!format!("{shown:?}").contains(&secret[8..24]));
        }
        stack.keygate.terminate().await;
        let stored = Stored::read(&stack);
        assert!(stored.holds(hint.as_bytes()), "what is read is not the store");
        assert!(!stored.holds(secret.as_bytes()) && !stored.holds(&secret.as_bytes()[8..34]));
    }

    async fn u7_a_second_key_works_beside_the_first_until_that_is_revoked(stack) {
        let (first_id, first) = stack.new_key("recurr", "acme", "live").await;
        let (second_id, second) = stack.new_key("recurr", "acme", "live").await;
        assert_ne!(first_id, second_id);
        for key in [&first, &second] {
            stack.authenticate(by_bearer("recurr", key)).await.allowed();
        }
        let revoked = stack.revoke("recurr", &first_id).await;
        assert_eq!(revoked.keys.iter().map(|key| (&key.id, key.state())).collect::<Vec<_>>(), [(&first_id, KeyState::Revoked)]);
        stack.authenticate(by_bearer("recurr", &first)).await.denied_for(DenyReason::RevokedKey);
        stack.authenticate(by_bearer("recurr", &second)).await.allowed();
    }

    async fn u8_revocation_takes_effect_at_once(stack) {
        for _ in 0..10 {
            let (id, key) = stack.new_key("recurr", "acme", "live").await;
            for _ in 0..3 {
                stack.authenticate(by_bearer("recurr", &key)).await.allowed();
            }
            stack.revoke("recurr", &id).await;
            stack.authenticate(by_bearer("recurr", &key)).await.denied_for(DenyReason::RevokedKey);
        }
    }

    async fn u9_keys_die_with_the_member_who_issued_them_or_the_account_and_the_answer_names_them(stack) {
        for member in ["dan", "ada"] {
            stack.add_member("recurr", "acme", member, &["developer"]).await;
        }
        let mut keys = Vec::new();
        for (member, environment) in [("dan", "live"), ("ada", "live"), ("dan", "test"), ("dan", "live")] {
            let create = CreateKey { environment: environment.to_owned(), ..issued("acme", member) };
            let made = stack.create("recurr", create).await;
            keys.push((made.key.unwrap().id, made.secret));
        }
        // What ended before does not end again.
        stack.revoke("recurr", &keys[3].0).await;
        stack.update("recurr", UpdateKey { key_id: keys[2].0.clone(), state: KeyState::Suspended.into(), ..Default::default() }).await;
        let mut of_dan = vec![keys[0].0.clone(), keys[2].0.clone()];
        of_dan.sort();

        let remove = RemoveMemberRequest { reason: "left".to_owned(), ..removing("recurr", "acme", "dan") };
        let before = stack.chain("recurr", "acme").await;
        let preview = stack.remove_member(RemoveMemberRequest { preview: true, ..remove.clone() }).await.unwrap();
        assert_eq!((&preview.ended_key_ids, stack.chain("recurr", "acme").await), (&of_dan, before.clone()));
        stack.authenticate(by_bearer("recurr", &keys[0].1)).await.allowed();
        stack.get_member("recurr", "acme", "dan").await.unwrap();

        // What a preview showed is what happens, or nothing does.
        let late = RemoveMemberRequest { expected_version: preview.account_version - 1, ..remove.clone() };
        assert_eq!(stack.remove_member(late).await.unwrap_err().code(), Code::Aborted);
        let seen = RemoveMemberRequest { expected_version: preview.account_version, ..remove.clone() };
        let removed = stack.remove_member(seen).await.unwrap();
        assert_eq!((&removed.ended_key_ids, removed.member.unwrap().id), (&of_dan, "dan".to_owned()));
        assert_eq!(removed.account_version, preview.account_version + 1, "one commit");
        for (id, secret) in [&keys[0], &keys[2], &keys[3]] {
            stack.authenticate(by_bearer("recurr", secret)).await.denied_for(DenyReason::RevokedKey);
            assert_eq!(stack.get("recurr", id).await.state(), KeyState::Revoked);
        }
        assert_eq!(stack.get("recurr", &keys[0].0).await.revoke_reason, "left");
        stack.authenticate(by_bearer("recurr", &keys[1].1)).await.allowed();
        assert_eq!(stack.get_member("recurr", "acme", "dan").await.unwrap_err().code(), Code::NotFound);
        assert_eq!(stack.remove_member(remove).await.unwrap_err().code(), Code::NotFound);

        let chain = stack.chain("recurr", "acme").await;
        let told: Vec<_> = chain[before.len()..].iter().map(|one| (one.act(), one.member_id.as_str(), one.key_id.as_str())).collect();
        let mut wanted = vec![(AuditAct::MemberRemoved, "dan", "")];
        wanted.extend(of_dan.iter().map(|id| (AuditAct::KeyRevoked, "dan", id.as_str())));
        assert_eq!(told, wanted);

        // The account's end is the end of all that are left.
        let set = stack.set_status("recurr", "acme", AccountStatus::Offboarded).await;
        assert_eq!(set.ended_key_ids, [keys[1].0.clone()]);
        stack.authenticate(by_bearer("recurr", &keys[1].1)).await.denied_for(DenyReason::RevokedKey);
        assert!(stack.get_member("recurr", "acme", "ada").await.unwrap().key_ids.is_empty());
    }
}

#[tokio::test]
async fn u8_revocation_takes_effect_at_once_on_every_node() {
    let redis = RedisServer::start();
    let url = redis.url();
    let arguments = ["--store", "redis", "--redis-url", &url];
    let here = Keygate::start(&arguments).await;
    // The other node has the same server secret and nothing else of the first.
    let data = DataDir::new();
    for entry in fs::read_dir(here.data_dir()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, data.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let there = Keygate::try_start(data, &arguments).await.unwrap_or_else(|ended| panic!("{ended:#?}"));
    for _ in 0..10 {
        let (id, key) = here.new_key("recurr", "acme", "live").await;
        // Both nodes remember the key.
        for _ in 0..3 {
            here.authenticate(by_key("recurr", &key)).await.allowed();
            there.authenticate(by_key("recurr", &key)).await.allowed();
        }
        here.revoke("recurr", &id).await;
        there.authenticate(by_key("recurr", &key)).await.denied_for(DenyReason::RevokedKey);
        here.authenticate(by_key("recurr", &key)).await.denied_for(DenyReason::RevokedKey);
    }
}
