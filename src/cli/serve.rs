//! `keygate serve`: a settings file, overridden by the environment, overridden by flags.

use super::{
    exit::{Exit, help},
    failure::Failure,
    output::Output,
    ready, realm, store,
};
use crate::{
    config::{LogFormat, LogLevel, Mistakes, RealmFiles, RedisUrl, Settings, StoreKind, TracesSettings},
    server::{self, Options, Ready, Source, StartError},
};
use clap::{ValueEnum, builder::RangedU64ValueParser};
use std::{net::SocketAddr, path::PathBuf};

/// Run the server
///
/// Needs no arguments: it then keeps its data in ./keygate-data, serves the five realms that come with keygate, and
/// listens on 127.0.0.1:50051. At the first start it makes an operator key and writes it to a file in the data
/// directory; that key manages all others. Flags go before variables of the environment, those before the settings
/// file. Every mistake in settings and realm files is reported at once, before a port is bound (exit code 2).
///
/// While it runs, the settings file, the realm files and the files that they name are looked at every 5 seconds (`[reload]
/// check_every`), and read at once on SIGHUP. What changed is taken over between two requests; with a mistake in it everything
/// stays as it was, and the log names every mistake. Certificates and their keys are read again likewise, and shown to whoever connects
/// from then on. Listeners, store, threads, caches and limits of the server take a restart.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(after_long_help = help!(
    "  keygate serve
  keygate serve --listen 0.0.0.0:50051 --data-dir /var/lib/keygate --realm-file /etc/keygate/realms
  keygate serve --listen 0.0.0.0:50051 --tls-certificate-file tls.crt --tls-key-file tls.key
  KEYGATE_REDIS_URL=redis://redis:6379/0 keygate serve --store redis --log-format json"
))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Where to listen [default: 127.0.0.1:50051]
    #[arg(long, value_name = "ADDRESS:PORT", env = "KEYGATE_LISTEN", value_parser = parse_listen)]
    listen: Option<SocketAddr>,
    /// Unix socket to listen on too
    #[arg(long, value_name = "PATH", env = "KEYGATE_LISTEN_UNIX")]
    listen_unix: Option<PathBuf>,
    /// PEM file with the certificate to show on `--listen`: TLS is then spoken there, and nothing else
    #[arg(long, value_name = "FILE", env = "KEYGATE_TLS_CERTIFICATE_FILE")]
    tls_certificate_file: Option<PathBuf>,
    /// PEM file with that certificate's private key
    #[arg(long, value_name = "FILE", env = "KEYGATE_TLS_KEY_FILE")]
    tls_key_file: Option<PathBuf>,
    /// PEM file with authorities: clients must then show a certificate of one of them
    #[arg(long, value_name = "FILE", env = "KEYGATE_TLS_CLIENT_CA_FILE")]
    tls_client_ca_file: Option<PathBuf>,
    /// Where to tell metrics and health over HTTP [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT", env = "KEYGATE_OPERATIONS_LISTEN", value_parser = parse_listen)]
    operations_listen: Option<SocketAddr>,
    /// Where to tell traces over OTLP, such as `http://127.0.0.1:4318` [default: nowhere]
    #[arg(long, value_name = "URL", env = "KEYGATE_TRACES_ENDPOINT", hide_env_values = true)]
    traces_endpoint: Option<String>,
    /// Realm file, or directory with `*.toml` files; several are repeated, or joined by `:` [default: the five realms
    /// that come with keygate]
    #[arg(long = "realm-file", value_name = "FILE|DIR", env = "KEYGATE_REALM_FILES", value_delimiter = ':')]
    realm_files: Vec<PathBuf>,
    /// Worker threads, 1 to 256 [default: one for each core]
    #[arg(long, value_name = "N", env = "KEYGATE_THREADS", value_parser = RangedU64ValueParser::<usize>::new().range(1..=256))]
    threads: Option<usize>,
    /// From which level on to log [default: info]
    #[arg(long, value_name = "LEVEL", value_enum, env = "KEYGATE_LOG_LEVEL")]
    log_level: Option<Level>,
    /// Lines for people, or one JSON object a line [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, env = "KEYGATE_LOG_FORMAT")]
    log_format: Option<Form>,
    /// Make one more operator key and write it to its file, for when the old one was lost. The old one stays valid: find
    /// it with `keygate keys list --realm keygate --account operators`, and end it with `keygate keys revoke`
    #[arg(long)]
    reissue_operator_key: bool,
    /// Do not serve: open the store as a start would, secrets included, say what is wrong with it, and end. Exit code 1 when
    /// something is
    #[arg(long, conflicts_with = "reissue_operator_key")]
    check_store: bool,
}

/// A text that may hold a password.
#[derive(Clone)]
struct Unshown(String);

impl From<String> for Unshown {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Unshown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// What says where the store is, also for commands that open it without serving.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Place {
    /// File with settings
    #[arg(long, value_name = "FILE", env = "KEYGATE_CONFIG")]
    config: Option<PathBuf>,
    /// Directory for what must last; one server each [default: keygate-data]
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Where keys and counters are kept [default: embedded]
    #[arg(long, value_name = "STORE", value_enum, env = "KEYGATE_STORE")]
    store: Option<Store>,
    /// Where Redis is, for `--store redis`: `redis://`, `rediss://` for TLS, `redis+sentinel://`. May hold a password:
    /// better set in the environment, or in a file
    #[arg(long, value_name = "URL", env = "KEYGATE_REDIS_URL", hide_env_values = true)]
    redis_url: Option<Unshown>,
    /// File with the password of the user on Redis, read for every new connection, so that it can be rotated
    #[arg(long, value_name = "FILE", env = "KEYGATE_REDIS_PASSWORD_FILE")]
    redis_password_file: Option<PathBuf>,
    /// PEM file with the authorities that Redis' certificate is trusted by, for `rediss://` [default: those that this
    /// machine trusts]
    #[arg(long, value_name = "FILE", env = "KEYGATE_REDIS_CA_FILE")]
    redis_ca_file: Option<PathBuf>,
}

/// The settings that a server would be started with there.
///
/// # Errors
/// When the file, a flag or a variable is wrong.
pub(super) fn settings_of(place: Place) -> Result<Settings, Failure> {
    Args { place, ..Args::default() }.settings()
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Store {
    /// In the data directory
    Embedded,
    /// A Redis or Valkey server
    Redis,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Level {
    /// Failures
    Error,
    /// Also what should be looked at
    Warn,
    /// Also what happens
    Info,
    /// Also how
    Debug,
    /// Everything
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// Lines for people
    Text,
    /// One JSON object a line
    Json,
}

impl Args {
    pub(super) fn run(self, out: &mut Output) -> Result<Exit, Failure> {
        if self.check_store {
            return store::check(out, &self.settings()?);
        }
        let options = Options { reissue_operator_key: self.reissue_operator_key };
        // A server whose words nobody can read serves all the same.
        let announce = |ready: &Ready| drop(ready::announce(out, ready));
        let settings = self.settings()?;
        server::run(&settings, options, self.source(), announce).map_err(|error| not_started(&error))?;
        Ok(Exit::Success)
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let settings = self.file_settings().map_err(|found| realm::mistakes(&found))?;
        self.clone().over(settings)
    }

    fn file_settings(&self) -> Result<Settings, Mistakes> {
        self.place.config.as_ref().map_or_else(|| Ok(Settings::default()), |file| Settings::load(file))
    }

    /// Where the settings are read from again. Flags stay as they were; what they come to depends on the file that they go over.
    fn source(self) -> Source {
        let file = self.place.config.clone();
        let read = move || {
            let settings = self.file_settings().map_err(StartError::Configuration)?;
            self.clone().over(settings).map_err(|failure| StartError::Settings(failure.message().to_owned()))
        };
        Source { file, read: Box::new(read) }
    }

    /// These settings, with what flags and variables say in their place.
    fn over(self, mut settings: Settings) -> Result<Settings, Failure> {
        let given = |Unshown(url): Unshown| {
            RedisUrl::new(&url).map_err(|allowed| {
                Failure::usage(format!(
                    "`--redis-url` or KEYGATE_REDIS_URL is not an address of Redis: allowed is {allowed}"
                ))
            })
        };
        set(&mut settings.listen, self.listen);
        set(&mut settings.tls.certificate_file, self.tls_certificate_file.map(Some));
        set(&mut settings.tls.key_file, self.tls_key_file.map(Some));
        set(&mut settings.tls.client_ca_file, self.tls_client_ca_file.map(Some));
        settings.listen_operations = self.operations_listen.or(settings.listen_operations);
        if let Some(path) = self.listen_unix {
            Settings::check_socket(&path).map_err(|allowed| {
                Failure::usage(format!("`--listen-unix` or KEYGATE_LISTEN_UNIX is too long: it {allowed}"))
            })?;
            settings.listen_unix = Some(path);
        }
        // It may hold a password where there must be none: no message repeats it.
        if let Some(text) = self.traces_endpoint {
            let endpoint = TracesSettings::endpoint(&text).map_err(|allowed| {
                Failure::usage(format!("`--traces-endpoint` or KEYGATE_TRACES_ENDPOINT is no address: it {allowed}"))
            })?;
            settings.traces.endpoint = Some(endpoint);
        }
        settings.traces.check().map_err(Failure::usage)?;
        let Place { config: _, data_dir, store, redis_url, redis_password_file, redis_ca_file } = self.place;
        set(&mut settings.data_dir, data_dir);
        set(&mut settings.store.kind, store.map(StoreKind::from));
        set(&mut settings.store.redis.url, redis_url.map(given).transpose()?);
        let redis = &mut settings.store.redis;
        set(&mut redis.password_file, redis_password_file.map(Some));
        set(&mut redis.tls.ca_file, redis_ca_file.map(Some));
        if settings.store.kind == StoreKind::Redis {
            settings.store.redis.check().map_err(Failure::usage)?;
        }
        set(&mut settings.realms, Some(self.realm_files).filter(|files| !files.is_empty()).map(RealmFiles::Paths));
        settings.threads = self.threads.or(settings.threads);
        set(&mut settings.log.level, self.log_level.map(LogLevel::from));
        set(&mut settings.log.format, self.log_format.map(LogFormat::from));
        Ok(settings)
    }
}

fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
    let allowed = "allowed are an address and a port, such as `127.0.0.1:50051` or `[::]:50051`; no name";
    text.parse().map_err(|_| allowed)
}

fn set<T>(setting: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *setting = given;
    }
}

pub(super) fn not_started(error: &StartError) -> Failure {
    if let StartError::Configuration(found) = error {
        return realm::mistakes(found);
    }
    let failure = Failure::start(error);
    match error {
        StartError::Listen { .. } => {
            failure.with_hint("`--listen` names another address; port 0 takes any that is free")
        }
        _ => failure,
    }
}

impl From<Store> for StoreKind {
    fn from(store: Store) -> Self {
        match store {
            Store::Embedded => Self::Embedded,
            Store::Redis => Self::Redis,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Error => Self::Error,
            Level::Warn => Self::Warn,
            Level::Info => Self::Info,
            Level::Debug => Self::Debug,
            Level::Trace => Self::Trace,
        }
    }
}

impl From<Form> for LogFormat {
    fn from(form: Form) -> Self {
        match form {
            Form::Text => Self::Text,
            Form::Json => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn settings(flags: &[&str]) -> Result<Settings, Failure> {
        Program::parse_from(std::iter::once(&"serve").chain(flags)).args.settings()
    }

    #[test]
    fn without_flags_the_defaults_hold() {
        assert_eq!(settings(&[]), Ok(Settings::default()));
    }

    #[test]
    fn flags_go_before_the_file_and_leave_the_rest_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("keygate.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:1\"\nthreads = 3\n").unwrap();
        let flags = ["--config", file.to_str().unwrap(), "--listen", "[::1]:2", "--store", "redis"];
        let more = [
            "--listen-unix",
            "/run/k.sock",
            "--redis-url",
            "redis://:pw@h/1",
            "--realm-file",
            "a:b",
            "--realm-file",
            "c",
            "--log-level",
            "warn",
        ];
        let found = settings(&[&flags[..], &more[..], &["--log-format", "json", "--data-dir", "d"]].concat()).unwrap();
        assert_eq!((found.listen.to_string().as_str(), found.threads), ("[::1]:2", Some(3)));
        assert_eq!((found.store.kind, found.store.redis.url.expose()), (StoreKind::Redis, "redis://:pw@h/1"));
        assert_eq!(found.realms, RealmFiles::Paths(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!((found.log.level, found.log.format), (LogLevel::Warn, LogFormat::Json));
        assert_eq!((found.data_dir, found.listen_unix), (PathBuf::from("d"), Some(PathBuf::from("/run/k.sock"))));
    }

    #[test]
    fn an_odd_redis_address_is_refused_without_showing_it() {
        let failure = settings(&["--redis-url", "http://:hunter2@h"]).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
        assert!(!failure.lines().concat().contains("hunter2"));
    }

    #[test]
    fn a_settings_file_that_is_not_there_is_a_mistake_of_the_configuration() {
        assert_eq!(settings(&["--config", "/nowhere/keygate.toml"]).unwrap_err().exit(), Exit::Usage);
    }
}
