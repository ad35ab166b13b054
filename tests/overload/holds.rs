//! Clients that hold something and let it be: each is ended in time, and what it held is free again.

use crate::{
    attacks::{self, HOLDS},
    support::operations::OPERATIONS,
    world,
};
use std::time::Duration;
use tokio::time::Instant;

const CONNECTIONS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_and_lets_be_is_cut_off() {
    let keygate = world::server_with("[limits]\narrival_timeout = \"500ms\"", &OPERATIONS).await;
    for name in HOLDS {
        let until = Instant::now() + Duration::from_millis(2_500);
        let attack = attacks::hold(name, keygate.address(), CONNECTIONS, until);
        let seen = world::attacked(&keygate, name, attack).await;
        println!("{name}: {:?}", seen.outcome);
        // Requests that do not come end by themselves, and their connections may stay.
        if !["half a message", "heads without end"].contains(&name) {
            assert!(seen.outcome.ended >= CONNECTIONS / 2, "{name}: {:?}", seen.outcome);
        }
    }
    let page = keygate.metrics().await;
    for reason in ["unread", "stalled"] {
        assert!(page.sum("keygate_connections_ended_total", &[("reason", reason)]) > 0.0, "{reason}:\n{}", page.text);
    }
    // Whoever lets hundreds of requests wait is told so, and not those who send theirs whole.
    assert!(page.sum("keygate_calls_shed_total", &[("kind", "arriving")]) > 0.0, "{}", page.text);
    assert_eq!(page.sum("keygate_calls_in_work", &[("kind", "decision")]), 0.0, "{}", page.text);
}
