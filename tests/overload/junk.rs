//! Requests that mean nothing, as many as come: keys that nobody made, heads and messages too large, messages without a bottom.

use crate::{
    frames::{AUTHENTICATE, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Wire, call, frame, frames, head, streams},
    support::{
        calls::{Answered, by_key, well_formed},
        raw::raw_call,
    },
    world::{self, attacked},
};
use prost::Message;
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_made() {
    let keygate = world::server_with("[cache]\nunknown_keys = 1_000", &[]).await;
    let address = keygate.address().to_owned();
    let attack = async move {
        let (until, mut sent) = (Instant::now() + Duration::from_millis(1_500), 0_usize);
        let mut wire = Wire::open(&address).await.unwrap();
        let mut streams = streams();
        while Instant::now() < until {
            // Well formed, so that each is looked for; no more at a time than one connection may ask.
            let batch: Vec<u8> = streams
                .by_ref()
                .take(100)
                .flat_map(|at| {
                    let key = well_formed("rk_live_", &format!("{at:026}"));
                    call(at, AUTHENTICATE, &by_key("recurr", &key).encode_to_vec())
                })
                .collect();
            assert!(wire.ask(&batch, 100).await, "whoever asks is answered");
            sent += 100;
        }
        sent
    };
    let seen = attacked(&keygate, "keys that nobody made", attack).await;
    println!("{} keys", seen.outcome);
}

#[tokio::test]
async fn a_head_too_large_is_refused_and_its_connection_goes_on() {
    let keygate = world::server_with("", &[]).await;
    let mut wire = Wire::open(keygate.address()).await.unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    // One header with a value of 16,256 bytes, twice: more than the list may have.
    let large = [&[0x00, 0x01, b'a', 0x7f, 0x81, 0x7e][..], &[b'x'; 16_256]].concat();
    let said = [
        frame(HEADERS, END_STREAM, 1, &head(AUTHENTICATE)),
        frame(CONTINUATION, 0, 1, &large),
        frame(CONTINUATION, END_HEADERS, 1, &large),
        call(3, AUTHENTICATE, b""),
    ]
    .concat();
    assert!(wire.push(&said, until).await);
    let heard = timeout(Duration::from_secs(10), async {
        let mut heard = Vec::new();
        while !frames(&heard).iter().any(|(kind, _, stream, _)| *kind == HEADERS && *stream == 3) {
            heard.extend(wire.heard(Duration::from_millis(50)).await);
        }
        heard
    });
    let heard = heard.await.expect("the second call is answered");
    assert!(frames(&heard).iter().any(|(_, _, stream, _)| *stream == 1), "the first one is refused");
}

#[tokio::test]
async fn a_message_without_a_bottom_is_refused() {
    let keygate = world::server_with("", &[]).await;
    // Groups in groups, which only what is unknown may hold; and maps of lists of maps, as metadata may be.
    let groups = vec![0x0b_u8; 60_000];
    for path in ["/keygate.v1.Authorization/Authenticate", "/keygate.v1.Authorization/ManageKeys"] {
        let refused = raw_call(&keygate, path, groups.clone()).await.unwrap_err();
        assert_eq!(refused, Code::Internal, "{path}");
    }
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    keygate.authenticate(by_key("recurr", &key)).await.allowed();
}
