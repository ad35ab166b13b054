//! Places that lead nowhere, at the start and later.

use crate::{
    SOON, options, refusal,
    support::{
        calls::{Answered, by_key, charged},
        files::ConfigFile,
        keygate::{DataDir, Keygate},
        stack::Stack,
    },
    until,
};
use keygate::store::redis::RedisOptions;
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};
use tonic::Code;

#[tokio::test]
async fn a_name_that_nobody_has_is_told_within_the_time_to_connect() {
    let began = Instant::now();
    let text = refusal(options("redis://:hunter2@nobody.invalid:1")).await;
    assert!(text.contains("nobody.invalid:1"), "{text}");
    let text = refusal(options("redis+sentinel://:hunter2@nobody.invalid:1,nobody.invalid:2/main")).await;
    assert!(text.contains("nobody.invalid:1") && text.contains("main"), "{text}");
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let url = "redis://nobody.invalid";
    let Err(ended) = Keygate::try_start(DataDir::new(), &["--store", "redis", "--redis-url", url]).await else {
        panic!("it started")
    };
    assert!(ended.output.contains("nobody.invalid:6379") && ended.status.code() == Some(1), "{ended:#?}");
}

/// Somebody takes the connection and never says anything.
#[tokio::test]
async fn somebody_who_is_silent_is_not_waited_for_longer_than_said() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    for scheme in ["redis", "rediss"] {
        let hasty =
            RedisOptions { connect_timeout: Duration::from_millis(300), ..options(&format!("{scheme}://{address}")) };
        let text = refusal(hasty).await;
        assert!(text.contains(&address) && text.contains("300 ms"), "{text}");
    }
    let hasty = RedisOptions {
        connect_timeout: Duration::from_millis(300),
        ..options(&format!("redis+sentinel://{address}/main"))
    };
    let text = refusal(hasty).await;
    assert!(text.contains(&address) && text.contains("no sentinel answered in time"), "{text}");
}

/// How long each kind of outage lasts for a caller after Redis is back; the numbers stand in docs/performance.md.
#[tokio::test]
async fn recovery_is_measured() {
    let settings = ConfigFile::settings("[store.redis]\ndeadline = \"50ms\"\n");
    let mut stack = Stack::redis(&["--config", &settings.path()]).await;
    let (_, key) = stack.new_key("recurr", "acme", "live").await;
    let mut slowest = Duration::ZERO;
    let answered = async |stack: &Stack| {
        let took = until("it answers again", async || {
            let asked = Instant::now();
            let answer = stack.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await;
            assert!(asked.elapsed() < SOON);
            answer.inspect_err(|status| assert_eq!(status.code(), Code::Unavailable)).is_ok()
        });
        took.await
    };
    for seconds in [1, 4] {
        stack.redis.as_mut().unwrap().kill();
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stack.redis.as_mut().unwrap().restart();
        let took = answered(&stack).await;
        println!("killed, {seconds} s away: answers {took:?} after it is back");
        stack.redis.as_ref().unwrap().pause();
        for _ in 0..seconds * 10 {
            let asked = Instant::now();
            let status = stack.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            slowest = slowest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stack.redis.as_ref().unwrap().resume();
        let took = answered(&stack).await;
        println!("stopped for {seconds} s: answers {took:?} after it goes on");
    }
    println!("slowest refusal of a silent Redis: {slowest:?}");
    stack.redis.as_ref().unwrap().cli(&["CLIENT", "KILL", "USER", "keygate"]);
    println!("every connection closed: answers after {:?}", answered(&stack).await);
    stack.authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await.allowed();
}
