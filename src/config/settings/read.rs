//! The settings file.

use super::{
    RealmFiles, Settings, StoreKind,
    management::management,
    redis, set, tls,
    traces::{log, traces},
    vault::vault,
};
use crate::{
    config::{
        caps,
        mistake::Mistakes,
        reader::{Table, Value},
        realm::legal_header,
        report::Report,
        text::quoted,
    },
    domain::{id::RealmName, realm::Routing},
};
use std::{
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

const KEYS: &[&str] = &[
    "listen",
    "listen_unix",
    "listen_unix_mode",
    "listen_unix_owner",
    "listen_unix_group",
    "drain_delay",
    "data_dir",
    "realms",
    "threads",
    "store",
    "secrets",
    "operator",
    "cache",
    "log",
    "limits",
    "envoy",
    "audit",
    "vault",
    "operations",
    "reload",
    "tls",
    "management",
    "traces",
    "recovery",
];
const LIMIT_KEYS: &[&str] = &[
    "connections",
    "streams_per_connection",
    "calls",
    "acts",
    "counters",
    "misses_per_source",
    "decision_bytes",
    "management_bytes",
    "arrival_timeout",
    "idle_timeout",
    "act_timeout",
];
const SHIPPED: &str = "shipped";
const ALL_CORES: &str = "all-cores";
const CACHED: RangeInclusive<u64> = 1_000..=10_000_000;

pub fn settings(file: &str, text: &str, base: &Path) -> Result<Settings, Mistakes> {
    let report = Report::new(file, text);
    let (document, syntax) = report.parse();
    let root = Table::root(&report, &document, KEYS);
    let mut settings = Settings::default();
    settings.data_dir = base.join(settings.data_dir);
    server(&root, base, &mut settings);
    management(&root, base, &mut settings.management);
    store(&root, base, &mut settings);
    files(&root, &mut settings);
    audit(&root, base, &mut settings);
    running(&root, &mut settings);
    envoy(&root, &mut settings);
    vault(&root, base, &mut settings);
    reload(&root, &mut settings);
    log(&root, &mut settings);
    traces(&root, base, &mut settings);
    recovery(&root, &mut settings);
    drop(document);
    Mistakes::unless_none(report.finish(syntax), Some(settings))
}

fn server(root: &Table<'_>, base: &Path, settings: &mut Settings) {
    set(&mut settings.listen, root.get("listen").and_then(|value| address(&value)));
    tls::read(root, base, &mut settings.tls);
    let operations = root.table("operations", &["listen", "tls"]);
    if let Some(table) = &operations {
        tls::read(table, base, &mut settings.operations_tls);
    }
    let operations = operations.and_then(|table| table.get("listen"));
    set(&mut settings.listen_operations, operations.and_then(nowhere_or_address));
    set(&mut settings.listen_unix, root.get("listen_unix").and_then(|value| socket(&value, base)));
    set(&mut settings.listen_unix_mode, root.get("listen_unix_mode").and_then(|value| value.parsed(mode)));
    let someone = |key: &str| root.get(key).and_then(|value| name_or_number(&value));
    set(&mut settings.listen_unix_owner, someone("listen_unix_owner"));
    set(&mut settings.listen_unix_group, someone("listen_unix_group"));
    let delays = Duration::ZERO..=Duration::from_secs(300);
    set(&mut settings.drain_delay, root.get("drain_delay").and_then(|value| value.duration(delays)));
    set(&mut settings.data_dir, root.get("data_dir").and_then(|value| path(&value)).map(|path| base.join(path)));
    set(&mut settings.realms, root.get("realms").and_then(|value| realms(&value, base)));
    set(&mut settings.threads, root.get("threads").and_then(|value| threads(&value)));
}

/// An address; nothing when it is empty.
pub(super) fn nowhere_or_address(value: Value<'_>) -> Option<Option<SocketAddr>> {
    if value.text()?.is_empty() { Some(None) } else { address(&value).map(Some) }
}

fn address(value: &Value<'_>) -> Option<SocketAddr> {
    let allowed = "must be an address and a port, such as \"127.0.0.1:50051\" or \"[::]:50051\"";
    value.parsed(|text| text.parse::<SocketAddr>().map_err(|_| allowed))
}

/// The path of a socket; nothing when it is empty.
fn socket(value: &Value<'_>, base: &Path) -> Option<Option<PathBuf>> {
    let text = value.text()?;
    if text.is_empty() {
        return Some(None);
    }
    let path = base.join(path(value)?);
    let found =
        Settings::check_socket(&path).map_err(|allowed| value.wrong(format!("{} is too long", quoted(text)), allowed));
    found.ok().map(|()| Some(path))
}

/// A user or a group; nothing when it is empty.
fn name_or_number(value: &Value<'_>) -> Option<Option<String>> {
    let text = value.text()?;
    if text.is_empty() {
        return Some(None);
    }
    value.line(256).map(|text| Some(text.to_owned()))
}

/// A file's mode, such as `0660`.
fn mode(text: &str) -> Result<u32, &'static str> {
    let legal = u32::from_str_radix(text, 8).ok().filter(|mode| text.len() <= 4 && (0o600..=0o777).contains(mode));
    legal.ok_or("must be a file's mode in octal digits, \"0600\" to \"0777\"")
}

pub(super) fn path(value: &Value<'_>) -> Option<PathBuf> {
    value.line(4_096).map(PathBuf::from)
}

fn realms(value: &Value<'_>, base: &Path) -> Option<RealmFiles> {
    if value.is_text() {
        return value.word(&[(SHIPPED, ())]).map(|()| RealmFiles::Shipped);
    }
    let items = value.list(caps::REALMS)?;
    if items.is_empty() {
        value.wrong("is empty", "must name files or directories, or be \"shipped\"");
    }
    Some(RealmFiles::Paths(items.iter().filter_map(path).map(|path| base.join(path)).collect()))
}

fn threads(value: &Value<'_>) -> Option<Option<usize>> {
    if value.is_text() {
        return value.word(&[(ALL_CORES, None)]);
    }
    usize::try_from(value.number(1..=256)?).ok().map(Some)
}

fn store(root: &Table<'_>, base: &Path, settings: &mut Settings) {
    let Some(table) = root.table("store", &["kind", "redis"]) else { return };
    let kinds = [("embedded", StoreKind::Embedded), ("redis", StoreKind::Redis)];
    set(&mut settings.store.kind, table.get("kind").and_then(|value| value.word(&kinds)));
    if let Some(table) = table.table("redis", redis::KEYS) {
        redis::read(&table, base, &mut settings.store.redis);
    }
}

fn files(root: &Table<'_>, settings: &mut Settings) {
    let secrets = root.table("secrets", &["file"]).and_then(|table| table.get("file"));
    set(&mut settings.secrets_file, secrets.and_then(|value| path(&value)));
    let operator = root.table("operator", &["key_file"]).and_then(|table| table.get("key_file"));
    set(&mut settings.operator_key_file, operator.and_then(|value| path(&value)));
}

fn audit(root: &Table<'_>, base: &Path, settings: &mut Settings) {
    let export = root.table("audit", &["export_file"]).and_then(|table| table.get("export_file"));
    let named = export.filter(|value| !value.is_text() || value.text() != Some(""));
    settings.audit_export_file = named.and_then(|value| path(&value)).map(|path| base.join(path));
}

fn reload(root: &Table<'_>, settings: &mut Settings) {
    let shortest = Duration::from_millis(100);
    let every = root.table("reload", &["check_every"]).and_then(|table| table.get("check_every"));
    let every = every.and_then(|value| {
        let every = value.duration(Duration::ZERO..=Duration::from_secs(3_600))?;
        if every.is_zero() || every >= shortest {
            return Some(every);
        }
        value.wrong("is too short", "must be \"0s\" for never, or \"100ms\" to \"1h\"");
        None
    });
    set(&mut settings.check_every, every);
}

/// Where acts are written down.
fn recovery(root: &Table<'_>, settings: &mut Settings) {
    let journal = root.table("recovery", &["journal"]).and_then(|table| table.get("journal"));
    let nowhere = |value: Value<'_>| if value.text() == Some("") { Some(None) } else { path(&value).map(Some) };
    set(&mut settings.journal_file, journal.and_then(nowhere));
}

fn running(root: &Table<'_>, settings: &mut Settings) {
    let count = |value: Value<'_>, range| usize::try_from(value.number(range)?).ok();
    if let Some(table) = root.table("cache", &["keys", "accounts", "unknown_keys"]) {
        let cache = &mut settings.cache;
        set(&mut cache.keys, table.get("keys").and_then(|value| count(value, CACHED)));
        set(&mut cache.accounts, table.get("accounts").and_then(|value| count(value, CACHED)));
        set(&mut cache.unknown_keys, table.get("unknown_keys").and_then(|value| count(value, CACHED)));
    }
    if let Some(table) = root.table("limits", LIMIT_KEYS) {
        let limits = &mut settings.limits;
        let counts = [
            ("connections", &mut limits.connections, 1..=1_000_000),
            ("calls", &mut limits.calls, 1..=1_000_000),
            ("acts", &mut limits.acts, 1..=100_000),
            ("counters", &mut limits.counters, 1_000..=100_000_000),
            ("decision_bytes", &mut limits.decision_bytes, 1_024..=16 * 1_024 * 1_024),
            ("management_bytes", &mut limits.management_bytes, 1_024..=64 * 1_024 * 1_024),
        ];
        for (key, slot, range) in counts {
            set(slot, table.get(key).and_then(|value| count(value, range)));
        }
        let streams = table.get("streams_per_connection");
        let streams = streams.and_then(|value| u32::try_from(value.number(1..=65_536)?).ok());
        set(&mut limits.streams_per_connection, streams);
        let misses = table.get("misses_per_source");
        set(&mut limits.misses_per_source, misses.and_then(|value| u32::try_from(value.number(0..=1_000_000)?).ok()));
        let lasting = Duration::from_millis(10)..=Duration::from_secs(300);
        set(&mut limits.act_timeout, table.get("act_timeout").and_then(|value| value.duration(lasting.clone())));
        set(&mut limits.idle_timeout, table.get("idle_timeout").and_then(|value| idle_timeout(&value)));
        set(&mut limits.arrival_timeout, table.get("arrival_timeout").and_then(|value| value.duration(lasting)));
    }
}

fn idle_timeout(value: &Value<'_>) -> Option<Duration> {
    let idle = value.duration(Duration::ZERO..=Duration::from_secs(86_400))?;
    if idle.is_zero() || idle >= Duration::from_secs(1) {
        return Some(idle);
    }
    value.wrong("is too short", "must be \"0s\" for never, or \"1s\" to \"1d\"");
    None
}

/// Which realm guards a host, and which one a domain of rate limits belongs to. Whether they exist shows with the realms.
fn envoy(root: &Table<'_>, settings: &mut Settings) {
    let Some(table) = root.table("envoy", &["client_address_header", "hosts", "domains"]) else { return };
    let entries = |key: &str| {
        let table = table.get(key).and_then(|value| value.any_table());
        let entries = table.map(|table| table.entries()).unwrap_or_default();
        if entries.len() > caps::ROUTING
            && let Some(value) = table_value(root, key)
        {
            value.wrong(format!("holds {}", entries.len()), format!("must hold at most {}", caps::ROUTING));
        }
        let realm = |value: Value<'_>| value.parsed(|text| RealmName::new(text).map_err(|e| format!("must be {e}")));
        entries.into_iter().map(move |(name, value)| (name, realm(value.clone()), value)).collect::<Vec<_>>()
    };
    let trusted = table.get("client_address_header").filter(|value| value.text() != Some(""));
    if let Some(header) = trusted.and_then(|value| value.parsed(legal_header)) {
        settings.routing.trust_client_address(header);
    }
    for (host, realm, value) in entries("hosts") {
        let Some(realm) = realm else { continue };
        if settings.routing.host(host, realm).is_none() {
            value.wrong(format!("{} is no host", quoted(host)), format!("must be {}", Routing::HOST_ALLOWED));
        }
    }
    for (domain, realm, value) in entries("domains") {
        let Some(realm) = realm else { continue };
        if domain.is_empty() || domain.len() > caps::DOMAIN_BYTES {
            value.wrong("is no domain", format!("must be named by 1 to {} bytes", caps::DOMAIN_BYTES));
        } else {
            settings.routing.domain(domain, realm);
        }
    }
}

fn table_value<'t>(root: &Table<'t>, key: &str) -> Option<Value<'t>> {
    root.get("envoy")?.any_table()?.get(key)
}
