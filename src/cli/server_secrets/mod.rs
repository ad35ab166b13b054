//! `keygate secrets …`: the versions of the server secret, in their file and as a server knows them.

mod file;
mod status;

use super::{exit::Exit, failure::Failure, output::Output, wait};
use crate::domain::key::SecretState;
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

/// Acts on the server secret. No secret is ever shown.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Rotate(file::RotateArgs),
    Show(file::ShowArgs),
    Retire(file::RetireArgs),
    Status(Box<status::Args>),
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Rotate(args) => args.run(output),
            Self::Show(args) => args.run(output),
            Self::Retire(args) => args.run(output),
            Self::Status(args) => wait(args.run(output)),
        }
    }
}

const HEADER: [&str; 5] = ["VERSION", "STATE", "USED FROM", "RETIRES", "FINGERPRINT"];

/// A version, from a file or from a server.
struct Version {
    version: u32,
    state: String,
    used_from: Option<String>,
    retires_at: Option<String>,
    fingerprint: String,
}

impl Version {
    fn of(state: &SecretState) -> Self {
        Self {
            version: state.mark.version,
            state: state.phase.name().to_owned(),
            used_from: state.used_from.map(file::instant),
            retires_at: state.retires_at.map(file::instant),
            fingerprint: HEXLOWER.encode(&state.mark.fingerprint),
        }
    }

    /// With these numbers beside it.
    fn json<const N: usize>(&self, numbers: [(&str, u64); N]) -> Value {
        let Self { version, state, used_from, retires_at, fingerprint } = self;
        let mut told = json!({ "version": version, "state": state, "used_from": used_from, "retires_at": retires_at,
            "fingerprint": fingerprint });
        if let Value::Object(fields) = &mut told {
            fields.extend(numbers.map(|(name, number)| (name.to_owned(), number.into())));
        }
        told
    }

    fn row(&self) -> Vec<String> {
        let time = |time: &Option<String>, otherwise: &str| time.clone().unwrap_or_else(|| otherwise.to_owned());
        let (from, until) = (time(&self.used_from, "the start"), time(&self.retires_at, "never"));
        vec![self.version.to_string(), self.state.clone(), from, until, self.fingerprint.clone()]
    }
}

/// Shows versions that a file holds.
fn show(states: &[SecretState], output: &mut Output) -> Result<Exit, Failure> {
    let versions: Vec<Version> = states.iter().map(Version::of).collect();
    if output.is_json() {
        output.json(&json!({ "versions": versions.iter().map(|version| version.json([])).collect::<Value>() }))?;
    } else {
        output.table(&HEADER, versions.iter().map(Version::row))?;
    }
    Ok(Exit::Success)
}
