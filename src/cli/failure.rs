//! Why a command could not do what it was asked: one sentence, what is wrong with each field, and what to try. Printed
//! once, at the edge.

use super::{exit::Exit, names};
use serde_json::{Value, json};
use std::{error::Error, io};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A failed command. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    /// A stable name for programs: a gRPC code in lower case, `usage`, `configuration`, `server` or `io`.
    code: String,
    message: String,
    /// Field or place, and what is wrong there.
    violations: Vec<(String, String)>,
    hint: Option<&'static str>,
}

impl Failure {
    /// The command was given something that is not allowed.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    /// What went wrong, in a sentence.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Files that configure keygate are wrong. Each mistake is its place and what is wrong there.
    #[must_use]
    pub fn configuration(message: impl Into<String>, mistakes: Vec<(String, String)>) -> Self {
        Self { violations: mistakes, ..Self::new(Exit::Usage, "configuration", message) }
    }

    /// Reading or writing failed. `what` says what was tried.
    #[must_use]
    pub fn io(what: &str, error: &io::Error) -> Self {
        Self::new(Exit::Failure, "io", format!("{what}: {error}"))
    }

    /// The server did not start, or it stopped on its own.
    #[must_use]
    pub fn start(error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = inner.source();
        }
        let mut lines = message.lines();
        let first = lines.next().unwrap_or_default();
        let further = lines.map(|line| (String::new(), line.to_owned())).collect();
        Self { violations: further, ..Self::new(Exit::Failure, "server", first) }
    }

    /// The server answered in a way that this program does not know.
    #[must_use]
    pub fn odd_answer() -> Self {
        Self::new(Exit::Failure, "internal", "the server's answer does not fit the question")
            .with_hint("is it keygate, and of the same version?")
    }

    /// No connection came about.
    #[must_use]
    pub fn unreachable(endpoint: &str, error: &dyn Error) -> Self {
        let cause = root_cause(error);
        Self::new(Exit::Failure, "unavailable", format!("cannot reach keygate at `{endpoint}`: {cause}"))
            .with_hint(RUNNING)
    }

    /// No answer came in time.
    #[must_use]
    pub fn late(endpoint: &str, waited: &str) -> Self {
        Self::new(Exit::Failure, "deadline_exceeded", format!("keygate at `{endpoint}` did not answer within {waited}"))
            .with_hint("an act may have been done all the same; `--timeout` waits longer")
    }

    /// The server refused or failed.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        if status.source().is_some() {
            // No server said this. One that asks for a certificate hangs up when its client has begun to speak, at any moment.
            let message = format!("the connection broke: {}", root_cause(status));
            return Self::new(Exit::Failure, "unavailable", message).with_hint(BROKEN);
        }
        let code = status.code();
        let details = status.get_details_bad_request();
        let violations = details.map(|bad| bad.field_violations).unwrap_or_default();
        let message = match status.message() {
            "" => code.description().to_lowercase(),
            // A message that repeats the violations, as far as it goes, for readers without the details would say all twice.
            all if violations.iter().any(|one| all.contains(&one.description)) => "the request is not valid".to_owned(),
            message => message.to_owned(),
        };
        Self {
            violations: violations.into_iter().map(|one| (one.field, one.description)).collect(),
            hint: hint(code, status.message()),
            ..Self::new(Exit::from_code(code), names::code(code), message)
        }
    }

    fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        let (code, message) = (code.to_owned(), message.into());
        Self { exit, code, message, violations: Vec::new(), hint: None }
    }

    /// The same with something to try.
    #[must_use]
    pub fn with_hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// The same, and what was done before it happened.
    #[must_use]
    pub fn after(self, done: &str) -> Self {
        Self { message: format!("{}; {done}", self.message), ..self }
    }

    /// How the command ends.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// As lines for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("error: {}", self.message)];
        lines.extend(self.violations.iter().map(|(place, problem)| match place.as_str() {
            "" => format!("  {problem}"),
            place => format!("  {place}: {problem}"),
        }));
        lines.extend(self.hint.map(|hint| format!("hint: {hint}")));
        lines
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let violations: Vec<Value> =
            self.violations.iter().map(|(field, problem)| json!({ "field": field, "problem": problem })).collect();
        json!({ "error": {
            "code": self.code,
            "exit_code": self.exit.number(),
            "message": self.message,
            "violations": violations,
            "hint": self.hint,
        }})
    }
}

const RUNNING: &str =
    "is keygate running? `keygate serve` starts it; `--endpoint` or KEYGATE_ENDPOINT says where it is";

const BROKEN: &str = "does the server speak TLS there (`https://`), and ask its clients for a certificate (`--cert-file`, \
                      `--cert-key-file`)? An act may have been done all the same";

/// What to try when the server answers with that code. What keygate says of itself names the cause; a hint that guesses
/// another one would mislead.
fn hint(code: Code, message: &str) -> Option<&'static str> {
    match code {
        Code::Unavailable
            if ["the code", "the public keys", "a credential", "the key service"]
                .iter()
                .any(|what| message.starts_with(what)) =>
        {
            Some("the server's log says why")
        }
        Code::Unavailable => Some("keygate or its store is out of reach; an act may have been done all the same"),
        Code::Unauthenticated => Some("which management key is used? KEYGATE_KEY or `--key-file` names it"),
        // Other refusals are about what was asked for, not about who asks.
        Code::PermissionDenied if message.contains("management key") => {
            Some("another credential may be allowed this: KEYGATE_KEY or `--key-file` names it")
        }
        Code::Aborted => Some("read again what changed, and repeat the act with the current version"),
        Code::Unimplemented => Some("is it keygate, and of the same version?"),
        Code::ResourceExhausted => Some("the server is too busy, or the request is too large; try again later"),
        _ => None,
    }
}

/// The innermost cause: transport errors say little themselves.
fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_names_each_field() {
        let details = ErrorDetails::with_bad_request(vec![
            tonic_types::FieldViolation::new("create.account_id", "must be 1 to 128 characters"),
            tonic_types::FieldViolation::new("create.name", "is required"),
        ]);
        let status = Status::with_error_details(Code::InvalidArgument, "the request has 2 mistakes", details);
        let failure = Failure::from_status(&status);
        assert_eq!(failure.exit(), Exit::Usage);
        let lines = failure.lines();
        assert_eq!(lines[0], "error: the request has 2 mistakes");
        assert_eq!(lines[1..], ["  create.account_id: must be 1 to 128 characters", "  create.name: is required"]);
        let json = failure.to_json();
        assert_eq!(json["error"]["code"], "invalid_argument");
        assert_eq!(json["error"]["exit_code"], 2);
        assert_eq!(json["error"]["violations"][1], json!({ "field": "create.name", "problem": "is required" }));
        assert_eq!(json["error"]["hint"], Value::Null);
    }

    #[test]
    fn hints_guess_no_other_cause_than_the_message_names() {
        let told = |code: Code, message: &str| Failure::from_status(&Status::new(code, message)).lines()[1..].concat();
        for message in [
            "no token was minted: with the key, the request would be denied as `forbidden_account`",
            "the key cannot be issued: the member has none of the roles that may issue keys in this realm",
        ] {
            assert_eq!(told(Code::PermissionDenied, message), "", "{message}");
        }
        assert!(told(Code::PermissionDenied, "this management key lacks the role `reader`").contains("--key-file"));
        for message in
            ["the code could not be delivered", "the public keys of the token's issuer are not known: try again"]
        {
            assert_eq!(told(Code::Unavailable, message), "hint: the server's log says why", "{message}");
        }
        assert!(told(Code::Unavailable, "the store is unavailable: try again").contains("out of reach"));
        assert!(!told(Code::Aborted, "the account is at version 1, not 2: read it again").contains("key"));
    }

    #[test]
    fn violations_that_the_message_repeats_are_said_once() {
        let details = ErrorDetails::with_bad_request_violation("cost", "must be 0 to 9");
        let status = Status::with_error_details(Code::InvalidArgument, "not valid: `cost`: must be 0 to 9", details);
        let lines = Failure::from_status(&status).lines();
        assert_eq!(lines, ["error: the request is not valid", "  cost: must be 0 to 9"]);
    }

    #[test]
    fn a_server_out_of_reach_comes_with_a_hint_and_the_innermost_cause() {
        let cause = io::Error::from(io::ErrorKind::ConnectionRefused);
        let failure = Failure::unreachable("http://127.0.0.1:1", &io::Error::other(cause));
        assert_eq!(failure.exit(), Exit::Failure);
        assert_eq!(failure.lines()[0], "error: cannot reach keygate at `http://127.0.0.1:1`: connection refused");
        assert!(failure.lines()[1].contains("`keygate serve`"));
        assert!(Failure::from_status(&Status::unavailable("")).lines()[0].len() > "error: ".len());
    }
}
