//! Where a server listens and what it says of its health, until its very end.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

mod support;

use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};
use support::{
    calls::{Answered, by_key},
    keygate::{BINARY, DataDir, Keygate},
};
use tonic::{
    Code, Request,
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

async fn health(channel: Channel, service: &str) -> Result<ServingStatus, Code> {
    let request = Request::new(HealthCheckRequest { service: service.to_owned() });
    let answer = HealthClient::new(channel).check(request).await;
    answer.map(|answer| answer.into_inner().status()).map_err(|status| status.code())
}

async fn on_socket(path: &Path) -> Channel {
    let endpoint = Endpoint::from_shared(format!("unix:{}", path.display())).unwrap();
    endpoint.connect().await.unwrap()
}

#[tokio::test]
async fn it_serves_on_a_unix_socket_beside_its_port_and_removes_it() {
    let data = DataDir::new();
    let socket = data.path().join("k.sock");
    let settings = data.path().join("keygate.toml");
    fs::write(&settings, "listen_unix = \"k.sock\"\nlisten_unix_mode = \"0600\"\n").unwrap();
    let mut keygate = Keygate::try_start(data, &["--config", settings.to_str().unwrap()]).await.unwrap();
    keygate.wait_for_output(&format!("unix:{}", socket.display())).await;
    let found = fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket() && found.permissions().mode() & 0o777 == 0o600, "{found:?}");
    assert_eq!(health(on_socket(&socket).await, "").await, Ok(ServingStatus::Serving));
    keygate.authenticate(by_key("keygate", keygate.operator())).await.allowed();

    // The command line reaches it there.
    let endpoint = format!("unix:{}", socket.display());
    let mut command = Command::new(BINARY);
    command.args(["authenticate", "--endpoint", &endpoint, "--realm", "keygate", "--key-stdin"]);
    let key = fs::File::open(keygate.data_dir().join("operator.key")).unwrap();
    let done = command.stdin(key).output().unwrap();
    assert!(done.status.success(), "{done:?}");

    // A second server leaves it alone and says why it does not start.
    let second = ["--listen-unix", socket.to_str().unwrap()];
    let refused = Keygate::try_start(DataDir::new(), &second).await.err().unwrap();
    assert!(refused.output.contains("another server listens there"), "{}", refused.output);
    assert_eq!(health(on_socket(&socket).await, "").await, Ok(ServingStatus::Serving));

    // A killed server leaves the file; the next one takes its place.
    keygate.kill();
    assert!(socket.exists());
    keygate.restart().await;
    assert_eq!(health(on_socket(&socket).await, "").await, Ok(ServingStatus::Serving));
    assert!(keygate.terminate().await.success());
    assert!(!socket.exists());
}

#[tokio::test]
async fn nothing_but_a_socket_is_replaced() {
    let data = DataDir::new();
    let file = data.path().join("file");
    fs::write(&file, "precious").unwrap();
    let refused = Keygate::try_start(DataDir::new(), &["--listen-unix", file.to_str().unwrap()]).await.err().unwrap();
    assert!(refused.output.contains("no socket"), "{}", refused.output);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let missing = data.path().join("no/such/k.sock");
    let refused =
        Keygate::try_start(DataDir::new(), &["--listen-unix", missing.to_str().unwrap()]).await.err().unwrap();
    assert!(refused.output.contains("cannot listen on the socket"), "{}", refused.output);
}

#[tokio::test]
async fn health_has_a_name_for_every_probe() {
    let keygate = Keygate::start(&[]).await;
    let services = [
        "keygate.v1.Authorization",
        "envoy.service.auth.v3.Authorization",
        "envoy.service.ratelimit.v3.RateLimitService",
    ];
    for name in ["", "readiness", "liveness"].iter().chain(&services) {
        assert_eq!(health(keygate.channel(), name).await, Ok(ServingStatus::Serving), "{name}");
    }
    assert_eq!(health(keygate.channel(), "nonsense").await, Err(Code::NotFound));
}

#[tokio::test]
async fn readiness_goes_with_the_store_and_liveness_does_not() {
    let mut stack = support::stack::Stack::redis(&[]).await;
    stack.redis.as_mut().unwrap().kill();
    stack.wait_for_health(ServingStatus::NotServing, Duration::from_secs(10)).await;
    assert_eq!(health(stack.channel(), "readiness").await, Ok(ServingStatus::NotServing));
    assert_eq!(health(stack.channel(), "liveness").await, Ok(ServingStatus::Serving));
}

#[tokio::test]
async fn it_says_goodbye_goes_on_for_a_while_and_ends() {
    let data = DataDir::new();
    let settings = data.path().join("keygate.toml");
    fs::write(&settings, "drain_delay = \"2s\"\n").unwrap();
    let mut keygate = Keygate::try_start(data, &["--config", settings.to_str().unwrap()]).await.unwrap();
    let (channel, client, operator) = (keygate.channel(), keygate.client(), keygate.operator().to_owned());
    let began = Instant::now();
    let asked = tokio::spawn(async move {
        let mut client = client;
        let mut said_goodbye = false;
        let mut answered = 0;
        while !said_goodbye {
            said_goodbye = health(channel.clone(), "readiness").await == Ok(ServingStatus::NotServing);
        }
        assert_eq!(health(channel.clone(), "liveness").await, Ok(ServingStatus::Serving));
        // It still decides after it has said that it goes.
        for _ in 0..20 {
            client.authenticate(by_key("keygate", &operator)).await.unwrap().into_inner().allowed();
            answered += 1;
        }
        answered
    });
    assert!(keygate.terminate().await.success());
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(asked.await.unwrap(), 20);
}

/// The system asks whether somebody is there when a connection is silent for long: nobody else does.
#[tokio::test]
async fn the_system_watches_over_silent_connections() {
    let keygate = Keygate::start(&[]).await;
    let client = std::net::TcpStream::connect(keygate.address()).unwrap();
    let hex = |address: std::net::SocketAddr| format!("0100007F:{:04X}", address.port());
    let (ours, theirs) = (hex(client.local_addr().unwrap()), hex(client.peer_addr().unwrap()));
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        // Local address, remote address, state, queues, then the timer that runs: 02 is that of keep-alive.
        let table = fs::read_to_string("/proc/net/tcp").unwrap();
        let mut rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        if let Some(row) = rows.find(|row| row.get(1) == Some(&theirs.as_str()) && row.get(2) == Some(&ours.as_str()))
            && row[5].starts_with("02:")
        {
            return;
        }
        assert!(Instant::now() < deadline, "no timer runs for the connection");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
