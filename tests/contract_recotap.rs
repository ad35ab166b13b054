//! What Recotap promises its users, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, AuthenticateRequest, CreateKey, Denied, DenyReason, GetKey, ImportKeys, ImportOutcome, ImportRow,
    KeyState, ListEventsRequest, ListKeys, RevokeKey, RotateKey, SetAccountStatusRequest, UpdateKey,
    audit_log_client::AuditLogClient, directory_client::DirectoryClient, import_row::Secret,
    manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use support::{
    calls::{Answered, by_headers, by_key, header_list, key_for, seconds, signed, well_formed},
    issuer::Issuer,
};
use tonic::Code;

const REQUIRED: &str = r#"{"status":401,"message":"X-Api-Key header is required"}"#;
const INVALID: &str = r#"{"status":401,"message":"Invalid API key"}"#;

#[track_caller]
fn assert_401(denied: &Denied, body: &str) {
    assert_eq!((denied.http_status, denied.body.as_str()), (401, body), "{denied:?}");
    assert_eq!(denied.headers, header_list(&[("content-type", "application/json")]));
}

fn of_account(account: &str, state: KeyState) -> ListKeys {
    ListKeys { account_id: account.to_owned(), state: state.into(), ..Default::default() }
}

on_both_stores! {
    async fn t1_the_header_is_required_and_anything_but_the_users_key_is_invalid(stack) {
        let (_, key) = stack.new_key("recotap", "user-1", "live").await;
        for name in ["X-Api-Key", "x-api-key", "X-API-KEY"] {
            stack.authenticate(by_headers("recotap", &[(name, &key)])).await.allowed();
        }
        let bearer = format!("Bearer {key}");
        for headers in [vec![], vec![("authorization", bearer.as_str())], vec![("x-api-key", "")]] {
            let answer = stack.authenticate(by_headers("recotap", &headers)).await;
            assert_401(&answer.denied_for(DenyReason::MissingCredential), REQUIRED);
        }
        let (_, newer) = stack.new_key("recotap", "user-1", "live").await;
        let unknown = well_formed("rtap_", "Unknown0Unknown0Unknown012");
        for (presented, reason) in [
            (unknown.as_str(), DenyReason::UnknownKey),
            (key.as_str(), DenyReason::RevokedKey),
            ("your-api-key-here", DenyReason::MalformedKey),
        ] {
            let answer = stack.authenticate(by_headers("recotap", &[("X-Api-Key", presented)])).await;
            assert_401(&answer.denied_for(reason), INVALID);
        }
        stack.authenticate(by_headers("recotap", &[("X-Api-Key", &newer)])).await.allowed();
    }

    async fn t2_keys_belong_to_a_user_and_nobody_else_sees_or_manages_them(stack) {
        let (user, admin) = (Issuer::shared().token("user-1"), Issuer::shared().token("admin"));
        let (id, key) = stack.new_key("recotap", "user-1", "live").await;
        let on = |key_id: &str| {
            let key_id = key_id.to_owned();
            let update = UpdateKey { key_id: key_id.clone(), name: Some("mine".to_owned()), ..Default::default() };
            let rotate = RotateKey { key_id: key_id.clone(), ..Default::default() };
            let revoke = RevokeKey { key_id: key_id.clone(), reason: "not mine".to_owned(), ..Default::default() };
            [Operation::Get(GetKey { key_id }), Operation::Update(update), Operation::Rotate(rotate), Operation::Revoke(revoke)]
        };
        // Another user of the workspace, its admin too.
        for operation in on(&id) {
            let status = stack.try_manage_as(Some(&admin), "recotap", operation).await.unwrap_err();
            assert_eq!(status.code(), Code::NotFound, "{status:?}");
        }
        let listed = stack.try_manage_as(Some(&admin), "recotap", Operation::List(ListKeys::default())).await;
        assert!(matches!(&listed, Ok(Done::Page(page)) if page.keys.is_empty()), "{listed:?}");
        let named = CreateKey { name: "for user-1".to_owned(), ..key_for("user-1", "live") };
        let status = stack.try_manage_as(Some(&admin), "recotap", Operation::Create(named)).await.unwrap_err();
        support::calls::assert_invalid(&status, &["create.account_id"]);
        // Whoever runs the server.
        let [get, update, rotate, _] = on(&id);
        for operation in [get, update, rotate, Operation::List(ListKeys::default()), Operation::Create(key_for("user-1", "live"))] {
            let status = stack.try_manage_as(Some(stack.operator()), "recotap", operation).await.unwrap_err();
            assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        }
        // What whoever runs the server does see: that there is a key, in the log and in what an offboarding would end, and nothing
        // that is a part of it. That the key can be ended stands at the end of this row.
        let log = AuditLogClient::new(stack.channel());
        let listing = ListEventsRequest { realm: "recotap".to_owned(), account_id: "user-1".to_owned(), ..Default::default() };
        let events = log.clone().list(signed(Some(stack.operator()), listing)).await.unwrap().into_inner().events;
        assert!(events.iter().any(|event| event.key_id == id && event.actor.ends_with("#user-1")), "{events:?}");
        let preview = SetAccountStatusRequest {
            realm: "recotap".to_owned(),
            account_id: "user-1".to_owned(),
            status: AccountStatus::Offboarded.into(),
            preview: true,
            ..Default::default()
        };
        let would = DirectoryClient::new(stack.channel()).set_account_status(signed(Some(stack.operator()), preview)).await.unwrap().into_inner();
        assert_eq!(would.ended_key_ids, [id.as_str()]);
        let body = &key["rtap_".len()..];
        for seen in [format!("{events:?}"), format!("{would:?}")] {
            assert!(!seen.contains(&body[..8]) && !seen.contains(&body[body.len() - 8..]), "{seen}");
        }
        // The key itself is for the API alone, and the token for management alone.
        let status = stack.try_manage_as(Some(&key), "recotap", Operation::List(ListKeys::default())).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        let bearer = format!("Bearer {user}");
        let answer = stack.authenticate(by_headers("recotap", &[("authorization", &bearer)])).await;
        assert_401(&answer.denied_for(DenyReason::MissingCredential), REQUIRED);
        let credential = Some(keygate::proto::v1::authenticate_request::Credential::AccessToken(user.clone()));
        let direct = AuthenticateRequest { realm: "recotap".to_owned(), credential, ..Default::default() };
        assert_401(&stack.authenticate(direct).await.denied_for(DenyReason::InvalidToken), INVALID);
        let answer = stack.authenticate(by_headers("recotap", &[("X-Api-Key", &user)])).await;
        assert_401(&answer.denied_for(DenyReason::MalformedKey), INVALID);
        // All that was tried changed nothing, and the user's own token does it all.
        stack.authenticate(by_key("recotap", &key)).await.allowed();
        let Ok(Done::Key(seen)) = stack.try_manage_as(Some(&user), "recotap", on(&id)[0].clone()).await else { panic!("no key") };
        assert_eq!((seen.id.as_str(), seen.version, seen.account_id.as_str()), (id.as_str(), 1, "user-1"));
        stack.try_manage_as(Some(&user), "recotap", on(&id)[3].clone()).await.unwrap();
        stack.authenticate(by_key("recotap", &key)).await.denied_for(DenyReason::RevokedKey);
        // A key that leaked must die, whoever is on duty: the answer is the record of a key that is no more.
        let (leaked, key) = stack.new_key("recotap", "user-1", "live").await;
        let ended = stack.try_manage_as(Some(stack.operator()), "recotap", on(&leaked)[3].clone()).await;
        let Ok(Done::Revoked(ended)) = ended else { panic!("not ended: {ended:?}") };
        assert_eq!((ended.keys[0].id.as_str(), ended.keys[0].state()), (leaked.as_str(), KeyState::Revoked));
        assert!(!format!("{ended:?}").contains(&key["rtap_".len()..][..8]));
        stack.authenticate(by_key("recotap", &key)).await.denied_for(DenyReason::RevokedKey);
    }

    async fn t3_a_new_key_replaces_the_old_one_at_once(stack) {
        let first = stack.create("recotap", key_for("user-1", "live")).await;
        assert_eq!(first.replaced_key_ids, Vec::<String>::new());
        let first_id = first.key.unwrap().id;
        let second = stack.create("recotap", key_for("user-1", "live")).await;
        assert_eq!(second.replaced_key_ids, [first_id.as_str()]);
        stack.authenticate(by_key("recotap", &first.secret)).await.denied_for(DenyReason::RevokedKey);
        stack.authenticate(by_key("recotap", &second.secret)).await.allowed();
        let active = stack.list("recotap", of_account("user-1", KeyState::Active)).await.keys;
        assert_eq!(active.iter().map(|key| &key.id).collect::<Vec<_>>(), [&second.key.unwrap().id]);
        // A suspended key is one that exists: it gives way too, and does not come back beside the new one.
        let suspend = keygate::proto::v1::UpdateKey {
            key_id: active[0].id.clone(),
            state: KeyState::Suspended.into(),
            ..Default::default()
        };
        stack.update("recotap", suspend).await;
        let third = stack.create("recotap", key_for("user-1", "live")).await;
        assert_eq!(third.replaced_key_ids, [active[0].id.as_str()]);
        // Rotating is generating too: the old secret has no grace.
        let rotated = stack.rotate("recotap", &third.key.unwrap().id, None).await;
        stack.authenticate(by_key("recotap", &third.secret)).await.denied_for(DenyReason::RetiredSecret);
        stack.authenticate(by_key("recotap", &rotated.secret)).await.allowed();
    }

    async fn t3_an_expired_key_gives_way_and_does_not_come_back(stack) {
        let brief = CreateKey { expires_in: Some(seconds(1)), ..key_for("user-1", "live") };
        let first = stack.create("recotap", brief).await;
        let first_id = first.key.unwrap().id;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(stack.get("recotap", &first_id).await.state(), KeyState::Expired);
        let second = stack.create("recotap", key_for("user-1", "live")).await;
        assert_eq!(second.replaced_key_ids, [first_id.as_str()]);
        let renew = UpdateKey { key_id: first_id, never_expires: true, ..Default::default() };
        let status = stack.try_manage("recotap", Operation::Update(renew)).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
        stack.authenticate(by_key("recotap", &first.secret)).await.denied_for(DenyReason::RevokedKey);
        stack.authenticate(by_key("recotap", &second.secret)).await.allowed();
    }

    async fn t3_an_expired_key_may_come_back_while_no_other_took_its_place(stack) {
        let brief = CreateKey { expires_in: Some(seconds(1)), ..key_for("user-1", "live") };
        let made = stack.create("recotap", brief).await;
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let renew = UpdateKey { key_id: made.key.unwrap().id, never_expires: true, ..Default::default() };
        assert_eq!(stack.update("recotap", renew).await.state(), KeyState::Active);
        stack.authenticate(by_key("recotap", &made.secret)).await.allowed();
    }

    async fn t3_an_import_makes_no_second_key(stack) {
        let (_, first) = stack.new_key("recotap", "user-1", "live").await;
        let row = |random: &str, account: &str| ImportRow {
            secret: Some(Secret::RawKey(well_formed("rtap_", random))),
            account_id: account.to_owned(),
            name: "taken over".to_owned(),
            ..Default::default()
        };
        let rows = vec![
            row("Import00Import00Import0001", "user-1"),
            row("Import00Import00Import0002", "user-2"),
            row("Import00Import00Import0003", "user-2"),
        ];
        let Done::Imported(report) =
            stack.manage("recotap", Operation::Import(ImportKeys { rows, ..Default::default() })).await
        else {
            panic!("not a report")
        };
        let outcomes: Vec<ImportOutcome> = report.verdicts.iter().map(|one| one.outcome()).collect();
        assert_eq!(outcomes, [ImportOutcome::Refused, ImportOutcome::Imported, ImportOutcome::Refused], "{report:?}");
        for account in ["user-1", "user-2"] {
            let active = stack.list("recotap", of_account(account, KeyState::Active)).await.keys;
            assert_eq!(active.len(), 1, "{account}: {active:?}");
        }
        stack.authenticate(by_key("recotap", &first)).await.allowed();
        let [refused, imported, late] = [1, 2, 3].map(|n| well_formed("rtap_", &format!("Import00Import00Import000{n}")));
        stack.authenticate(by_key("recotap", &imported)).await.allowed();
        for key in [refused, late] {
            stack.authenticate(by_key("recotap", &key)).await.denied_for(DenyReason::UnknownKey);
        }
    }

    async fn t3_racing_generations_never_leave_two_keys_or_none(stack) {
        let (_, first) = stack.new_key("recotap", "user-1", "live").await;
        let made = Mutex::new(vec![first]);
        let done = AtomicBool::new(false);
        // One generates; the watcher sees no older key after a newer one, and never two in the list.
        let generate = async {
            for _ in 0..40 {
                let (_, key) = stack.new_key("recotap", "user-1", "live").await;
                let older = made.lock().unwrap().last().cloned().unwrap();
                made.lock().unwrap().push(key.clone());
                stack.authenticate(by_key("recotap", &key)).await.allowed();
                stack.authenticate(by_key("recotap", &older)).await.denied_for(DenyReason::RevokedKey);
            }
            done.store(true, Ordering::Relaxed);
        };
        let watch = async {
            let mut looks = 0;
            while !done.load(Ordering::Relaxed) {
                let known = made.lock().unwrap().clone();
                let mut newer_works = false;
                for key in known.iter().rev().take(3) {
                    let works = matches!(
                        stack.authenticate(by_key("recotap", key)).await.outcome,
                        Some(keygate::proto::v1::authenticate_response::Outcome::Allowed(_))
                    );
                    assert!(!(works && newer_works), "an older key works beside a newer one");
                    newer_works |= works;
                }
                let active = stack.list("recotap", of_account("user-1", KeyState::Active)).await.keys;
                // A page is read in two steps on Redis: a key that ended in between is left out, and no second one is in.
                assert!(active.len() <= 1, "{active:?}");
                looks += 1;
            }
            assert!(looks > 3, "{looks} looks");
        };
        tokio::join!(generate, watch);

        // Many generate at once: of all the keys, one is left.
        let all = tokio::join!(
            stack.try_manage("recotap", Operation::Create(key_for("user-2", "live"))),
            stack.try_manage("recotap", Operation::Create(key_for("user-2", "live"))),
            stack.try_manage("recotap", Operation::Create(key_for("user-2", "live"))),
            stack.try_manage("recotap", Operation::Create(key_for("user-2", "live"))),
        );
        let mut working = 0;
        for made in [all.0, all.1, all.2, all.3] {
            let Ok(Done::Created(made)) = made else { panic!("not made: {made:?}") };
            let answer = stack.authenticate(by_key("recotap", &made.secret)).await;
            working += usize::from(matches!(
                answer.outcome,
                Some(keygate::proto::v1::authenticate_response::Outcome::Allowed(_))
            ));
        }
        assert_eq!(working, 1);
    }

    async fn t4_the_key_is_shown_once_and_no_part_of_it_ever_after(stack) {
        let made = stack.create("recotap", key_for("user-1", "live")).await;
        let (key, secret) = (made.key.unwrap(), made.secret);
        assert!(secret.starts_with("rtap_") && secret.len() == "rtap_".len() + 32);
        let allowed = stack.authenticate(by_key("recotap", &secret)).await.allowed();
        let shown = [
            format!("{key:?}"),
            format!("{allowed:?}"),
            format!("{:?}", stack.get("recotap", &key.id).await),
            format!("{:?}", stack.list("recotap", of_account("user-1", KeyState::Unspecified)).await),
            format!("{:?}", stack.revoke("recotap", &key.id).await),
        ];
        let body = &secret["rtap_".len()..];
        for text in &shown {
            for start in 0..=body.len() - 4 {
                // Four characters of a key could stand in an id by chance; four that are mixed in case cannot, as ids are
                // upper case.
                let part = &body[start..start + 4];
                let mixed = part.chars().any(|c| c.is_ascii_lowercase()) && part.chars().any(|c| c.is_ascii_uppercase());
                assert!(!(mixed && text.contains(part)), "`{part}` of `{secret}` stands in {text}");
            }
        }
        assert_eq!((key.hint.as_str(), key.secrets[0].hint.as_str(), allowed.hint.as_str()), ("", "", ""));
    }

    async fn t5_keys_do_not_expire_and_others_are_untouched(stack) {
        let made = stack.create("recotap", key_for("user-1", "live")).await;
        assert_eq!(made.key.unwrap().expires_at, None);
        let (other_id, other) = stack.new_key("recotap", "user-2", "live").await;
        let before = stack.get("recotap", &other_id).await;
        for _ in 0..3 {
            stack.new_key("recotap", "user-1", "live").await;
        }
        let after = stack.get("recotap", &other_id).await;
        assert_eq!((before.version, before.updated_at, before.state), (after.version, after.updated_at, after.state));
        stack.authenticate(by_key("recotap", &other)).await.allowed();
        // No grace either: the old key is invalid immediately.
        let rotate = keygate::proto::v1::RotateKey {
            key_id: other_id,
            grace: Some(support::calls::seconds(1)),
            ..Default::default()
        };
        let status = stack.try_manage("recotap", Operation::Rotate(rotate)).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    }
}
