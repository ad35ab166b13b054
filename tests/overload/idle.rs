//! Connections on which nothing happens.

use crate::{
    frames::{ASKED, AUTHENTICATE, DATA, GOAWAY, HEADERS, PING, Wire, call, frame, frames},
    support::operations::OPERATIONS,
    world::{self, attacked, beside, resident},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const MANY: usize = 10_000;
/// More than a server takes without more.
const MOST: usize = 2_500;
/// Bytes of memory that one takes, at most. HTTP/2 keeps 24 KiB for what is read and written next.
const EACH: u64 = 48 * 1_024;

/// So many connections as the machine lets one process have.
fn many() -> usize {
    let given = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: given.maximum, maximum: given.maximum };
    setrlimit(Resource::Nofile, raised).expect("a process may have what it may raise its limit to");
    let most = given.maximum.unwrap_or(u64::MAX);
    MANY.min(usize::try_from(most.saturating_sub(500)).unwrap_or(MANY))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_that_ask_nothing() {
    let keygate = world::server_with("[limits]\nconnections = 11_000", &OPERATIONS).await;
    let (many, address) = (many(), keygate.address().to_owned());
    let open = async {
        let mut wires = Vec::with_capacity(many);
        while wires.len() < many {
            let opened: Vec<_> = (0..100)
                .map(|_| {
                    tokio::spawn({
                        let address = address.clone();
                        async move { Wire::open(&address).await }
                    })
                })
                .collect();
            for wire in opened {
                wires.push(wire.await.unwrap().unwrap());
            }
        }
        sleep(Duration::from_millis(500)).await;
        wires
    };
    let before = resident(keygate.process_id());
    let seen = beside(&keygate, "idle connections", open).await;
    let each = resident(keygate.process_id()).saturating_sub(before) / many as u64;
    println!("{many} idle connections: {each} bytes each");
    assert!(each < EACH, "an idle connection takes {each} bytes");
    drop(seen.outcome);
    // Their places are free again.
    let freed = async {
        while keygate.metrics().await.sum("keygate_connections", &[]) > 50.0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(world::RECOVERY, freed).await.expect("the places are free again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_connections_as_a_server_takes_without_more_stay_within_bounds() {
    let keygate = world::server_with("", &OPERATIONS).await;
    let address = keygate.address().to_owned();
    let open = async {
        let mut wires = Vec::new();
        for at in 0..MOST {
            let mut wire = Wire::open(&address).await.unwrap();
            // Half of them ask once: HTTP/2 takes a little more then.
            if at % 2 == 0 && !wire.ask(&call(1, AUTHENTICATE, ASKED), 1).await {
                break;
            }
            wires.push(wire);
        }
        sleep(Duration::from_millis(500)).await;
        wires
    };
    let seen = attacked(&keygate, "as many connections as there may be", open).await;
    println!("{} connections", seen.outcome.len());
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_ended_total", &[("reason", "made_room")]) >= 1.0, "{}", page.text);
}

#[tokio::test]
async fn whoever_never_asked_makes_room_soon_and_whoever_did_stays() {
    let settings = "[limits]\nconnections = 16\narrival_timeout = \"500ms\"";
    let keygate = world::server_with(settings, &OPERATIONS).await;
    let mut asked = Wire::open(keygate.address()).await.unwrap();
    assert!(asked.ask(&call(1, AUTHENTICATE, ASKED), 1).await);
    let mut silent = Vec::new();
    for _ in 0..15 {
        silent.push(Wire::open(keygate.address()).await.unwrap());
    }
    // Places are scarce: far sooner than a minute those who did not ask are told to go, though nobody came for their places.
    let told = async {
        while keygate.metrics().await.sum("keygate_connections_ended_total", &[("reason", "idle")]) < 10.0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(20), told).await.expect("they are told to go");
    assert!(asked.ask(&call(3, AUTHENTICATE, ASKED), 1).await, "it was told to go");
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_asked_is_told_to_go() {
    let keygate = world::server_with("[limits]\nidle_timeout = \"1s\"", &OPERATIONS).await;
    let mut wire = Wire::open(keygate.address()).await.unwrap();
    // Whoever asks now and then stays.
    for at in 0..4_u32 {
        let said = wire.heard(Duration::from_millis(600)).await;
        assert!(frames(&said).iter().all(|(kind, ..)| *kind != GOAWAY), "told to go after call {at}");
        assert!(wire.send(&call(2 * at + 1, AUTHENTICATE, b""), far()).await);
    }
    let said = wire.heard(Duration::from_millis(2_500)).await;
    let found = frames(&said);
    let (_, _, _, farewell) = found.iter().find(|(kind, ..)| *kind == GOAWAY).expect("it is told to go");
    assert_eq!(farewell[4..8], [0; 4], "for no error");
    assert!(
        found.iter().any(|(kind, flags, ..)| *kind == HEADERS && flags & 1 == 1 || *kind == DATA),
        "it was answered"
    );
    // It answers the server's question, and that is the end.
    let asked =
        found.iter().find(|(kind, flags, ..)| *kind == PING && *flags == 0).expect("it is asked for its last word");
    assert!(wire.send(&frame(PING, 1, 0, &asked.3), far()).await);
    assert!(wire.ended(Duration::from_secs(10)).await.is_some());
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_ended_total", &[("reason", "idle")]) >= 1.0, "{}", page.text);
}

fn far() -> tokio::time::Instant {
    tokio::time::Instant::now() + Duration::from_secs(10)
}
