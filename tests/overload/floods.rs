//! Floods of frames: each is ended by HTTP/2 where that says so, and else read no faster than its client may expect.

use crate::{
    attacks::{self, FLOODS},
    support::operations::OPERATIONS,
    world,
};
use std::time::Duration;
use tokio::time::Instant;

const LASTS: Duration = Duration::from_millis(1_200);

/// Floods for which HTTP/2 has no end: each frame is legal, and their number is bounded by no rule.
const LEGAL: [&str; 4] = ["SETTINGS", "PING", "windows", CALLS];
/// Calls that are answered before they are taken back cost what other calls cost.
const CALLS: &str = "rapid reset of calls that are made";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_end_or_are_read_slowly_and_whoever_behaves_is_answered() {
    for name in FLOODS {
        // A server of its own: who was cut off by one waits there before the next connection.
        let keygate = world::server_with("", &OPERATIONS).await;
        let until = Instant::now() + Duration::from_millis(400) + LASTS;
        let address = keygate.address().to_owned();
        let attack = attacks::repeatedly(until, move || attacks::flood(name, address.clone(), until));
        let seen = world::attacked(&keygate, name, attack).await;
        let slowed = keygate.metrics().await.sum("keygate_connections_slowed_total", &[]);
        println!("{name}: {:?}, slowed {slowed} times", seen.outcome);
        if !LEGAL.contains(&name) {
            assert!(seen.outcome.ended > 0, "{name}: no connection was ended");
        } else if name != CALLS {
            assert!(slowed > 0.0, "{name}: no connection was read more slowly");
        }
    }
}
