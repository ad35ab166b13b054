//! Peers that are gone without a word while calls of theirs are open: nothing comes from them any more, not even what their
//! system would say.

use crate::{
    frames::{AUTHENTICATE, END_HEADERS, HEADERS, Wire, call, frame, head},
    support::operations::OPERATIONS,
    world,
};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// After a minute of silence the system asks whether somebody is there, and ten seconds later it knows that nobody is.
const KNOWN: Duration = Duration::from_secs(120);

#[tokio::test]
async fn whoever_vanished_holds_no_place_for_long() {
    let settings = "[limits]\nconnections = 40\narrival_timeout = \"2s\"";
    let keygate = world::server_with(settings, &OPERATIONS).await;
    let taken = async || keygate.metrics().await.sum("keygate_connections", &[]);
    let broken = async || keygate.metrics().await.sum("keygate_connections_refused_total", &[("reason", "broken")]);
    let before = broken().await;

    // To one of them an answer is on its way when it vanishes; of the other nothing is expected.
    let mut asking = Wire::open(keygate.address()).await.unwrap();
    let mut listening = Wire::open(keygate.address()).await.unwrap();
    let far = tokio::time::Instant::now() + Duration::from_secs(10);
    assert!(listening.send(&call(1, WATCH, b""), far).await);
    assert!(!listening.heard(Duration::from_millis(500)).await.is_empty(), "it is told how the server is");
    assert!(asking.push(&frame(HEADERS, END_HEADERS, 1, &head(AUTHENTICATE)), far).await);
    sleep(Duration::from_millis(200)).await;
    asking.vanish();
    listening.vanish();
    let held = taken().await;

    let found_out = async {
        while broken().await < before + 2.0 || taken().await > held - 2.0 {
            sleep(Duration::from_secs(1)).await;
        }
    };
    timeout(KNOWN, found_out).await.expect("their places are free again");
    let page = keygate.metrics().await;
    assert_eq!(page.sum("keygate_calls_in_work", &[("kind", "decision")]), 0.0, "{}", page.text);
}
