//! `retry_after`: who waits exactly so long is admitted, and who waits clearly less is not.

use crate::support::{
    calls::{by_key, charged, texts},
    files::ConfigFile,
    stack::Stack,
};
use keygate::proto::v1::{
    CheckRateLimitRequest, LimitNames, LimitState, Subject, authenticate_response::Outcome,
    check_rate_limit_request::Selection,
};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(3);
/// Two in three seconds for an account, and for whatever text `CheckRateLimit` is given.
const REALM: &str = r#"
    realm = "brief"
    title = "A realm with brief windows"
    hint = "none"
    [[environments]]
    name = "live"
    prefix = "bf_"
    body_length = 28
    [[credentials]]
    header = "x-key"
    [[operations]]
    name = "any"
    fallback = true
    [[limits]]
    name = "requests"
    limit = 2
    window = "3s"
    per = ["account"]
    [[limits]]
    name = "by-hand"
    limit = 2
    window = "3s"
    per = ["subject"]
    operations = []
"#;

#[tokio::test]
async fn who_waits_as_long_as_told_is_admitted_on_the_embedded_store() {
    let file = ConfigFile::new("brief.toml", REALM);
    both_calls(&Stack::embedded(&["--realm-file", &file.path()]).await).await;
}

#[tokio::test]
async fn who_waits_as_long_as_told_is_admitted_on_redis() {
    let file = ConfigFile::new("brief.toml", REALM);
    both_calls(&Stack::redis(&["--realm-file", &file.path()]).await).await;
}

async fn both_calls(stack: &Stack) {
    let (_, key) = stack.new_key("brief", "acme", "live").await;
    let authenticate = async || {
        let answer = stack.authenticate(charged(by_key("brief", &key), "GET", "/", 1)).await;
        let [limit] = &answer.limits[..] else { panic!("one limit applies: {:?}", answer.limits) };
        match answer.outcome.as_ref().unwrap() {
            Outcome::Allowed(_) => assert_eq!(limit.retry_after, None),
            Outcome::Denied(denied) => assert_eq!((denied.http_status, denied.retry_after), (429, limit.retry_after)),
        }
        wait(limit)
    };
    let check = async || {
        let subject = Subject { custom: "acme".to_owned(), ..Default::default() };
        let request = CheckRateLimitRequest {
            realm: "brief".to_owned(),
            selection: Some(Selection::Limits(LimitNames { names: texts(&["by-hand"]) })),
            subject: Some(subject),
            ..Default::default()
        };
        let answer = stack.check(request).await;
        let [limit] = &answer.limits[..] else { panic!("one limit is asked for: {:?}", answer.limits) };
        assert_eq!(
            (answer.allowed, answer.denied.and_then(|denied| denied.retry_after)),
            (!limit.exceeded, limit.retry_after)
        );
        wait(limit)
    };
    tokio::join!(waits_as_told(authenticate), waits_as_told(check));
}

/// How long to wait, when the limit denied.
fn wait(limit: &LimitState) -> Option<Duration> {
    assert_eq!(limit.exceeded, limit.retry_after.is_some());
    limit.retry_after.map(|told| told.try_into().unwrap())
}

/// `ask` charges 1 and tells how long to wait when that is denied.
async fn waits_as_told(ask: impl AsyncFn() -> Option<Duration>) {
    // Two costs in different buckets: the first to leave is the one to wait for.
    assert_eq!(ask().await, None);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(ask().await, None);

    // It was decided between `before` and `after`, and so it is decided anew at some time in between.
    let before = Instant::now();
    let wait = ask().await.expect("the limit is exhausted");
    let after = Instant::now();
    assert!(wait > Duration::ZERO && wait < WINDOW, "{wait:?}");
    let mut early = 0;
    while before.elapsed() < wait * 9 / 10 {
        let still = ask().await;
        // An answer that came before the time was over was also decided before.
        if before.elapsed() < wait {
            assert!(still.is_some(), "admitted {:?} after it was told to wait {wait:?}", before.elapsed());
            early += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(early > 0, "nobody asked before the time was over");

    tokio::time::sleep_until((after + wait).into()).await;
    let told = ask().await;
    assert_eq!(told, None, "denied although {wait:?} were waited for as told");
}
