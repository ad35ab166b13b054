//! The test harness is tested too: a Redis that is not what it claims to be would make every test on it worthless.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::json;
use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};
use support::{
    python::{PythonClient, python, python_client},
    redis::{self, RedisServer},
};

fn running(id: &str) -> bool {
    Command::new("sh").args(["-c", &format!("kill -0 {id} 2>/dev/null")]).status().unwrap().success()
}

fn process_id(redis: &RedisServer) -> String {
    let info = redis.cli(&["INFO", "server"]);
    info.lines().find_map(|line| line.strip_prefix("process_id:")).unwrap().to_owned()
}

#[test]
fn redis_starts_durable_and_answers() {
    let redis = RedisServer::start();
    assert_eq!(redis.cli(&["PING"]), "PONG");
    assert!(redis.url().ends_with(&format!("@127.0.0.1:{}", redis.port())));
    assert_eq!(redis.cli(&["CONFIG", "GET", "appendonly"]), "appendonly\nyes");
    assert_eq!(redis.cli(&["CONFIG", "GET", "save"]), "save\n");
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory-policy"]), "maxmemory-policy\nnoeviction");
    assert_eq!(redis.cli(&["CONFIG", "GET", "dir"]), format!("dir\n{}", redis.dir().display()));
}

#[test]
fn redis_answers_of_every_kind_are_read() {
    let redis = RedisServer::start();
    assert_eq!(redis.cli(&["SET", "a key", "two\r\nlines"]), "OK");
    assert_eq!(redis.cli(&["GET", "a key"]), "two\r\nlines");
    assert_eq!(redis.cli(&["GET", "none"]), "");
    assert_eq!(redis.cli(&["INCR", "n"]), "1");
    assert_eq!(redis.cli(&["MGET", "n", "none", "n"]), "1\n\n1");
    assert_eq!(redis.cli(&["NONSENSE"]).split_whitespace().take(2).collect::<Vec<_>>(), ["(error)", "ERR"]);
    assert_eq!(redis.cli(&["EVAL", "return {1, {'a', 'b'}, redis.status_reply('fine')}", "0"]), "1\na\nb\nfine");
}

#[test]
fn redis_takes_more_arguments_and_changes_them_while_running() {
    let redis = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru", "--maxmemory", "20mb"]);
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory-policy"]), "maxmemory-policy\nallkeys-lru");
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory"]), "maxmemory\n20971520");
    redis.config_set("maxmemory-policy", "noeviction");
    assert_eq!(redis.cli(&["CONFIG", "GET", "maxmemory-policy"]), "maxmemory-policy\nnoeviction");
}

#[test]
fn redis_comes_back_with_its_data_or_without() {
    let mut redis = RedisServer::start_with(&["--appendfsync", "always"]);
    let port = redis.port();
    redis.cli(&["SET", "a", "1"]);

    redis.kill();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "a killed server listens no more");
    redis.restart();
    assert_eq!((redis.port(), redis.cli(&["GET", "a"])), (port, "1".to_owned()));

    redis.restart_empty();
    assert_eq!((redis.port(), redis.cli(&["DBSIZE"])), (port, "0".to_owned()));
}

#[test]
fn redis_paused_is_silent_and_goes_on() {
    let redis = RedisServer::start();
    redis.pause();
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut reply = [0; 7];
    let silent = stream.read(&mut reply).unwrap_err();
    assert!(matches!(silent.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{silent}");

    redis.resume();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"+PONG\r\n");
}

#[test]
fn redis_ends_with_its_value_even_when_paused() {
    let redis = RedisServer::start();
    let (id, dir) = (process_id(&redis), redis.dir().to_owned());
    assert!(running(&id));
    redis.pause();
    drop(redis);
    assert!(!running(&id));
    assert!(!dir.exists());
}

#[test]
fn many_redis_at_once_keep_apart() {
    let servers: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = (0..8).map(|_| scope.spawn(RedisServer::start)).collect();
        starting.into_iter().map(|server| server.join().unwrap()).collect()
    });
    for (index, redis) in servers.iter().enumerate() {
        redis.cli(&["SET", "who", &index.to_string()]);
    }
    for (index, redis) in servers.iter().enumerate() {
        assert_eq!(redis.cli(&["GET", "who"]), index.to_string());
    }
}

#[test]
fn redis_waits_for_its_port_on_restart() {
    let mut redis = RedisServer::start();
    redis.kill();
    let other = TcpListener::bind(("127.0.0.1", redis.port())).unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            thread::sleep(Duration::from_millis(300));
            drop(other);
        });
        redis.restart();
    });
    assert_eq!(redis.cli(&["PING"]), "PONG");
}

#[test]
fn redis_that_cannot_start_says_why() {
    let why = |binary: &str, extra: &[&str]| RedisServer::start_binary(binary, extra).err().unwrap();
    let missing = why("no-such-redis", &[]);
    assert!(missing.contains("apt-get install redis-server"), "{missing}");
    let refused = why(&redis::binary(), &["--no-such-parameter", "1"]);
    assert!(refused.contains("` ended at once"), "{refused}");
}

/// The server beside the Python client. It ends with its standard input, so with this value.
struct Echo {
    child: Child,
    client: PythonClient,
}

impl Echo {
    /// With reflection under `grpc.reflection.{version}` only.
    fn start(version: &str) -> Self {
        let mut command = python("python", "echo.py");
        let mut child = command.arg(version).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let client = python_client(format!("127.0.0.1:{}", port.trim()));
        Self { child, client }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn python_calls_by_either_version_of_reflection() {
    for version in ["v1", "v1alpha"] {
        let echo = Echo::start(version);
        let request =
            json!({"some_text": "ä \"quoted\"", "big_number": "9007199254740993", "at": "2026-01-02T03:04:05Z"});
        let metadata = [("x-a", "b=c"), ("x-b-bin", "AAE="), ("authorization", "Bearer x")];
        let mut expected = request.clone();
        expected["metadata"] = json!(["x-a=b=c", "x-b-bin=b'\\x00\\x01'"]);
        assert_eq!(echo.client.call("echo.v1.Echo/Say", &request, &metadata), Ok(expected));

        let defaults = json!({"some_text": "", "big_number": "0", "metadata": []});
        assert_eq!(echo.client.call("echo.v1.Echo/Say", &json!({}), &[]), Ok(defaults));
    }
}

#[test]
fn python_reports_grpc_errors_with_their_details() {
    let echo = Echo::start("v1");
    let refused = json!({
        "code": "INVALID_ARGUMENT",
        "message": "`some_text` is refused",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": [{"field": "some_text", "description": "must be empty", "reason": ""}],
            },
            {"@type": "type.googleapis.com/echo.v1.Unknown", "value": "AQI="},
        ],
    });
    assert_eq!(echo.client.call("echo.v1.Echo/Refuse", &json!({}), &[]), Err(refused));

    let nobody = python_client("127.0.0.1:1").call("echo.v1.Echo/Say", &json!({}), &[]).unwrap_err();
    assert_eq!(nobody["code"], "UNAVAILABLE");
}

#[test]
fn python_asks_for_health() {
    let echo = Echo::start("v1");
    assert_eq!(echo.client.health(""), Ok(json!({"status": "SERVING"})));
    assert_eq!(echo.client.health("echo.v1.Echo"), Ok(json!({"status": "NOT_SERVING"})));
    assert_eq!(echo.client.health("none").unwrap_err()["code"], "NOT_FOUND");
}

#[test]
#[should_panic(expected = "has no field named \"nonsense\"")]
fn python_takes_no_request_that_does_not_fit() {
    let _ = Echo::start("v1").client.call("echo.v1.Echo/Say", &json!({"nonsense": 1}), &[]);
}
