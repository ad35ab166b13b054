//! Stores on both sides of a backup, and the commands between them.

use crate::support::{
    calls::{Answered, by_key},
    keygate::{BINARY, DataDir, Keygate},
    redis::RedisServer,
};
use keygate::proto::{
    store_v1::{BackupPart, backup_part::Of},
    v1::Allowed,
};
use prost::Message;
use serde_json::Value;
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Embedded,
    Redis,
}

/// A place for a store, its server secrets included; nobody has to run on it.
pub struct Place {
    pub data: TempDir,
    pub redis: Option<RedisServer>,
    more: Vec<String>,
}

impl Place {
    pub fn new(kind: Kind) -> Self {
        let redis = (kind == Kind::Redis).then(RedisServer::start);
        Self { data: TempDir::with_prefix("keygate-place-").unwrap(), redis, more: Vec::new() }
    }

    /// The same, whose servers get more arguments.
    pub fn with(kind: Kind, more: &[String]) -> Self {
        Self { more: more.to_vec(), ..Self::new(kind) }
    }

    /// Another one with the same server secrets and operator key.
    pub fn sibling(&self, kind: Kind) -> Self {
        let other = Self::with(kind, &self.more);
        for name in ["secrets", "operator.key"] {
            fs::copy(self.data.path().join(name), other.data.path().join(name)).unwrap();
        }
        other
    }

    pub fn store(&self) -> Vec<String> {
        let Some(redis) = &self.redis else { return Vec::new() };
        ["--store", "redis", "--redis-url", &redis.url()].map(str::to_owned).to_vec()
    }

    pub async fn serve(&self) -> Keygate {
        let arguments = [self.store(), self.more.clone()].concat();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let data = DataDir::Given(self.data.path().to_owned());
        let started = Keygate::try_start(data, &arguments).await;
        started.unwrap_or_else(|ended| panic!("keygate ended: {ended:#?}"))
    }

    /// `keygate restore` into it, to be run.
    pub fn restoring(&self, file: &Path, flags: &[&str]) -> Command {
        let mut command = command(&["restore", "--output", "json", "--data-dir"]);
        command.arg(self.data.path()).args(self.store()).args(flags).arg(file);
        command
    }

    pub fn restore(&self, file: &Path, flags: &[&str]) -> Ran {
        Ran::of(self.restoring(file, flags))
    }
}

/// A command with none of our own variables that would configure it.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Ran {
    pub fn of(mut command: Command) -> Self {
        Self::end(command.spawn().unwrap())
    }

    pub fn end(child: Child) -> Self {
        let done = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(done.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        Self { code: done.status.code().unwrap_or(-1), stdout: done.stdout, stderr }
    }

    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}: {self:?}"))
    }

    /// What it says of why it failed.
    #[track_caller]
    pub fn message(&self) -> String {
        let error: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        error["error"]["message"].as_str().unwrap().to_owned()
    }

    /// Accounts that were written, brought forward, the same, newer, left out.
    #[track_caller]
    pub fn counts(&self) -> [u64; 5] {
        let report = self.json();
        ["written", "advanced", "same", "newer", "left_out"].map(|name| report[name].as_u64().unwrap())
    }
}

/// A folder for files.
pub fn folder() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, move |name| path.join(name))
}

/// `keygate backup` of a server, to be run.
pub fn backing_up(server: &Keygate, file: &Path) -> Command {
    let mut command = command(&["backup", "--output", "json", "--endpoint", &server.endpoint()]);
    command.env("KEYGATE_KEY", server.operator()).arg(file);
    command
}

pub fn backup(server: &Keygate, file: &Path) -> Ran {
    Ran::of(backing_up(server, file)).ends(0)
}

/// The parts of a file, without what differs between two backups of the same: the time, and when the operator was last here.
pub fn parts(file: &Path) -> Vec<Of> {
    let bytes = fs::read(file).unwrap();
    let mut rest = bytes.strip_prefix(b"keygate backup 1\n").unwrap();
    let mut found = Vec::new();
    let mut operators = false;
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let (part, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        rest = behind;
        let mut of = BackupPart::decode(&part[16..]).unwrap().of.unwrap();
        match &mut of {
            Of::Header(header) => header.at_us = 0,
            Of::Account(named) => operators = named.realm == "keygate",
            Of::Key(key) if operators => (key.last, key.uses) = (None, Vec::new()),
            _ => {}
        }
        found.push(of);
    }
    found
}

/// Fails unless two backups hold the same.
#[track_caller]
pub fn assert_same(one: &Path, other: &Path) {
    let (one, other) = (parts(one), parts(other));
    for (at, (one, other)) in one.iter().zip(&other).enumerate() {
        assert_eq!(one, other, "part {}", at + 1);
    }
    assert_eq!(one.len(), other.len());
}

/// Who a key of the realm is.
pub async fn allowed(server: &Keygate, realm: &str, key: &str) -> Allowed {
    server.authenticate(by_key(realm, key)).await.allowed()
}
