//! The server's settings: a plain value with a default for everything, so that a file, the environment or a flag may
//! each set what it likes.

mod management;
mod read;
mod redis;
mod running;
mod tls;
mod traces;
mod vault;

pub(super) use management::wrong_certificates;
pub use redis::{RedisSettings, RedisUrl, SentinelSettings, TlsSettings};
pub use tls::{ClientCertificates, ListenerTls};
pub use traces::{TracesProtocol, TracesSettings};

use super::{mistake::Mistakes, sources};
use crate::domain::{
    certificate::CertificateName,
    id::{KekName, Scope},
    realm::Routing,
};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

/// How a server is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub listen: SocketAddr,
    /// By which files TLS is spoken there.
    pub tls: ListenerTls,
    /// Where metrics and health are told over HTTP; absent: nowhere.
    pub listen_operations: Option<SocketAddr>,
    /// By which files TLS is spoken there.
    pub operations_tls: ListenerTls,
    /// The Unix socket where it listens too.
    pub listen_unix: Option<PathBuf>,
    /// The mode of that socket's file.
    pub listen_unix_mode: u32,
    /// Whose that file is, a user's name or number; absent: the server's own.
    pub listen_unix_owner: Option<String>,
    /// Which group's, a name or number; absent: the server's own.
    pub listen_unix_group: Option<String>,
    /// How long it goes on after it was told to end and has said so, 0 s to 5 minutes.
    pub drain_delay: Duration,
    /// The file that every event of the audit log is written to, a line each.
    pub audit_export_file: Option<PathBuf>,
    /// Where it keeps what is its own.
    pub data_dir: PathBuf,
    /// Which realms it serves.
    pub realms: RealmFiles,
    /// Worker threads, 1 to 256; absent: one for each core.
    pub threads: Option<usize>,
    /// Where keys and counters are kept.
    pub store: StoreSettings,
    /// The server secrets; see [`Settings::secrets_path`].
    pub secrets_file: PathBuf,
    /// Where the first operator key is written; see [`Settings::operator_key_path`].
    pub operator_key_file: PathBuf,
    /// Where keys and accounts are managed.
    pub management: ManagementSettings,
    /// What is kept in memory.
    pub cache: CacheSettings,
    /// What is logged, and how.
    pub log: LogSettings,
    /// What one server takes on.
    pub limits: LoadSettings,
    /// Which realms a proxy means that names none.
    pub routing: Routing,
    /// What providers' credentials are sealed with, and where they are released.
    pub vault: VaultSettings,
    /// Which calls are followed, and who is told.
    pub traces: TracesSettings,
    /// Where the server writes down what it does to accounts; see [`Settings::journal_path`]. Absent: nowhere.
    pub journal_file: Option<PathBuf>,
    /// How often the files are looked at for changes, 100 ms to 1 hour; zero: only when told to.
    pub check_every: Duration,
}

/// Where keys and accounts are managed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagementSettings {
    /// One more address to listen on; absent: none.
    pub listen: Option<SocketAddr>,
    /// By which files TLS is spoken there.
    pub tls: ListenerTls,
    /// The listeners on which something is managed; on the others management is refused.
    pub serve_on: Vec<ListenerName>,
    /// Whose certificates manage without a key, and with which roles.
    pub certificates: Vec<(CertificateName, Vec<Scope>)>,
    /// Whether acts of management are refused.
    pub read_only: bool,
}

/// What providers' credentials are sealed with, and where they are released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultSettings {
    /// The listeners whose callers may get a credential.
    pub release_on: Vec<ListenerName>,
    /// How long an opened credential is kept in memory, 100 ms to 30 s.
    pub remember: Duration,
    /// The key-encryption keys. None: credentials are neither taken nor released. Else exactly one is the primary.
    pub keks: Vec<KekSettings>,
}

/// A listener, by the setting that opens it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerName {
    /// [`Settings::listen`].
    Listen,
    /// [`Settings::listen_unix`].
    ListenUnix,
    /// [`ManagementSettings::listen`].
    Management,
}

impl ListenerName {
    /// Every listener.
    pub const ALL: [Self; 3] = [Self::Listen, Self::ListenUnix, Self::Management];

    /// The name of the setting.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::ListenUnix => "listen_unix",
            Self::Management => "management",
        }
    }
}

/// A key-encryption key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KekSettings {
    /// Its name, which stands beside everything that it wrapped.
    pub name: KekName,
    /// Whether new data keys are wrapped by it.
    pub primary: bool,
    /// Where it is.
    pub source: KekSource,
}

/// Where a key-encryption key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KekSource {
    /// In a file: 64 hexadecimal digits.
    File(PathBuf),
    /// In a variable of the environment, likewise.
    Variable(String),
    /// In a service that never gives it away.
    Transit(TransitSettings),
}

/// A key service with the API of HashiCorp Vault's transit engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransitSettings {
    /// Where it is: `https`, or `http` on this machine.
    pub url: http::Uri,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name there.
    pub key: String,
    /// The file with the token; read at every call.
    pub token_file: PathBuf,
    /// The authorities whose certificates are trusted; absent: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take, 10 ms to 30 s.
    pub timeout: Duration,
}

/// Sets what a file sets.
fn set<T>(slot: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *slot = value;
    }
}

/// Which realms a server serves, beside the built-in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RealmFiles {
    /// The five that come with keygate.
    Shipped,
    /// These files, and the `*.toml` files of these directories.
    Paths(Vec<PathBuf>),
}

/// Where keys and counters are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Which store.
    pub kind: StoreKind,
    /// How Redis is used, if it is.
    pub redis: RedisSettings,
}

/// The kinds of stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// In the data directory.
    Embedded,
    /// A Redis or Valkey server.
    Redis,
}

/// What is kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Keys, 1,000 to 10,000,000.
    pub keys: usize,
    /// Digests that lead nowhere, 1,000 to 10,000,000.
    pub unknown_keys: usize,
    /// Accounts that are acted on by keys of others.
    pub accounts: usize,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// From which level on.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
    /// Denials of each realm that are told in a second, 0 to 1,000.
    pub denials_per_second: u32,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// Also what should be looked at.
    Warn,
    /// Also what happens.
    Info,
    /// Also how.
    Debug,
    /// Everything.
    Trace,
}

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What one server takes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSettings {
    /// Connections at a time, 1 to 1,000,000; more are closed.
    pub connections: usize,
    /// Requests in work at a time on one connection, 1 to 65,536.
    pub streams_per_connection: u32,
    /// Calls in work at a time beside acts on keys, 1 to 1,000,000; more are refused.
    pub calls: usize,
    /// Acts on keys in work at a time, 1 to 100,000; more are refused.
    pub acts: usize,
    /// Counters of the embedded store in memory, 1,000 to 100,000,000.
    pub counters: usize,
    /// Lookups of keys that do not work for one client address in ten seconds, 0 to 1,000,000; 0: any number.
    pub misses_per_source: u32,
    /// Bytes of a message that asks for a decision, 1,024 to 16 MiB.
    pub decision_bytes: usize,
    /// Bytes of a message that manages keys, 1,024 to 64 MiB.
    pub management_bytes: usize,
    /// How long a request may take to arrive, and a new connection to begin, 10 ms to 5 minutes.
    pub arrival_timeout: Duration,
    /// After how long a connection is ended on which nothing is asked, 1 second to 1 day; zero: never.
    pub idle_timeout: Duration,
    /// How long an act on keys may take, 10 ms to 5 minutes.
    pub act_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50_051)),
            tls: ListenerTls::default(),
            listen_operations: None,
            operations_tls: ListenerTls::default(),
            listen_unix: None,
            audit_export_file: None,
            listen_unix_mode: 0o660,
            listen_unix_owner: None,
            listen_unix_group: None,
            drain_delay: Duration::ZERO,
            data_dir: PathBuf::from("keygate-data"),
            realms: RealmFiles::Shipped,
            threads: None,
            store: StoreSettings { kind: StoreKind::Embedded, redis: RedisSettings::default() },
            secrets_file: PathBuf::from("secrets"),
            operator_key_file: PathBuf::from("operator.key"),
            management: ManagementSettings {
                listen: None,
                tls: ListenerTls::default(),
                serve_on: ListenerName::ALL.to_vec(),
                certificates: Vec::new(),
                read_only: false,
            },
            cache: CacheSettings { keys: 200_000, accounts: 100_000, unknown_keys: 100_000 },
            log: LogSettings { level: LogLevel::Info, format: LogFormat::Text, denials_per_second: 1 },
            limits: LoadSettings {
                connections: 1_250,
                streams_per_connection: 256,
                calls: 8_192,
                acts: 256,
                counters: 1_000_000,
                misses_per_source: 100,
                decision_bytes: 64 * 1_024,
                management_bytes: 1_024 * 1_024,
                arrival_timeout: Duration::from_secs(10),
                idle_timeout: Duration::from_secs(3_600),
                act_timeout: Duration::from_secs(10),
            },
            routing: Routing::default(),
            journal_file: Some(PathBuf::from("journal")),
            check_every: Duration::from_secs(5),
            traces: TracesSettings::default(),
            vault: VaultSettings { release_on: Vec::new(), remember: Duration::from_secs(5), keks: Vec::new() },
        }
    }
}

impl Settings {
    /// Bytes of the path of a Unix socket, at most: the system's own bound, less what a draft's name takes.
    const SOCKET_BYTES: usize = 90;

    /// Checks the path of a Unix socket.
    ///
    /// # Errors
    /// When it is too long for the operating system: says what is allowed.
    pub fn check_socket(path: &Path) -> Result<(), String> {
        let fits = path.as_os_str().len() <= Self::SOCKET_BYTES;
        if fits { Ok(()) } else { Err(format!("must be at most {} bytes with its directory", Self::SOCKET_BYTES)) }
    }

    /// Reads a settings file. Relative paths in it are taken from its directory.
    ///
    /// # Errors
    /// With every mistake of the file.
    pub fn load(path: &Path) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let source = sources::read(path, &mut mistakes);
        match source {
            Some(source) => Self::parse(&source.file, &source.text, path.parent().unwrap_or(Path::new(""))),
            None => Mistakes::unless_none(mistakes, None),
        }
    }

    /// Reads settings from a text. `file_name` only serves in messages; relative paths are taken from `base`.
    ///
    /// # Errors
    /// With every mistake of the text.
    pub fn parse(file_name: &str, text: &str, base: &Path) -> Result<Self, Mistakes> {
        read::settings(file_name, text, base)
    }

    /// Where the server secrets are: `secrets_file`, in the data directory unless it is absolute.
    #[must_use]
    pub fn secrets_path(&self) -> PathBuf {
        self.data_dir.join(&self.secrets_file)
    }

    /// Where the server writes down what it does to accounts: `journal_file`, in the data directory unless it is absolute.
    #[must_use]
    pub fn journal_path(&self) -> Option<PathBuf> {
        self.journal_file.as_ref().map(|file| self.data_dir.join(file))
    }

    /// Where the first operator key is written: `operator_key_file`, in the data directory unless it is absolute.
    #[must_use]
    pub fn operator_key_path(&self) -> PathBuf {
        self.data_dir.join(&self.operator_key_file)
    }
}

impl LogLevel {
    /// Every level.
    pub const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Info, Self::Debug, Self::Trace];

    /// The name used in the settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
