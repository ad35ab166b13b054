//! `keygate secrets …`, and servers that read the file often.

use crate::support::{
    files::{ConfigFile, PATIENT},
    keygate::{BINARY, Keygate},
};
use serde_json::Value;
use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// Settings of a server that sees a changed file at once.
pub fn watchful() -> ConfigFile {
    ConfigFile::settings(&format!("[reload]\ncheck_every = \"100ms\"\n{PATIENT}"))
}

/// The command, with nothing of the environment that it would heed.
pub fn secrets(arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("KEYGATE_")) {
        command.env_remove(name);
    }
    command.arg("secrets").args(arguments);
    command
}

/// Runs it; fails when it does, or when it shows a secret of the file.
pub fn done(file: &Path, arguments: &[&str]) -> Value {
    let output = secrets(arguments).arg("--file").arg(file).args(["--output", "json"]).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    shows_no_secret(file, &output);
    serde_json::from_slice(&output.stdout).unwrap()
}

pub fn shows_no_secret(file: &Path, output: &Output) {
    let told = [&output.stdout[..], &output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    for line in fs::read_to_string(file).unwrap_or_default().lines().filter(|line| !line.starts_with('#')) {
        let secret = line.split_whitespace().nth(1).unwrap_or("?");
        assert!(secret.len() < 16 || !told.contains(secret) && !told.contains(&secret[..secret.len() / 2]), "{told}");
    }
}

/// What `keygate secrets status` tells of a server.
pub fn status(server: &Keygate, more: &[&str]) -> Value {
    let mut command = secrets(&["status", "--output", "json", "--endpoint", &server.endpoint()]);
    let output = command.args(more).env("KEYGATE_KEY", server.operator()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// State and keys of a version, as a status or a file tells it.
pub fn version(told: &Value, version: u64) -> &Value {
    let all = told["versions"].as_array().unwrap();
    all.iter().find(|found| found["version"] == version).unwrap_or_else(|| panic!("no version {version} in {told}"))
}

pub async fn until(what: &str, come: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !come() {
        assert!(Instant::now() < deadline, "it did not come: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
