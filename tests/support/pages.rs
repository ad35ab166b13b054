//! Pages of commands, run as a reader would: every `sh` block in turn, in one shell and one directory. What a `text` block
//! shows must be what the block before it printed; `…` stands for anything. Only ports are changed.

use super::{keygate::BINARY, proxy};
use std::{
    env, fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The ports of the pages and of the files that they use.
const PORTS: [&str; 8] = ["8080", "8000", "3000", "50051", "50052", "6380", "9901", "9464"];
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

/// Runs a page in an empty directory that holds copies of `files` alone, and gives how many of its commands told what they
/// should.
pub fn follow(page: &str, files: &[&str]) -> usize {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join(page)).unwrap();
    // All at once, so that no two are the same.
    let taken = PORTS.map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let free = taken.map(|listener| listener.local_addr().unwrap().port().to_string());
    let moved = |text: &str| PORTS.iter().zip(&free).fold(text.to_owned(), |text, (port, own)| text.replace(port, own));

    let folder = tempfile::tempdir().unwrap();
    for file in files.iter().flat_map(|file| below(&root.join(file))) {
        let copy = folder.path().join(file.strip_prefix(root).unwrap());
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, moved(&fs::read_to_string(&file).unwrap())).unwrap();
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

    let mut path: Vec<PathBuf> = [Path::new(BINARY), &proxy::binary()].map(|own| own.parent().unwrap().into()).into();
    path.extend(env::split_paths(&env::var_os("PATH").unwrap()));
    // A command that waits for what never comes must not hold up everybody.
    let mut command = Command::new("timeout");
    command.args(["300", "bash", "-c", &script]).current_dir(folder.path()).env("PATH", env::join_paths(path).unwrap());
    let output = command.stdin(Stdio::null()).output().expect("`bash` can be started");
    let told = String::from_utf8_lossy(&output.stdout);
    let log = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
    let errors = String::from_utf8_lossy(&output.stderr);
    let context = format!("{told}\n{errors}\n{}\n{}\n{script}", log("keygate.log"), log("envoy.log"));
    assert!(output.status.success(), "{context}");
    for (told, expected) in told.split(MARK).zip(&expected) {
        if let Some(expected) = expected {
            let (told, expected) = (told.trim(), moved(expected.trim()));
            assert!(is_like(told, &expected), "printed:\n{told}\n\nexpected:\n{expected}\n\n{context}");
        }
    }
    expected.iter().flatten().count()
}

fn below(path: &Path) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    fs::read_dir(path).unwrap().flat_map(|entry| below(&entry.unwrap().path())).collect()
}

/// Whether a text is the pattern, in which `…` stands for anything within a line.
fn is_like(text: &str, pattern: &str) -> bool {
    let line = |(text, pattern): (&str, &str)| {
        let mut parts = pattern.split('…');
        let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
        let mut last = None;
        for part in parts {
            last = Some(part);
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.is_empty() || last.is_some_and(|last| text.ends_with(last))
    };
    text.lines().count() == pattern.lines().count() && text.lines().zip(pattern.lines()).all(line)
}
