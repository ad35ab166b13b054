//! What clients of a real Envoy with the shipped files see when keygate or its store is slow, gone or going.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "how long an answer takes is what is tested")]

mod support;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    front::{Front, SETTINGS, patient},
    http,
    keygate::Keygate,
    proxy::{Change, Envoy},
    stack::Stack,
};

/// How long it may take until everything is as it was, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long Envoy waits for keygate, and what a busy machine adds.
const PROMPT: Duration = Duration::from_secs(2);

/// Requests that go on until they are told to stop.
struct Load {
    keys: Vec<String>,
    over: Cell<bool>,
    statuses: RefCell<BTreeMap<u16, usize>>,
}

impl Load {
    /// With the keys of so many accounts that none reaches its limit.
    async fn new(keygate: &Keygate) -> Self {
        let mut keys = Vec::new();
        for number in 0..40 {
            keys.push(format!("Bearer {}", keygate.new_key("recurr", &format!("account-{number}"), "live").await.1));
        }
        Self { keys, over: Cell::new(false), statuses: RefCell::default() }
    }

    /// Runs while the rest of the test does.
    async fn run(&self, port: u16) {
        let client = async |first: usize| {
            for key in self.keys.iter().cycle().skip(first) {
                if self.over.get() {
                    return;
                }
                let headers = [("host", "recurr.localhost"), ("authorization", key.as_str())];
                let answer = http::send(port, "GET /v1/x", &headers, "").await;
                *self.statuses.borrow_mut().entry(answer.status).or_default() += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::join!(client(0), client(10), client(20), client(30));
    }

    /// How many got that status so far.
    fn count(&self, status: u16) -> usize {
        self.statuses.borrow().get(&status).copied().unwrap_or(0)
    }

    /// Waits until so many more got that status.
    async fn wait_for(&self, status: u16, more: usize) {
        let (wanted, deadline) = (self.count(status) + more, Instant::now() + PATIENCE);
        while self.count(status) < wanted {
            assert!(Instant::now() < deadline, "no {more} more of {status}: {:?}", self.statuses.borrow());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Every status that was seen.
    fn seen(&self) -> Vec<u16> {
        self.statuses.borrow().keys().copied().collect()
    }
}

fn signal(keygate: &Keygate, name: &str) {
    let kill = format!("kill -{name} {}", keygate.process_id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Asks until it gets that status.
async fn wait_for(front: &Front, key: &str, status: u16) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = front.ask("recurr", "GET /v1/x", &[("authorization", key)]).await;
        if answer.status == status {
            return;
        }
        assert!(Instant::now() < deadline, "still {answer:?}, not {status}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn bearer(keygate: &Keygate) -> String {
    format!("Bearer {}", keygate.new_key("recurr", "acme", "live").await.1)
}

#[tokio::test]
async fn keygate_killed_and_restarted_under_load_lets_nobody_through_unjudged() {
    let front = Front::central().await;
    let load = Load::new(&front.stack).await;
    let Front { envoy, upstream, mut stack, .. } = front;
    let story = async {
        load.wait_for(200, 50).await;
        for _ in 0..2 {
            stack.keygate.kill();
            load.wait_for(503, 50).await;
            stack.keygate.restart_in_place().await;
            load.wait_for(200, 50).await;
        }
        load.over.set(true);
    };
    tokio::join!(load.run(envoy.port()), story);
    assert_eq!(load.seen(), [200, 503]);
    assert_eq!(upstream.calls(), load.count(200), "somebody passed without an answer, or one answer let two pass");
}

#[tokio::test]
async fn with_failure_mode_allow_everybody_passes_while_keygate_is_away_and_as_nobody() {
    let change = ("failure_mode_allow: false", "failure_mode_allow: true");
    let mut front = Front::before(Stack::embedded(&SETTINGS).await, &[change]).await;
    let key = bearer(&front.stack).await;
    front.passes("recurr", "GET /v1/x", &[("authorization", &key)]).await;
    front.stops("recurr", "GET /v1/x", &[], 401).await;

    front.stack.keygate.kill();
    front.passes("recurr", "GET /v1/x", &[("authorization", "Bearer nonsense"), ("x-auth-account", "forged")]).await;
    let received = front.upstream.last();
    assert!(!format!("{received:?}").contains("forged"), "{received:?}");
    // Nobody is there to take it out: said in docs/envoy.md.
    assert_eq!(received.header("authorization"), Some("Bearer nonsense"));
    front.stack.keygate.restart_in_place().await;
    wait_for(&front, "Bearer nonsense", 401).await;

    // What keygate knows to be wrong is a denial, and no failure.
    front.stops("recurr", "GET /a%252fb", &[("authorization", &key)], 400).await;
    assert!(front.envoy.stat("http.public.ext_authz.keygate.failure_mode_allowed").await > 0);
}

#[tokio::test]
async fn a_keygate_that_does_not_answer_in_time_is_not_waited_for() {
    let front = Front::sidecar().await;
    let key = bearer(&front.stack).await;
    front.passes("recurr", "GET /v1/x", &[("authorization", &key)]).await;
    signal(&front.stack, "STOP");
    // First the deadline of each question, then, once its health is not answered either, no question at all.
    for _ in 0..10 {
        let began = Instant::now();
        front.stops("recurr", "GET /v1/x", &[("authorization", &key)], 503).await;
        assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
    }
    signal(&front.stack, "CONT");
    wait_for(&front, &key, 200).await;
}

#[tokio::test]
async fn a_store_that_is_away_is_503_and_never_403() {
    let mut front = Front::central().await;
    let key = bearer(&front.stack).await;
    front.passes("recurr", "GET /v1/x", &[("authorization", &key)]).await;
    front.stack.redis.as_mut().unwrap().kill();
    for _ in 0..30 {
        front.stops("recurr", "GET /v1/x", &[("authorization", &key)], 503).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    front.stack.redis.as_mut().unwrap().restart();
    wait_for(&front, &key, 200).await;
}

/// The machine that runs the tests has other things to do: here nobody is refused because an answer took long.
const PATIENT_PROXY: [Change<'_>; 2] = [
    ("timeout: 0.25s\n                        # A question", "timeout: 5s\n                        # A question"),
    ("max_interval: 0.25s", "max_interval: 5s"),
];

/// Waits until Envoy knows that so many servers can decide.
async fn wait_for_healthy(envoy: &Envoy, wanted: u64) {
    let deadline = Instant::now() + PATIENCE;
    while envoy.stat("cluster.keygate.membership_healthy").await != wanted {
        assert!(Instant::now() < deadline, "Envoy does not find {wanted} servers");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn each_of_two_servers_goes_and_comes_back_without_one_failed_request() {
    let folder = tempfile::tempdir().unwrap();
    let file = patient(folder.path());
    let settings = ["--config", file.as_str()];
    let stack = Stack::redis(&settings).await;
    let mut second = stack.second(&settings).await;
    let front = Front::before_two(stack, second.port(), &PATIENT_PROXY).await;
    let load = Load::new(&front.stack).await;
    let Front { envoy, upstream, mut stack, .. } = front;
    let story = async {
        wait_for_healthy(&envoy, 2).await;
        load.wait_for(200, 50).await;
        for server in [&mut second, &mut stack.keygate] {
            // SIGTERM: health goes down first, connections are told, what is open is finished.
            assert!(server.terminate().await.success());
            load.wait_for(200, 100).await;
            server.restart_in_place().await;
            wait_for_healthy(&envoy, 2).await;
            load.wait_for(200, 100).await;
        }
        load.over.set(true);
    };
    tokio::join!(load.run(envoy.port()), story);
    assert_eq!(load.seen(), [200], "{:?}", load.statuses.borrow());
    assert_eq!(upstream.calls(), load.count(200));
    assert_eq!(envoy.stat("http.public.ext_authz.keygate.error").await, 0);
}
