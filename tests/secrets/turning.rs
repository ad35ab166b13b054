//! A server that turns to a new version at its time, and lets go of an old one at its date.

use crate::{
    run::{done, status, until, version, watchful},
    support::{
        calls::{Answered, by_bearer, by_key, charged, now, signed},
        operations::OPERATIONS,
        stack::Stack,
    },
};
use keygate::proto::v1::{
    DenyReason, EmbedKeySetRequest, MintEmbedTokenRequest, PublicKeysRequest, embed_tokens_client::EmbedTokensClient,
};
use std::time::Duration;
use tonic_health::pb::health_check_response::ServingStatus;

const TURNED: &str = "this version of the server secret is used from now on";
const RETIRED: &str = "this version of the server secret is retired";
const WARNED: &str = "a version of the server secret retires soon";

async fn a_version_is_used_at_its_time_and_retires_at_its_date(stack: Stack) {
    let file = stack.data_dir().join("secrets");
    let (_, used) = stack.new_key("recurr", "acme", "live").await;
    let (idle_id, idle) = stack.new_key("recurr", "acme", "live").await;
    stack.authenticate(by_key("recurr", &idle)).await.allowed();

    done(&file, &["rotate", "--use-from", "3s"]);
    until("it is known", || {
        version(&status(&stack, &[]), 1)["state"] == "current" && stack.output().contains("and used later")
    })
    .await;
    let told = status(&stack, &[]);
    assert_eq!((&version(&told, 2)["state"], &version(&told, 2)["keys"]), (&"pending".into(), &0.into()));
    assert_eq!(version(&told, 2)["fingerprint"], version(&done(&file, &["show"]), 2)["fingerprint"]);
    let (early, _) = stack.new_key("recurr", "acme", "live").await;
    until("it is used", || stack.output().contains(TURNED)).await;
    assert_eq!(stack.output().matches("the configuration was reloaded").count(), 1, "turning reads no files");

    // What is used moves; what is not stays, and is named.
    stack.authenticate(by_key("recurr", &used)).await.allowed();
    until("it moved", || version(&status(&stack, &["--realm", "recurr"]), 2)["keys"] == 1).await;
    let told = status(&stack, &["--realm", "recurr"]);
    assert_eq!((&told["keys"], &told["on_current"], &told["percent"]), (&3.into(), &1.into(), &33.into()));
    assert_eq!(version(&told, 1)["keys"], 2);
    until("uses are written", || version(&status(&stack, &["--realm", "recurr"]), 1)["used_lately"] == 1).await;
    assert_eq!(version(&status(&stack, &["--realm", "recurr", "--used-within", "0s"]), 1)["used_lately"], 0);
    let left = status(&stack, &["--version", "1", "--realm", "recurr"]);
    let mut ids: Vec<&str> = left["keys"].as_array().unwrap().iter().map(|key| key["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    let mut expected = [&*idle_id, &*early];
    expected.sort_unstable();
    assert_eq!(ids, expected);

    // A warning before, and the metric that an alert looks at.
    let at = now() + 4;
    let date = jiff::Timestamp::from_second(at).unwrap().to_string();
    done(&file, &["retire", "1", "--at", &date]);
    stack.wait_for_output(WARNED).await;
    let page = stack.metrics().await;
    // The operator key is none of them: it moved like any other.
    assert_eq!(page.sum("keygate_server_secret_keys", &[("version", "1")]), 2.0);
    assert_eq!(page.sum("keygate_server_secret_retires_timestamp_seconds", &[("version", "1")]), at as f64);
    assert_eq!(page.sum("keygate_server_secret_phase", &[("version", "2"), ("phase", "current")]), 1.0);
    stack.authenticate(by_key("recurr", &used)).await.allowed();
    until("it retires", || stack.output().contains(RETIRED)).await;
    assert!(now() >= at);

    stack.authenticate(by_key("recurr", &idle)).await.denied_for(DenyReason::UnknownKey);
    stack.authenticate(by_key("recurr", &used)).await.allowed();
    // What is history stays: the key's record, and every event of the chain, most of them sealed with version 1.
    assert_eq!(stack.get("recurr", &idle_id).await.id, idle_id);
    let chain = stack.chain("recurr", "acme").await;
    assert_eq!(chain.len(), 6, "account, member, three keys, and one that moved: {chain:?}");
    let keys = stack.audit().public_keys(PublicKeysRequest {}).await.unwrap().into_inner().keys;
    assert_eq!(keys.iter().map(|key| key.secret_version).collect::<Vec<_>>(), [2, 1], "what it signed can be verified");
    // A mistake in the date is taken back.
    done(&file, &["retire", "1", "--at", "never"]);
    until("it is taken back", || version(&status(&stack, &[]), 1)["state"] == "older").await;
    stack.authenticate(by_key("recurr", &idle)).await.allowed();
}

#[tokio::test]
async fn a_version_is_used_at_its_time_and_retires_at_its_date_embedded() {
    let settings = watchful();
    let path = settings.path();
    let arguments = [&["--config", &path][..], &OPERATIONS].concat();
    a_version_is_used_at_its_time_and_retires_at_its_date(Stack::embedded(&arguments).await).await;
}

#[tokio::test]
async fn a_version_is_used_at_its_time_and_retires_at_its_date_redis() {
    let settings = watchful();
    let path = settings.path();
    let arguments = [&["--config", &path][..], &OPERATIONS].concat();
    a_version_is_used_at_its_time_and_retires_at_its_date(Stack::redis(&arguments).await).await;
}

#[tokio::test]
async fn embed_tokens_of_a_retired_version_hold_no_more() {
    let settings = watchful();
    let stack = Stack::embedded(&["--config", &settings.path()]).await;
    let file = stack.data_dir().join("secrets");
    let (id, key) = stack.new_key("recover", "partner-1", "live").await;
    stack.new_account("recover", "client-a", "partner-1").await;
    let mut client = EmbedTokensClient::new(stack.channel());
    let wanted = MintEmbedTokenRequest {
        realm: "recover".to_owned(),
        key_id: id,
        account_id: "client-a".to_owned(),
        ..Default::default()
    };
    let token = client.mint(signed(Some(stack.operator()), wanted)).await.unwrap().into_inner().token;
    stack.remember(&token);
    let use_token = || charged(by_bearer("recover", &token), "GET", "/v1/accounts/client-a", 1);
    stack.authenticate(use_token()).await.allowed();
    done(&file, &["rotate", "--use-from", "now", "--retire-after", "4s"]);
    stack.wait_for_output(TURNED).await;
    stack.authenticate(use_token()).await.allowed();
    stack.authenticate(charged(by_bearer("recover", &key), "GET", "/v1/accounts/client-a", 1)).await.allowed();
    stack.wait_for_output(RETIRED).await;
    stack.authenticate(use_token()).await.denied();
    stack.authenticate(charged(by_bearer("recover", &key), "GET", "/v1/accounts/client-a", 1)).await.allowed();
    let keys = client.key_set(EmbedKeySetRequest { realm: "recover".to_owned() }).await.unwrap().into_inner();
    assert_eq!(keys.jwk_set.matches("\"kid\"").count(), 1, "{}", keys.jwk_set);
}

#[tokio::test]
async fn a_mistake_in_another_file_keeps_no_version_waiting() {
    let settings = watchful();
    let stack = Stack::embedded(&["--config", &settings.path()]).await;
    done(&stack.data_dir().join("secrets"), &["rotate", "--use-from", "4s"]);
    stack.wait_for_output("and used later").await;
    settings.rewrite("[reload]\ncheck_every = \"100ms\"\nodd = 1\n");
    stack.wait_for_output("the configuration was not reloaded").await;
    assert!(!stack.output().contains(TURNED));
    stack.wait_for_output(TURNED).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();
    assert_eq!(version(&status(&stack, &["--realm", "recurr"]), 2)["keys"], 1);
}

#[tokio::test]
async fn a_store_that_is_away_at_the_time_is_turned_with_when_it_is_back() {
    let settings = watchful();
    let mut stack = Stack::redis(&["--config", &settings.path()]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    done(&stack.data_dir().join("secrets"), &["rotate", "--use-from", "3s"]);
    stack.wait_for_output("and used later").await;
    stack.redis.as_mut().unwrap().kill();
    stack.wait_for_output("another version of the server secret is due and cannot be used yet").await;
    assert!(!stack.output().contains(TURNED));
    stack.redis.as_mut().unwrap().restart();
    stack.wait_for_output(TURNED).await;
    stack.wait_for_health(ServingStatus::Serving, Duration::from_secs(20)).await;
    stack.authenticate(by_key("recurr", &key)).await.allowed();
    assert_eq!(stack.output().matches("cannot be used yet").count(), 1, "it is said once");
}
