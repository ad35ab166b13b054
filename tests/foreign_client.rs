//! keygate as a client sees it that shares no code with it and knows no proto file: Python, over server reflection.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::DESCRIPTORS;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use support::{calls::well_formed, python::python_client};
use tokio_stream::StreamExt;
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const MANAGE: &str = "keygate.v1.Authorization/ManageKeys";
const AUTHENTICATE: &str = "keygate.v1.Authorization/Authenticate";

on_both_stores! {
    async fn a_foreign_client_creates_and_authenticates(stack) {
        let python = python_client(stack.address());
        let bearer = format!("Bearer {}", stack.operator());
        let management = [("authorization", bearer.as_str())];

        let ann = json!({ "realm": "recurr", "account_id": "acme", "member_id": "ann", "roles": ["developer"] });
        let added = python.call("keygate.v1.Directory/AddMember", &ann, &management).unwrap();
        assert_eq!(added["member"]["roles"], json!(["developer"]));
        let create = json!({ "realm": "recurr", "create": {
            "account_id": "acme", "member_id": "ann", "environment": "test", "name": "ci", "scopes": ["read-write"], "metadata": { "team": "a" },
            "expires_in": "3600s",
        }});
        let made = python.call(MANAGE, &create, &management).unwrap();
        let secret = made["created"]["secret"].as_str().unwrap();
        stack.remember(secret);
        let key = &made["created"]["key"];
        assert_eq!((&key["state"], &key["version"]), (&json!("KEY_STATE_ACTIVE"), &json!("1")));
        assert_eq!(key["hint"], format!("rk_test_…{}", &secret[secret.len() - 4..]));

        let ask = json!({ "realm": "recurr", "method": "POST", "path": "/v1/subscribers", "check_rate_limit": true,
            "headers": { "entries": [{ "name": "Authorization", "value": format!("Bearer {secret}") }] } });
        let allowed = python.call(AUTHENTICATE, &ask, &[]).unwrap();
        assert_eq!(allowed["allowed"]["key_id"], key["id"]);
        assert_eq!(allowed["allowed"]["metadata"], json!({ "team": "a" }));
        assert_eq!((&allowed["allowed"]["operation"], &allowed["allowed"]["environment"]), (&json!("write"), &json!("test")));
        assert_eq!((&allowed["limits"][0]["name"], &allowed["limits"][0]["remaining"]), (&json!("requests"), &json!("999")));

        let unknown = well_formed("rk_test_", "Unknown0Unknown0Unknown012");
        let denied = python.call(AUTHENTICATE, &json!({ "realm": "recurr", "api_key": unknown }), &[]).unwrap();
        let denied = &denied["denied"];
        assert_eq!((&denied["reason"], &denied["http_status"]), (&json!("DENY_REASON_UNKNOWN_KEY"), &json!(401)));
        let body: Value = serde_json::from_str(denied["body"].as_str().unwrap()).unwrap();
        assert_eq!(body, json!({ "error": { "type": "unauthorized", "message": "Invalid or missing API key." } }));

        let check = json!({ "realm": "recurr", "environment": "test", "operation": "read", "cost": 5,
            "subject": { "account_id": "acme" } });
        let checked = python.call("keygate.v1.Authorization/CheckRateLimit", &check, &[]).unwrap();
        assert_eq!((&checked["allowed"], &checked["limits"][0]["remaining"]), (&json!(true), &json!("994")));

        let render = json!({ "realm": "recover", "code": "invalid_phone" });
        let rendered = python.call("keygate.v1.Realms/RenderError", &render, &[]).unwrap();
        assert_eq!(rendered["http_status"], json!(400));

        let log = json!({ "realm": "recurr", "account_id": "acme" });
        let log = python.call("keygate.v1.AuditLog/List", &log, &management).unwrap();
        assert_eq!((&log["events"][2]["act"], &log["events"][2]["key_id"]), (&json!("AUDIT_ACT_KEY_CREATED"), &key["id"]));
    }

    async fn a_foreign_client_reads_what_is_wrong_with_its_request(stack) {
        let python = python_client(stack.address());
        let error = python.call(AUTHENTICATE, &json!({ "realm": "nowhere" }), &[]).unwrap_err();
        assert_eq!(error["code"], "INVALID_ARGUMENT");
        let detail = &error["details"][0];
        assert_eq!(detail["field_violations"][0]["field"], "realm", "{error}");
        let problem = detail["field_violations"][0]["description"].as_str().unwrap();
        assert_eq!(problem, "must be a realm of this server");

        let error = python.call(MANAGE, &json!({ "realm": "recurr", "list": {} }), &[]).unwrap_err();
        assert_eq!(error["code"], "UNAUTHENTICATED");
        let bearer = format!("Bearer {}", stack.operator());
        let create = json!({ "realm": "recurr", "create": { "account_id": "a/b", "environment": "moon" } });
        let error = python.call(MANAGE, &create, &[("authorization", &bearer)]).unwrap_err();
        let violations = error["details"][0]["field_violations"].as_array().unwrap();
        let fields: Vec<_> = violations.iter().map(|one| one["field"].as_str().unwrap()).collect();
        assert_eq!(fields, ["create.account_id", "create.environment", "create.name"], "{error}");
    }

    async fn a_foreign_client_asks_for_health(stack) {
        let python = python_client(stack.address());
        for service in ["", "keygate.v1.Authorization"] {
            assert_eq!(python.health(service).unwrap()["status"], "SERVING", "`{service}`");
        }
        assert_eq!(python.health("nothing.like.it").unwrap_err()["code"], "NOT_FOUND");
    }

    async fn reflection_shows_the_services_and_nothing_of_the_store(stack) {
        let list = ask(&stack, MessageRequest::ListServices(String::new())).await;
        let Ok(Some(MessageResponse::ListServicesResponse(list))) = list else { panic!("{list:?}") };
        let names: BTreeSet<&str> = list.service.iter().map(|service| service.name.as_str()).collect();
        let expected = [
            "grpc.health.v1.Health",
            "grpc.reflection.v1.ServerReflection",
            "keygate.v1.AuditLog",
            "keygate.v1.Authorization",
            "keygate.v1.Directory",
            "keygate.v1.EmbedTokens",
            "keygate.v1.Onboarding",
            "keygate.v1.Realms",
            "keygate.v1.Vault",
            "keygate.v1.Backup",
            "keygate.v1.Secrets",
            "keygate.v1.Webhooks",
        ];
        let missing: Vec<_> = expected.iter().filter(|name| !names.contains(**name)).collect();
        assert!(missing.is_empty(), "{missing:?} of {names:?}");
        let odd: Vec<_> = names.iter().filter(|name| {
            !expected.contains(*name) && **name != "grpc.reflection.v1alpha.ServerReflection"
        }).collect();
        assert!(odd.is_empty(), "{odd:?}");

        // What stands in the details of an error can be read without any file.
        for symbol in ["google.rpc.BadRequest", "google.rpc.ErrorInfo", "google.rpc.RetryInfo", "google.rpc.Status"] {
            let answer = ask(&stack, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
            assert!(matches!(answer, Ok(Some(MessageResponse::FileDescriptorResponse(_)))), "`{symbol}`: {answer:?}");
        }
        for symbol in ["keygate.store.v1.Key", "keygate.store.v1.Lookup"] {
            let answer = ask(&stack, MessageRequest::FileContainingSymbol(symbol.to_owned())).await;
            assert_eq!(answer.unwrap_err().code(), tonic::Code::NotFound, "`{symbol}` is shown");
        }
        assert!(!String::from_utf8_lossy(DESCRIPTORS).contains("keygate.store"));
    }
}

async fn ask(
    keygate: &support::keygate::Keygate,
    question: MessageRequest,
) -> Result<Option<MessageResponse>, tonic::Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let mut client = ServerReflectionClient::new(keygate.channel());
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await?.into_inner();
    Ok(answers.next().await.expect("every question is answered")?.message_response)
}
