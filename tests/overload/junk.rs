//! Requests that mean nothing, as many as come: keys that nobody made, heads and messages too large, messages without a bottom.

use crate::{
    frames::{AUTHENTICATE, CONTINUATION, END_HEADERS, END_STREAM, HEADERS, Wire, call, frame, frames, head, streams},
    support::{
        calls::{Answered, by_key, well_formed},
        raw::raw_call,
        redis::RedisServer,
    },
    world::{self, attacked},
};
use keygate::proto::v1::AuthenticateRequest;
use prost::Message;
use std::{env, time::Duration};
use tokio::time::{Instant, timeout};
use tonic::Code;

/// Keys of each kind. A million of them takes minutes where nothing is optimized: `KEYGATE_TEST_JUNK=1000000` does it.
fn many() -> usize {
    env::var("KEYGATE_TEST_JUNK").map_or(24_000, |many| many.parse().expect("a number"))
}

/// Connections that send them, and how many of them each sends at a time.
const SCANNERS: usize = 4;
const AT_A_TIME: usize = 100;
/// Lookups that an address has in ten seconds, and out of how many beyond them one is done.
const BUDGET: usize = 100;
const LOTTERY: usize = 16;

/// Asks with so many keys, no two of them the same, over several connections.
async fn scan(address: &str, many: usize, request: impl Fn(usize) -> AuthenticateRequest + Clone + Send + 'static) {
    let scanners: Vec<_> = (0..SCANNERS)
        .map(|scanner| {
            let (address, request) = (address.to_owned(), request.clone());
            tokio::spawn(async move {
                let mut wire = Wire::open(&address).await.unwrap();
                let mut all = streams().zip((scanner..many).step_by(SCANNERS)).peekable();
                while all.peek().is_some() {
                    let some: Vec<_> = all.by_ref().take(AT_A_TIME).collect();
                    let calls =
                        some.iter().flat_map(|(at, key)| call(*at, AUTHENTICATE, &request(*key).encode_to_vec()));
                    assert!(wire.ask(&calls.collect::<Vec<u8>>(), some.len()).await, "whoever asks is answered");
                }
            })
        })
        .collect();
    for scanner in scanners {
        scanner.await.expect("a scanner does not panic");
    }
}

/// The scripts that Redis ran: a lookup is one.
fn scripts(redis: &RedisServer) -> usize {
    let stats = redis.cli(&["INFO", "commandstats"]);
    let count = stats.lines().find_map(|line| line.trim().strip_prefix("cmdstat_evalsha:calls="));
    count.map_or(0, |count| count.split(',').next().unwrap().parse().expect("a number"))
}

/// Junk of one kind.
struct Junk {
    name: &'static str,
    /// The question with the key of that number.
    request: fn(usize) -> AuthenticateRequest,
    /// Keys that may be looked up of so many, sent in that time.
    most: fn(usize, Duration) -> usize,
}

fn fit(kind: u8, at: usize) -> AuthenticateRequest {
    by_key("recurr", &well_formed("rk_live_", &format!("{kind}{at:025}")))
}

const JUNK: [Junk; 3] = [
    Junk {
        name: "keys with a wrong checksum",
        request: |at| by_key("recurr", &format!("rk_live_0{at:025}000000")),
        most: |_, _| 0,
    },
    Junk {
        name: "keys that nobody made, from one address",
        request: |at| AuthenticateRequest { source_address: "192.0.2.66".to_owned(), ..fit(1, at) },
        most: |many, lasted| (seconds(lasted) / 10 + 2) * BUDGET + 2 * many / LOTTERY,
    },
    Junk { name: "keys that nobody made, from who knows where", request: |at| fit(2, at), most: |many, _| many },
];

fn seconds(lasted: Duration) -> usize {
    usize::try_from(lasted.as_secs()).expect("not long")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_nobody_made() {
    let redis = RedisServer::start();
    let settings = format!("[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{}\"\ndeadline = \"1s\"", redis.url());
    let keygate = world::server_with(&settings, &[]).await;
    let (many, address) = (many(), keygate.address().to_owned());
    for Junk { name, request, most } in JUNK {
        let (before, began) = (scripts(&redis), Instant::now());
        attacked(&keygate, name, scan(&address, many, request)).await;
        let (ran, lasted) = (scripts(&redis) - before, began.elapsed());
        println!("{name}: {many} in {lasted:?}, {ran} scripts of Redis");
        // Of the client that behaves, and of the watch over health.
        let usual = 2_000 + 100 * seconds(lasted);
        assert!(ran <= most(many, lasted) + usual, "{name}: Redis ran {ran} scripts for {many} keys");
    }
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
