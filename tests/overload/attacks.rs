//! Attacks that take no credential, each over a few connections at a time, for a bounded time. An attacker whose connection is
//! ended opens another one.

use super::frames::{
    ASKED, AUTHENTICATE, CONTINUATION, DATA, END_HEADERS, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, WINDOW_UPDATE,
    Wire, call, frame, head, setting, streams, window,
};
use std::{future::Future, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Instant, sleep, sleep_until},
};

/// Connections of an attacker at a time.
pub const AT_A_TIME: usize = 8;

/// What came of an attack.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Connections that were opened.
    pub opened: usize,
    /// Those of them that the server ended.
    pub ended: usize,
}

/// Attacks over a few connections at a time until then. `attack` gives whether the server ended its connection.
pub async fn repeatedly<F: Future<Output = bool> + Send + 'static>(
    until: Instant,
    attack: impl Fn() -> F + Clone + Send + 'static,
) -> Outcome {
    let attackers: Vec<_> = (0..AT_A_TIME)
        .map(|_| {
            let attack = attack.clone();
            tokio::spawn(async move {
                let mut outcome = Outcome::default();
                while Instant::now() < until {
                    outcome.opened += 1;
                    outcome.ended += usize::from(attack().await);
                }
                outcome
            })
        })
        .collect();
    let mut all = Outcome::default();
    for attacker in attackers {
        let outcome = attacker.await.expect("an attacker does not panic");
        all.opened += outcome.opened;
        all.ended += outcome.ended;
    }
    all
}

/// Sends a piece for each stream, many at a time, until then.
async fn pour(address: &str, until: Instant, piece: impl Fn(u32) -> Vec<u8>) -> bool {
    let Ok(mut wire) = Wire::open(address).await else { return false };
    let mut streams = streams();
    while Instant::now() < until {
        let batch: Vec<u8> = streams.by_ref().take(200).flat_map(&piece).collect();
        if !wire.send(&batch, until).await {
            return true;
        }
    }
    false
}

/// Every attack that is a flood of something, by name.
pub const FLOODS: [&str; 10] = [
    "rapid reset",
    "rapid reset of calls that are made",
    "made to reset",
    "CONTINUATION",
    "CONTINUATION, empty",
    "SETTINGS",
    "PING",
    "empty DATA",
    "windows",
    "streams too many",
];

/// One connection of a flood, until then. Gives whether the server ended it.
pub async fn flood(name: &'static str, address: String, until: Instant) -> bool {
    let address = address.as_str();
    match name {
        "rapid reset" => {
            let reset = 8_u32.to_be_bytes();
            let head = head(AUTHENTICATE);
            let begun = |at| frame(HEADERS, END_HEADERS, at, &head);
            pour(address, until, |at| [begun(at), frame(RST_STREAM, 0, at, &reset)].concat()).await
        }
        "rapid reset of calls that are made" => {
            // In the wire's own time: the call is in work, or done, when it is taken back.
            let Ok(mut wire) = Wire::open(address).await else { return false };
            for at in streams() {
                let taken_back = frame(RST_STREAM, 0, at, &8_u32.to_be_bytes());
                if Instant::now() >= until {
                    return false;
                }
                if !wire.send(&[call(at, AUTHENTICATE, ASKED), frame(PING, 0, 0, &[0; 8])].concat(), until).await
                    || !wire.send(&taken_back, until).await
                {
                    return true;
                }
            }
            false
        }
        "made to reset" => {
            // A window that grows by nothing is an error of the stream, which the server has to reset.
            let head = head(AUTHENTICATE);
            let begun = |at| frame(HEADERS, END_HEADERS, at, &head);
            pour(address, until, |at| [begun(at), frame(WINDOW_UPDATE, 0, at, &[0; 4])].concat()).await
        }
        "CONTINUATION" => {
            // A head without an end, with a header as long as one frame takes.
            let part = [&[0x00, 0x01, b'a', 0x7f, 0x81, 0x7e][..], &[b'x'; 16_256]].concat();
            let part = frame(CONTINUATION, 0, 1, &part);
            endless(address, until, &frame(HEADERS, 0, 1, &head(AUTHENTICATE)), &part).await
        }
        "CONTINUATION, empty" => {
            let part = frame(CONTINUATION, 0, 1, &[]).repeat(500);
            endless(address, until, &frame(HEADERS, 0, 1, &head(AUTHENTICATE)), &part).await
        }
        "SETTINGS" => endless(address, until, &[], &setting(4, 70_000).repeat(500)).await,
        "PING" => endless(address, until, &[], &frame(PING, 0, 0, b"ping pin").repeat(500)).await,
        "empty DATA" => {
            let begun = frame(HEADERS, END_HEADERS, 1, &head(AUTHENTICATE));
            endless(address, until, &begun, &frame(DATA, 0, 1, &[]).repeat(500)).await
        }
        "windows" => {
            let begun = frame(HEADERS, END_HEADERS, 1, &head(AUTHENTICATE));
            endless(address, until, &begun, &frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()).repeat(500)).await
        }
        "streams too many" => {
            let head = head(AUTHENTICATE);
            pour(address, until, |at| frame(HEADERS, END_HEADERS, at, &head)).await
        }
        unknown => panic!("no flood is called {unknown}"),
    }
}

/// Sends the same again and again.
async fn endless(address: &str, until: Instant, begin: &[u8], part: &[u8]) -> bool {
    let Ok(mut wire) = Wire::open(address).await else { return false };
    if !wire.send(begin, until).await {
        return true;
    }
    while Instant::now() < until {
        if !wire.send(part, until).await {
            return true;
        }
    }
    false
}

/// Every attack that holds something and lets it be, by name.
pub const HOLDS: [&str; 10] = [
    "no window",
    "a window of one byte",
    "nothing is read",
    "half a preface",
    "half a head",
    "half a frame",
    "a head, byte by byte",
    "a message, byte by byte",
    "half a message",
    "heads without end",
];

/// Opens so many connections that hold what they can, and lets them be until then or until the server ends them.
pub async fn hold(name: &'static str, address: &str, connections: usize, until: Instant) -> Outcome {
    let mut wires = Vec::new();
    let mut outcome = Outcome::default();
    for _ in 0..connections {
        if name == "half a preface" {
            let mut stream = TcpStream::connect(address).await.expect("the server listens");
            stream.write_all(&PREFACE[..10]).await.expect("it listens");
            wires.push(tokio::spawn(async move {
                let mut heard = Vec::new();
                let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut heard);
                tokio::time::timeout_at(until, read).await.is_ok()
            }));
            outcome.opened += 1;
            continue;
        }
        let settings = match name {
            "no window" => window(0),
            "a window of one byte" => window(1),
            _ => frame(SETTINGS, 0, 0, &[]),
        };
        let Ok(mut wire) = Wire::open_with(address, &settings).await else { continue };
        let calls = |path: &str| streams().take(250).flat_map(|at| call(at, path, ASKED)).collect::<Vec<_>>();
        let says = match name {
            "half a head" => frame(HEADERS, 0, 1, &head(AUTHENTICATE)),
            "half a frame" => frame(HEADERS, END_HEADERS, 1, &head(AUTHENTICATE))[..20].to_vec(),
            "a head, byte by byte" => frame(HEADERS, END_HEADERS, 1, &head(AUTHENTICATE))[..20].to_vec(),
            "a message, byte by byte" => {
                let begun = frame(HEADERS, END_HEADERS, 1, &head(AUTHENTICATE));
                [begun, frame(DATA, 0, 1, &[0; 1_000])[..20].to_vec()].concat()
            }
            "half a message" => {
                // Each announces as much as may come, and sends most of it.
                let part = [&[0, 0, 0, 0xff, 0xff][..], &[0; 900]].concat();
                let begun = |at| frame(HEADERS, END_HEADERS, at, &head(AUTHENTICATE));
                streams().take(250).flat_map(|at| [begun(at), frame(DATA, 0, at, &part)].concat()).collect()
            }
            "heads without end" => {
                let head = head(AUTHENTICATE);
                streams().take(250).flat_map(|at| frame(HEADERS, END_HEADERS, at, &head)).collect()
            }
            _ => calls(AUTHENTICATE),
        };
        wire.push(&says, until).await;
        outcome.opened += 1;
        wires.push(tokio::spawn(async move {
            if name == "nothing is read" {
                // Answers pile up: nothing is ever taken out of the socket.
                let mut streams = streams().skip(250);
                while Instant::now() < until {
                    let batch: Vec<u8> =
                        streams.by_ref().take(10).flat_map(|at| call(at, AUTHENTICATE, ASKED)).collect();
                    if !wire.push(&batch, until).await {
                        return true;
                    }
                    sleep(Duration::from_millis(20)).await;
                }
                return false;
            }
            if name.ends_with("byte by byte") {
                while Instant::now() < until {
                    if !wire.push(&[0], until).await {
                        return true;
                    }
                    sleep(Duration::from_millis(100)).await;
                }
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            wire.ended(left).await.is_some()
        }));
    }
    for wire in wires {
        outcome.ended += usize::from(wire.await.expect("nobody panics"));
    }
    if outcome.ended < outcome.opened {
        sleep_until(until).await;
    }
    outcome
}
