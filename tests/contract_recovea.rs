//! What Recovea promises its users, row by row.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AuthenticateRequest, Denied, DenyReason, ImportKeys, ImportOutcome, ImportRow, KeyState, ListKeys, RotateKey,
    UpdateKey, import_row::Secret, manage_keys_request::Operation, manage_keys_response::Result as Done,
};
use prost::Message;
use std::time::Duration;
use support::{
    calls::{
        Answered, by_bearer, by_headers, by_key, charged, header, header_list, key_for, now, seconds, well_formed,
    },
    stored::Stored,
    transit::{KeyService, Mood, TOKEN},
    vault::{releasing, upstream},
};
use tonic::Code;

const INCORRECT: &str = concat!(
    r#"{"error":{"message":"Incorrect Recovea API key provided. View and manage your keys at "#,
    r#"https://dashboard.recovea.ai","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
);

#[track_caller]
fn assert_incorrect(denied: &Denied) {
    assert_eq!((denied.http_status, denied.body.as_str()), (401, INCORRECT), "{denied:?}");
    assert_eq!(denied.headers, header_list(&[("content-type", "application/json"), ("www-authenticate", "Bearer")]));
}

fn activate(id: &str) -> UpdateKey {
    UpdateKey { key_id: id.to_owned(), state: KeyState::Active.into(), ..Default::default() }
}

on_both_stores! {
    async fn v1_the_key_comes_in_the_authorization_header_and_nowhere_else(stack) {
        for environment in ["live", "test"] {
            let (_, key) = stack.new_key("recovea", "project-1", environment).await;
            assert!(key.starts_with(&format!("rcv_{environment}_")));
            assert_eq!(stack.authenticate(by_bearer("recovea", &key)).await.allowed().environment, environment);
            // Another header, another scheme, no scheme, the query.
            for (name, value, reason) in [
                ("x-api-key", key.clone(), DenyReason::MissingCredential),
                ("api-key", format!("Bearer {key}"), DenyReason::MissingCredential),
                ("authorization", format!("Basic {key}"), DenyReason::MalformedKey),
                ("authorization", key.clone(), DenyReason::MalformedKey),
            ] {
                assert_incorrect(&stack.authenticate(by_headers("recovea", &[(name, &value)])).await.denied_for(reason));
            }
            let query = format!("/v1/models?api_key={key}&key={key}&authorization=Bearer%20{key}");
            let request = charged(by_headers("recovea", &[("accept", "*/*")]), "GET", &query, 1);
            assert_incorrect(&stack.authenticate(request).await.denied_for(DenyReason::MissingCredential));
        }
    }

    async fn v3_shown_once_and_then_by_prefix_two_characters_and_last_four(stack) {
        for environment in ["live", "test"] {
            let made = stack.create("recovea", key_for("project-1", environment)).await;
            let (key, secret) = (made.key.unwrap(), made.secret);
            let prefix = format!("rcv_{environment}_");
            let body = secret.strip_prefix(&prefix).expect("the prefix names the environment");
            let hint = format!("{prefix}{}…{}", &body[..2], &body[body.len() - 4..]);
            assert_eq!(key.hint, hint);
            let shown = [
                format!("{key:?}"),
                format!("{:?}", stack.get("recovea", &key.id).await),
                format!("{:?}", stack.list("recovea", ListKeys::default()).await),
                format!("{:?}", stack.authenticate(by_bearer("recovea", &secret)).await),
            ];
            for text in shown {
                assert!(text.contains(&hint), "{text}");
                assert!(!text.contains(&body[..8]) && !text.contains(&body[body.len() - 8..]), "{text}");
                assert!(!text.contains(&body[8..16]), "{text}");
            }
        }
    }

    async fn v6_rotating_rolls_the_secret_under_the_same_id(stack) {
        // Without a grace the old secret ends at once.
        let (id, first) = stack.new_key("recovea", "project-1", "live").await;
        let rotated = stack.rotate("recovea", &id, None).await;
        assert_eq!((rotated.key.unwrap().id, rotated.repeated), (id.clone(), false));
        let second = rotated.secret;
        assert_ne!(first, second);
        assert_incorrect(&stack.authenticate(by_bearer("recovea", &first)).await.denied_for(DenyReason::RetiredSecret));
        assert_eq!(stack.authenticate(by_bearer("recovea", &second)).await.allowed().key_id, id);

        // With one, both work until it is over.
        let rotated = stack.rotate("recovea", &id, Some(seconds(2))).await;
        let key = rotated.key.unwrap();
        let (issued, retires) = (key.secrets[0].created_at.unwrap(), key.secrets[1].retires_at.unwrap());
        assert_eq!((retires.seconds - issued.seconds, retires.nanos), (2, issued.nanos));
        for secret in [&second, &rotated.secret] {
            assert_eq!(stack.authenticate(by_bearer("recovea", secret)).await.allowed().key_id, id);
        }
        tokio::time::sleep(Duration::from_millis(2_050)).await;
        assert_incorrect(&stack.authenticate(by_bearer("recovea", &second)).await.denied_for(DenyReason::RetiredSecret));
        stack.authenticate(by_bearer("recovea", &rotated.secret)).await.allowed();
        // What went before never comes back.
        stack.authenticate(by_bearer("recovea", &first)).await.denied_for(DenyReason::RetiredSecret);
    }

    async fn v6_a_grace_of_zero_ends_every_older_secret(stack) {
        let (id, first) = stack.new_key("recovea", "project-1", "live").await;
        let second = stack.rotate("recovea", &id, Some(seconds(600))).await.secret;
        let third = stack.rotate("recovea", &id, Some(seconds(600))).await.secret;
        for secret in [&first, &second, &third] {
            stack.authenticate(by_bearer("recovea", secret)).await.allowed();
        }
        let fourth = stack.rotate("recovea", &id, Some(seconds(0))).await.secret;
        for secret in [&first, &second, &third] {
            stack.authenticate(by_bearer("recovea", secret)).await.denied_for(DenyReason::RetiredSecret);
        }
        stack.authenticate(by_bearer("recovea", &fourth)).await.allowed();
    }

    async fn v7_a_revoked_key_cannot_be_brought_back(stack) {
        let (id, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.authenticate(by_bearer("recovea", &key)).await.allowed();
        let revoked = stack.revoke("recovea", &id).await.keys.remove(0);
        assert_eq!((revoked.state(), revoked.revoke_reason.as_str()), (KeyState::Revoked, "a test"));
        assert!(revoked.revoked_at.is_some());
        assert_incorrect(&stack.authenticate(by_bearer("recovea", &key)).await.denied_for(DenyReason::RevokedKey));

        let rotate = RotateKey { key_id: id.clone(), ..Default::default() };
        let renew = UpdateKey { key_id: id.clone(), never_expires: true, ..Default::default() };
        for operation in [Operation::Update(activate(&id)), Operation::Update(renew), Operation::Rotate(rotate)] {
            let status = stack.try_manage("recovea", operation).await.unwrap_err();
            assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
            assert!(status.message().contains("revoked") && status.message().contains(&id), "{status:?}");
        }
        let row = ImportRow {
            secret: Some(Secret::RawKey(key.clone())),
            account_id: "project-1".to_owned(),
            environment: "live".to_owned(),
            name: "again".to_owned(),
            ..Default::default()
        };
        let import = Operation::Import(ImportKeys { rows: vec![row], ..Default::default() });
        let Done::Imported(report) = stack.manage("recovea", import).await else { panic!() };
        assert_ne!(report.verdicts[0].outcome(), ImportOutcome::Imported);
        stack.authenticate(by_bearer("recovea", &key)).await.denied_for(DenyReason::RevokedKey);

        stack.keygate.restart().await;
        stack.authenticate(by_bearer("recovea", &key)).await.denied_for(DenyReason::RevokedKey);
        let listed = stack.list("recovea", ListKeys { state: KeyState::Revoked.into(), ..Default::default() }).await;
        assert_eq!(listed.keys.iter().map(|key| &key.id).collect::<Vec<_>>(), [&id]);
    }

    async fn v8_the_last_use_is_recorded_and_listed(stack) {
        let (id, key) = stack.new_key("recovea", "project-1", "live").await;
        let (idle, _) = stack.new_key("recovea", "project-1", "live").await;
        let fresh = stack.get("recovea", &id).await;
        assert_eq!((fresh.last_used_at, fresh.last_used_address.as_str()), (None, ""));

        let from = |address: &str| AuthenticateRequest { source_address: address.to_owned(), ..by_bearer("recovea", &key) };
        for address in ["192.0.2.7", "2001:db8::1"] {
            let before = now();
            stack.authenticate(from(address)).await.allowed();
            // Uses are written in the background: soon, not in the call itself.
            let mut seen = stack.get("recovea", &id).await;
            for _ in 0..100 {
                if seen.last_used_address == address {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                seen = stack.get("recovea", &id).await;
            }
            assert_eq!(seen.last_used_address, address);
            assert!((before..=now() + 1).contains(&seen.last_used_at.unwrap().seconds));
            // Being used is no change of the key.
            assert_eq!((seen.version, seen.updated_at), (fresh.version, fresh.updated_at));
        }
        let listed = stack.list("recovea", ListKeys::default()).await.keys;
        let of = |id: &str| listed.iter().find(|key| key.id == id).unwrap();
        assert_eq!(of(&id).last_used_address, "2001:db8::1");
        assert_eq!((of(&idle).last_used_at, of(&idle).last_used_address.as_str()), (None, ""));

        // A denied request is no use of the key.
        stack.revoke("recovea", &id).await;
        stack.authenticate(from("192.0.2.99")).await.denied_for(DenyReason::RevokedKey);
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        assert_eq!(stack.get("recovea", &id).await.last_used_address, "2001:db8::1");
        // It outlives the server.
        stack.keygate.restart().await;
        assert_eq!(stack.get("recovea", &id).await.last_used_address, "2001:db8::1");
    }

    async fn v10_errors_have_the_shape_of_openai(stack) {
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        let unknown = well_formed("rcv_live_", "Unknown0Unknown0Unknown012");
        assert_incorrect(&stack.authenticate(by_headers("recovea", &[])).await.denied_for(DenyReason::MissingCredential));
        assert_incorrect(&stack.authenticate(by_bearer("recovea", &unknown)).await.denied_for(DenyReason::UnknownKey));
        assert_incorrect(&stack.authenticate(by_bearer("recovea", "sk-abc")).await.denied_for(DenyReason::MalformedKey));

        let request = |cost| charged(by_key("recovea", &key), "POST", "/v1/chat/completions", cost);
        stack.authenticate(request(1_000)).await.allowed();
        let denied = stack.authenticate(request(1)).await.denied_for(DenyReason::RateLimited);
        let body = concat!(
            r#"{"error":{"message":"Rate limit reached. Please wait and try again.","#,
            r#""type":"requests","param":null,"code":"rate_limit_exceeded"}}"#
        );
        assert_eq!((denied.http_status, denied.body.as_str()), (429, body));
        assert!(header(&denied.headers, "retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    }
}

with_vault! {
    async fn v2_a_test_key_never_gets_a_live_credential(stack, files) {
        let (_, live) = stack.new_key("recovea", "project-1", "live").await;
        let (_, test) = stack.new_key("recovea", "project-1", "test").await;
        stack.put("project-1", "live", "openai", "sk-live-of-project-1-0123456789").await;
        let go_on = async |key: &str| {
            upstream(&stack.client().authenticate(releasing(key)).await.unwrap().into_inner().allowed())
        };
        assert_eq!(go_on(&live).await, ["authorization: Bearer sk-live-of-project-1-0123456789"]);
        let missing = stack.authenticate(releasing(&test)).await.denied_for(DenyReason::NoProviderCredential);
        let code = r#""type":"invalid_request_error","param":null,"code":"provider_key_missing"}}"#;
        assert!(missing.http_status == 403 && missing.body.ends_with(code), "{missing:?}");

        stack.put("project-1", "test", "openai", "sk-test-of-project-1-0123456789").await;
        assert_eq!(go_on(&test).await, ["authorization: Bearer sk-test-of-project-1-0123456789"]);
        assert_eq!(go_on(&live).await, ["authorization: Bearer sk-live-of-project-1-0123456789"]);
        // Whatever the request says of itself: the key decides.
        let pinned = AuthenticateRequest { environment: "live".to_owned(), ..releasing(&test) };
        stack.authenticate(pinned).await.denied_for(DenyReason::WrongEnvironment);
        let elsewhere = AuthenticateRequest { account_id: "project-2".to_owned(), ..releasing(&test) };
        stack.authenticate(elsewhere).await.denied_for(DenyReason::ForbiddenAccount);
    }

    async fn v4_sealed_under_a_key_that_the_customer_can_take_away_and_write_only(stack, files) {
        const CREDENTIAL: &str = "sk-of-project-1-Kp3vXq8ZtLm2RwYb";
        let service = KeyService::start();
        std::fs::write(files.path("token"), TOKEN).unwrap();
        files.settings(&[&service.kek("customer", true)], &["listen"]);
        stack.keygate.restart().await;
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        let put = stack.put("project-1", "live", "openai", CREDENTIAL).await;
        assert_eq!(put.key_encryption_key, "customer");
        let mut client = stack.client();
        let answer = client.authenticate(releasing(&key)).await.unwrap().into_inner().allowed();
        assert_eq!(upstream(&answer), [format!("authorization: Bearer {CREDENTIAL}")]);

        // Nothing that management answers has a place for it.
        let set = prost_types::FileDescriptorSet::decode(keygate::proto::v1::DESCRIPTORS).unwrap();
        let vault = set.file.iter().find(|file| file.name().ends_with("vault.proto")).unwrap();
        let answers: Vec<&str> = vault.service[0].method.iter().map(|method| method.output_type()).collect();
        for message in &vault.message_type {
            let told = answers.contains(&format!(".keygate.v1.{}", message.name()).as_str());
            let holds = message.field.iter().any(|field| ["credential", "secret", "sealed"].contains(&field.name()));
            assert!(!(told && holds), "{}", message.name());
        }
        // The customer takes the key away.
        service.becomes(Mood::Forbids);
        tokio::time::sleep(Duration::from_millis(150)).await;
        let status = stack.try_authenticate(releasing(&key)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        stack.keygate.kill();
        assert!(!Stored::read(&stack).holds(CREDENTIAL.as_bytes()));
    }

    async fn v5_an_allowed_request_goes_on_with_its_own_projects_credential(stack, files) {
        let mut projects = Vec::new();
        for number in 1..=8 {
            let project = format!("project-{number}");
            let (id, key) = stack.new_key("recovea", &project, "live").await;
            for provider in ["openai", "anthropic"] {
                stack.put(&project, "live", provider, &format!("sk-{provider}-of-{project}-0123456789")).await;
            }
            projects.push((project, id, key));
        }
        // All at the same time, again and again: tenants never mix.
        let asking = (0..200).map(|turn: usize| {
            let (project, _, key) = projects[turn % projects.len()].clone();
            let mut client = stack.client();
            tokio::spawn(async move {
                let answer = client.authenticate(releasing(&key)).await.unwrap().into_inner().allowed();
                assert_eq!(answer.account_id, project);
                assert_eq!(upstream(&answer), [format!("authorization: Bearer sk-openai-of-{project}-0123456789")]);
            })
        });
        for asked in asking.collect::<Vec<_>>() {
            asked.await.unwrap();
        }
        // The provider that the request names.
        let (project, id, key) = &projects[0];
        let bearer = format!("Bearer {key}");
        let naming = |provider: &str| {
            let headers = [("authorization", bearer.as_str()), ("x-recovea-provider", provider)];
            let request = charged(by_headers("recovea", &headers), "POST", "/v1/messages", 1);
            AuthenticateRequest { release_credential: true, ..request }
        };
        let answer = stack.client().authenticate(naming("anthropic")).await.unwrap().into_inner().allowed();
        assert_eq!(upstream(&answer), [format!("x-api-key: sk-anthropic-of-{project}-0123456789")]);
        assert_eq!(stack.try_authenticate(naming("nobody")).await.unwrap_err().code(), Code::InvalidArgument);
        stack.authenticate(naming("openrouter")).await.denied_for(DenyReason::NoProviderCredential);
        // A denied request goes on with nothing, and one that is denied for that is not charged.
        let cost = |cost| AuthenticateRequest { cost: Some(cost), ..releasing(key) };
        let denied = stack.authenticate(cost(1_001)).await;
        denied.denied_for(DenyReason::CostAboveLimit);
        stack.authenticate(AuthenticateRequest { cost: Some(900), ..naming("openrouter") }).await.denied();
        stack.client().authenticate(cost(900)).await.unwrap().into_inner().allowed();
        stack.revoke("recovea", id).await;
        stack.authenticate(releasing(key)).await.denied_for(DenyReason::RevokedKey);
    }
}
