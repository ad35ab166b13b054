//! What a key is bound to, and what is known of its use: networks, a beginning, the use of each secret, resting unused.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, CreateKey, DenyReason, ImportKeys, ImportRow, Key, KeySecret, KeyState, ListEventsRequest,
    ListKeys, NetworkList, UpdateKey, import_row::Secret, manage_keys_request::Operation,
};
use std::time::Duration;
use support::calls::{
    Answered, assert_invalid, at, by_bearer, by_key, key_for, now, seconds, texts, violations, well_formed,
};
use support::stack::Stack;

fn from(key: &str, address: &str) -> AuthenticateRequest {
    AuthenticateRequest { source_address: address.to_owned(), ..by_key("recurr", key) }
}

fn bound_to(networks: &[&str]) -> CreateKey {
    CreateKey { allowed_networks: texts(networks), ..key_for("acme", "live") }
}

/// The key once it shows what is wanted: uses are written in the background.
async fn once(stack: &Stack, id: &str, shows: impl Fn(&Key) -> bool) -> Key {
    for _ in 0..200 {
        let key = stack.get("recurr", id).await;
        if shows(&key) {
            return key;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:#?}", stack.get("recurr", id).await);
}

on_both_stores! {
    async fn during_a_rotation_each_secret_tells_who_still_uses_it(stack) {
        let (id, old) = stack.new_key("recurr", "acme", "live").await;
        let new = stack.rotate("recurr", &id, Some(seconds(600))).await.secret;
        let listed = stack.list("recurr", ListKeys::default()).await.keys;
        let unused: Vec<_> = listed[0].secrets.iter().map(|secret| (secret.number, secret.last_used_at, secret.uses)).collect();
        assert_eq!(unused, [(2, None, 0), (1, None, 0)]);

        let before = now();
        for (key, address) in [(&old, "192.0.2.1"), (&new, "2001:db8::2"), (&old, "192.0.2.3")] {
            stack.authenticate(from(key, address)).await.allowed();
        }
        stack.authenticate(AuthenticateRequest { environment: "test".to_owned(), ..from(&old, "192.0.2.9") }).await
            .denied_for(DenyReason::WrongEnvironment);
        let seen = once(&stack, &id, |key| key.secrets.iter().map(|secret| secret.uses).sum::<u64>() == 3).await;
        let [newer, older]: [KeySecret; 2] = seen.secrets.clone().try_into().unwrap();
        assert_eq!((newer.number, newer.last_used_address.as_str(), newer.uses), (2, "2001:db8::2", 1));
        assert_eq!((older.number, older.last_used_address.as_str(), older.uses), (1, "192.0.2.3", 2));
        for secret in [newer, older] {
            assert!((before..=now() + 1).contains(&secret.last_used_at.unwrap().seconds));
        }
        assert!(["192.0.2.3", "2001:db8::2"].contains(&seen.last_used_address.as_str()));

        // It outlives the server, and later uses are added to what was counted.
        stack.keygate.restart().await;
        assert_eq!(stack.get("recurr", &id).await.secrets, seen.secrets);
        stack.authenticate(from(&old, "192.0.2.4")).await.allowed();
        let seen = once(&stack, &id, |key| key.secrets[1].uses == 3).await;
        assert_eq!(seen.secrets[1].last_used_address, "192.0.2.4");
        // Another rotation changes no number.
        let third = stack.rotate("recurr", &id, Some(seconds(600))).await.key.unwrap();
        assert_eq!(third.secrets.iter().map(|secret| secret.number).collect::<Vec<_>>(), [3, 2, 1]);
    }

    async fn a_key_that_is_bound_to_networks_works_from_nowhere_else(stack) {
        let made = stack.create("recurr", bound_to(&["192.0.2.0/24", "::ffff:198.51.100.0/120", "2001:db8::/32"])).await;
        let (key, id) = (made.secret, made.key.unwrap().id);
        let known = ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"];
        assert_eq!(stack.get("recurr", &id).await.allowed_networks, known);
        for address in ["192.0.2.200", "::ffff:192.0.2.200", "198.51.100.7", "2001:db8:ffff::1"] {
            stack.authenticate(from(&key, address)).await.allowed();
        }
        for address in ["192.0.3.1", "::ffff:192.0.3.1", "2001:db9::1", ""] {
            let denied = stack.authenticate(from(&key, address)).await.denied_for(DenyReason::ForbiddenAddress);
            assert_eq!(denied.http_status, 403, "{denied:?}");
        }
        // The end client cannot tell it from other things that are forbidden.
        let elsewhere = stack.authenticate(from(&key, "192.0.3.1")).await.denied();
        let other = AuthenticateRequest { account_id: "umbrella".to_owned(), ..from(&key, "192.0.2.1") };
        let forbidden = stack.authenticate(other).await.denied_for(DenyReason::ForbiddenAccount);
        assert_eq!((elsewhere.headers, elsewhere.body), (forbidden.headers, forbidden.body));

        let bind = |networks: &[&str]| UpdateKey {
            key_id: id.clone(),
            allowed_networks: Some(NetworkList { networks: texts(networks) }),
            ..Default::default()
        };
        stack.update("recurr", bind(&["192.0.3.1"])).await;
        stack.authenticate(from(&key, "192.0.3.1")).await.allowed();
        stack.authenticate(from(&key, "192.0.2.200")).await.denied_for(DenyReason::ForbiddenAddress);
        stack.update("recurr", bind(&[])).await;
        stack.authenticate(from(&key, "")).await.allowed();
        let events = stack.events(&ListEventsRequest { realm: "recurr".to_owned(), ..Default::default() }).await.0;
        let fields: Vec<_> = events.iter().map(|event| event.fields.join(",")).filter(|fields| !fields.is_empty()).collect();
        assert_eq!(fields, ["allowed_networks", "allowed_networks"]);
    }

    async fn a_key_works_from_its_beginning_to_its_end(stack) {
        let begin = now() + 3;
        let early = CreateKey { not_before: Some(at(begin)), expires_at: Some(at(begin + 600)), ..key_for("acme", "live") };
        let made = stack.create("recurr", early).await;
        let (key, id) = (made.secret, made.key.unwrap().id);
        let pending = ListKeys { state: KeyState::Pending.into(), ..Default::default() };
        assert_eq!(stack.list("recurr", pending.clone()).await.keys.len(), 1);
        let never_was = stack.authenticate(by_bearer("recurr", &well_formed("rk_live_", "Unknown0Unknown0Unknown012"))).await;
        let denied = stack.authenticate(by_bearer("recurr", &key)).await.denied_for(DenyReason::EarlyKey);
        let never_was = never_was.denied_for(DenyReason::UnknownKey);
        assert_eq!((denied.http_status, denied.headers, denied.body), (never_was.http_status, never_was.headers, never_was.body));
        while now() <= begin {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stack.authenticate(by_bearer("recurr", &key)).await.allowed();
        assert_eq!(stack.get("recurr", &id).await.state(), KeyState::Active);

        let later = UpdateKey { key_id: id.clone(), not_before: Some(at(begin + 599)), ..Default::default() };
        assert_eq!(stack.update("recurr", later).await.state(), KeyState::Pending);
        stack.authenticate(by_bearer("recurr", &key)).await.denied_for(DenyReason::EarlyKey);
        let after_its_end = UpdateKey { key_id: id.clone(), not_before: Some(at(begin + 600)), ..Default::default() };
        let status = stack.try_manage("recurr", Operation::Update(after_its_end)).await.unwrap_err();
        assert_eq!(violations(&status), [("update.not_before".to_owned(), "must lie before the key's expiry".to_owned())]);
        let at_once = UpdateKey { key_id: id, valid_at_once: true, ..Default::default() };
        assert_eq!(stack.update("recurr", at_once).await.not_before, None);
        stack.authenticate(by_bearer("recurr", &key)).await.allowed();
    }

    async fn imported_keys_take_their_bounds_with_them(stack) {
        let key = well_formed("rk_live_", "Imported0Imported0Imported");
        let row = |networks: &[&str], not_before| ImportRow {
            secret: Some(Secret::RawKey(key.clone())),
            account_id: "acme".to_owned(),
            environment: "live".to_owned(),
            name: "imported".to_owned(),
            allowed_networks: texts(networks),
            not_before,
            expires_at: Some(at(now() + 600)),
            ..Default::default()
        };
        let import = |row| Operation::Import(ImportKeys { rows: vec![row], ..Default::default() });
        for (wrong, problem) in [
            (row(&["acme"], None), "`allowed_networks[0]` must be an IPv4 or IPv6 network such as `192.0.2.0/24` or `2001:db8::/32`, or one address"),
            (row(&[], Some(at(now() + 601))), "`not_before` must lie before the key's expiry"),
        ] {
            let keygate::proto::v1::manage_keys_response::Result::Imported(report) = stack.manage("recurr", import(wrong)).await else { panic!() };
            assert_eq!(report.verdicts[0].problem, problem);
        }
        stack.manage("recurr", import(row(&["192.0.2.0/24"], Some(at(1))))).await;
        stack.authenticate(from(&key, "192.0.2.1")).await.allowed();
        stack.authenticate(from(&key, "192.0.3.1")).await.denied_for(DenyReason::ForbiddenAddress);
    }

    async fn wrong_bounds_are_refused(stack) {
        let many: Vec<String> = (0..33).map(|number| format!("192.0.2.{number}")).collect();
        for (create, wanted) in [
            (bound_to(&["192.0.2.7/24"]), ("create.allowed_networks[0]", "must be the network's first address, here `192.0.2.0/24`")),
            (bound_to(&["", "x"]), ("create.allowed_networks[0]", "must be an IPv4 or IPv6 network such as `192.0.2.0/24` or `2001:db8::/32`, or one address")),
            (CreateKey { allowed_networks: many, ..key_for("acme", "live") }, ("create.allowed_networks", "must be at most 32 networks")),
            (CreateKey { not_before: Some(at(now() + 9)), expires_at: Some(at(now() + 9)), ..key_for("acme", "live") }, ("create.not_before", "must lie before the key's expiry")),
        ] {
            let status = stack.try_manage("recurr", Operation::Create(create)).await.unwrap_err();
            let found = &violations(&status)[0];
            assert_eq!((found.0.as_str(), found.1.as_str()), wanted);
        }
        let both = UpdateKey { key_id: "key_x".to_owned(), not_before: Some(at(1)), valid_at_once: true, ..Default::default() };
        let status = stack.try_manage("recurr", Operation::Update(both)).await.unwrap_err();
        assert_invalid(&status, &["update.key_id", "update.valid_at_once"]);
        // Acts on keys tell no address: a management key that is bound could never be used.
        let staff = CreateKey { allowed_networks: texts(&["192.0.2.0/24"]), ..key_for("staff", "") };
        let status = stack.try_manage("keygate", Operation::Create(staff)).await.unwrap_err();
        assert_invalid(&status, &["create.allowed_networks"]);
        assert_eq!(stack.list("recurr", ListKeys::default()).await.keys, []);
    }
}
