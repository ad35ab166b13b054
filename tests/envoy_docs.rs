//! docs/envoy.md, command by command, in a directory with nothing but what it names. Only ports are changed.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{
    env, fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};
use support::keygate::BINARY;

/// The ports of the page and of the files that it copies.
const PORTS: [&str; 4] = ["8080", "3000", "50051", "9901"];
/// Stands between the output of two blocks.
const MARK: &str = "-- next block --";

/// Every fenced block, as what stands behind its fence and its text.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(info), None) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(block)) => found.push(block),
            (None, Some((info, text))) => open = Some((info, format!("{text}{line}\n"))),
            (None, None) => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_page_does_what_the_page_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/envoy.md")).unwrap();
    // All at once, so that no two are the same.
    let taken = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let free = taken.map(|listener| listener.local_addr().unwrap().port().to_string());
    let moved = |text: &str| PORTS.iter().zip(&free).fold(text.to_owned(), |text, (port, own)| text.replace(port, own));

    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("deploy/envoy");
    fs::create_dir_all(&files).unwrap();
    for entry in fs::read_dir(root.join("deploy/envoy")).unwrap() {
        let path = entry.unwrap().path();
        fs::write(files.join(path.file_name().unwrap()), moved(&fs::read_to_string(&path).unwrap())).unwrap();
    }

    let blocks = blocks(&page);
    let first = blocks.iter().position(|(info, _)| info == "sh").expect("a command");
    let mut script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\n".to_owned();
    let mut expected: Vec<Option<&str>> = Vec::new();
    for (info, text) in &blocks[first..] {
        match info.as_str() {
            "sh" => {
                script += &format!("{}echo; echo '{MARK}'\n", moved(text));
                expected.push(None);
            }
            "text" => *expected.last_mut().unwrap() = Some(text.as_str()),
            other => assert_eq!(other, "toml realm", "a block is neither run nor read by a test"),
        }
    }
    assert!(expected.len() >= 8, "only {} commands were found", expected.len());

    let own = Path::new(BINARY).parent().unwrap().display().to_string();
    let path = format!("{own}:{}", env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(folder.path()).env("PATH", path).stdin(Stdio::null());
    let output = command.output().expect("`bash` can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    let log = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    let context = format!("{told}\n{errors}\n{}\n{}\n{script}", log("keygate.log"), log("envoy.log"));
    assert!(output.status.success(), "{context}");
    for (told, expected) in told.split(MARK).zip(&expected) {
        if let Some(expected) = expected {
            assert_eq!(told.trim(), expected.trim(), "{context}");
        }
    }
}
