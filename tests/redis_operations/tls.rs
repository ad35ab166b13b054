//! TLS to Redis: who is trusted, who shows a certificate, and what is said when something does not fit.

use crate::{
    SOON, open, options, refusal,
    support::{
        certificates::{Authority, Files},
        redis::RedisServer,
    },
    until,
};
use keygate::{
    app::ports::Store,
    store::redis::{RedisOptions, TlsFiles},
};
use std::{fs, net::TcpListener, path::Path};
use tempfile::TempDir;

/// A Redis that speaks TLS on a port of its own.
struct Secure {
    redis: RedisServer,
    port: u16,
}

impl Secure {
    fn start(authority: &Path, own: &Files, asks: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let (port_text, certificate, key) = (port.to_string(), text(&own.certificate), text(&own.key));
        let authority = text(authority);
        let redis = RedisServer::start_with(&[
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            &certificate,
            "--tls-key-file",
            &key,
            "--tls-ca-cert-file",
            &authority,
            "--tls-auth-clients",
            asks,
        ]);
        Self { redis, port }
    }

    fn options(&self, tls: TlsFiles) -> RedisOptions {
        let url = self.redis.url().replace("redis://", "rediss://");
        let url = url.replace(&format!("127.0.0.1:{}", self.redis.port()), &format!("localhost:{}", self.port));
        RedisOptions { tls, ..options(&url) }
    }
}

fn trusting(file: &Path) -> TlsFiles {
    TlsFiles { ca_file: Some(file.to_owned()), ..TlsFiles::default() }
}

fn showing(file: &Path, own: &Files) -> TlsFiles {
    TlsFiles { identity: Some((own.certificate.clone(), own.key.clone())), ..trusting(file) }
}

fn folder() -> (TempDir, Authority) {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path(), "authority");
    (folder, authority)
}

#[tokio::test]
async fn a_server_that_is_trusted_is_rested_on_and_any_other_is_told() {
    let (folder, authority) = folder();
    let at = folder.path();
    let redis = Secure::start(&authority.file, &authority.sign(at, "redis", &["localhost"]), "no");
    open(redis.options(trusting(&authority.file))).await.unwrap().ping().await.unwrap();
    let place = format!("localhost:{}", redis.port);

    let stranger = Authority::new(at, "stranger");
    let text = refusal(redis.options(trusting(&stranger.file))).await;
    for part in [place.as_str(), "stranger.pem", "UnknownIssuer", "`ca_file` of `[store.redis.tls]`"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nobody on this machine trusts an authority that was just made.
    let text = refusal(redis.options(TlsFiles::default())).await;
    assert!(text.contains(&place) && text.contains("this machine"), "{text}");

    let named = TlsFiles { server_name: Some("redis.example".to_owned()), ..trusting(&authority.file) };
    let text = refusal(redis.options(named)).await;
    assert!(text.contains("redis.example") && text.contains("`server_name`"), "{text}");
    let plain =
        RedisOptions { tls: trusting(&authority.file), ..options(&redis.redis.url().replace("redis://", "rediss://")) };
    let text = refusal(plain).await;
    assert!(text.contains(&redis.redis.port().to_string()), "{text}");
}

#[tokio::test]
async fn a_certificate_for_another_name_or_another_time_is_told() {
    let (folder, authority) = folder();
    let at = folder.path();
    let redis = Secure::start(&authority.file, &authority.sign(at, "redis", &["redis.example"]), "no");
    let text = refusal(redis.options(trusting(&authority.file))).await;
    assert!(text.contains("localhost") && text.contains("redis.example"), "{text}");
    let named = TlsFiles { server_name: Some("redis.example".to_owned()), ..trusting(&authority.file) };
    open(redis.options(named)).await.unwrap();

    let old = Secure::start(&authority.file, &authority.sign_until(at, "old", &["localhost"], 2001), "no");
    let text = refusal(old.options(trusting(&authority.file))).await;
    assert!(text.contains("expired") && text.contains("valid today") && text.contains(&old.port.to_string()), "{text}");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one_or_the_start_says_which_is_missing() {
    let (folder, authority) = folder();
    let at = folder.path();
    let redis = Secure::start(&authority.file, &authority.sign(at, "redis", &["localhost"]), "yes");
    let own = authority.sign(at, "keygate", &["keygate"]);
    open(redis.options(showing(&authority.file, &own))).await.unwrap().ping().await.unwrap();

    let text = refusal(redis.options(trusting(&authority.file))).await;
    assert!(text.contains("certificate_file") && text.contains(&redis.port.to_string()), "{text}");
    let stranger = Authority::new(at, "stranger").sign(at, "foreign", &["keygate"]);
    let text = refusal(redis.options(showing(&authority.file, &stranger))).await;
    assert!(text.contains(&redis.port.to_string()), "{text}");
}

/// What is wrong with a file is told with its name before anybody is asked.
#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let (folder, authority) = folder();
    let at = folder.path();
    let (one, other) = (authority.sign(at, "one", &["a"]), authority.sign(at, "other", &["b"]));
    let (empty, odd) = (at.join("empty"), at.join("odd"));
    fs::write(&empty, "").unwrap();
    fs::write(&odd, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").unwrap();
    let identity = |certificate: &Path, key: &Path| TlsFiles {
        identity: Some((certificate.to_owned(), key.to_owned())),
        ..trusting(&authority.file)
    };
    for (tls, named, told) in [
        (trusting(&at.join("absent")), "absent", "cannot be read as certificates"),
        (trusting(&empty), "empty", "holds no certificate"),
        (trusting(&odd), "odd", "cannot be read as certificates"),
        (identity(&empty, &one.key), "empty", "holds no certificate"),
        (identity(&one.certificate, &empty), "empty", "cannot be read as a private key"),
        (identity(&one.certificate, &one.certificate), "one.crt", "cannot be read as a private key"),
        (identity(&one.certificate, &other.key), "other.key", "cannot be used together"),
    ] {
        let text = refusal(RedisOptions { tls, ..options("rediss://:hunter2@localhost:1") }).await;
        assert!(text.contains(&at.join(named).display().to_string()) && text.contains(told), "{named}, {told}: {text}");
        assert!(text.contains("[store.redis.tls]"), "{text}");
    }
}

#[tokio::test]
async fn renewed_files_are_used_for_the_next_connection() {
    let (folder, authority) = folder();
    let at = folder.path();
    let mut redis = Secure::start(&authority.file, &authority.sign(at, "redis", &["localhost"]), "yes");
    let own = authority.sign(at, "keygate", &["keygate"]);
    let store = open(redis.options(showing(&authority.file, &own))).await.unwrap();

    // The authority, the server's certificate and keygate's, all anew and under the same names.
    let renewed = Authority::new(at, "authority");
    renewed.sign(at, "redis", &["localhost"]);
    redis.redis.restart();
    let waited = std::time::Instant::now();
    while store.ping().await.is_ok() {
        assert!(waited.elapsed() < SOON);
    }
    renewed.sign(at, "keygate", &["keygate"]);
    let took = until("the renewed files are used", async || store.ping().await.is_ok()).await;
    println!("renewed: back after {took:?}");
}
