//! A real `redis-server` for one test: on a port and in a directory of its own, to be killed, paused and restarted.
//!
//! It runs with `deploy/redis/redis.conf`, as durable as keygate wants it. keygate comes to it as the user of
//! `deploy/redis/users.acl`, who may do nothing else; the harness comes as the default user, who may do everything here and
//! nothing there.
//!
//! Keep it in a local variable, never in a `static`: the server is stopped when the value is dropped.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Another server binary to test with, such as Valkey's or an older Redis.
const BINARY_VARIABLE: &str = "KEYGATE_TEST_REDIS";
/// Below the range from which the system takes ports for outgoing connections, also with the 10,000 that a cluster
/// adds for its bus: so nothing takes the port while the server is down.
const FIRST_PORT: u16 = 11_000;
const PORTS: u16 = 10_000;
const START_TIMEOUT: Duration = Duration::from_secs(20);
/// How long one command of the harness may take, a paused server included.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings and users that keygate's operators are given, and what stands there for the hash of a password that each
/// makes up.
const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/redis.conf");
const USERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis/users.acl");
const HASH: &str = "PASSWORD_SHA256";
const PASSWORD: &str = "password-of-the-tests";
/// How the line of the default user begins there: nobody comes in as that one.
const DEFAULT_USER: &str = "user default off ";

/// The server binary to test with.
pub fn binary() -> String {
    env::var(BINARY_VARIABLE).unwrap_or_else(|_| "redis-server".to_owned())
}

/// A running, paused or killed server.
pub struct RedisServer {
    binary: String,
    child: Option<Child>,
    port: u16,
    dir: TempDir,
    extra: Vec<String>,
}

impl RedisServer {
    /// Starts a server with the shipped settings.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with more arguments, such as `["--maxmemory", "10mb"]`. They win over the defaults.
    pub fn start_with(extra: &[&str]) -> Self {
        Self::start_binary(&binary(), extra).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// The same with this server binary, or why it does not start.
    pub fn start_binary(binary: &str, extra: &[&str]) -> Result<Self, String> {
        let dir = TempDir::with_prefix("keygate-redis-").expect("a temporary directory can be made");
        let extra = extra.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { binary: binary.to_owned(), child: None, port: 0, dir, extra };
        for _ in 0..20 {
            server.port = free_port();
            match server.launch() {
                Ok(()) => return Ok(server),
                Err(Launch::PortTaken) => {}
                Err(Launch::Failed(reason)) => return Err(reason),
            }
        }
        Err(format!("no free port was found for `{binary}`"))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address for keygate, with its user and password.
    pub fn url(&self) -> String {
        format!("redis://keygate:{PASSWORD}@127.0.0.1:{}", self.port)
    }

    /// Where it keeps its data and its log.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Kills it with SIGKILL: nothing is flushed, no connection is closed properly. Does nothing if it is dead.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("our own child can be killed");
            child.wait().expect("our own child can be waited for");
        }
    }

    /// Kills it if it runs, and starts it again on the same port with its data.
    pub fn restart(&mut self) {
        self.kill();
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.launch() {
                Ok(()) => return,
                Err(Launch::PortTaken) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                Err(Launch::PortTaken) => panic!("port {} was taken while `redis-server` was down", self.port),
                Err(Launch::Failed(reason)) => panic!("{reason}"),
            }
        }
    }

    /// The same, with all its data gone.
    pub fn restart_empty(&mut self) {
        self.kill();
        for entry in fs::read_dir(self.dir()).expect("the server's directory can be read") {
            let path = entry.expect("the server's directory can be read").path();
            let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            gone.expect("the server's data can be removed");
        }
        self.restart();
    }

    /// Stops it with SIGSTOP: sockets stay open, connections are accepted, no answer comes.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after `pause`.
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Sets a parameter until the next restart.
    pub fn config_set(&self, key: &str, value: &str) {
        assert_eq!(self.cli(&["CONFIG", "SET", key, value]), "OK", "`CONFIG SET {key} {value}` was refused");
    }

    /// Runs one command and returns the answer as `redis-cli` prints it into a pipe: one element a line, nothing for
    /// nil, and `(error) …` for an error.
    pub fn cli(&self, arguments: &[&str]) -> String {
        ask(self.port, arguments, REPLY_TIMEOUT)
            .unwrap_or_else(|error| panic!("`{}` got no answer: {error}", arguments.join(" ")))
    }

    fn signal(&self, name: &str) {
        let child = self.child.as_ref().expect("the server runs");
        // The shell's own `kill`: the program of that name is not installed everywhere.
        let status = Command::new("sh").args(["-c", &format!("kill -{name} {}", child.id())]).status();
        assert!(status.expect("`sh` can be started").success(), "SIG{name} could not be sent to `redis-server`");
    }

    /// Starts the process and waits until it, and not some other server on this port, answers.
    fn launch(&mut self) -> Result<(), Launch> {
        let log = self.dir.path().join("redis.log");
        let config = self.write_config(&log).expect("the server's directory can be written");
        let binary = &self.binary;
        let mut command = Command::new(binary);
        command.arg(config).args(&self.extra).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| Launch::Failed(cannot_start(binary, &error)))?;

        let id = format!("process_id:{}", child.id());
        let child = self.child.insert(child);
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            if let Some(status) = child.try_wait().expect("our own child can be waited for") {
                self.child = None;
                let text = fs::read_to_string(&log).unwrap_or_default();
                if text.contains("Address already in use") {
                    fs::remove_file(&log).expect("the log can be removed");
                    return Err(Launch::PortTaken);
                }
                let reason = format!("`{binary}` ended at once ({status}); its log:\n{text}");
                return Err(Launch::Failed(reason));
            }
            if answers(self.port, &id) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let reason = format!("`{binary}` did not answer within {START_TIMEOUT:?}; see `{}`", log.display());
                return Err(Launch::Failed(reason));
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn write_config(&self, log: &Path) -> io::Result<PathBuf> {
        let path = self.dir.path().join("redis.conf");
        let users = self.dir.path().join("users.acl");
        fs::write(&users, test_users())?;
        let shipped = read(SETTINGS);
        // Of a setting that stands twice the second holds.
        let own = format!(
            "port {}\nbind 127.0.0.1\ndir \"{}\"\nlogfile \"{}\"\ndaemonize no\naclfile \"{}\"\n",
            self.port,
            self.dir.path().display(),
            log.display(),
            users.display()
        );
        let text = shipped + &own;
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// The shipped users, with a password.
pub fn shipped_users() -> String {
    let shipped = read(USERS);
    assert_eq!(shipped.matches(HASH).count(), 1, "`{USERS}` names one password");
    assert!(shipped.starts_with(DEFAULT_USER), "`{USERS}` lets the default user in");
    shipped.replace(HASH, &HEXLOWER.encode(&Sha256::digest(PASSWORD)))
}

/// The same, with a default user for the harness.
fn test_users() -> String {
    shipped_users().replace(DEFAULT_USER, "user default on nopass ")
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("`{path}`: {error}"))
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing to be done about an error here, and a panic would hide the one that brought us here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

enum Launch {
    PortTaken,
    Failed(String),
}

fn cannot_start(binary: &str, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return format!(
            "`{binary}` was not found on PATH, and these tests need a real one: `apt-get install redis-server`, or set \
             {BINARY_VARIABLE} to the path of one"
        );
    }
    format!("`{binary}` could not be started: {error}")
}

/// Has the process that calls itself `id` loaded its data, and does it answer on `port`?
fn answers(port: u16, id: &str) -> bool {
    let ask = |arguments: &[&str]| ask(port, arguments, Duration::from_secs(1));
    ask(&["PING"]).is_ok_and(|reply| reply == "PONG")
        && ask(&["INFO", "server"]).is_ok_and(|reply| reply.lines().any(|line| line == id))
}

/// Sends one command on a connection of its own and reads the answer.
fn ask(port: u16, arguments: &[&str], timeout: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(Ipv4Addr::LOCALHOST, port).into(), timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut request = format!("*{}\r\n", arguments.len());
    for argument in arguments {
        request += &format!("${}\r\n{argument}\r\n", argument.len());
    }
    stream.write_all(request.as_bytes())?;
    read_reply(&mut BufReader::new(stream))
}

/// A port on which nothing listens now. Processes begin at different places, so that they seldom meet.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from((process::id().wrapping_mul(131)) % u32::from(PORTS)).expect("it is below `PORTS`");
    let mut ports = (0..PORTS).map(|_| FIRST_PORT + (start + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS);
    ports
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("one of ten thousand ports is free")
}

/// Reads one reply of the Redis protocol (RESP2).
fn read_reply(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.strip_suffix("\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let Some((kind, rest)) = line.split_at_checked(1) else { return Err(io::ErrorKind::InvalidData.into()) };
    let length = || rest.parse::<i64>().map_err(io::Error::other);
    match kind {
        "+" | ":" => Ok(rest.to_owned()),
        "-" => Ok(format!("(error) {rest}")),
        "$" => {
            let Ok(length) = usize::try_from(length()?) else { return Ok(String::new()) };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes)?;
            bytes.truncate(length);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        "*" => {
            let elements: io::Result<Vec<String>> = (0..length()?.max(0)).map(|_| read_reply(reader)).collect();
            Ok(elements?.join("\n"))
        }
        _ => Err(io::Error::other(format!("`{line}` is no reply of the Redis protocol"))),
    }
}
