//! All steps of one decision share one time.

use crate::support::{
    calls::{Answered, by_key, charged},
    keygate::Keygate,
    redis::RedisServer,
};
use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use tonic::Code;

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

fn forward(mut from: TcpStream, mut to: TcpStream, millis: &AtomicU64) {
    let mut buffer = [0; 65_536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        thread::sleep(Duration::from_millis(millis.load(Ordering::SeqCst)));
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Whoever is gone has nothing left to close.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[tokio::test]
async fn a_decision_whose_steps_are_in_time_is_late_when_together_they_are_not() {
    let redis = RedisServer::start();
    let slowness = Slowness::before(&redis);
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("keygate.toml");
    let url = format!("redis://127.0.0.1:{}", slowness.port);
    fs::write(&settings, format!("[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{url}\"\ndeadline = \"500ms\"\n"))
        .unwrap();
    let keygate = Keygate::start(&["--config", settings.to_str().unwrap()]).await;
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let ask = || charged(by_key("recurr", &key), "GET", "/", 1);

    // Finding the key takes one answer, the charge another: 300 ms each.
    slowness.hold_back(300);
    let late = keygate.try_authenticate(ask()).await.unwrap_err();
    assert_eq!(late.code(), Code::Unavailable, "{late:?}");
    slowness.hold_back(0);
    assert_eq!(keygate.authenticate(ask()).await.allowed().key_id, id);
}
