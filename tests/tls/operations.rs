//! TLS on the operations port.

use crate::{
    support::keygate::{DataDir, Keygate},
    world::{World, agree, until_closed},
};
use rustls::ALL_VERSIONS;
use std::fs;
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test]
async fn metrics_are_told_by_tls_to_whoever_shows_the_right_certificate() {
    let world = World::new();
    let settings = world.at().join("k.toml");
    let text = "[operations]\nlisten = \"127.0.0.1:0\"\n[operations.tls]\ncertificate_file = \"server.crt\"\n\
                key_file = \"server.key\"\nclient_ca_file = \"of-clients.pem\"\n";
    fs::write(&settings, text).unwrap();
    let keygate = Keygate::try_start(DataDir::new(), &["--config", settings.to_str().unwrap()]).await.unwrap();
    keygate.wait_for_output("operations   https://127.0.0.1:").await;
    let output = keygate.output();
    let (_, address) = output.split_once("operations   https://").unwrap();
    let (address, _) = address.split_once("/metrics").unwrap();
    let port: u16 = address.rsplit_once(':').unwrap().1.parse().unwrap();

    let ask = b"GET /metrics HTTP/1.1\r\nhost: k\r\nconnection: close\r\n\r\n";
    let right = world.client_files();
    for protocols in [&["http/1.1"][..], &["h2", "http/1.1"], &[]] {
        let mut stream = agree(port, &world.config(ALL_VERSIONS, protocols, Some(&right))).await.unwrap();
        stream.write_all(ask).await.unwrap();
        let page = String::from_utf8(until_closed(&mut stream).await).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("keygate_ready 1"), "{page}");
    }
    // Without one: in TLS 1.3 a client learns of it when it reads.
    let mut stream = agree(port, &world.config(ALL_VERSIONS, &[], None)).await.unwrap();
    let _ = stream.write_all(ask).await;
    assert_eq!(until_closed(&mut stream).await, b"");
    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(ask).await.unwrap();
    assert_eq!(until_closed(&mut plain).await.first(), Some(&21));
}

/// Also after a renewal, so that somebody is told while there is time.
#[tokio::test]
async fn metrics_tell_when_the_certificate_ends() {
    let world = World::new();
    let keygate = world.start("[operations]\nlisten = \"127.0.0.1:0\"\n[reload]\ncheck_every = \"0s\"\n", &[]).await;
    // The beginning of these years, in seconds since 1970.
    for (year, begins) in [(2040, 2_208_988_800.0), (2050, 2_524_608_000.0)] {
        world.authority.sign_until(world.at(), "next", &["127.0.0.1"], year).replace(&world.server);
        assert!(keygate.reload().await);
        let page = keygate.metrics().await;
        let told = |listener| page.sum("keygate_certificate_expires_timestamp_seconds", &[("listener", listener)]);
        assert_eq!((told("listen"), told("management"), told("operations")), (begins, 0.0, 0.0));
    }
}
