//! Runs one command to its end. Everything that a command prints is searched for what no command may print.

use crate::support::{
    calls::SOMEBODY,
    keygate::{BINARY, Keygate},
};
use serde_json::Value;
use std::{
    env,
    io::{Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Longer than any command may take: each waits 5 s for an answer at most.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A command that was not run yet, with none of our own variables that would configure it.
pub struct Call {
    command: Command,
    stdin: Vec<u8>,
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn keygate(arguments: &[&str]) -> Call {
    let mut command = Command::new(BINARY);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYGATE_")) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Call { command, stdin: Vec::new() }
}

impl Call {
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn stdin(mut self, text: &str) -> Self {
        self.stdin = text.as_bytes().to_vec();
        self
    }

    pub fn within(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    pub fn spawn(mut self) -> Child {
        self.command.spawn().expect("the binary can be started")
    }

    pub fn run(self) -> Ran {
        let stdin = self.stdin.clone();
        let mut child = self.spawn();
        // A command that needs no input may be gone before it is given any.
        let _ = child.stdin.take().expect("standard input is piped").write_all(&stdin);
        let stdout = read(child.stdout.take().expect("standard output is piped"));
        let stderr = read(child.stderr.take().expect("standard error is piped"));
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("our own child can be waited for") {
                break status;
            }
            if began.elapsed() > TIMEOUT {
                child.kill().expect("our own child can be killed");
                let (stdout, stderr) = (stdout.join(), stderr.join());
                panic!("the command does not end:\n{stdout:?}\n{stderr:?}");
            }
            thread::sleep(Duration::from_millis(2));
        };
        let text = |reader: thread::JoinHandle<String>| reader.join().expect("a reader does not panic");
        let ran = Ran { code: status.code().unwrap_or(-1), stdout: text(stdout), stderr: text(stderr) };
        ran.assert_said_once();
        assert!(!ran.stderr.contains("panicked"), "{ran:#?}");
        ran
    }
}

fn read(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("a command prints UTF-8");
        text
    })
}

impl Ran {
    /// The same, which ended with that exit code.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard output as the one JSON object that it is.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("not JSON: {error}: {self:#?}"))
    }

    /// Standard error as the JSON of an error. Standard output is empty then.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert_eq!(self.stdout, "", "{self:#?}");
        let mut object: Value =
            serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("not JSON: {error}: {self:#?}"));
        assert_eq!(object["error"]["exit_code"], self.code, "{self:#?}");
        object["error"].take()
    }

    /// Fails unless standard error holds that text.
    #[track_caller]
    pub fn complains(&self, text: &str) {
        assert!(self.stderr.contains(text), "no `{text}` in {self:#?}");
    }

    /// No sentence of an error stands there twice.
    fn assert_said_once(&self) {
        // What follows shows the arguments that were missing a second time, in their places.
        let (text, _) = self.stderr.split_once("\nUsage: ").unwrap_or((&self.stderr, ""));
        for line in text.lines().map(str::trim).filter(|line| line.len() >= 12) {
            let said = line.strip_prefix("error: ").unwrap_or(line);
            assert_eq!(text.matches(said).count(), 1, "`{said}` is said twice: {self:#?}");
        }
    }
}

impl Keygate {
    /// A command that asks this server, as its operator.
    pub fn call(&self, arguments: &[&str]) -> Call {
        let as_operator = |arguments: &[&str]| {
            keygate(arguments).env("KEYGATE_ENDPOINT", &self.endpoint()).env("KEYGATE_KEY", self.operator())
        };
        // In recurr keys are issued by members only: whoever does not say in whose name is given somebody, who becomes one.
        let recurr_key = arguments.starts_with(&["keys", "create", "--realm", "recurr", "--account"]);
        match arguments.get(5).filter(|_| recurr_key && !arguments.contains(&"--member")) {
            Some(account) => {
                let place = ["--realm", "recurr", "--account", account, "--member", SOMEBODY];
                as_operator(&[&["members", "add"], &place[..], &["--role", "developer"]].concat()).run();
                as_operator(&[arguments, &["--member", SOMEBODY]].concat())
            }
            None => as_operator(arguments),
        }
    }

    /// Runs it. It shows no secret.
    #[track_caller]
    pub fn ran(&self, call: Call) -> Ran {
        let ran = call.run();
        self.assert_no_secret("standard error", &ran.stderr);
        self.assert_no_secret("standard output", &ran.stdout);
        ran
    }

    /// Runs a command that shows no secret.
    #[track_caller]
    pub fn ask(&self, arguments: &[&str]) -> Ran {
        self.ran(self.call(arguments))
    }

    /// The same with `--output json`, for a command that works.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.ask(&[arguments, &["--output", "json"]].concat()).ends(0).json()
    }

    /// Runs a command that shows one secret, as JSON; gives the object and the secret.
    #[track_caller]
    pub fn made(&self, arguments: &[&str]) -> (Value, String) {
        let ran = self.call(&[arguments, &["--output", "json"]].concat()).run().ends(0);
        let made = ran.json();
        let secret = made["secret"].as_str().expect("the secret is a text").to_owned();
        assert!(secret.len() > 24, "{made}");
        assert_eq!(ran.stdout.matches(&secret).count(), 1, "the secret stands there once");
        self.remember(&secret);
        self.assert_no_secret("standard error", &ran.stderr);
        (made, secret)
    }

    /// Makes a key of recurr that may read and write, and gives its id and its secret.
    #[track_caller]
    pub fn key_of(&self, account: &str) -> (String, String) {
        let arguments = ["keys", "create", "--realm", "recurr", "--account", account, "--environment", "live"];
        let (made, secret) = self.made(&[&arguments[..], &["--name", "ci", "--scope", "read-write"]].concat());
        (made["key"]["id"].as_str().expect("an id is a text").to_owned(), secret)
    }

    /// Makes a key of recovea, where an account's chain begins with its first key, and gives its id and its secret.
    #[track_caller]
    pub fn key_in_recovea(&self, account: &str) -> (String, String) {
        let arguments = ["keys", "create", "--realm", "recovea", "--account", account, "--environment", "live"];
        let (made, secret) = self.made(&[&arguments[..], &["--name", "ci"]].concat());
        (made["key"]["id"].as_str().expect("an id is a text").to_owned(), secret)
    }

    /// Asks who presents this key of recurr.
    #[track_caller]
    pub fn present(&self, secret: &str) -> Ran {
        let call = self.call(&["authenticate", "--realm", "recurr", "--key-stdin", "--output", "json"]);
        self.ran(call.stdin(&format!("{secret}\n")))
    }

    /// Fails unless the key is denied for that reason.
    #[track_caller]
    pub fn assert_denied(&self, secret: &str, reason: &str) {
        assert_eq!(self.present(secret).ends(3).json()["denied"]["reason"], reason);
    }
}

/// The names of an object's fields, in their order.
#[track_caller]
pub fn fields(object: &Value) -> Vec<&str> {
    object.as_object().unwrap_or_else(|| panic!("no object: {object}")).keys().map(String::as_str).collect()
}
