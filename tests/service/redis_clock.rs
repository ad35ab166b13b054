//! The clock of Redis goes back, as it may when another host takes over: a limit then admits no more than before.

use crate::support::{
    calls::{millis, now, texts},
    keygate::Keygate,
    redis::{RedisServer, binary},
    stack::Stack,
};
use keygate::proto::v1::{
    CheckRateLimitRequest, CheckRateLimitResponse, LimitNames, Subject, check_rate_limit_request::Selection,
};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;

/// Preloaded into Redis, it shifts the time of day.
const SHIFTED_CLOCK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/service/shifted_clock.c");
/// `lead-import` of the realm `recover`, per minute.
const LIMIT: u64 = 1_000;
const WINDOW: i64 = 60;

/// keygate on a Redis whose clock can be set.
struct Shifted {
    stack: Stack,
    folder: TempDir,
}

impl Shifted {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let library = path("shifted_clock.so");
        let mut compile = Command::new("cc");
        let compiled = compile.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(SHIFTED_CLOCK).status();
        assert!(compiled.expect("building keygate takes a C compiler too").success());
        fs::write(path("shift"), "0").unwrap();
        let program = start_script(&path("redis"), &library, &path("shift"));
        let redis =
            RedisServer::start_binary(program.to_str().unwrap(), &[]).unwrap_or_else(|reason| panic!("{reason}"));
        let keygate = Keygate::start(&["--store", "redis", "--redis-url", &redis.url()]).await;
        Self { stack: Stack { keygate, redis: Some(redis) }, folder }
    }

    /// Sets the clock of Redis to `seconds` from the real time, and waits until it took it: Valkey looks only now and then.
    async fn set(&self, seconds: i64) {
        // Put in place as a whole: Redis reads it at any time.
        let next = self.folder.path().join("next");
        fs::write(&next, seconds.to_string()).unwrap();
        fs::rename(next, self.folder.path().join("shift")).unwrap();
        for _ in 0..500 {
            let told: i64 = self.redis(&["TIME"]).lines().next().unwrap().parse().unwrap();
            if (told - now() - seconds).abs() <= 5 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the clock of Redis is not {seconds} s from the real time");
    }

    fn redis(&self, command: &[&str]) -> String {
        self.stack.redis.as_ref().unwrap().cli(command)
    }

    async fn charge(&self, cost: i64) -> CheckRateLimitResponse {
        let request = CheckRateLimitRequest {
            realm: "recover".to_owned(),
            selection: Some(Selection::Limits(LimitNames { names: texts(&["lead-import"]) })),
            subject: Some(Subject { account_id: "p1".to_owned(), ..Default::default() }),
            cost: Some(cost),
            ..Default::default()
        };
        self.stack.check(request).await
    }

    /// The latest bucket that the only counter knows.
    fn bucket(&self) -> u64 {
        let script = "return string.format('%.0f', (struct.unpack('>I8', redis.call('GET', redis.call('KEYS', 'kg1:*:c:*')[1]))))";
        self.redis(&["EVAL", script, "0"]).parse().unwrap()
    }
}

/// A program that is Redis with that library in it, under the process id that it is started with.
fn start_script(path: &Path, library: &Path, shift: &Path) -> PathBuf {
    let (library, shift) = (library.display(), shift.display());
    let text = format!("#!/bin/sh\nexec env CLOCK_SHIFT='{shift}' LD_PRELOAD='{library}' '{}' \"$@\"\n", binary());
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
    path.to_owned()
}

#[tokio::test]
async fn a_limit_admits_no_more_when_the_clock_of_redis_goes_back() {
    let redis = Shifted::start().await;
    assert!(redis.charge(600).await.allowed);
    let bucket = redis.bucket();

    // What was admitted counts on, also where the clock is an hour behind it; what is admitted there counts too.
    redis.set(-3_600).await;
    assert!(!redis.charge(500).await.allowed);
    assert_eq!(redis.bucket(), bucket);
    assert!(redis.charge(300).await.allowed);
    assert_eq!(redis.bucket(), bucket, "the counter went back");
    let answer = redis.charge(101).await;
    assert_eq!((answer.allowed, answer.limits[0].remaining), (false, LIMIT - 900));
    // Who waits is told to wait until the clock has caught up and the window is over.
    let told = millis(answer.limits[0].retry_after.as_ref());
    let longest = (3_600 + WINDOW + WINDOW / 60 + 1) * 1_000;
    assert!(told > 3_600_000 && told <= longest, "{told} ms");

    // Only the rest is admitted when the clock is right again, and all of it once the window is over.
    redis.set(0).await;
    assert!(!redis.charge(101).await.allowed);
    assert!(redis.charge(100).await.allowed);
    assert!(!redis.charge(1).await.allowed);
    redis.set(2 * WINDOW).await;
    let answer = redis.charge(1).await;
    assert_eq!((answer.allowed, answer.limits[0].remaining), (true, LIMIT - 1));
    assert!(redis.bucket() > bucket);
}
