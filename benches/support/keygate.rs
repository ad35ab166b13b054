//! A real `keygate serve` in a directory of its own, and what the benches ask of its management.

mod backups;

use super::{
    keys,
    loader::{Method, Target},
    machine::{Cores, signal},
};
use keygate::proto::v1::{
    ImportKeys, ImportRow, KeyPage, ListKeys, ManageKeysRequest, authorization_client::AuthorizationClient,
    import_row::Secret, manage_keys_request::Operation, manage_keys_response,
};
use rustls::ClientConfig;
use std::{
    env,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// Rows of one batch; the API takes no more.
pub const BATCH: usize = 1_000;
const SOCKET: &str = "keygate.sock";
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// A server that ends with this value.
pub struct Keygate {
    cores: Cores,
    dir: TempDir,
    address: SocketAddr,
    /// Where it is managed, without TLS.
    management: SocketAddr,
    tls: Option<&'static Arc<ClientConfig>>,
    child: Option<Child>,
    /// From the start of the process until it said that it serves.
    pub start_up: Duration,
}

impl Keygate {
    /// Starts a server with an empty store: on that Redis, or on the embedded store.
    pub fn start(cores: Cores, redis: Option<String>) -> Self {
        Self::with(cores, redis, "")
    }

    /// The same with more settings.
    pub fn with(cores: Cores, redis: Option<String>, more: &str) -> Self {
        let address = free_address();
        Self::put(cores, redis, more, (address, address, None))
    }

    /// One on the embedded store whose settings say that it speaks TLS, and is managed at another address, without.
    pub fn apart(cores: Cores, settings: &str, management: SocketAddr, tls: &'static Arc<ClientConfig>) -> Self {
        Self::put(cores, None, settings, (free_address(), management, Some(tls)))
    }

    fn put(
        cores: Cores,
        redis: Option<String>,
        more: &str,
        (address, management, tls): (SocketAddr, SocketAddr, Option<&'static Arc<ClientConfig>>),
    ) -> Self {
        let mut server = Self::prepared(cores, redis, more, (address, management, tls));
        server.launch();
        server
    }

    /// One that is set up and does not run.
    fn prepared(
        cores: Cores,
        redis: Option<String>,
        more: &str,
        (address, management, tls): (SocketAddr, SocketAddr, Option<&'static Arc<ClientConfig>>),
    ) -> Self {
        let dir = TempDir::with_prefix("keygate-bench-").expect("a temporary directory can be made");
        let write = |name, text: &str| fs::write(dir.path().join(name), text).expect("the directory can be written");
        write("bench.toml", keys::REALM_FILE);
        write("keygate.toml", &(settings(address, redis.as_deref()) + more));
        Self { cores, dir, address, management, tls, child: None, start_up: Duration::ZERO }
    }

    fn launch(&mut self) {
        let dir = self.dir.path();
        let log = File::create(dir.join("log")).expect("the directory can be written");
        let mut command = self.cores.server(binary());
        command.arg("serve").arg("--config").arg(dir.join("keygate.toml")).current_dir(dir).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a file can be shared")).stderr(log);
        let begun = Instant::now();
        self.child = Some(command.spawn().expect("keygate can be started"));
        runtime().block_on(async {
            while !serving(self.management).await {
                let ended = self.child.as_mut().and_then(|child| child.try_wait().expect("our own child"));
                if ended.is_some() || begun.elapsed() > START_TIMEOUT {
                    panic!("keygate does not serve ({ended:?}); its log:\n{}", self.log());
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        self.start_up = begun.elapsed();
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the embedded store lies.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn id(&self) -> u32 {
        self.child.as_ref().map(Child::id).expect("it runs")
    }

    pub fn target(&self, method: Method) -> Target {
        Target { address: self.address, method, process: self.id(), tls: self.tls }
    }

    /// Where it listens beside its port.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(SOCKET)
    }

    /// Stops it in good order.
    pub fn stop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        signal(child.id(), "TERM");
        let deadline = Instant::now() + START_TIMEOUT;
        while child.try_wait().expect("our own child").is_none() {
            assert!(Instant::now() < deadline, "keygate does not stop; its log:\n{}", self.log());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops it and starts it again: nothing is remembered but what the store holds.
    pub fn restart(&mut self) {
        self.stop();
        self.launch();
    }

    /// A client with the operator's key.
    pub fn manager(&self) -> Manager {
        let runtime = runtime();
        let channel = runtime.block_on(endpoint(self.management).connect()).expect("keygate listens");
        let key = operator_key(&self.data());
        let credential = format!("Bearer {}", key.trim()).parse().expect("a key is printable");
        let client = AuthorizationClient::new(channel).max_decoding_message_size(64 << 20);
        Manager { runtime, client, credential }
    }
}

impl Drop for Keygate {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where nobody listens.
pub fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    free.local_addr().expect("it is bound")
}

/// One thread that serves; everything else as it comes, but for a Redis that the bench keeps for itself.
fn settings(address: SocketAddr, redis: Option<&str>) -> String {
    let store = match redis {
        Some(url) => format!("[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{url}\"\n"),
        None => String::new(),
    };
    format!(
        r#"
listen = "{address}"
listen_unix = "{SOCKET}"
data_dir = "data"
realms = ["bench.toml"]
threads = 1
[envoy]
client_address_header = "x-envoy-external-address"
{store}"#
    )
}

/// The binary of this build, or another one to compare it with.
fn binary() -> PathBuf {
    env::var_os("KEYGATE_BENCH_BINARY").map_or_else(|| env!("CARGO_BIN_EXE_keygate").into(), PathBuf::from)
}

fn operator_key(data: &Path) -> String {
    let path = data.join("operator.key");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}` cannot be read: {error}", path.display()))
}

fn runtime() -> Runtime {
    runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made")
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}")).expect("an address is legal").tcp_nodelay(true)
}

async fn serving(address: SocketAddr) -> bool {
    let Ok(channel) = endpoint(address).connect().await else { return false };
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await;
    answer.is_ok_and(|answer| answer.into_inner().status() == ServingStatus::Serving)
}

/// Asks `ManageKeys`.
pub struct Manager {
    runtime: Runtime,
    client: AuthorizationClient<Channel>,
    credential: MetadataValue<Ascii>,
}

impl Manager {
    fn manage(&mut self, operation: Operation) -> manage_keys_response::Result {
        let message = ManageKeysRequest { realm: keys::REALM.to_owned(), operation: Some(operation) };
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", self.credential.clone());
        let answer = self.runtime.block_on(self.client.manage_keys(request)).expect("keygate does as it is told");
        answer.into_inner().result.expect("an answer has a result")
    }

    /// Imports raw keys in batches, `per_account` to an account. `first` counts the keys that were imported before.
    pub fn import(&mut self, keys: &[String], first: usize, per_account: usize) {
        for (batch, keys) in keys.chunks(BATCH).enumerate() {
            let rows = keys.iter().enumerate().map(|(at, key)| {
                let number = first + batch * BATCH + at;
                ImportRow {
                    secret: Some(Secret::RawKey(key.clone())),
                    account_id: account(number / per_account),
                    environment: keys::ENVIRONMENT.to_owned(),
                    name: format!("key {number}"),
                    scopes: vec![keys::SCOPE.to_owned()],
                    ..Default::default()
                }
            });
            let import = ImportKeys { rows: rows.collect(), ..Default::default() };
            match self.manage(Operation::Import(import)) {
                manage_keys_response::Result::Imported(report) => {
                    let problem = report.verdicts.iter().find(|verdict| !verdict.problem.is_empty());
                    assert_eq!(report.imported as usize, keys.len(), "a row was refused: {problem:?}");
                }
                other => panic!("an import is answered with {other:?}"),
            }
        }
    }

    /// One page, and how long it took.
    pub fn list(&mut self, account: &str, page_size: i32, page_token: &str) -> (KeyPage, Duration) {
        let list = ListKeys {
            account_id: account.to_owned(),
            page_size,
            page_token: page_token.to_owned(),
            ..Default::default()
        };
        let begun = Instant::now();
        match self.manage(Operation::List(list)) {
            manage_keys_response::Result::Page(page) => (page, begun.elapsed()),
            other => panic!("a listing is answered with {other:?}"),
        }
    }
}

/// The name of an account by its number.
pub fn account(number: usize) -> String {
    format!("account-{number:06}")
}
