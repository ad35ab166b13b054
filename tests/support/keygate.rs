//! A real `keygate serve` for one test: on a port and in a data directory of its own, to be killed and restarted.
//!
//! Whatever it prints is kept, and every secret that went through this harness is looked for in it: when a server ends, the
//! test fails if one of them was printed. Errors are searched as they come.

use super::{files, realms};
use hyper_util::rt::TokioIo;
use keygate::{
    dial::{self, Identity, Tls, Trust},
    proto::v1::authorization_client::AuthorizationClient,
};
use std::{
    env,
    error::Error,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// The binary under test.
pub const BINARY: &str = env!("CARGO_BIN_EXE_keygate");
const START_TIMEOUT: Duration = Duration::from_secs(20);
const ANY_PORT: &str = "127.0.0.1:0";
/// Less than the server waits for connections to drain: none may keep it from ending.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// What the server prints before the address where it listens.
const LISTENING: &str = "listening on ";

/// A server, or what is left of one.
pub struct Keygate {
    process: Option<Process>,
    arguments: Vec<String>,
    data: DataDir,
    address: String,
    channel: Channel,
    operator: String,
    printed: Arc<Mutex<Vec<u8>>>,
    secrets: Mutex<Vec<String>>,
    secured: Option<Secured>,
}

/// How a client speaks TLS: whom it trusts, and what it shows.
#[derive(Debug, Clone)]
pub struct Secured {
    pub authorities: PathBuf,
    /// A certificate and its key.
    pub shown: Option<(PathBuf, PathBuf)>,
}

/// How a server ended that did not start.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub output: String,
    pub after: Duration,
}

/// Where a server keeps its data.
pub enum DataDir {
    /// Removed with the server.
    Own(TempDir),
    /// Left as it is.
    Given(PathBuf),
}

struct Process {
    child: Child,
    readers: Vec<JoinHandle<()>>,
}

impl Keygate {
    /// Starts a server with a new data directory and these arguments, and waits until it says that it serves.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::try_start(DataDir::new(), arguments).await.unwrap_or_else(|ended| panic!("keygate ended: {ended:#?}"))
    }

    /// The same with this data directory, or how the server ended.
    pub async fn try_start(data: DataDir, arguments: &[&str]) -> Result<Self, Ended> {
        Self::try_start_secured(data, arguments, None).await
    }

    /// The same, and its clients speak TLS.
    pub async fn try_start_secured(data: DataDir, arguments: &[&str], secured: Option<Secured>) -> Result<Self, Ended> {
        let mut arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        if !arguments.iter().any(|argument| argument == "--realm-file") && !names_realms(&arguments) {
            arguments.extend(["--realm-file".to_owned(), realms::shipped().display().to_string()]);
        }
        let given = |name| arguments.iter().any(|argument| argument == name);
        if given("--redis-url") && !given("--config") {
            arguments.extend(["--config".to_owned(), files::patient().display().to_string()]);
        }
        let printed = Arc::default();
        let (process, address) = launch(&data, ANY_PORT, &arguments, &printed, secured.as_ref()).await?;
        let channel = connect(&address, secured.as_ref());
        let operator = fs::read_to_string(data.path().join("operator.key")).unwrap_or_default().trim().to_owned();
        let secrets = Mutex::new(Vec::new());
        let process = Some(process);
        let server = Self { process, arguments, data, address, channel, operator, printed, secrets, secured };
        server.remember(&server.operator);
        Ok(server)
    }

    /// Starts it again, with the same data and arguments, on another port.
    pub async fn restart(&mut self) {
        self.restart_at(ANY_PORT).await;
    }

    /// The same on the port that it had.
    pub async fn restart_in_place(&mut self) {
        let address = self.address.clone();
        self.restart_at(&address).await;
    }

    async fn restart_at(&mut self, listen: &str) {
        self.kill();
        let (process, address) = launch(&self.data, listen, &self.arguments, &self.printed, self.secured.as_ref())
            .await
            .unwrap_or_else(|ended| panic!("keygate did not start again: {ended:#?}"));
        self.process = Some(process);
        self.channel = connect(&address, self.secured.as_ref());
        self.address = address;
    }

    /// Ends it with SIGKILL. Does nothing when it is dead.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.child.kill().expect("our own child can be killed");
            process.child.wait().expect("our own child can be waited for");
            process.join();
        }
    }

    /// Asks it to end with SIGTERM and waits until it has. Meanwhile the client may read that it is being left.
    pub async fn terminate(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("the server runs");
        let kill = format!("kill -TERM {}", process.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("`sh` can be started").success());
        let deadline = Instant::now() + STOP_TIMEOUT;
        loop {
            if let Some(status) = process.child.try_wait().expect("our own child can be waited for") {
                process.join();
                return status;
            }
            if Instant::now() > deadline {
                process.child.kill().expect("our own child can be killed");
                panic!("keygate did not end within {STOP_TIMEOUT:?} of SIGTERM:\n{}", self.output());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Has it read its files again, by SIGHUP, and waits until it has said what came of it: whether it took them over.
    pub async fn reload(&self) -> bool {
        let count = || {
            let output = self.output();
            let said = |text: &str| output.matches(text).count();
            (said("the configuration was reloaded"), said("the configuration was not reloaded"))
        };
        let (taken, refused) = count();
        let told = format!("kill -HUP {}", self.process_id());
        assert!(Command::new("sh").args(["-c", &told]).status().expect("`sh` can be started").success());
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match count() {
                (now, _) if now > taken => return true,
                (_, now) if now > refused => return false,
                _ => assert!(Instant::now() < deadline, "nothing came of it:\n{}", self.output()),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// `host:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port where it listens.
    pub fn port(&self) -> u16 {
        self.address.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("an address has a port")
    }

    /// `http://host:port`
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// The operator key that the server made at its first start.
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// A client of its own service.
    pub fn client(&self) -> AuthorizationClient<Channel> {
        AuthorizationClient::new(self.channel.clone()).max_decoding_message_size(64 * 1024 * 1024)
    }

    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What it says of its own health.
    pub async fn health(&self) -> ServingStatus {
        health(self.channel.clone()).await.expect("health is always answered")
    }

    /// Waits until it says so of its health.
    pub async fn wait_for_health(&self, wanted: ServingStatus, within: Duration) {
        let deadline = Instant::now() + within;
        loop {
            let found = health(self.channel.clone()).await;
            if found.as_ref().is_ok_and(|status| *status == wanted) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "health is {found:?} after {within:?}, not {wanted:?}:\n{}",
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process that runs, for sending it a signal.
    pub fn process_id(&self) -> u32 {
        self.process.as_ref().expect("the server runs").child.id()
    }

    /// Everything it printed so far, restarts included.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&self.printed.lock().expect("nobody panics with it")).into_owned()
    }

    /// Waits until it has printed this: what it prints comes through a pipe, later than its answers.
    pub async fn wait_for_output(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !self.output().contains(text) {
            assert!(Instant::now() < deadline, "keygate did not print `{text}`:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes this text one that may never be printed nor stand in an error.
    pub fn remember(&self, secret: &str) {
        if secret.len() >= 16 {
            self.secrets.lock().expect("nobody panics with it").push(secret.to_owned());
        }
    }

    /// Fails when `text` holds one of the secrets.
    pub fn assert_no_secret(&self, place: &str, text: &str) {
        for secret in self.secrets.lock().expect("nobody panics with it").iter() {
            assert!(!text.contains(secret.as_str()), "{place} holds a secret:\n{text}");
            // Half a key is no better: the random part alone is the secret.
            let (_, tail) = secret.split_at(secret.len() / 2);
            assert!(!text.contains(tail), "{place} holds half a secret:\n{text}");
        }
    }

    /// The error, which holds no secret.
    pub fn checked(&self, status: Status) -> Status {
        self.assert_no_secret("an error", &format!("{status:?}"));
        self.assert_no_secret("an error's details", &String::from_utf8_lossy(status.details()));
        status
    }
}

impl Drop for Keygate {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Nothing to be done about an error here.
            let _ = process.child.kill();
            let _ = process.child.wait();
            process.join();
        }
        if thread::panicking() {
            eprintln!("keygate printed:\n{}", self.output());
        } else {
            self.assert_no_secret("what keygate printed", &self.output());
            assert!(!self.output().contains("panicked at"), "keygate panicked:\n{}", self.output());
        }
    }
}

impl DataDir {
    pub fn new() -> Self {
        Self::Own(TempDir::with_prefix("keygate-data-").expect("a temporary directory can be made"))
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Own(dir) => dir.path(),
            Self::Given(path) => path,
        }
    }
}

impl Process {
    fn join(&mut self) {
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
    }
}

/// Whether the settings file among the arguments says which realms there are.
fn names_realms(arguments: &[String]) -> bool {
    let file = arguments.iter().skip_while(|argument| *argument != "--config").nth(1);
    let text = file.and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
    text.lines().any(|line| line.starts_with("realms") && !line.contains("shipped"))
}

/// Starts the process and waits until it serves.
async fn launch(
    data: &DataDir,
    listen: &str,
    arguments: &[String],
    printed: &Arc<Mutex<Vec<u8>>>,
    secured: Option<&Secured>,
) -> Result<(Process, String), Ended> {
    let began = Instant::now();
    let before = printed.lock().expect("nobody panics with it").len();
    let mut command = Command::new(BINARY);
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(data.path()).args(arguments);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("KEYGATE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary can be started");
    let readers = vec![
        keep(child.stdout.take().expect("standard output is piped"), printed),
        keep(child.stderr.take().expect("standard error is piped"), printed),
    ];
    let mut process = Process { child, readers };
    let so_far = || {
        let printed = printed.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&printed[before..]).into_owned()
    };
    loop {
        if let Some(status) = process.child.try_wait().expect("our own child can be waited for") {
            process.join();
            return Err(Ended { status, output: so_far(), after: began.elapsed() });
        }
        if let Some(address) = address_in(&so_far()) {
            let channel = connect(&address, secured);
            if health(channel).await.is_ok_and(|status| status == ServingStatus::Serving) {
                return Ok((process, address));
            }
        }
        if began.elapsed() > START_TIMEOUT {
            process.child.kill().expect("our own child can be killed");
            panic!("keygate does not serve after {START_TIMEOUT:?}:\n{}", so_far());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Keeps what comes out of a pipe.
fn keep(mut pipe: impl Read + Send + 'static, printed: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let printed = Arc::clone(printed);
    thread::spawn(move || {
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            printed.lock().expect("nobody panics with it").extend_from_slice(&buffer[..length]);
        }
    })
}

/// The address that the server printed, once the line is whole.
fn address_in(output: &str) -> Option<String> {
    let (_, after) = output.split_once(LISTENING)?;
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':')?;
    Some(after[..end].to_owned())
}

fn connect(address: &str, secured: Option<&Secured>) -> Channel {
    let scheme = if secured.is_some() { "https" } else { "http" };
    let endpoint = Channel::from_shared(format!("{scheme}://{address}")).expect("the address is one");
    let endpoint = endpoint.connect_timeout(Duration::from_secs(5)).timeout(Duration::from_secs(30));
    match secured {
        None => endpoint.connect_lazy(),
        Some(secured) => {
            let (secured, address) = (secured.clone(), address.to_owned());
            endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
                let (secured, address) = (secured.clone(), address.clone());
                async move { secured.connect(&address).await.map(TokioIo::new) }
            }))
        }
    }
}

impl Secured {
    /// A connection, of which every file is read anew.
    pub async fn connect(&self, address: &str) -> Result<Box<dyn dial::Stream>, Box<dyn Error + Send + Sync>> {
        let (host, port) = address.rsplit_once(':').expect("an address has a port");
        let identity = self.shown.as_ref().map(|(certificate, key)| Identity { certificate, key });
        let tls = Tls { trust: Trust::File(&self.authorities), identity, name: None };
        let way = dial::Endpoint::to(host, port.parse()?, Some(tls))?.speaking("h2");
        Ok(way.connect().await?)
    }

    /// A client's connection of its own.
    pub fn channel(&self, address: &str) -> Channel {
        connect(address, Some(self))
    }
}

async fn health(channel: Channel) -> Result<ServingStatus, Status> {
    let request = HealthCheckRequest { service: String::new() };
    let mut client = HealthClient::new(channel);
    let asked = tokio::time::timeout(Duration::from_secs(5), client.check(request)).await;
    let answer = asked.map_err(|_| Status::deadline_exceeded("health did not answer"))??;
    Ok(answer.into_inner().status())
}
