//! `keygate realm check`: reads realm files as a server would, without starting one.

use super::{
    exit::{Exit, help},
    failure::Failure,
    output::Output,
};
use crate::config::{self, Mistakes, RealmSummary};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Acts on realm files.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Check(CheckArgs),
}

/// Check realm files without starting a server
///
/// Reads the files together, as a server would that is started with all of them, and shows a line for each realm; or
/// every mistake of every file at once, with file, line, column and what is allowed instead, and exit code 2. A running
/// server that finds the same mistakes in its files says the same in its log, and goes on with what it had.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate realm check deploy/realms/recurr.toml
  keygate realm check deploy/realms --output json"
))]
pub struct CheckArgs {
    /// Realm files, or directories with `*.toml` files
    #[arg(value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Check(args) => args.run(output),
        }
    }
}

impl CheckArgs {
    fn run(&self, output: &mut Output) -> Result<Exit, Failure> {
        let (realms, fingerprint) = config::check_files(&self.files).map_err(|found| mistakes(&found))?;
        if output.is_json() {
            let realms: Value = realms.iter().map(as_json).collect();
            output.json(&json!({ "realms": realms, "fingerprint": fingerprint }))?;
        } else {
            let header = ["REALM", "TITLE", "ENVIRONMENTS", "SCOPES", "OPERATIONS", "LIMITS", "ERRORS", "FILE"];
            output.table(&header, realms.iter().map(as_row))?;
        }
        Ok(Exit::Success)
    }
}

fn as_json(realm: &RealmSummary) -> Value {
    let environments = realm.environments.iter().map(|(name, prefix)| json!({ "name": name, "prefix": prefix }));
    json!({
        "name": realm.name.as_str(),
        "title": realm.title,
        "environments": environments.collect::<Value>(),
        "scopes": realm.scopes,
        "operations": realm.operations,
        "limits": realm.limits,
        "errors": realm.errors,
        "file": realm.file,
    })
}

fn as_row(realm: &RealmSummary) -> Vec<String> {
    let environments: Vec<_> = realm.environments.iter().map(|(name, prefix)| format!("{name} ({prefix}…)")).collect();
    vec![
        realm.name.to_string(),
        realm.title.clone(),
        environments.join(", "),
        realm.scopes.to_string(),
        realm.operations.to_string(),
        realm.limits.to_string(),
        realm.errors.to_string(),
        realm.file.clone(),
    ]
}

/// Mistakes in files that configure keygate, all of them.
pub fn mistakes(found: &Mistakes) -> Failure {
    let message = match found.count() {
        1 => "the configuration has a mistake".to_owned(),
        count => format!("the configuration has {count} mistakes"),
    };
    let lines = found.iter().map(|mistake| {
        let mut place = mistake.file.clone();
        if mistake.line > 0 {
            place = format!("{place}:{}:{}", mistake.line, mistake.column);
        }
        if !mistake.path.is_empty() {
            place = format!("{place}: {}", mistake.path);
        }
        let allowed = if mistake.allowed.is_empty() { String::new() } else { format!("; {}", mistake.allowed) };
        (place, format!("{}{allowed}", mistake.problem))
    });
    Failure::configuration(message, lines.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Settings;
    use std::path::Path;

    #[test]
    fn mistakes_are_shown_with_their_places_as_the_configuration_says_them() {
        let text = "listen = 7\nnonsense = true\n";
        let found = Settings::parse("keygate.toml", text, Path::new("")).unwrap_err();
        let shown = mistakes(&found).lines();
        assert_eq!(shown[0], "error: the configuration has 2 mistakes");
        let said: Vec<String> = found.iter().map(|mistake| format!("  {mistake}")).collect();
        assert_eq!(shown[1..], said);
    }
}
