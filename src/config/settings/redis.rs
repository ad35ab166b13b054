//! How Redis is used: where it is, as whom and by which files, and on which terms.

use super::{read::path, set};
use crate::config::reader::{Table, Value};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

pub(super) const KEYS: &[&str] = &[
    "url",
    "password_file",
    "deadline",
    "connect_timeout",
    "allow_eviction",
    "allow_no_persistence",
    "wait_replicas",
    "wait_timeout",
    "tls",
    "sentinel",
];
const SENTINEL_KEYS: &[&str] =
    &["user", "password_file", "tls", "ca_file", "certificate_file", "key_file", "server_name"];
const TLS_KEYS: &[&str] = &["ca_file", "certificate_file", "key_file", "server_name"];

/// How Redis is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisSettings {
    /// Where it is.
    pub url: RedisUrl,
    /// The file that its password stands in, read for every new connection; absent: it stands in the address, or there is none.
    pub password_file: Option<PathBuf>,
    /// How long one decision waits for it, 1 ms to 1 s.
    pub deadline: Duration,
    /// How long connecting may take, 10 ms to 30 s.
    pub connect_timeout: Duration,
    /// Start although it may evict keys.
    pub allow_eviction: bool,
    /// Start although it keeps nothing on disk.
    pub allow_no_persistence: bool,
    /// How many replicas must have an act of management before it is acknowledged, 0 to 10.
    pub wait_replicas: u32,
    /// How long they are waited for, 10 ms to 10 s.
    pub wait_timeout: Duration,
    /// The files of TLS.
    pub tls: TlsSettings,
    /// How sentinels are spoken to.
    pub sentinel: SentinelSettings,
}

/// The files of TLS, each read for every new connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// The authorities that are trusted; absent: those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// The certificate that is shown.
    pub certificate_file: Option<PathBuf>,
    /// Its private key.
    pub key_file: Option<PathBuf>,
    /// The name that must stand in the server's certificate; absent: the host's.
    pub server_name: Option<String>,
}

/// How sentinels are spoken to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentinelSettings {
    /// The user.
    pub user: Option<String>,
    /// The file that the password stands in.
    pub password_file: Option<PathBuf>,
    /// Whether by TLS; absent: as to Redis.
    pub tls: Option<bool>,
    /// The files of TLS, in place of those for Redis.
    pub files: TlsSettings,
}

/// The address of a Redis server. It may hold a password, so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisUrl(String);

impl Default for RedisSettings {
    fn default() -> Self {
        Self {
            url: RedisUrl("redis://127.0.0.1:6379/0".to_owned()),
            password_file: None,
            deadline: Duration::from_millis(50),
            connect_timeout: Duration::from_secs(2),
            allow_eviction: false,
            allow_no_persistence: false,
            wait_replicas: 0,
            wait_timeout: Duration::from_millis(500),
            tls: TlsSettings::default(),
            sentinel: SentinelSettings::default(),
        }
    }
}

impl RedisUrl {
    /// What is allowed, in words.
    pub const ALLOWED: &'static str = "`redis://[user[:password]@]host[:port][/database]`, `rediss://…` for TLS, \
                                       `unix:///path/to/socket`, or \
                                       `redis+sentinel://[user[:password]@]host[:port],…/primary[/database]` \
                                       (`rediss+sentinel://…` for TLS)";

    const SCHEMES: [&'static str; 6] =
        ["redis://", "rediss://", "valkey://", "valkeys://", "redis+sentinel://", "rediss+sentinel://"];

    /// Checks the form of an address; whether anyone answers there shows when it is used.
    ///
    /// # Errors
    /// Says what is allowed, and nothing of `text`.
    pub fn new(text: &str) -> Result<Self, &'static str> {
        let plain = text.len() <= 1_024 && text.bytes().all(|b| b.is_ascii_graphic()) && !text.contains('#');
        let mut schemes = Self::SCHEMES.into_iter().chain(["unix:///"]);
        let rest = schemes.find_map(|scheme| text.strip_prefix(scheme));
        let whole = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
        let url = Self(text.to_owned());
        let complete = !url.names_sentinels() || rest.is_some_and(names_a_primary);
        if plain && whole && complete { Ok(url) } else { Err(Self::ALLOWED) }
    }

    /// The address itself: for connecting, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether TLS is spoken there.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        ["rediss://", "valkeys://", "rediss+sentinel://"].iter().any(|scheme| self.0.starts_with(scheme))
    }

    /// Whether sentinels say where Redis is.
    #[must_use]
    pub fn names_sentinels(&self) -> bool {
        self.0.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("+sentinel"))
    }

    /// Whether a password stands in it.
    fn holds_password(&self) -> bool {
        let rest = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let user = rest.split('/').next().and_then(|authority| authority.rsplit_once('@'));
        user.is_some_and(|(user, _)| user.contains(':'))
    }
}

/// Whether hosts and a primary's name stand there.
fn names_a_primary(rest: &str) -> bool {
    let Some((authority, path)) = rest.split_once('/') else { return false };
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    let name = path.split('/').next().unwrap_or_default();
    !name.is_empty() && hosts.split(',').all(|host| !host.is_empty())
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisUrl(…)")
    }
}

impl TlsSettings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn half(&self) -> bool {
        self.certificate_file.is_some() != self.key_file.is_some()
    }
}

impl RedisSettings {
    /// Checks what only shows when everything is known: the address may come from a flag, and files from the settings.
    ///
    /// # Errors
    /// Says which settings do not go together.
    pub fn check(&self) -> Result<(), String> {
        const SECURE: &str = "begin the address with `rediss://` or `rediss+sentinel://`";
        let (tls, sentinel) = (&self.tls, &self.sentinel);
        let spoken_to_sentinels = sentinel.tls.unwrap_or(self.url.is_secure());
        if self.password_file.is_some() && self.url.holds_password() {
            return Err("`store.redis.password_file` is set, and a password stands in the address of Redis too: take it out of there".to_owned());
        }
        let serves_sentinels = self.url.names_sentinels() && spoken_to_sentinels;
        if !(tls.is_empty() || self.url.is_secure() || serves_sentinels) {
            return Err(format!("`store.redis.tls` is set, and the address of Redis is not one for TLS: {SECURE}"));
        }
        if *sentinel != SentinelSettings::default() && !self.url.names_sentinels() {
            return Err("`store.redis.sentinel` is set, and the address of Redis names no sentinels: begin it with `redis+sentinel://`".to_owned());
        }
        if !sentinel.files.is_empty() && !spoken_to_sentinels {
            return Err(format!(
                "`store.redis.sentinel` names files of TLS, and sentinels are not spoken to by TLS: set its `tls = true`, or {SECURE}"
            ));
        }
        if sentinel.user.is_some() && sentinel.password_file.is_none() {
            return Err("`store.redis.sentinel.user` is set without `store.redis.sentinel.password_file`".to_owned());
        }
        for (files, table) in [(tls, "store.redis.tls"), (&sentinel.files, "store.redis.sentinel")] {
            if files.half() {
                return Err(half_given(table));
            }
        }
        Ok(())
    }
}

/// A certificate without its key, or the other way round.
pub(super) fn half_given(table: &str) -> String {
    format!("of `{table}.certificate_file` and `{table}.key_file` one is set without the other")
}

/// Reads `[store.redis]`.
pub(super) fn read(table: &Table<'_>, base: &Path, redis: &mut RedisSettings) {
    let url = table.get("url").and_then(|value| {
        // The text may hold a password: no message repeats it.
        let url = RedisUrl::new(value.text()?);
        url.map_err(|allowed| value.wrong("is not the address of a Redis server", format!("must be {allowed}"))).ok()
    });
    set(&mut redis.url, url);
    set(&mut redis.password_file, file(table, "password_file", base));
    let (millisecond, second) = (Duration::from_millis(1), Duration::from_secs(1));
    set(&mut redis.deadline, table.get("deadline").and_then(|value| value.duration(millisecond..=second)));
    let connecting = Duration::from_millis(10)..=Duration::from_secs(30);
    set(&mut redis.connect_timeout, table.get("connect_timeout").and_then(|value| value.duration(connecting)));
    set(&mut redis.allow_eviction, table.get("allow_eviction").and_then(|value| value.truth()));
    set(&mut redis.allow_no_persistence, table.get("allow_no_persistence").and_then(|value| value.truth()));
    let replicas = table.get("wait_replicas").and_then(|value| value.number(0..=10));
    set(&mut redis.wait_replicas, replicas.and_then(|count| u32::try_from(count).ok()));
    let waiting = Duration::from_millis(10)..=Duration::from_secs(10);
    set(&mut redis.wait_timeout, table.get("wait_timeout").and_then(|value| value.duration(waiting)));
    if let Some(table) = table.table("tls", TLS_KEYS) {
        files(&table, base, &mut redis.tls);
    }
    if let Some(table) = table.table("sentinel", SENTINEL_KEYS) {
        let sentinel = &mut redis.sentinel;
        set(&mut sentinel.user, name(&table, "user"));
        set(&mut sentinel.password_file, file(&table, "password_file", base));
        set(&mut sentinel.tls, table.get("tls").map(|value| value.truth()));
        files(&table, base, &mut sentinel.files);
    }
}

fn files(table: &Table<'_>, base: &Path, tls: &mut TlsSettings) {
    set(&mut tls.ca_file, file(table, "ca_file", base));
    set(&mut tls.certificate_file, file(table, "certificate_file", base));
    set(&mut tls.key_file, file(table, "key_file", base));
    set(&mut tls.server_name, name(table, "server_name"));
}

/// A file; nothing when the text is empty.
pub(super) fn file(table: &Table<'_>, key: &str, base: &Path) -> Option<Option<PathBuf>> {
    given(table, key, |value| path(value).map(|path| base.join(path)))
}

/// A name; nothing when the text is empty.
fn name(table: &Table<'_>, key: &str) -> Option<Option<String>> {
    given(table, key, |value| value.line(253).map(ToOwned::to_owned))
}

fn given<T>(table: &Table<'_>, key: &str, read: impl Fn(&Value<'_>) -> Option<T>) -> Option<Option<T>> {
    let value = table.get(key)?;
    if value.text()?.is_empty() {
        return Some(None);
    }
    read(&value).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settings, what is said of them, and nothing when they go together.
    #[test]
    fn what_does_not_go_together_is_told() {
        let settings = |url: &str| RedisSettings { url: RedisUrl::new(url).unwrap(), ..RedisSettings::default() };
        let file = || Some(PathBuf::from("f"));
        let ca = || TlsSettings { ca_file: file(), ..TlsSettings::default() };
        let half = || TlsSettings { key_file: file(), ..TlsSettings::default() };
        let sentinel = || SentinelSettings { password_file: file(), ..SentinelSettings::default() };
        let secure = "begin the address with `rediss://` or `rediss+sentinel://`";
        for (settings, told) in [
            (settings("redis://h"), String::new()),
            (RedisSettings { password_file: file(), ..settings("rediss://u@h") }, String::new()),
            (
                RedisSettings { password_file: file(), ..settings("redis://u:hunter2@h") },
                "`store.redis.password_file` is set, and a password stands in the address of Redis too: take it out of there"
                    .to_owned(),
            ),
            (RedisSettings { tls: ca(), ..settings("valkeys://h") }, String::new()),
            (
                RedisSettings { tls: ca(), ..settings("redis://h") },
                format!("`store.redis.tls` is set, and the address of Redis is not one for TLS: {secure}"),
            ),
            (
                RedisSettings { tls: half(), ..settings("rediss://h") },
                "of `store.redis.tls.certificate_file` and `store.redis.tls.key_file` one is set without the other".to_owned(),
            ),
            (RedisSettings { sentinel: sentinel(), ..settings("redis+sentinel://h/p") }, String::new()),
            (
                RedisSettings { sentinel: sentinel(), ..settings("redis://h") },
                "`store.redis.sentinel` is set, and the address of Redis names no sentinels: begin it with `redis+sentinel://`"
                    .to_owned(),
            ),
            (
                RedisSettings {
                    sentinel: SentinelSettings { files: ca(), ..sentinel() },
                    ..settings("redis+sentinel://h/p")
                },
                format!(
                    "`store.redis.sentinel` names files of TLS, and sentinels are not spoken to by TLS: set its `tls = true`, or \
                     {secure}"
                ),
            ),
            (
                RedisSettings {
                    sentinel: SentinelSettings { user: Some("u".to_owned()), ..SentinelSettings::default() },
                    ..settings("redis+sentinel://h/p")
                },
                "`store.redis.sentinel.user` is set without `store.redis.sentinel.password_file`".to_owned(),
            ),
            (
                RedisSettings {
                    sentinel: SentinelSettings { tls: Some(true), files: half(), ..sentinel() },
                    ..settings("redis+sentinel://h/p")
                },
                "of `store.redis.sentinel.certificate_file` and `store.redis.sentinel.key_file` one is set without the other"
                    .to_owned(),
            ),
        ] {
            assert_eq!(settings.check().err().unwrap_or_default(), told);
        }
    }

    #[test]
    fn addresses_are_judged_by_their_form() {
        for good in [
            "redis://h",
            "rediss://u:p@h:1/2",
            "valkeys://h",
            "unix:///s",
            "redis+sentinel://a,b:1/p/2",
            "rediss+sentinel://u:p@a/p",
        ] {
            assert!(RedisUrl::new(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "h",
            "http://h",
            "redis://",
            "rediss://h#insecure",
            "redis+sentinel://a",
            "redis+sentinel://a/",
            "redis+sentinel://a,/p",
            "unix://s",
        ] {
            assert_eq!(RedisUrl::new(bad), Err(RedisUrl::ALLOWED), "{bad}");
        }
    }
}
