//! A collector of OTLP that shares no code with keygate: Rotel, from PyPI (`tests/clients/rotel/requirements.txt`). It prints every
//! span that it takes.

use super::python::environment;
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A running collector; ends when it is dropped.
pub struct Rotel {
    child: Child,
    dir: TempDir,
    http: u16,
    grpc: u16,
}

impl Drop for Rotel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Rotel {
    pub async fn start() -> Self {
        let lib = environment("rotel").join("lib");
        let mut versions = fs::read_dir(lib).expect("a virtual environment has a `lib`");
        let version = versions.next().expect("with a Python in it").expect("that can be read").path();
        let program = version.join("site-packages/rotel/rotel-agent");
        let dir = TempDir::with_prefix("keygate-rotel-").expect("a temporary directory can be made");
        let free = [(), ()].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free"));
        let [http, grpc] = free.map(|free| free.local_addr().expect("it is bound").port());
        let output = File::create(dir.path().join("output")).expect("the directory can be written");
        let mut command = Command::new(program);
        command.args([
            "start",
            "--exporter",
            "blackhole",
            "--debug-log",
            "traces",
            "--debug-log-verbosity",
            "detailed",
        ]);
        command.args(["--otlp-http-endpoint", &format!("127.0.0.1:{http}")]);
        command.args(["--otlp-grpc-endpoint", &format!("127.0.0.1:{grpc}")]);
        command.arg("--pid-file").arg(dir.path().join("pid")).arg("--log-file").arg(dir.path().join("log"));
        command.stdin(Stdio::null()).stdout(output.try_clone().expect("a file can be shared")).stderr(output);
        let child = command.spawn().expect("Rotel can be started");
        let mut rotel = Self { child, dir, http, grpc };
        let deadline = Instant::now() + Duration::from_secs(20);
        while [http, grpc].iter().any(|port| TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err()) {
            let ended = rotel.child.try_wait().expect("our own child can be waited for");
            assert!(ended.is_none() && Instant::now() < deadline, "Rotel does not listen:\n{}", rotel.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        rotel
    }

    /// Where it takes OTLP over `http` and over `grpc`.
    pub fn urls(&self) -> [(&'static str, String); 2] {
        [("http", self.http), ("grpc", self.grpc)]
            .map(|(protocol, port)| (protocol, format!("http://127.0.0.1:{port}")))
    }

    /// What it printed.
    pub fn output(&self) -> String {
        fs::read_to_string(self.dir.path().join("output")).unwrap_or_default()
    }

    /// Waits until it has printed this.
    pub async fn until(&self, text: &str) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !self.output().contains(text) {
            assert!(Instant::now() < deadline, "Rotel did not print `{text}`:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
