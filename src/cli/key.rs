//! `keygate key inspect`: judges a key's text without asking anyone. The key itself is never shown.

use super::{
    exit::{Exit, help},
    failure::Failure,
    output::Output,
    realm, secrets,
};
use crate::{
    config::{self, RealmFiles, Settings},
    domain::realm::Realms,
};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Acts on one key's text.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Inspect(InspectArgs),
}

/// Tell which realm and environment a key is of, without asking a server
///
/// Judges prefix, length, alphabet and checksum; whether the key exists and works only a server knows (`keygate
/// authenticate`). The key is taken from standard input (`--key-stdin`), from `KEYGATE_API_KEY`, or from the argument,
/// which other users of this machine can read. It is never shown again, only its prefix. The exit code is 0 when a
/// realm recognizes the key and 3 when none does.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate key inspect --key-stdin < found.txt
  keygate key inspect --key-stdin --realm-file deploy/realms --output json < found.txt"
))]
pub struct InspectArgs {
    /// The key; better given by `--key-stdin` or `KEYGATE_API_KEY`
    #[arg(value_name = "KEY", conflicts_with = "key_stdin")]
    key: Option<String>,
    /// Read the key from standard input
    #[arg(long)]
    key_stdin: bool,
    /// Realm file, or directory with `*.toml` files; several are repeated, or joined by `:`. Without: the realms that
    /// come with keygate
    #[arg(long = "realm-file", value_name = "FILE|DIR", env = "KEYGATE_REALM_FILES", value_delimiter = ':')]
    realm_files: Vec<PathBuf>,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Inspect(args) => args.run(output),
        }
    }
}

impl InspectArgs {
    fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let realms =
            if self.realm_files.is_empty() { RealmFiles::Shipped } else { RealmFiles::Paths(self.realm_files) };
        let settings = Settings { realms, ..Settings::default() };
        let realms = config::load(&settings).map_err(|found| realm::mistakes(&found))?;
        let key = secrets::judged_key(self.key, self.key_stdin)?;
        let key = key.ok_or_else(|| Failure::usage("no key to inspect: use `--key-stdin`, or set KEYGATE_API_KEY"))?;
        let found = Findings::new(&realms, &key);
        if output.is_json() {
            output.json(&found.to_json())?;
        } else {
            found.show(output)?;
        }
        Ok(if found.matches.is_empty() { Exit::Denied } else { Exit::Success })
    }
}

/// One environment whose keys look like the text, or begin like it.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    realm: String,
    environment: String,
    prefix: String,
    /// Made elsewhere: there is no checksum to judge.
    legacy: bool,
}

/// What the text could be.
#[derive(Debug, PartialEq, Eq)]
struct Findings {
    matches: Vec<Finding>,
    /// Where only the prefix fits.
    near: Vec<Finding>,
    /// Whether there is more than one word.
    words: bool,
}

impl Findings {
    fn new(realms: &Realms, key: &str) -> Self {
        let matches = realms.iter().filter_map(|realm| {
            let form = realm.recognize(key)?;
            let environment = realm.environment_at(form.environment)?;
            Some(Finding {
                realm: realm.name.to_string(),
                environment: environment.to_string(),
                prefix: form.prefix.to_owned(),
                legacy: form.legacy.is_some(),
            })
        });
        let matches: Vec<_> = matches.collect();
        let near = realms.iter().filter(|_| matches.is_empty()).flat_map(|realm| {
            let fitting = realm.environments.iter().filter(|rules| key.starts_with(rules.format.prefix()));
            fitting.map(|rules| Finding {
                realm: realm.name.to_string(),
                environment: rules.name.to_string(),
                prefix: rules.format.prefix().to_owned(),
                legacy: false,
            })
        });
        let near = near.collect();
        Self { matches, near, words: key.contains(char::is_whitespace) }
    }

    fn to_json(&self) -> Value {
        let place = |one: &Finding| {
            json!({ "realm": one.realm, "environment": one.environment, "prefix": one.prefix, "legacy": one.legacy,
                "checksum": if one.legacy { Value::Null } else { Value::from("valid") } })
        };
        let near = |one: &Finding| json!({ "realm": one.realm, "environment": one.environment, "prefix": one.prefix });
        json!({
            "recognized": !self.matches.is_empty(),
            "matches": self.matches.iter().map(place).collect::<Value>(),
            "near": self.near.iter().map(near).collect::<Value>(),
        })
    }

    fn show(&self, output: &mut Output) -> Result<(), Failure> {
        for one in &self.matches {
            let checksum = if one.legacy { "none: this form was made elsewhere" } else { "valid" };
            output.fields(&[
                ("realm", one.realm.clone()),
                ("environment", one.environment.clone()),
                ("prefix", one.prefix.clone()),
                ("checksum", checksum.to_owned()),
            ])?;
        }
        for one in self.near.iter().filter(|_| !self.words) {
            let Finding { realm, environment, prefix, .. } = one;
            output.line(&format!(
                "not recognized: begins with `{prefix}` like the {environment} keys of {realm}, but its length, its \
                 alphabet or its checksum is wrong"
            ))?;
        }
        if self.matches.is_empty() && self.words {
            output.line("not recognized: a key holds no blank: give it alone, without `Bearer` and the like")?;
        } else if self.matches.is_empty() && self.near.is_empty() {
            output.line("not recognized: no realm's keys look like this")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A key of an environment, its random characters all alike.
    fn key(realms: &Realms, realm: &str, environment: &str) -> String {
        let (_, rules) = realms.get(realm).unwrap().environment(environment).unwrap();
        let Ok(key) = rules.format.generate(|pool| {
            pool.fill(7);
            Ok::<_, Infallible>(())
        });
        key.expose().to_owned()
    }

    #[test]
    fn every_shipped_realms_keys_are_recognized_and_never_shown() {
        let realms = config::load(&Settings::default()).unwrap();
        for realm in realms.iter() {
            for environment in &realm.environments {
                let key = key(&realms, realm.name.as_str(), environment.name.as_str());
                let found = Findings::new(&realms, &key);
                assert_eq!(found.matches.len(), 1, "{} {}", realm.name, environment.name);
                assert_eq!(found.matches[0].realm, realm.name.as_str());
                assert_eq!(found.matches[0].environment, environment.name.as_str());
                let body = key.strip_prefix(environment.format.prefix()).unwrap();
                let shown = found.to_json().to_string();
                assert!(!shown.contains(&body[..4]) && !shown.contains(&body[body.len() - 4..]), "{shown}");
            }
        }
    }

    #[test]
    fn a_wrong_checksum_is_near_and_anything_else_is_nothing() {
        let realms = config::load(&Settings::default()).unwrap();
        let mut key = key(&realms, "recurr", "live");
        key.pop();
        key.push('!');
        let found = Findings::new(&realms, &key);
        assert!(found.matches.is_empty() && found.near.len() == 1 && found.near[0].realm == "recurr");
        assert_eq!(found.to_json()["recognized"], false);
        assert_eq!(Findings::new(&realms, "hello"), Findings { matches: vec![], near: vec![], words: false });
    }
}
