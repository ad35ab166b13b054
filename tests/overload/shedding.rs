//! What is refused first when there is too much, and what goes on. A Redis that stands still keeps calls in work.

use crate::{
    support::{
        calls::{Answered, by_key, charged, key_for, signed},
        keygate::Keygate,
        operations::OPERATIONS,
        redis::RedisServer,
    },
    world,
};
use keygate::proto::v1::{
    AccountStatus, ImportKeys, ImportRow, KeyState, ListKeys, ManageKeysRequest, RevokeAccountKeys, RevokeKey,
    SetAccountStatusRequest, UpdateKey, directory_client::DirectoryClient, import_row::Secret,
    manage_keys_request::Operation,
};
use std::time::Duration;
use tokio::{task::JoinSet, time::sleep};
use tonic::{Code, Status};
use tonic_types::StatusExt;

type Calls = JoinSet<Result<(), Status>>;

async fn manage(keygate: &Keygate, calls: &mut Calls, operation: Operation) {
    let request = ManageKeysRequest { realm: "recurr".to_owned(), operation: Some(operation) };
    let (request, mut client) = (signed(Some(keygate.operator()), request), keygate.client());
    calls.spawn(async move { client.manage_keys(request).await.map(drop) });
}

/// How many were refused because there were too many of this kind; each says so, and when to try again.
async fn shed(calls: Calls, kind: &str) -> usize {
    let mut shed = 0;
    for done in calls.join_all().await {
        let Err(status) = done else { continue };
        if status.code() == Code::ResourceExhausted {
            let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
            assert!(wait.is_some_and(|wait| !wait.is_zero()), "{status:?}");
            let info = status.get_details_error_info().expect("a program can read why");
            assert_eq!((info.domain.as_str(), info.reason.as_str()), ("keygate", "TOO_MANY_CALLS"), "{status:?}");
            assert_eq!(info.metadata["kind"], kind, "{status:?}");
            shed += 1;
        }
    }
    shed
}

#[tokio::test]
async fn what_matters_more_goes_on_while_what_matters_less_is_refused() {
    let redis = RedisServer::start();
    let settings = format!(
        "[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{}\"\ndeadline = \"1s\"\n[limits]\ncalls = 2\nacts = 3",
        redis.url()
    );
    let keygate = world::server_with(&settings, &OPERATIONS).await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let (second, _) = keygate.new_key("recurr", "acme", "live").await;
    keygate.new_key("recurr", "other", "live").await;
    keygate.new_key("recurr", "third", "live").await;
    let (mut listings, mut creations, mut decisions, mut endings) =
        (Calls::new(), Calls::new(), Calls::new(), Calls::new());
    let mut imports = Calls::new();

    redis.pause();
    for _ in 0..6 {
        manage(&keygate, &mut listings, Operation::List(ListKeys::default())).await;
    }
    sleep(Duration::from_millis(50)).await;
    for _ in 0..6 {
        manage(&keygate, &mut creations, Operation::Create(key_for("acme", "live"))).await;
        let (request, mut client) = (charged(by_key("recurr", &key), "GET", "/", 1), keygate.client());
        decisions.spawn(async move { client.authenticate(request).await.map(drop) });
    }
    sleep(Duration::from_millis(150)).await;
    // Too large to be urgent: refused by its size, before it is read to its end.
    let rows = (0..900).map(|at| ImportRow {
        secret: Some(Secret::RawKey(format!("no key at all, and number {at}"))),
        account_id: "acme".to_owned(),
        environment: "live".to_owned(),
        name: "imported".to_owned(),
        ..Default::default()
    });
    let import = ImportKeys { rows: rows.collect(), ..Default::default() };
    manage(&keygate, &mut imports, Operation::Import(import)).await;
    // All places are taken. Whatever ends something gets in all the same, and so does whoever asks for health.
    let reason = "a test".to_owned();
    let revoke = RevokeKey { key_id: id.clone(), reason: reason.clone(), ..Default::default() };
    manage(&keygate, &mut endings, Operation::Revoke(revoke)).await;
    let all = RevokeAccountKeys { account_id: "other".to_owned(), reason: reason.clone(), ..Default::default() };
    manage(&keygate, &mut endings, Operation::RevokeAccount(all)).await;
    let suspend = UpdateKey { key_id: second, state: KeyState::Suspended.into(), ..Default::default() };
    manage(&keygate, &mut endings, Operation::Update(suspend)).await;
    let mut directory = DirectoryClient::new(keygate.channel());
    let suspend = SetAccountStatusRequest {
        realm: "recurr".to_owned(),
        account_id: "third".to_owned(),
        status: AccountStatus::Suspended.into(),
        reason,
        ..Default::default()
    };
    let suspend = signed(Some(keygate.operator()), suspend);
    endings.spawn(async move { directory.set_account_status(suspend).await.map(drop) });
    keygate.health().await;
    sleep(Duration::from_millis(150)).await;
    redis.resume();

    assert_eq!(shed(listings, "bulk").await, 5);
    assert_eq!(shed(creations, "act").await, 4);
    assert_eq!(shed(decisions, "decision").await, 4);
    assert_eq!(shed(imports, "act").await, 1);
    // Whether Redis was silent for too long is another matter: they were let in.
    let ended = endings.join_all().await;
    let refused =
        |done: &Result<(), Status>| done.as_ref().is_err_and(|status| status.code() == Code::ResourceExhausted);
    assert!(!ended.iter().any(refused) && ended.iter().any(Result::is_ok), "{ended:?}");
    let page = keygate.metrics().await;
    let shed = |kind| page.sum("keygate_calls_shed_total", &[("kind", kind)]);
    assert_eq!((shed("bulk"), shed("act"), shed("decision")), (5.0, 5.0, 4.0), "{}", page.text);
    assert_eq!(page.sum("keygate_calls_in_work", &[("kind", "act")]), 0.0);
    keygate.list("recurr", ListKeys::default()).await;
    keygate.health().await;
}

#[tokio::test]
async fn decisions_go_on_while_listings_are_refused_and_so_does_revoking() {
    let keygate = world::server_with("[limits]\nacts = 1", &OPERATIONS).await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let mut listings = JoinSet::new();
    for _ in 0..16 {
        let (request, mut client) = (Operation::List(ListKeys::default()), keygate.client());
        let request = ManageKeysRequest { realm: "recurr".to_owned(), operation: Some(request) };
        let operator = keygate.operator().to_owned();
        listings.spawn(async move {
            let mut refused = 0;
            for _ in 0..60 {
                let listed = client.manage_keys(signed(Some(&operator), request.clone())).await;
                refused += usize::from(listed.is_err_and(|status| status.code() == Code::ResourceExhausted));
            }
            refused
        });
    }
    for _ in 0..50 {
        keygate.authenticate(by_key("recurr", &key)).await.allowed();
    }
    let revoke = RevokeKey { key_id: id, reason: "a test".to_owned(), ..Default::default() };
    keygate.manage("recurr", Operation::Revoke(revoke)).await;
    keygate.authenticate(by_key("recurr", &key)).await.denied();
    let refused: usize = listings.join_all().await.into_iter().sum();
    assert!(refused > 0, "nobody was refused");
    keygate.list("recurr", ListKeys::default()).await;
}
