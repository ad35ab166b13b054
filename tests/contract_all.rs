//! What holds for all realms together.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    CreateKey, Denied, DenyReason, KeyState, ListKeys, UpdateKey, authenticate_response::Outcome,
    manage_keys_request::Operation,
};
use std::{fs, time::Duration};
use support::{
    calls::{Answered, by_headers, by_key, charged, key_for, seconds, well_formed},
    keygate::{BINARY, Keygate},
    stack::Stack,
};

/// Realm, environment, prefix, header, what stands before the key in it.
const REALMS: [(&str, &str, &str, &str, &str); 5] = [
    ("recover", "live", "pk_live_", "X-Partner-Key", ""),
    ("recoup", "live", "recoup_sk_", "x-api-key", ""),
    ("recotap", "live", "rtap_", "X-Api-Key", ""),
    ("recurr", "test", "rk_test_", "Authorization", "Bearer "),
    ("recovea", "live", "rcv_live_", "Authorization", "Bearer "),
];

on_both_stores! {
    async fn a1_a_key_of_one_realm_is_unknown_to_every_other(stack) {
        let mut keys = Vec::new();
        for (realm, environment, prefix, ..) in REALMS {
            let (_, key) = stack.new_key(realm, "the-same-account", environment).await;
            assert!(key.starts_with(prefix), "{key}");
            keys.push((realm, key));
        }
        for (realm, _, _, header, before) in REALMS {
            for (owner, key) in &keys {
                let value = format!("{before}{key}");
                let answer = stack.authenticate(by_headers(realm, &[(header, &value)])).await;
                if *owner == realm {
                    answer.allowed();
                } else {
                    assert_eq!(answer.denied_for(DenyReason::MalformedKey).http_status, 401);
                }
            }
        }
        // An account of the same name is another one in each realm, with its own keys, and so is a key's id.
        for (realm, ..) in REALMS {
            let of_account = ListKeys { account_id: "the-same-account".to_owned(), ..Default::default() };
            let page = stack.list(realm, of_account).await;
            assert_eq!(page.keys.len(), 1, "{realm}");
            let other = if realm == "recover" { "recurr" } else { "recover" };
            let get = keygate::proto::v1::GetKey { key_id: page.keys[0].id.clone() };
            let status = stack.try_manage(other, Operation::Get(get)).await.unwrap_err();
            assert_eq!(status.code(), tonic::Code::NotFound, "{status:?}");
        }
    }

    async fn a3_unknown_wrong_revoked_and_expired_keys_cannot_be_told_apart(stack) {
        for (realm, environment, prefix, header, before) in REALMS {
            let of = |name: &str| key_for(&format!("{realm}-{name}"), environment);
            let (revoked_id, revoked) = stack.new_key(realm, "revoked", environment).await;
            stack.revoke(realm, &revoked_id).await;
            let brief = CreateKey { expires_in: Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 }), ..of("expired") };
            let expired = stack.create(realm, brief).await.secret;
            let (suspended_id, suspended) = stack.new_key(realm, "suspended", environment).await;
            let suspend = UpdateKey { key_id: suspended_id, state: KeyState::Suspended.into(), ..Default::default() };
            stack.update(realm, suspend).await;
            let (rotated_id, rotated) = stack.new_key(realm, "rotated", environment).await;
            stack.rotate(realm, &rotated_id, Some(seconds(0))).await;
            let unknown = well_formed(prefix, "Unknown0Unknown0Unknown012");
            let wrong = format!("{}x", &unknown[..unknown.len() - 1]);
            tokio::time::sleep(Duration::from_millis(350)).await;

            let mut told: Vec<Denied> = Vec::new();
            for (key, reason) in [
                (&unknown, DenyReason::UnknownKey),
                (&wrong, DenyReason::MalformedKey),
                (&revoked, DenyReason::RevokedKey),
                (&expired, DenyReason::ExpiredKey),
                (&suspended, DenyReason::SuspendedKey),
                (&rotated, DenyReason::RetiredSecret),
            ] {
                let value = format!("{before}{key}");
                // Charged or not, the answer must not tell: a limit's headers would say that the account is known.
                for cost in [0, 1] {
                    let request = charged(by_headers(realm, &[(header, &value)]), "GET", "/v1/accounts/x", cost);
                    told.push(stack.authenticate(request).await.denied_for(reason));
                }
                told.push(stack.authenticate(by_headers(realm, &[(header, &value)])).await.denied_for(reason));
            }
            let bytes = |denied: &Denied| (denied.http_status, denied.headers.clone(), denied.body.clone());
            for denied in &told {
                assert_eq!(bytes(denied), bytes(&told[0]), "{realm}: {:?}", denied.reason());
                assert_eq!(denied.http_status, 401);
                assert_eq!(denied.retry_after, None);
            }
        }
    }

    async fn a4_no_secret_is_printed_or_told(stack) {
        // Every secret below is remembered by the harness, which looks for it in each error and, at the end, in everything
        // that the server printed at its most talkative.
        use_it_all(&stack).await;
        for file in fs::read_dir(stack.data_dir()).unwrap() {
            let Ok(text) = fs::read_to_string(file.unwrap().path()) else { continue };
            text.split_whitespace().filter(|word| word.len() >= 32).for_each(|word| stack.remember(word));
        }
        stack.keygate.terminate().await;
        stack.assert_no_secret("what keygate printed", &stack.output());
    }
}

/// Makes, uses and loses keys in every way in which a secret could slip out.
async fn use_it_all(keygate: &Keygate) {
    for (realm, environment, _, header, before) in REALMS {
        let (id, key) = keygate.new_key(realm, "acme", environment).await;
        keygate.rotate(realm, &id, None).await;
        let value = format!("{before}{key}");
        let explained = keygate::proto::v1::AuthenticateRequest {
            explain: true,
            ..charged(by_headers(realm, &[(header, &value), (header, &value)]), "GET", "/x", 1)
        };
        let answer = keygate.authenticate(explained).await;
        keygate.assert_no_secret("an answer", &format!("{answer:?}"));

        // A secret in a place where none belongs: it is refused and told to nobody.
        for place in ["realm", "account", "environment", "path", "key id", "name", "token", "limit"] {
            if let Err(status) = misplaced(keygate, realm, place, &key).await {
                keygate.assert_no_secret("an error", &format!("{status:?}"));
            }
        }
        // Nor one that is nearly a key.
        let near = key.replace(|c: char| c.is_ascii_digit(), "_");
        keygate.remember(&near);
        keygate.authenticate(by_key(realm, &near)).await.denied();
        keygate.revoke(realm, &id).await;
    }
    // A management key that is none.
    let stranger = well_formed("kgop_", "Unknown0Unknown0Unknown012");
    keygate.remember(&stranger);
    for key in [stranger.as_str(), "hunter2hunter2hunter2"] {
        keygate.remember(key);
        let operation = Operation::List(Default::default());
        keygate.try_manage_as(Some(key), "recurr", operation).await.unwrap_err();
    }
}

async fn misplaced(keygate: &Keygate, realm: &str, place: &str, key: &str) -> Result<(), tonic::Status> {
    use keygate::proto::v1::{
        CheckRateLimitRequest, GetKey, LimitNames, ListKeys, check_rate_limit_request::Selection,
    };
    let key = key.to_owned();
    let request = by_key(realm, "");
    match place {
        "realm" => {
            keygate.try_authenticate(by_key(&key, &key)).await.unwrap_err();
            keygate.try_manage_as(None, &key, Operation::List(ListKeys::default())).await.unwrap_err();
            keygate.try_manage(&key, Operation::List(ListKeys::default())).await.map(drop)
        }
        "account" => {
            let wrong = keygate::proto::v1::AuthenticateRequest { account_id: format!("{key}/"), ..request };
            keygate.try_authenticate(wrong).await.map(drop)
        }
        "environment" => {
            let wrong = keygate::proto::v1::AuthenticateRequest { environment: key, ..request };
            keygate.try_authenticate(wrong).await.map(drop)
        }
        "path" => keygate.try_authenticate(charged(request, "GET", &format!("//{key}"), 1)).await.map(drop),
        "key id" => keygate.try_manage(realm, Operation::Get(GetKey { key_id: key })).await.map(drop),
        "name" => {
            let wrong = CreateKey { name: format!("{key}\n"), ..key_for("acme", "") };
            keygate.try_manage(realm, Operation::Create(wrong)).await.map(drop)
        }
        "token" => {
            let list = ListKeys { page_token: key, ..Default::default() };
            keygate.try_manage(realm, Operation::List(list)).await.map(drop)
        }
        _ => {
            let wrong = CheckRateLimitRequest {
                realm: realm.to_owned(),
                selection: Some(Selection::Limits(LimitNames { names: vec![key] })),
                ..Default::default()
            };
            keygate.try_check(wrong).await.map(drop)
        }
    }
}

#[tokio::test]
async fn a4_no_secret_is_printed_at_the_most_talkative_level() {
    for format in ["text", "json"] {
        let mut stack = Stack::embedded(&["--log-level", "trace", "--log-format", format]).await;
        use_it_all(&stack).await;
        stack.keygate.terminate().await;
        stack.assert_no_secret("what keygate printed", &stack.output());
        assert!(stack.output().len() > 1_000, "nothing was printed at all");
        // The true reason stands in the log, for whoever runs the server.
        assert!(stack.output().contains("ambiguous_credential"), "{}", stack.output());
    }
}

#[tokio::test]
async fn a4_the_command_line_prints_a_secret_once_where_it_is_made_and_nowhere_else() {
    let keygate = Keygate::start(&[]).await;
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(BINARY);
        command.args(arguments).env("KEYGATE_ENDPOINT", keygate.endpoint()).env("KEYGATE_KEY", keygate.operator());
        let output = command.stdin(std::process::Stdio::null()).output().unwrap();
        (output.status, String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let ann = ["--realm", "recurr", "--account", "acme", "--member", "ann"];
    assert!(run(&[&["members", "add"], &ann[..], &["--role", "developer"]].concat()).0.success());
    let create = [&["keys", "create"], &ann[..], &["--environment", "live", "--name", "ci"]].concat();
    let (status, out, err) = run(&[&create[..], &["--scope", "read-only", "--output", "json"]].concat());
    assert!(status.success(), "{err}");
    let made: serde_json::Value = serde_json::from_str(&out).unwrap();
    let (secret, id) = (made["secret"].as_str().unwrap(), made["key"]["id"].as_str().unwrap());
    assert_eq!(out.matches(secret).count(), 1);
    keygate.remember(secret);
    keygate.assert_no_secret("standard error", &err);
    for output in ["table", "json"] {
        for arguments in [
            vec!["keys", "get", "--realm", "recurr", id, "--output", output],
            vec!["keys", "list", "--realm", "recurr", "--output", output],
            vec!["keys", "get", "--realm", "recurr", secret, "--output", output],
            vec!["keys", "get", "--realm", secret, id, "--output", output],
        ] {
            let (_, out, err) = run(&arguments);
            keygate.assert_no_secret("the command line", &out);
            keygate.assert_no_secret("the command line", &err);
        }
    }
}

/// The same random calls on both stores get the same answers, but for ids, secrets and times.
#[tokio::test]
async fn a5_both_stores_give_the_same_answers() {
    for seed in [1, 20_261_121] {
        let (embedded, redis) = (Stack::embedded(&[]).await, Stack::redis(&[]).await);
        let (left, right) = tokio::join!(play(&embedded, seed), play(&redis, seed));
        assert_eq!(left.len(), right.len());
        for (step, (left, right)) in left.iter().zip(&right).enumerate() {
            assert_eq!(left, right, "seed {seed}, step {step}");
        }
    }
}

/// Plays 120 random calls and writes down what came back.
async fn play(keygate: &Keygate, seed: u64) -> Vec<String> {
    let mut random = Random(seed);
    let mut keys: Vec<(&str, String, String)> = Vec::new();
    let mut told = Vec::new();
    for _ in 0..120 {
        let (realm, environment, prefix, header, before) = REALMS[random.below(5)];
        let account = ["a", "b", "c"][random.below(3)];
        let known: Vec<_> = keys.iter().filter(|(of, ..)| *of == realm).cloned().collect();
        let chosen = (!known.is_empty()).then(|| known[random.below(known.len())].clone());
        let unknown =
            (realm, "key_00000000000000000000000000".to_owned(), well_formed(prefix, "Unknown0Unknown0Unknown012"));
        let (_, id, secret) = chosen.unwrap_or(unknown);
        let line = match random.below(10) {
            0 | 1 => {
                let made = keygate.create(realm, key_for(account, environment)).await;
                let key = made.key.unwrap();
                keys.push((realm, key.id, made.secret));
                format!("create {account}: {} replaced, version {}", made.replaced_key_ids.len(), key.version)
            }
            2 => {
                let rotate = keygate::proto::v1::RotateKey {
                    key_id: id.clone(),
                    grace: [None, Some(seconds(0)), Some(seconds(3_600)), Some(seconds(99_999_999))][random.below(4)],
                    ..Default::default()
                };
                match keygate.try_manage(realm, Operation::Rotate(rotate)).await {
                    Ok(keygate::proto::v1::manage_keys_response::Result::Rotated(made)) => {
                        keys.push((realm, id, made.secret));
                        let key = made.key.unwrap();
                        format!("rotated: version {}, {} secrets", key.version, key.secrets.len())
                    }
                    other => said(other),
                }
            }
            3 => {
                let revoke = keygate::proto::v1::RevokeKey {
                    key_id: id,
                    expected_version: random.below(3) as u64,
                    ..Default::default()
                };
                said(keygate.try_manage(realm, Operation::Revoke(revoke)).await)
            }
            4 => {
                let state = [KeyState::Active, KeyState::Suspended, KeyState::Revoked][random.below(3)];
                let update =
                    UpdateKey { key_id: id, state: state.into(), name: Some("new".to_owned()), ..Default::default() };
                said(keygate.try_manage(realm, Operation::Update(update)).await)
            }
            5 => {
                let page_size = [0, 1, 3, -1][random.below(4)];
                let list = keygate::proto::v1::ListKeys {
                    account_id: ["", account][random.below(2)].to_owned(),
                    state: random.below(5) as i32,
                    page_size,
                    ..Default::default()
                };
                said(keygate.try_manage(realm, Operation::List(list)).await)
            }
            _ => {
                let value = format!("{before}{secret}");
                let (method, path) =
                    [("GET", "/v1/accounts/a"), ("POST", "/v1/accounts/a/leads/bulk"), ("", "")][random.below(3)];
                let cost = [0, 1, 20, 400][random.below(4)];
                let request = charged(by_headers(realm, &[(header, &value)]), method, path, cost);
                match keygate.try_authenticate(request).await {
                    Ok(answer) => {
                        let limits: Vec<_> = answer.limits.iter().map(|l| (&l.name, l.remaining, l.exceeded)).collect();
                        match &answer.outcome {
                            Some(Outcome::Denied(denied)) => {
                                format!("{:?} {} {} {limits:?}", denied.reason(), denied.http_status, denied.body)
                            }
                            Some(Outcome::Allowed(allowed)) => {
                                format!(
                                    "allowed {} {} {:?} {limits:?}",
                                    allowed.account_id, allowed.operation, allowed.scopes
                                )
                            }
                            None => "nothing".to_owned(),
                        }
                    }
                    Err(status) => failed(&status),
                }
            }
        };
        told.push(line);
    }
    told
}

fn said(done: Result<keygate::proto::v1::manage_keys_response::Result, tonic::Status>) -> String {
    use keygate::proto::v1::manage_keys_response::Result as Done;
    let key =
        |key: &keygate::proto::v1::Key| format!("{} {:?} {} {}", key.account_id, key.state(), key.version, key.name);
    match done {
        Ok(Done::Key(one)) => key(&one),
        Ok(Done::Page(page)) => {
            let keys: Vec<_> = page.keys.iter().map(key).collect();
            format!("{keys:?} more: {}", !page.next_page_token.is_empty())
        }
        Ok(Done::Revoked(revoked)) => format!("revoked {:?}", revoked.keys.iter().map(key).collect::<Vec<_>>()),
        Ok(other) => panic!("not played: {other:?}"),
        Err(status) => failed(&status),
    }
}

/// An error without the ids in it.
fn failed(status: &tonic::Status) -> String {
    let words = status.message().split(' ').map(|word| if word.contains("key_") { "KEY" } else { word });
    format!("{:?} {} {:?}", status.code(), words.collect::<Vec<_>>().join(" "), support::calls::violations(status))
}

/// Numbers that are the same for the same seed: Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % end as u64).expect("small")
    }
}
