//! All steps of one decision share one time.

use crate::support::{
    calls::{Answered, by_key, charged},
    keygate::Keygate,
    redis::RedisServer,
};
use keygate::proto::v1::AuthenticateRequest;
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

/// Stands before a Redis and holds every answer back for a while.
struct Slowness {
    port: u16,
    millis: Arc<AtomicU64>,
}

impl Slowness {
    fn before(redis: &RedisServer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, behind) = (listener.local_addr().unwrap().port(), redis.port());
        let millis = Arc::new(AtomicU64::new(0));
        let slow = Arc::clone(&millis);
        // Ends with the test.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, behind)) else { return };
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                let (to, from) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || forward(from, to, &AtomicU64::new(0)));
                let slow = Arc::clone(&slow);
                thread::spawn(move || forward(server, client, &slow));
            }
        });
        Self { port, millis }
    }

    fn hold_back(&self, millis: u64) {
        self.millis.store(millis, Ordering::SeqCst);
    }
}

/// Passes on every piece that long after it came, and those that come together, together.
fn forward(mut from: TcpStream, mut to: TcpStream, millis: &AtomicU64) {
    let (pieces, waiting) = mpsc::channel::<(Instant, Vec<u8>)>();
    let writer = thread::spawn(move || {
        for (due, piece) in waiting {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&piece).is_err() {
                break;
            }
        }
        // Whoever is gone has nothing left to close.
        let _ = to.shutdown(Shutdown::Both);
    });
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let due = Instant::now() + Duration::from_millis(millis.load(Ordering::SeqCst));
        if pieces.send((due, buffer[..length].to_vec())).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    drop(pieces);
    writer.join().unwrap();
}

async fn keygate(slowness: &Slowness, folder: &Path, deadline: &str) -> Keygate {
    let settings = folder.join("keygate.toml");
    let url = format!("redis://127.0.0.1:{}", slowness.port);
    fs::write(
        &settings,
        format!("[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{url}\"\ndeadline = \"{deadline}\"\n"),
    )
    .unwrap();
    Keygate::start(&["--config", settings.to_str().unwrap()]).await
}

#[tokio::test]
async fn a_decision_whose_steps_are_in_time_is_late_when_together_they_are_not() {
    let redis = RedisServer::start();
    let slowness = Slowness::before(&redis);
    let folder = tempfile::tempdir().unwrap();
    let keygate = keygate(&slowness, folder.path(), "500ms").await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let ask = || charged(by_key("recurr", &key), "GET", "/", 1);

    // Finding the key takes one answer, the charge another: 300 ms each.
    slowness.hold_back(300);
    let late = keygate.try_authenticate(ask()).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "{late:?}");
    slowness.hold_back(0);
    assert_eq!(keygate.authenticate(ask()).await.allowed().key_id, id);
}

/// Two round trips are in time, three are not.
#[tokio::test]
async fn a_cold_decision_on_another_account_takes_two_round_trips() {
    let redis = RedisServer::start();
    let slowness = Slowness::before(&redis);
    let folder = tempfile::tempdir().unwrap();
    let keygate = keygate(&slowness, folder.path(), "1s").await;
    let (id, key) = keygate.new_key("recoup", "ann", "live").await;
    keygate.new_key("recoup", "bob", "live").await;
    for organization in ["a", "b", "c", "d", "e"] {
        keygate.new_account("recoup", organization, "").await;
        keygate.join("recoup", "ann", organization).await;
    }
    keygate.join("recoup", "bob", "e").await;
    let ask = |account: &str| AuthenticateRequest { account_id: account.to_owned(), ..by_key("recoup", &key) };
    slowness.hold_back(400);
    let allowed = keygate.authenticate(charged(ask("bob"), "GET", "/", 1)).await.allowed();
    assert_eq!((allowed.key_id, allowed.target_account_id), (id, "bob".to_owned()));
}

/// A decision must not wait; an act, and finding out who does it, may take as long as an act may.
#[tokio::test]
async fn an_act_of_management_does_not_share_the_time_of_a_decision() {
    let redis = RedisServer::start();
    let slowness = Slowness::before(&redis);
    let folder = tempfile::tempdir().unwrap();
    let keygate = keygate(&slowness, folder.path(), "50ms").await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    slowness.hold_back(120);
    let late = keygate.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 1)).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "{late:?}");
    keygate.new_key("recurr", "acme", "live").await;
    keygate.revoke("recurr", &id).await;
    // What is wrong is told: an answer takes more than half of the time.
    keygate.wait_for_output("not serving until the store answers").await;
}

/// What the log says of it names the kind, and health follows what cannot be served with.
#[tokio::test]
async fn a_redis_that_is_slow_is_told_and_one_that_is_silent_stops_the_server() {
    let redis = RedisServer::start();
    let slowness = Slowness::before(&redis);
    let folder = tempfile::tempdir().unwrap();
    let keygate = keygate(&slowness, folder.path(), "100ms").await;
    slowness.hold_back(60);
    keygate.wait_for_output("problem=\"slow\"").await;
    assert_eq!(keygate.health().await, ServingStatus::Serving);
    slowness.hold_back(60_000);
    keygate.wait_for_output("problem=\"silent\"").await;
    keygate.wait_for_health(ServingStatus::NotServing, Duration::from_secs(20)).await;
}
