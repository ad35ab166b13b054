//! A server whose files change while it runs.

use crate::support::{calls, files::PATIENT, keygate::Keygate, redis::RedisServer, stack::Stack};
use keygate::proto::v1::AuthenticateRequest;
use std::{
    fs,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

/// What the server says when it took files over, and when it did not.
pub const RELOADED: &str = "the configuration was reloaded";
pub const REFUSED: &str = "the configuration was not reloaded";

/// Only when told to.
pub const NEVER: &str = "0s";
/// Far more often than any server would.
pub const OFTEN: &str = "100ms";

pub struct World {
    pub stack: Stack,
    pub folder: TempDir,
}

/// A small realm: `reads` admits `limit` an hour, its keys begin with `NAME_live_`.
pub fn realm(name: &str, limit: u32) -> String {
    format!(
        r#"realm = "{name}"
[[environments]]
name = "live"
prefix = "{name}_live_"
[[credentials]]
header = "x-key"
[[scopes]]
name = "read"
default = true
[[scopes]]
name = "write"
[[operations]]
name = "read"
routes = ["GET /things"]
scopes = ["read"]
[[operations]]
name = "write"
routes = ["POST /things"]
scopes = ["write"]
[[limits]]
name = "reads"
limit = {limit}
window = "1h"
per = ["account"]
operations = ["read"]
[[errors]]
code = "who"
status = 401
message = "who are you"
for = ["missing_credential", "invalid_credential"]
"#
    )
}

impl World {
    /// On the embedded store, with these realms.
    pub async fn start(every: &str, realms: &[(&str, String)]) -> Self {
        Self::with(None, every, realms, "").await
    }

    pub async fn on_redis(every: &str, realms: &[(&str, String)]) -> Self {
        Self::with(Some(RedisServer::start()), every, realms, "").await
    }

    /// The same with more settings.
    pub async fn with(redis: Option<RedisServer>, every: &str, realms: &[(&str, String)], settings: &str) -> Self {
        let folder = TempDir::with_prefix("keygate-config-").unwrap();
        fs::create_dir(folder.path().join("realms")).unwrap();
        for (name, text) in realms {
            fs::write(folder.path().join("realms").join(format!("{name}.toml")), text).unwrap();
        }
        let config = folder.path().join("keygate.toml");
        let patient = if redis.is_some() { PATIENT } else { "" };
        fs::write(&config, format!("{settings}\n[reload]\ncheck_every = \"{every}\"\n{patient}")).unwrap();
        let (config, realms) = (config.display().to_string(), folder.path().join("realms").display().to_string());
        let mut arguments = vec!["--config", &config, "--realm-file", &realms];
        let url = redis.as_ref().map(RedisServer::url).unwrap_or_default();
        if redis.is_some() {
            arguments.extend(["--store", "redis", "--redis-url", &url]);
        }
        let keygate = Keygate::start(&arguments).await;
        Self { stack: Stack { keygate, redis }, folder }
    }

    pub fn at(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn realm_file(&self, name: &str) -> PathBuf {
        self.at(&format!("realms/{name}.toml"))
    }

    /// Writes a realm's file as a careful program does: beside it, and then in its place.
    pub fn write(&self, name: &str, text: &str) {
        let draft = self.at(&format!("realms/.{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.realm_file(name)).unwrap();
    }

    pub fn remove(&self, name: &str) {
        fs::remove_file(self.realm_file(name)).unwrap();
    }

    /// Sends SIGHUP and waits until the server has said what came of it.
    pub async fn told(&self) {
        let before = self.answers();
        let told = format!("kill -HUP {}", self.stack.process_id());
        assert!(Command::new("sh").args(["-c", &told]).status().unwrap().success());
        self.until(|| self.answers() > before).await;
    }

    /// Sends SIGHUP to a server that says nothing of it, and waits until its realms are another generation, which it tells on
    /// its health service: refused and right again, or right all along.
    pub async fn told_silently(&self) {
        let told = format!("kill -HUP {}", self.stack.process_id());
        assert!(Command::new("sh").args(["-c", &told]).status().unwrap().success());
        let deadline = Instant::now() + Duration::from_secs(20);
        while self.configuration().await != ServingStatus::Serving {
            assert!(Instant::now() < deadline, "the files were not taken over:\n{}", self.stack.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The same, and it took the files over.
    pub async fn reload(&self) {
        let before = self.count(RELOADED);
        self.told().await;
        assert_eq!(self.count(RELOADED), before + 1, "{}", self.stack.output());
    }

    fn answers(&self) -> usize {
        self.count(RELOADED) + self.count(REFUSED)
    }

    /// How often the server has said that.
    pub fn count(&self, text: &str) -> usize {
        self.stack.output().matches(text).count()
    }

    /// Waits until the server has said that so often.
    pub async fn until_count(&self, text: &str, count: usize) {
        self.until(|| self.count(text) >= count).await;
    }

    pub async fn until(&self, come: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !come() {
            assert!(Instant::now() < deadline, "it did not come:\n{}", self.stack.output());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The last line in which the server said that.
    pub fn line(&self, text: &str) -> String {
        let output = self.stack.output();
        output.lines().rfind(|line| line.contains(text)).unwrap_or_else(|| panic!("`{text}` was not said")).to_owned()
    }

    /// Whether the files are what the server goes by.
    pub async fn configuration(&self) -> ServingStatus {
        let request = HealthCheckRequest { service: "configuration".to_owned() };
        HealthClient::new(self.stack.channel()).check(request).await.unwrap().into_inner().status()
    }
}

/// A read with that key, which is charged.
pub fn read(realm: &str, key: &str) -> AuthenticateRequest {
    calls::charged(calls::by_key(realm, key), "GET", "/things", 1)
}

/// A write with it.
pub fn write(realm: &str, key: &str) -> AuthenticateRequest {
    calls::charged(calls::by_key(realm, key), "POST", "/things", 1)
}
