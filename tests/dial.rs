//! What keygate asks of others goes over TLS that is verified, and over connections that are bounded.

mod support;

use bytes::Bytes;
use http::Request;
use keygate::dial::{Bounds, Site, Trust};
use std::{fs, io, net::SocketAddr, time::Duration};
use support::certificates::{Authority, Files};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const BOUNDS: Bounds = Bounds { time: Duration::from_secs(5), body_bytes: 64 };

/// Reads a request's head, answers with these bytes, and keeps the connection open if `open`.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8], open: bool) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    stream.write_all(answer).await?;
    stream.flush().await?;
    if open {
        tokio::time::sleep(Duration::from_secs(20)).await;
    }
    stream.shutdown().await?;
    Ok(head)
}

/// A service that shows a certificate, or none; answers every request alike.
async fn service(identity: Option<&Files>, says: &'static [u8], open: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = identity.map(|identity| TlsAcceptor::from(identity.server()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => answer(acceptor.accept(stream).await?, says, open).await,
                    None => answer(stream, says, open).await,
                }
            });
        }
    });
    address
}

const FINE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

/// What comes of asking: the body, or the problem.
async fn ask(url: &str, trust: Trust<'_>, bounds: Bounds) -> Result<String, String> {
    let site = Site::open(&url.parse().unwrap(), trust).map_err(|error| error.to_string())?;
    let request = Request::get(site.target()).body(Bytes::new()).unwrap();
    let answer = site.send(request, bounds).await.map_err(|error| error.to_string())?;
    Ok(format!("{} {}", answer.status.as_u16(), String::from_utf8_lossy(&answer.body)))
}

#[tokio::test]
async fn a_service_is_asked_that_shows_a_certificate_of_a_trusted_authority_for_its_name() {
    let files = TempDir::new().unwrap();
    let (ours, others) = (Authority::new(files.path(), "ours"), Authority::new(files.path(), "others"));
    let (trusted, distrusted) = (&ours.file, &others.file);
    let good = service(Some(&ours.sign(files.path(), "good", &["127.0.0.1", "localhost"])), FINE, false).await;
    let url = format!("https://{good}/keys?a=b");
    assert_eq!(ask(&url, Trust::File(trusted), BOUNDS).await, Ok("200 fine".to_owned()));
    let by_name = format!("https://localhost:{}/", good.port());
    assert_eq!(ask(&by_name, Trust::File(trusted), BOUNDS).await, Ok("200 fine".to_owned()));

    let elsewhere = service(Some(&ours.sign(files.path(), "elsewhere", &["service.example"])), FINE, false).await;
    let old = service(Some(&ours.sign_until(files.path(), "old", &["127.0.0.1"], 2020)), FINE, false).await;
    let plain = {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { listener.accept().await?.0.write_all(b"220 a mail server\r\n").await });
        address
    };
    for (what, url, trust, told) in [
        ("another authority", &url, Trust::File(distrusted), "UnknownIssuer"),
        ("this machine's authorities", &url, Trust::Machine, "UnknownIssuer"),
        ("another name", &format!("https://{elsewhere}/"), Trust::File(trusted), "not valid for name"),
        ("one of old", &format!("https://{old}/"), Trust::File(trusted), "expired"),
        ("no TLS", &format!("https://{plain}/"), Trust::File(trusted), "InvalidContentType"),
    ] {
        let problem = ask(url, trust, BOUNDS).await.unwrap_err();
        assert!(problem.starts_with("it cannot be trusted: ") && problem.contains(told), "{what}: {problem}");
    }
}

#[tokio::test]
async fn files_of_authorities_that_are_none_are_told_before_anybody_is_asked() {
    let files = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        fs::write(files.path().join(name), text).unwrap();
        files.path().join(name)
    };
    let key = Authority::new(files.path(), "ours").sign(files.path(), "x", &["x"]).key;
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (path, told) in [
        (files.path().join("absent"), "cannot be read as certificates"),
        (file("empty", ""), "holds no certificate"),
        (key, "holds no certificate"),
        (file("nonsense", nonsense), "holds a certificate that is not legal"),
    ] {
        let problem = ask("https://127.0.0.1:1/", Trust::File(&path), BOUNDS).await.unwrap_err();
        assert!(problem.contains(told) && problem.contains(path.to_str().unwrap()), "{problem}");
    }
}

#[tokio::test]
async fn an_answer_is_bounded_and_redirects_are_not_followed() {
    const LONG: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n\
        aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const CUT: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nfine";
    const AWAY: &[u8] = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 4\r\n\r\naway";
    for (says, told) in [
        (LONG, Err("its answer cannot be read: ")),
        (CUT, Err("its answer cannot be read: ")),
        (b"SSH-2.0-nobody\r\n\r\n", Err("it does not answer in HTTP: ")),
        (b"", Err("it does not answer in HTTP: ")),
        (AWAY, Ok("302 ")),
    ] {
        let url = format!("http://{}/", service(None, says, false).await);
        match (ask(&url, Trust::Machine, BOUNDS).await, told) {
            (Ok(answer), Ok(told)) => assert_eq!(answer, told),
            (Err(problem), Err(told)) => assert!(problem.starts_with(told), "{problem}"),
            (came, told) => panic!("{came:?} in place of {told:?}"),
        }
    }
    let endless = format!("http://{}/", service(None, CUT, true).await);
    let brief = Bounds { time: Duration::from_millis(300), ..BOUNDS };
    assert_eq!(ask(&endless, Trust::Machine, brief).await.unwrap_err(), "it did not answer within 300 ms");
    // A body that nobody asks for is not waited for.
    assert_eq!(ask(&endless, Trust::Machine, Bounds { body_bytes: 0, ..BOUNDS }).await, Ok("200 ".to_owned()));
    let nobody = ask("http://127.0.0.1:1/", Trust::Machine, BOUNDS).await.unwrap_err();
    assert!(nobody.starts_with("it cannot be reached: "), "{nobody}");
}
