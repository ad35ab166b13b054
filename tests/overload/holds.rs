//! Clients that hold something and let it be: each is ended in time, and what it held is free again.

use crate::{
    attacks::{self, HOLDS},
    frames::{ASKED, AUTHENTICATE},
    support::{operations::OPERATIONS, raw::call_in_frames},
    world,
};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::Code;

const CONNECTIONS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_holds_and_lets_be_is_cut_off() {
    for name in HOLDS {
        // A server of its own: who was cut off by one waits there before the next connection.
        let keygate = world::server_with("[limits]\narrival_timeout = \"500ms\"", &OPERATIONS).await;
        // Requests that do not come end by themselves, and their connections may stay.
        let may_stay = ["half a message", "heads without end"].contains(&name);
        // Whoever is not heard, since others are read before it, is not cut off: on a busy machine that takes longer than the time.
        let until = Instant::now() + if may_stay { Duration::from_millis(2_500) } else { Duration::from_secs(15) };
        let attack = attacks::hold(name, keygate.address(), CONNECTIONS, until);
        let seen = world::attacked(&keygate, name, attack).await;
        println!("{name}: {:?}", seen.outcome);
        let page = keygate.metrics().await;
        let ended = |reason| page.sum("keygate_connections_ended_total", &[("reason", reason)]);
        let counted = match name {
            "no window" | "a window of one byte" => ended("unread"),
            "half a head" | "half a frame" | "a head, byte by byte" | "a message, byte by byte" => ended("stalled"),
            "half a preface" => page.sum("keygate_connections_refused_total", &[("reason", "broken")]),
            // Whoever lets hundreds of them wait is told so, and not those who send theirs whole.
            "half a message" | "heads without end" => page.sum("keygate_calls_shed_total", &[("kind", "arriving")]),
            _ => 1.0,
        };
        assert!(counted > 0.0, "{name}:\n{}", page.text);
        if !may_stay {
            assert!(seen.outcome.ended >= CONNECTIONS / 2, "{name}: {:?}", seen.outcome);
        }
        assert_eq!(page.sum("keygate_calls_in_work", &[("kind", "decision")]), 0.0, "{name}:\n{}", page.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_two_pieces_passes_while_a_few_connections_hold_every_seat() {
    let keygate = world::server_with("", &OPERATIONS).await;
    let (address, until) = (keygate.address().to_owned(), Instant::now() + Duration::from_secs(8));
    let attack = tokio::spawn(async move { attacks::hold("heads without end", &address, 6, until).await });
    let shed = async || keygate.metrics().await.sum("keygate_calls_shed_total", &[("kind", "arriving")]);
    while shed().await == 0.0 {
        sleep(Duration::from_millis(50)).await;
    }
    let message = [&[0, 0, 0, 0, 8], ASKED].concat();
    for at in 0..20 {
        // Its head, and a moment later its message.
        let (code, answer) = call_in_frames(&keygate, AUTHENTICATE, &[], &[&message]).await;
        assert!(code == Code::Ok && !answer.is_empty(), "call {at}: {code:?}");
    }
    assert!(Instant::now() < until, "the seats were held meanwhile");
    attack.await.unwrap();
}
