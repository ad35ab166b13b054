//! V9 of Recovea's contract where Redis is not to be trusted: what was removed, changed or moved there is neither read nor
//! signed.

use crate::support::stack::Stack;
use keygate::proto::v1::ListEventsRequest;
use tonic::Code;

fn list(account: &str) -> ListEventsRequest {
    ListEventsRequest { realm: "recurr".to_owned(), account_id: account.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn v9_events_that_were_removed_from_redis_are_not_signed() {
    let stack = Stack::redis(&[]).await;
    let redis = stack.redis.as_ref().unwrap();
    let (id, _) = stack.new_key("recurr", "acme", "live").await;
    let (name, operator) = ("kg1:{recurr/acme}:l", Some(stack.operator()));
    stack.try_checkpoints(operator, "recurr", "").await.unwrap();
    let mut followed = stack.follow(operator, "recurr", "acme", None).await.unwrap();

    redis.cli(&["RPOP", name]);
    for account in ["", "acme"] {
        let status = stack.try_checkpoints(operator, "recurr", account).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    }
    // What is written since does not hide it, neither from a reader nor from whoever follows.
    stack.rotate("recurr", &id, None).await;
    stack.rotate("recurr", &id, None).await;
    let status = followed.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    let status = stack.try_events(operator, list("acme")).await.unwrap_err();
    assert_eq!(status.code(), Code::DataLoss, "{status:?}");
    stack.keygate.wait_for_output("audit").await;
}

#[tokio::test]
async fn v9_events_that_were_changed_or_moved_in_redis_are_not_read() {
    let stack = Stack::redis(&[]).await;
    let redis = stack.redis.as_ref().unwrap();
    stack.new_key("recurr", "acme", "live").await;
    stack.new_key("recurr", "beta", "live").await;
    let (acme, beta, operator) = ("kg1:{recurr/acme}:l", "kg1:{recurr/beta}:l", Some(stack.operator()));
    redis.cli(&["COPY", acme, "saved"]);
    let of_another = "redis.call('LSET', KEYS[1], 0, redis.call('LINDEX', KEYS[2], 0))";
    let of_another_place = "redis.call('LSET', KEYS[1], 0, redis.call('LINDEX', KEYS[1], 1))";
    let changed = "local e = redis.call('LINDEX', KEYS[1], 0); redis.call('LSET', KEYS[1], 0, e:sub(1, -2) .. '!')";
    for script in [of_another, of_another_place, changed] {
        redis.cli(&["EVAL", script, "2", acme, beta]);
        let status = stack.try_events(operator, list("acme")).await.unwrap_err();
        assert_eq!(status.code(), Code::DataLoss, "{script}: {status:?}");
        redis.cli(&["COPY", "saved", acme, "REPLACE"]);
        assert_eq!(stack.chain("recurr", "acme").await.len(), 3, "{script}");
    }
}

#[tokio::test]
async fn v9_an_account_that_was_announced_and_never_made_is_in_no_page_and_no_seal() {
    let stack = Stack::redis(&[]).await;
    stack.new_key("recurr", "acme", "live").await;
    // What a server leaves behind that was killed between the index and the account.
    stack.redis.as_ref().unwrap().cli(&["ZADD", "kg1:r:recurr", "0", "aaa", "0", "zzz"]);
    let (events, _) = stack.events(&ListEventsRequest { page_size: 1, ..list("") }).await;
    assert_eq!(events.iter().map(|one| one.account_id.as_str()).collect::<Vec<_>>(), ["acme", "acme", "acme"]);
    let (checkpoints, seal) = stack.try_checkpoints(Some(stack.operator()), "recurr", "").await.unwrap();
    assert_eq!((checkpoints.len(), seal.accounts), (1, 1));
}
