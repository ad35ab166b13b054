//! `Survey` and `keygate secrets status`: who may ask, for what, and in pages.

use crate::{
    on_both_stores,
    run::secrets,
    support::calls::{assert_invalid, key_for, signed, texts},
};
use keygate::proto::v1::{CreateKey, SurveyRequest, secrets_client::SecretsClient};
use std::collections::BTreeSet;
use tonic::Code;

on_both_stores! {
    async fn whoever_may_read_is_told_page_by_page(stack) {
        for account in ["acme", "beta", "gamma"] {
            for _ in 0..3 {
                stack.new_key("recurr", account, "live").await;
            }
        }
        let (ended, _) = stack.new_key("recurr", "acme", "live").await;
        stack.revoke("recurr", &ended).await;
        let staff = |scope: &str| CreateKey { scopes: texts(&[scope]), ..key_for("staff", "") };
        let reader = stack.create("keygate", staff("reader@recurr")).await.secret;
        let revoker = stack.create("keygate", staff("revoker")).await.secret;
        let mut client = SecretsClient::new(stack.channel());
        let ask = |realm: &str| SurveyRequest { realm: realm.to_owned(), ..Default::default() };

        for (credential, realm, code) in [
            (None, "recurr", Code::Unauthenticated),
            (Some("nonsense"), "recurr", Code::Unauthenticated),
            (Some(&*revoker), "recurr", Code::PermissionDenied),
            (Some(&*revoker), "", Code::PermissionDenied),
            (Some(&*reader), "recover", Code::PermissionDenied),
            (Some(&*reader), "keygate", Code::PermissionDenied),
        ] {
            let status = client.survey(signed(credential, ask(realm))).await.unwrap_err();
            assert_eq!(status.code(), code, "{realm}: {status:?}");
        }
        for (request, field) in [
            (ask("nowhere"), "realm"),
            (SurveyRequest { page_size: 1_001, ..ask("recurr") }, "page_size"),
            (SurveyRequest { page_token: "nonsense".to_owned(), ..ask("recurr") }, "page_token"),
            (SurveyRequest { used_within: Some(prost_types::Duration { seconds: -1, nanos: 0 }), ..ask("recurr") }, "used_within"),
        ] {
            let status = client.survey(signed(Some(stack.operator()), request)).await.unwrap_err();
            assert_invalid(&status, &[field]);
        }

        // Two keys at a time, each once; those that ended are none.
        for realm in ["recurr", ""] {
            let (mut request, mut keys, mut ids, mut pages) = (SurveyRequest { page_size: 2, version: 1, ..ask(realm) }, 0, BTreeSet::new(), 0);
            loop {
                let page = client.survey(signed(Some(&reader), request.clone())).await.unwrap().into_inner();
                assert!(page.tallies.iter().all(|tally| tally.realm == "recurr" && tally.version == 1));
                keys += page.tallies.iter().map(|tally| tally.keys).sum::<u64>();
                ids.extend(page.keys.into_iter().map(|key| key.key_id));
                assert_eq!(page.versions.len(), 1);
                pages += 1;
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
            assert_eq!((keys, ids.len()), (9, 9), "{realm}");
            assert!(pages >= 5, "{pages}");
        }
        let all = client.survey(signed(Some(stack.operator()), SurveyRequest { page_size: 1_000, ..ask("") })).await.unwrap().into_inner();
        assert!(!all.next_page_token.is_empty(), "other realms follow");

        let output = secrets(&["status", "--endpoint", &stack.endpoint()]).env("KEYGATE_KEY", stack.operator()).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(told.starts_with("VERSION  STATE    USED FROM  RETIRES  FINGERPRINT"), "{told}");
        assert!(told.contains("REALM    VERSION  KEYS  USED WITHIN 30d\n") && told.contains("100 % of 12 keys on the current version"), "{told}");
        let output = secrets(&["status", "--version", "1", "--realm", "recurr", "--at-least", "1", "--endpoint", &stack.endpoint()])
            .env("KEYGATE_KEY", &reader).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told.lines().count(), 10, "{told}");
    }
}
