//! The vault: who may do what to it, what is refused, and that what went in comes out in one place only.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    AccountStatus, AuditAct, CreateKey, DeleteCredentialRequest, DenyReason, ListCredentialsRequest,
    PutCredentialRequest, RewrapCredentialsRequest,
};
use std::{fs, time::Duration};
use support::{
    calls::{Answered, by_key, charged, key_for, signed, texts, violations},
    keygate::Keygate,
    stack::Stack,
    stored::Stored,
    transit::{KeyService, Mood, TOKEN},
    vault::{putting, releasing, upstream},
};
use tonic::{Code, Status};

const SECRET: &str = "sk-canary-Kp3vXq8ZtLm2RwYb7NcDs5Hf";
const OTHER: &str = "sk-another-Zt8Lm2RwYb7NcDs5HfKp3vXq";

fn listing(account: &str) -> ListCredentialsRequest {
    ListCredentialsRequest { realm: "recovea".to_owned(), account_id: account.to_owned() }
}

fn deleting(account: &str, environment: &str, provider: &str) -> DeleteCredentialRequest {
    let PutCredentialRequest { realm, account_id, environment, provider, .. } =
        putting(account, environment, provider, "");
    DeleteCredentialRequest { realm, account_id, environment, provider }
}

fn rewrapping(page_size: i32, page_token: &str) -> RewrapCredentialsRequest {
    let (realm, page_token) = ("recovea".to_owned(), page_token.to_owned());
    RewrapCredentialsRequest { realm, page_size, page_token, all: false }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, message: &str) {
    let status = answer.unwrap_err();
    assert_eq!((status.code(), status.message()), (code, message));
}

#[track_caller]
fn invalid<T: std::fmt::Debug>(answer: Result<T, Status>, expected: &[(&str, &str)]) {
    let status = answer.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let found = violations(&status);
    let found: Vec<_> = found.iter().map(|(field, problem)| (field.as_str(), problem.as_str())).collect();
    assert_eq!(found, expected);
}

/// What a key's request goes on with.
async fn goes_on_with(keygate: &Keygate, key: &str) -> Vec<String> {
    let mut answer = keygate.client().authenticate(releasing(key)).await.unwrap().into_inner().allowed();
    answer.headers.clear();
    upstream(&answer)
}

/// Longer than an opened credential is remembered by these servers.
async fn forgotten() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

with_vault! {
    async fn what_is_deposited_is_replaced_removed_and_never_told(stack, files) {
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.authenticate(releasing(&key)).await.denied_for(DenyReason::NoProviderCredential);
        let first = stack.put("project-1", "live", "openai", SECRET).await;
        assert_eq!((first.realm.as_str(), first.account_id.as_str()), ("recovea", "project-1"));
        assert_eq!((first.environment.as_str(), first.provider.as_str()), ("live", "openai"));
        assert_eq!((first.key_encryption_key.as_str(), first.can_open), ("k1", true));
        assert!(first.created_at.is_some() && first.created_at == first.updated_at && first.updated_by.starts_with("key_"));
        assert_eq!(goes_on_with(&stack, &key).await, [format!("authorization: Bearer {SECRET}")]);

        let second = stack.put("project-1", "live", "openai", OTHER).await;
        assert!(second.created_at == first.created_at && second.updated_at != first.updated_at);
        assert_eq!(goes_on_with(&stack, &key).await, [format!("authorization: Bearer {OTHER}")]);
        stack.put("project-1", "live", "anthropic", SECRET).await;
        let operator = Some(stack.operator());
        let listed = stack.vault().list_credentials(signed(operator, listing("project-1"))).await.unwrap().into_inner();
        let places: Vec<_> = listed.credentials.iter().map(|one| (one.environment.as_str(), one.provider.as_str())).collect();
        assert_eq!(places, [("live", "anthropic"), ("live", "openai")]);
        assert_eq!(listed.credentials[1], second);
        stack.assert_no_secret("a list", &format!("{listed:?}"));

        stack.vault().delete_credential(signed(operator, deleting("project-1", "live", "openai"))).await.unwrap();
        stack.authenticate(releasing(&key)).await.denied_for(DenyReason::NoProviderCredential);
        let again = stack.vault().delete_credential(signed(operator, deleting("project-1", "live", "openai"))).await;
        refused(again, Code::NotFound, "there is no such credential in this account");
        // What was not asked for is not released.
        let plain = charged(by_key("recovea", &key), "POST", "/v1/chat/completions", 1);
        assert!(stack.authenticate(plain).await.allowed().upstream_headers.is_empty());
    }

    async fn every_act_stands_in_the_audit_log_and_nothing_of_what_was_deposited(stack, files) {
        stack.new_account("recovea", "project-1", "").await;
        stack.put("project-1", "test", "openai", SECRET).await;
        let operator = Some(stack.operator());
        stack.vault().delete_credential(signed(operator, deleting("project-1", "test", "openai"))).await.unwrap();
        let events = stack.chain("recovea", "project-1").await;
        let told: Vec<_> = events.iter().map(|event| (event.act(), event.environment.as_str(), event.fields.join(","))).collect();
        assert_eq!(told, [
            (AuditAct::AccountCreated, "", String::new()),
            (AuditAct::CredentialStored, "test", "openai".to_owned()),
            (AuditAct::CredentialRemoved, "test", "openai".to_owned()),
        ]);
        stack.assert_no_secret("the audit log", &format!("{events:?}"));
    }

    async fn no_byte_of_a_store_tells_a_credential(stack, files) {
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.put("project-1", "live", "openai", SECRET).await;
        stack.authenticate(releasing(&key)).await.allowed();
        let kek = fs::read_to_string(files.path("k1")).unwrap();
        stack.keygate.kill();
        let stored = Stored::read(&stack);
        // What is looked for is found where it stands.
        assert!(stored.holds(b"project-1"));
        let kek = data_encoding::HEXLOWER.decode(kek.as_bytes()).unwrap();
        for secret in [SECRET.as_bytes(), &SECRET.as_bytes()[..16], &SECRET.as_bytes()[16..], &kek] {
            assert!(!stored.holds(secret));
        }
    }

    async fn every_wrong_request_is_told_what_is_wrong(stack, files) {
        stack.new_account("recovea", "project-1", "").await;
        let account = "must be 1 to 128 of `A-Z a-z 0-9 . _ - @ : ~`";
        let environment = "must be an environment of the realm: `live`, `test`";
        let provider = "must be a provider of the realm: `openai`, `anthropic`, `openrouter`";
        let credential = "must be 1 to 4,096 visible ASCII characters without blanks";
        let long = "x".repeat(4_097);
        for (request, expected) in [
            (putting("", "", "", ""), &[("account_id", account), ("environment", environment), ("provider", provider), ("credential", credential)][..]),
            (putting("project-1", "prod", "openai", SECRET), &[("environment", environment)]),
            (putting("project-1", "live", "OpenAI", SECRET), &[("provider", provider)]),
            (putting("project-1", "live", "openai", &long), &[("credential", credential)]),
            (putting("project-1", "live", "openai", "two words"), &[("credential", credential)]),
            (putting("project-1", "live", "openai", "line\r\nx: y"), &[("credential", credential)]),
            (putting("project-1", "live", "openai", "schlüssel"), &[("credential", credential)]),
        ] {
            invalid(stack.try_put(request).await, expected);
        }
        let elsewhere = PutCredentialRequest { realm: "nowhere".to_owned(), ..putting("a", "live", "openai", SECRET) };
        invalid(stack.try_put(elsewhere).await, &[("realm", "must be a realm of this server: `keygate`, `recovea`")]);
        let nobody = "there is no such account in this realm";
        refused(stack.try_put(putting("nobody", "live", "openai", SECRET)).await, Code::NotFound, nobody);
        stack.put("project-1", "live", "openai", SECRET).await;
        let set = stack.set_status("recovea", "project-1", AccountStatus::Offboarded).await;
        assert_eq!(set.removed_credentials, 1);
        let left = stack.vault().list_credentials(signed(Some(stack.operator()), listing("project-1"))).await;
        assert_eq!(left.unwrap().into_inner().credentials, []);
        let acts: Vec<_> = stack.chain("recovea", "project-1").await.iter().map(|event| event.act()).collect();
        assert!(acts.ends_with(&[AuditAct::AccountOffboarded, AuditAct::CredentialRemoved]), "{acts:?}");
        let over = "the account was offboarded, and that is for ever";
        refused(stack.try_put(putting("project-1", "live", "openai", SECRET)).await, Code::FailedPrecondition, over);

        let operator = Some(stack.operator());
        let list = async |account: &str| stack.vault().list_credentials(signed(operator, listing(account))).await;
        invalid(list("a b").await, &[("account_id", account)]);
        refused(list("nobody").await, Code::NotFound, nobody);
        let delete = async |request| stack.vault().delete_credential(signed(operator, request)).await;
        let name = "must be a lower-case letter, then up to 31 of `a-z 0-9 -`";
        invalid(delete(deleting("", "x", "")).await, &[("account_id", account), ("environment", environment), ("provider", name)]);
        refused(delete(deleting("nobody", "live", "openai")).await, Code::NotFound, nobody);
        let rewrap = async |request| stack.vault().rewrap_credentials(signed(operator, request)).await;
        let (size, token) = ("must be 1 to 1000, or 0 for 100", "must be the token of the page before");
        invalid(rewrap(rewrapping(1_001, "a b")).await, &[("page_size", size), ("page_token", token)]);
        invalid(rewrap(rewrapping(-1, "")).await, &[("page_size", size)]);

        let (_, key) = stack.new_key("recovea", "project-2", "live").await;
        let mut bare = by_key("recovea", &key);
        bare.release_credential = true;
        let takes = "takes `method` and `path`: they tell which provider the request goes to";
        invalid(stack.try_authenticate(bare).await, &[("release_credential", takes)]);
    }

    async fn each_act_needs_its_role(stack, files) {
        stack.new_account("recovea", "project-1", "").await;
        let mut keys = Vec::new();
        for role in ["reader", "revoker", "key-manager", "credential-manager", "credential-manager@recovea", "operator"] {
            let key = CreateKey { scopes: texts(&[role]), ..key_for("staff", "") };
            keys.push((role, stack.create("keygate", key).await.secret));
        }
        let (_, own) = stack.new_key("recovea", "project-1", "live").await;
        let keys = keys.iter().map(|(role, key)| (*role, Some(key.as_str())));
        for (role, key) in keys.chain([("none", None), ("own", Some(own.as_str()))]) {
            let expected = |may: bool| match role {
                "none" | "own" => Code::Unauthenticated,
                _ if may => Code::Ok,
                _ => Code::PermissionDenied,
            };
            let code = |answer: Result<(), Status>| answer.map_or_else(|status| status.code(), |()| Code::Ok);
            let manages = role.starts_with("credential-manager") || role == "operator";
            let put = stack.vault().put_credential(signed(key, putting("project-1", "live", "openai", SECRET))).await;
            assert_eq!(code(put.map(drop)), expected(manages), "{role} puts");
            let list = stack.vault().list_credentials(signed(key, listing("project-1"))).await;
            assert_eq!(code(list.map(drop)), expected(role != "revoker"), "{role} lists");
            let rewrap = stack.vault().rewrap_credentials(signed(key, rewrapping(0, ""))).await;
            assert_eq!(code(rewrap.map(drop)), expected(manages), "{role} rewraps");
            let delete = stack.vault().delete_credential(signed(key, deleting("project-1", "live", "openai"))).await;
            assert_eq!(code(delete.map(drop)), expected(manages), "{role} deletes");
        }
    }

    async fn a_listener_that_may_not_release_does_not(stack, files) {
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.put("project-1", "live", "openai", SECRET).await;
        files.settings(&[&in_file("k1", true)], &["listen_unix"]);
        stack.keygate.restart().await;
        let refusal = "no credential is released on this listener: `vault.release_on` in the server's settings does not name it";
        refused(stack.try_authenticate(releasing(&key)).await, Code::PermissionDenied, refusal);
        let plain = charged(by_key("recovea", &key), "POST", "/v1/chat/completions", 1);
        stack.authenticate(plain).await.allowed();
    }

    async fn keys_are_rotated_by_rewrapping_alone_and_a_lost_one_is_named(stack, files) {
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.put("project-1", "live", "openai", SECRET).await;
        stack.put("project-1", "test", "openai", OTHER).await;
        for number in 2..8 {
            stack.new_account("recovea", &format!("project-{number}"), "").await;
            stack.put(&format!("project-{number}"), "live", "openai", SECRET).await;
        }
        // Both keys: the old one opens what it wrapped.
        files.settings(&[&in_file("k1", false), &in_file("k2", true)], &["listen"]);
        stack.keygate.restart().await;
        assert_eq!(goes_on_with(&stack, &key).await, [format!("authorization: Bearer {SECRET}")]);

        // The new one alone: what hangs on the old one is not released, and the log says which is missing.
        files.settings(&[&in_file("k2", true)], &["listen"]);
        stack.keygate.restart().await;
        let status = stack.try_authenticate(releasing(&key)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        stack.wait_for_output("needs the key-encryption key `k1`").await;
        assert_eq!(stack.rewrap(3).await, (0, vec![("k1".to_owned(), 4), ("k1".to_owned(), 3), ("k1".to_owned(), 1)]));
        let operator = stack.operator().to_owned();
        let listed = stack.vault().list_credentials(signed(Some(&operator), listing("project-1"))).await.unwrap().into_inner();
        assert!(listed.credentials.iter().all(|one| one.key_encryption_key == "k1" && !one.can_open));

        files.settings(&[&in_file("k1", false), &in_file("k2", true)], &["listen"]);
        stack.keygate.restart().await;
        let before = listed.credentials;
        // Broken off after a page, and begun again.
        assert_eq!(stack.try_rewrap(2, "").await.unwrap().rewrapped, 3);
        assert_eq!(stack.rewrap(2).await, (5, vec![]));
        assert_eq!(stack.rewrap(1_000).await, (0, vec![]));
        let listed = stack.vault().list_credentials(signed(Some(&operator), listing("project-1"))).await.unwrap().into_inner();
        for (old, new) in before.iter().zip(&listed.credentials) {
            assert_eq!((new.key_encryption_key.as_str(), new.can_open), ("k2", true));
            assert_eq!((&old.updated_at, &old.updated_by), (&new.updated_at, &new.updated_by));
        }
        let acts: Vec<_> = stack.chain("recovea", "project-1").await.iter().map(|event| event.act()).collect();
        assert_eq!(acts.iter().filter(|act| **act == AuditAct::CredentialRewrapped).count(), 2);

        // The old one can go.
        files.settings(&[&in_file("k2", true)], &["listen"]);
        stack.keygate.restart().await;
        assert_eq!(goes_on_with(&stack, &key).await, [format!("authorization: Bearer {SECRET}")]);
        // Another key under the old one's name is none.
        files.settings(&["name = \"k2\"\nprimary = true\nfile = \"other\""], &["listen"]);
        stack.keygate.restart().await;
        assert_eq!(stack.try_authenticate(releasing(&key)).await.unwrap_err().code(), Code::Unavailable);
        stack.wait_for_output("the key-encryption key `k2` does not open").await;
        assert_eq!(stack.rewrap(1_000).await, (0, vec![]), "what hangs on the primary key stays");
    }

    async fn a_key_service_holds_the_key_and_when_it_fails_nothing_is_released(stack, files) {
        let service = KeyService::start();
        fs::write(files.path("token"), format!("{TOKEN}\n")).unwrap();
        files.settings(&[&in_file("k1", false), &service.kek("customer", true)], &["listen"]);
        stack.remember(TOKEN);
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.put("project-1", "live", "openai", SECRET).await;
        stack.keygate.restart().await;
        assert_eq!(stack.rewrap(10).await, (1, vec![]));
        assert_eq!(service.calls("/encrypt/"), 1);
        assert_eq!(goes_on_with(&stack, &key).await, [format!("authorization: Bearer {SECRET}")]);
        assert_eq!(service.calls("/decrypt/"), 1);

        for (mood, told) in [
            (Mood::Forbids, "it answered 403 Forbidden"),
            (Mood::Slow(Duration::from_secs(2)), "it did not answer within 500 ms"),
            (Mood::Garbage, "no answer of a transit engine"),
            (Mood::Endless, "its answer cannot be read"),
            (Mood::Hangs, "it does not answer in HTTP"),
            (Mood::OtherKey, "it answered 400 Bad Request"),
        ] {
            service.becomes(mood);
            forgotten().await;
            let status = stack.try_authenticate(releasing(&key)).await.unwrap_err();
            assert_eq!((status.code(), status.message()), (Code::Unavailable, "the key service did not answer: try again"));
            stack.wait_for_output(told).await;
            // A line of the log a second.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
        }
        service.becomes(Mood::Forbids);
        let put = stack.try_put(putting("project-1", "test", "openai", OTHER)).await;
        refused(put, Code::Unavailable, "the key service did not answer: try again");
        // The token is read anew at every call.
        service.becomes(Mood::Works);
        fs::write(files.path("token"), "another").unwrap();
        forgotten().await;
        assert_eq!(stack.try_authenticate(releasing(&key)).await.unwrap_err().code(), Code::Unavailable);
        fs::write(files.path("token"), TOKEN).unwrap();
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert_eq!(goes_on_with(&stack, &key).await, [format!("authorization: Bearer {SECRET}")]);
        stack.put("project-1", "test", "openai", OTHER).await;
    }

    async fn many_requests_at_once_ask_a_key_service_once(stack, files) {
        let service = KeyService::start();
        fs::write(files.path("token"), TOKEN).unwrap();
        files.settings(&[&service.kek("customer", true)], &["listen"]);
        let (_, key) = stack.new_key("recovea", "project-1", "live").await;
        stack.keygate.restart().await;
        stack.put("project-1", "live", "openai", SECRET).await;
        service.becomes(Mood::Slow(Duration::from_millis(80)));
        let calls: Vec<_> = (0..32).map(|_| {
            let (mut client, request) = (stack.client(), releasing(&key));
            tokio::spawn(async move { client.authenticate(request).await.unwrap().into_inner().allowed() })
        }).collect();
        for call in calls {
            assert_eq!(upstream(&call.await.unwrap()), [format!("authorization: Bearer {SECRET}")]);
        }
        // They may come in more than one wave, where the machine is slow.
        assert!(service.calls("/decrypt/") < 8, "{}", service.calls("/decrypt/"));
    }
}

/// A hostile writer to Redis swaps sealed records, of two tenants and of two environments.
#[tokio::test]
async fn swapped_records_release_nothing() {
    use support::vault::{VaultFiles, in_file};
    let files = VaultFiles::new(&[&in_file("k1", true)]);
    let arguments = files.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let stack = Stack::redis(&arguments).await;
    let (_, one) = stack.new_key("recovea", "project-1", "live").await;
    let (_, one_test) = stack.new_key("recovea", "project-1", "test").await;
    let (_, two) = stack.new_key("recovea", "project-2", "live").await;
    stack.put("project-1", "live", "openai", SECRET).await;
    stack.put("project-1", "test", "openai", "sk-test-of-project-1-0123456789").await;
    stack.put("project-2", "live", "openai", OTHER).await;
    let swap = "local function at(k, f) return redis.call('HGET', k, f) end
        local a, b = at(KEYS[1], ARGV[1]), at(KEYS[2], ARGV[2])
        if not a or not b then return 'nothing there' end
        redis.call('HSET', KEYS[1], ARGV[1], b) redis.call('HSET', KEYS[2], ARGV[2], a)
        return 'swapped'";
    let (first, second) = ("kg1:{recovea/project-1}:e", "kg1:{recovea/project-2}:e");
    let (live, test) = ("\u{6}live/openai", "\u{6}test/openai");
    let redis = stack.redis.as_ref().unwrap();
    for (key_one, field_one, key_two, field_two, victims) in
        [(first, live, second, live, [&one, &two]), (first, live, first, test, [&one, &one_test])]
    {
        let swapping = ["EVAL", swap, "2", key_one, key_two, field_one, field_two];
        assert_eq!(redis.cli(&swapping), "swapped");
        forgotten().await;
        for key in victims {
            let status = stack.try_authenticate(releasing(key)).await.unwrap_err();
            assert_eq!(status.code(), Code::DataLoss, "{status:?}");
        }
        assert_eq!(redis.cli(&swapping), "swapped");
        for (key, secret) in [(&one, SECRET), (&two, OTHER), (&one_test, "sk-test-of-project-1-0123456789")] {
            assert_eq!(goes_on_with(&stack, key).await, [format!("authorization: Bearer {secret}")]);
        }
    }
    // A copy of one's own older credential in another's place is no better.
    let copied = "redis.call('HSET', KEYS[2], ARGV[1], redis.call('HGET', KEYS[1], ARGV[1])) return 'copied'";
    assert_eq!(redis.cli(&["EVAL", copied, "2", first, second, live]), "copied");
    forgotten().await;
    assert_eq!(stack.try_authenticate(releasing(&two)).await.unwrap_err().code(), Code::DataLoss);
}

/// What one server is told, another knows at once, whatever it remembers.
#[tokio::test]
async fn a_credential_that_was_replaced_on_one_server_is_replaced_on_every_other() {
    use support::vault::{VaultFiles, in_file};
    let files = VaultFiles::new(&[&in_file("k1", true)]);
    let arguments = files.arguments();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let first = Stack::redis(&arguments).await;
    let second = first.second(&arguments).await;
    let (_, key) = first.new_key("recovea", "project-1", "live").await;
    for number in 0..20 {
        let credential = format!("sk-number-{number}-0123456789");
        first.put("project-1", "live", "openai", &credential).await;
        assert_eq!(goes_on_with(&second, &key).await, [format!("authorization: Bearer {credential}")]);
    }
}
