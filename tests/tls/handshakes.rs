//! Whoever is let in, and whoever is not.

use crate::{
    support::{
        calls::{Answered, by_key},
        certificates::Authority,
        keygate::Keygate,
        operations::OPERATIONS,
    },
    world::{PATIENT, SOON, World, agree, until_closed},
};
use keygate::proto::v1::authorization_client::AuthorizationClient;
use rustls::{ALL_VERSIONS, version};
use std::time::{Duration, Instant};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tonic::transport::Channel;

/// A certificate of the clients' authority has to be shown.
const REQUIRED: &str = "client_ca_file = \"of-clients.pem\"";
const OPTIONAL: &str = "client_ca_file = \"of-clients.pem\"\nclient_certificates = \"optional\"";

async fn is_served(keygate: &Keygate, channel: Channel) -> bool {
    let ask = by_key("keygate", keygate.operator());
    AuthorizationClient::new(channel).authenticate(ask).await.is_ok_and(|answer| {
        answer.into_inner().allowed();
        true
    })
}

#[tokio::test]
async fn tls_1_2_and_1_3_are_spoken_and_http_2_inside() {
    let world = World::new();
    let keygate = world.start("", &[]).await;
    assert!(keygate.output().contains(" by TLS"), "{}", keygate.output());
    assert!(is_served(&keygate, keygate.channel()).await);
    for version in [&version::TLS12, &version::TLS13] {
        for (offered, agreed) in [(&["h2"][..], Some("h2")), (&["http/1.1", "h2"], Some("h2")), (&[], None)] {
            let stream = agree(keygate.port(), &world.config(&[version], offered, None)).await.unwrap();
            let connection = stream.get_ref().1;
            assert_eq!(connection.protocol_version(), Some(version.version));
            assert_eq!(connection.alpn_protocol(), agreed.map(str::as_bytes), "{offered:?}");
        }
        let refused = agree(keygate.port(), &world.config(&[version], &["http/1.1"], None)).await.unwrap_err();
        assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    }
}

#[tokio::test]
async fn whoever_trusts_another_authority_hangs_up() {
    let world = World::new();
    let keygate = world.start("", &[]).await;
    let mut client = world.client(None);
    client.authorities = Authority::new(world.at(), "another").file;
    assert!(!is_served(&keygate, client.channel(keygate.address())).await);
    assert!(is_served(&keygate, keygate.channel()).await);
}

#[tokio::test]
async fn clients_show_a_certificate_of_the_right_authority_or_are_refused() {
    for (words, none) in [(REQUIRED, false), (OPTIONAL, true)] {
        let world = World::asking(words);
        let keygate = world.start("", &OPERATIONS).await;
        let another = Authority::new(world.at(), "another");
        let right = world.client_files();
        let wrong = another.sign(world.at(), "wrong", &["client.example"]);
        let late = world.of_clients.sign_until(world.at(), "late", &["client.example"], 2001);
        let by_servers = world.authority.sign(world.at(), "of-the-servers", &["client.example"]);
        let before = keygate.metrics().await.sum("keygate_connections_refused_total", &[("reason", "no_tls")]);
        for (what, shown, served) in [
            ("right", Some(&right), true),
            ("none", None, none),
            ("of another authority", Some(&wrong), false),
            ("no longer valid", Some(&late), false),
            ("of the servers' authority", Some(&by_servers), false),
        ] {
            let client = world.client(shown).channel(keygate.address());
            assert_eq!(is_served(&keygate, client).await, served, "{what}, {words}");
        }
        // A client may hear of its refusal before that is counted.
        let least = if none { 3.0 } else { 4.0 };
        let begun = Instant::now();
        loop {
            let page = keygate.metrics().await;
            let refused = page.sum("keygate_connections_refused_total", &[("reason", "no_tls")]) - before;
            if refused >= least {
                break;
            }
            assert!(begun.elapsed() < SOON, "{refused}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        keygate.wait_for_output("no TLS was agreed on with a client").await;
    }
}

#[tokio::test]
async fn whoever_speaks_something_else_is_answered_at_once() {
    let world = World::new();
    // Nobody is cut off for being late here: what ends, ends because of what was said.
    let (secured, plain) = (world.start(PATIENT, &[]).await, {
        let settings = world.at().join("plain.toml");
        std::fs::write(&settings, PATIENT).unwrap();
        Keygate::start(&["--config", settings.to_str().unwrap()]).await
    });
    for said in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"[..], b"GET / HTTP/1.1\r\nhost: k\r\n\r\n"] {
        let mut stream = TcpStream::connect(secured.address()).await.unwrap();
        stream.write_all(said).await.unwrap();
        let answered = until_closed(&mut stream).await;
        // An alert of TLS.
        assert_eq!(answered.first(), Some(&21), "{answered:?}");
    }
    let refused = agree(plain.port(), &world.config(ALL_VERSIONS, &["h2"], None)).await.unwrap_err();
    assert!(refused.to_string().contains("corrupt message"), "{refused}");
    assert!(is_served(&secured, secured.channel()).await && is_served(&plain, plain.channel()).await);
}

/// Whoever takes long has a place meanwhile, holds nobody up, and is cut off.
#[tokio::test]
async fn a_slow_handshake_takes_a_place_and_is_cut_off() {
    let world = World::new();
    let patience = "[limits]\narrival_timeout = \"3s\"\nconnections = 20\n";
    let keygate = world.start(patience, &OPERATIONS).await;
    let config = world.config(ALL_VERSIONS, &["h2"], None);
    let mut silent = Vec::new();
    for at in 0..8 {
        let mut stream = TcpStream::connect(keygate.address()).await.unwrap();
        // The beginning of a record of TLS, of which the rest never comes.
        stream.write_all(&[22, 3, 1, 1, 0, 1][..at % 7]).await.unwrap();
        silent.push(stream);
    }
    // Agreed on TLS, and then never a word of HTTP/2.
    let mut agreed = agree(keygate.port(), &config).await.unwrap();
    assert!(is_served(&keygate, world.client(None).channel(keygate.address())).await);
    assert!(keygate.metrics().await.sum("keygate_connections", &[]) >= 9.0);
    for stream in &mut silent {
        until_closed(stream).await;
    }
    until_closed(&mut agreed).await;
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_refused_total", &[("reason", "no_tls")]) >= 8.0, "{}", page.text);
    keygate.wait_for_output("it did not begin in time").await;
    assert!(is_served(&keygate, keygate.channel()).await);
}

/// Whoever comes when all places are taken gets that of the handshake that stands still for longest.
#[tokio::test]
async fn handshakes_that_stand_still_keep_nobody_out() {
    let world = World::new();
    let keygate = world.start("[limits]\narrival_timeout = \"5m\"\nconnections = 4\n", &OPERATIONS).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(keygate.address()).await.unwrap();
        stream.write_all(&[22, 3, 1]).await.unwrap();
        silent.push(stream);
    }
    assert!(is_served(&keygate, world.client(None).channel(keygate.address())).await);
    for stream in &mut silent[..4] {
        until_closed(stream).await;
    }
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_connections_ended_total", &[("reason", "made_room")]) >= 4.0, "{}", page.text);
}

#[tokio::test]
async fn a_handshake_does_not_keep_the_server_from_ending() {
    let world = World::new();
    let mut keygate = world.start(PATIENT, &[]).await;
    let mut silent = TcpStream::connect(keygate.address()).await.unwrap();
    silent.write_all(&[22, 3, 1]).await.unwrap();
    assert!(keygate.terminate().await.success());
    until_closed(&mut silent).await;
}
