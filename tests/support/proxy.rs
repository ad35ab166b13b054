//! A real Envoy for one test, with the files that `deploy/envoy` offers to users: only addresses and ports are changed.
//!
//! Envoy comes from PyPI (`tests/clients/envoy/requirements.txt`) into a virtual environment of the tests.

use super::{
    http::{self, Answer},
    python::environment,
};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running Envoy; ends when it is dropped.
pub struct Envoy {
    child: Child,
    dir: TempDir,
    admin: u16,
    port: u16,
}

/// Text in a file of `deploy/envoy`, and what stands there in the test instead. It must stand there exactly once.
pub type Change<'a> = (&'a str, &'a str);

/// Where the files of `deploy/envoy` let Envoy and its neighbours be reached.
const ADMIN: &str = "address: 127.0.0.1, port_value: 9901";
const PUBLIC: &str = "address: 0.0.0.0, port_value: 8080";
pub const SERVICE: &str = "address: 127.0.0.1, port_value: 8000";
pub const KEYGATE: &str = "address: 127.0.0.1, port_value: 50051";
pub const SOCKET: &str = "path: /run/keygate/keygate.sock";

/// What is put in front of every line of the second part, which asks for rate limits.
pub const PART_TWO: &str = "#rls ";

/// A file of `deploy/envoy` with these changes. The mark of the second part may be changed wherever it stands.
pub fn file(name: &str, changes: &[Change<'_>]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy").join(name);
    let mut text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    for (from, to) in changes {
        let often = *from == PART_TWO && text.matches(from).count() > 1;
        assert!(often || text.matches(from).count() == 1, "`{from}` does not stand once in `{}`", path.display());
        text = text.replace(from, to);
    }
    text
}

/// `socket_address` of a port of this machine.
pub fn local(port: u16) -> String {
    format!("address: 127.0.0.1, port_value: {port}")
}

/// The program itself.
pub fn binary() -> PathBuf {
    let lib = environment("envoy").join("lib");
    let mut versions = fs::read_dir(lib).expect("a virtual environment has a `lib`");
    let version = versions.next().expect("with a Python in it").expect("that can be read").path();
    version.join("site-packages/envoy/_bin/envoy")
}

impl Envoy {
    /// Starts it with a file of `deploy/envoy` and these changes, and waits until it serves and has asked for the health of
    /// its neighbours. It takes any free ports for itself.
    pub async fn start(name: &str, changes: &[Change<'_>]) -> Self {
        let own = local(0);
        let text = file(name, &[&[(ADMIN, own.as_str()), (PUBLIC, own.as_str())], changes].concat());
        let dir = TempDir::with_prefix("keygate-envoy-").expect("a temporary directory can be made");
        let [config, admin, log, output] = ["envoy.yaml", "admin", "log", "output"].map(|name| dir.path().join(name));
        fs::write(&config, text).expect("the directory can be written");
        let mut command = Command::new(binary());
        command.arg("-c").arg(config).arg("--admin-address-path").arg(&admin).arg("--log-path").arg(&log);
        command.args(["--disable-hot-restart", "--concurrency", "2", "--log-level", "warning"]);
        command.args(["--file-flush-interval-msec", "20"]);
        let output = File::create(output).expect("the directory can be written");
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can be shared")).stderr(output);
        let child = command.spawn().expect("Envoy can be started");
        let mut envoy = Self { child, dir, admin: 0, port: 0 };
        envoy.wait(&admin).await;
        envoy
    }

    async fn wait(&mut self, admin: &Path) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("our own child can be waited for") {
                panic!("Envoy ended ({status}):\n{}", self.output());
            }
            let port = fs::read_to_string(admin).ok().and_then(|text| text.rsplit_once(':')?.1.trim().parse().ok());
            if let Some(port) = port {
                self.admin = port;
                if http::try_send(port, "GET /ready", &[("host", "admin")], "").await.is_ok_and(|a| a.status == 200) {
                    let listeners = self.admin("GET /listeners").await.body;
                    let port = listeners
                        .lines()
                        .find_map(|line| line.strip_prefix("public::")?.rsplit_once(':')?.1.parse().ok());
                    self.port = port.unwrap_or_else(|| panic!("no listener `public` in {listeners}"));
                    return;
                }
            }
            assert!(
                began.elapsed() < START_TIMEOUT,
                "Envoy does not serve after {START_TIMEOUT:?}:\n{}",
                self.output()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Where its clients come in.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Asks its administration.
    pub async fn admin(&self, head: &str) -> Answer {
        http::send(self.admin, head, &[("host", "admin")], "").await
    }

    /// One of its numbers; 0 when it was never counted.
    pub async fn stat(&self, name: &str) -> u64 {
        let stats = self.admin(&format!("GET /stats?filter=^{name}$")).await.body;
        stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok()).unwrap_or(0)
    }

    /// Waits until it has printed this: the access log is written a moment after the answer.
    pub async fn wait_for_output(&self, text: &str) {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.output().contains(text) {
            assert!(Instant::now() < deadline, "Envoy did not print `{text}`");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Everything it printed, its access log included.
    pub fn output(&self) -> String {
        ["log", "output"].map(|name| fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()).concat()
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // Nothing to be done about an error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("Envoy printed:\n{}", self.output());
        }
    }
}
