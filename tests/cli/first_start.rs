//! What somebody meets who starts keygate for the first time, in an empty directory.

use crate::{
    run::{Call, keygate},
    support::keygate::BINARY,
};
use std::{
    fs,
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output},
};
use tempfile::TempDir;

/// A server that was started by hand, as far as what it prints once it listens.
struct Started {
    child: Child,
    lines: Vec<String>,
}

impl Started {
    /// Reads until the command that is printed last.
    fn new(call: Call) -> Self {
        let mut child = call.spawn();
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut lines = Vec::new();
        while !lines.last().is_some_and(|line: &String| line.contains(" authenticate --endpoint ")) {
            let Some(line) = stdout.next() else {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("keygate ended: {lines:#?}\n{said}");
            };
            lines.push(line.unwrap());
        }
        Self { child, lines }
    }

    fn after(&self, word: &str) -> &str {
        let line = self.lines.iter().find_map(|line| line.strip_prefix(word));
        line.unwrap_or_else(|| panic!("no `{word}`: {:#?}", self.lines)).trim()
    }

    /// The command that is printed last, run by a shell as it stands there.
    fn run_as_printed(&self, directory: &Path) -> Output {
        let path = format!("{}:{}", Path::new(BINARY).parent().unwrap().display(), std::env::var("PATH").unwrap());
        let line = self.lines.last().unwrap().trim();
        Command::new("sh").args(["-c", line]).env("PATH", path).current_dir(directory).output().unwrap()
    }

    /// Ends it and gives all that it printed.
    fn end(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut said = self.lines.join("\n");
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Nothing to be done about an error here; most have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Looks at all that a first start in `directory` should leave and say.
#[track_caller]
fn assert_first_start(started: Started, directory: &Path) {
    assert!(started.after("operator key ").starts_with("keygate-data/operator.key"), "{:#?}", started.lines);
    assert_eq!(started.after("store "), "embedded");
    let realms: Vec<&str> = started.after("realms ").split(", ").collect();
    assert_eq!(realms, ["keygate", "recotap", "recoup", "recovea", "recover", "recurr"]);

    let file = directory.join("keygate-data/operator.key");
    assert_eq!((mode(&file), mode(&directory.join("keygate-data/secrets"))), (0o600, 0o600));
    let text = fs::read_to_string(&file).unwrap();
    let key = text.trim();
    assert!(key.starts_with("kgop_") && key.len() > 40 && text.lines().count() == 1);

    let output = started.run_as_printed(directory);
    let shown = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{shown}{}", String::from_utf8_lossy(&output.stderr));
    assert!(shown.starts_with("allowed\n") && shown.contains("operator"), "{shown}");

    // Here, and nowhere else: the default place is where the other commands look for the key.
    let endpoint = format!("http://{}", started.after("listening on "));
    let list =
        keygate(&["keys", "list", "--realm", "keygate", "--endpoint", &endpoint]).within(directory).run().ends(0);
    assert!(list.stdout.contains("operators"), "{list:#?}");

    let printed = started.end();
    assert!(!printed.contains(key) && !printed.contains(key.split_at(key.len() / 2).1), "{printed}");
    let mut names: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["keygate-data"], "nothing else was left in the directory");
}

#[test]
fn an_empty_directory_is_enough() {
    let directory = TempDir::new().unwrap();
    let started = Started::new(keygate(&["serve", "--listen", "127.0.0.1:0"]).within(directory.path()));
    assert!(started.after("listening on ").starts_with("127.0.0.1:"));
    assert!(started.after("operator key ").contains("just made"));
    assert_first_start(started, directory.path());
}

#[test]
fn without_arguments_it_listens_on_the_default_port() {
    // Whoever has the port, the test has nothing to say then.
    let Ok(probe) = TcpListener::bind("127.0.0.1:50051") else {
        eprintln!("port 50051 is taken: not tried");
        return;
    };
    drop(probe);
    let directory = TempDir::new().unwrap();
    let started = Started::new(keygate(&["serve"]).within(directory.path()));
    assert_eq!(started.after("listening on "), "127.0.0.1:50051");
    assert_first_start(started, directory.path());
}

#[test]
fn the_printed_command_works_with_an_odd_directory_too() {
    let directory = TempDir::new().unwrap();
    let data = "my da'ta $HOME";
    let call = keygate(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data]).within(directory.path());
    let output = Started::new(call).run_as_printed(directory.path());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.starts_with(b"allowed\n"));
}

#[test]
fn a_lost_operator_key_is_told_and_can_be_made_anew() {
    let directory = TempDir::new().unwrap();
    let serve = |more: &[&str]| {
        Started::new(keygate(&[&["serve", "--listen", "127.0.0.1:0"], more].concat()).within(directory.path()))
    };
    serve(&[]).end();
    let file = directory.path().join("keygate-data/operator.key");
    let old = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();

    let child = keygate(&["serve", "--listen", "127.0.0.1:0"]).within(directory.path()).spawn();
    let mut lost = Started { child, lines: Vec::new() };
    let mut stdout = BufReader::new(lost.child.stdout.take().unwrap()).lines();
    let told = stdout.by_ref().map(Result::unwrap).find(|line| line.starts_with("operator key ")).unwrap();
    assert!(told.contains("missing") && told.contains("--reissue-operator-key"), "{told}");
    drop(lost);
    assert!(!file.exists(), "nobody asked for a new one");

    let again = serve(&["--reissue-operator-key"]);
    assert!(again.after("operator key ").contains("just made"));
    let new = fs::read_to_string(&file).unwrap();
    assert!(new != old && mode(&file) == 0o600);
    assert_eq!(again.run_as_printed(directory.path()).status.code(), Some(0));
    let endpoint = format!("http://{}", again.after("listening on "));
    let list = keygate(&["keys", "list", "--realm", "keygate", "--endpoint", &endpoint]).within(directory.path());
    assert_eq!(list.run().ends(0).stdout.matches("kgop_").count(), 2, "the new key stands beside the old one");
    let printed = again.end();
    assert!(!printed.contains(new.trim()) && !printed.contains(old.trim()));
}
