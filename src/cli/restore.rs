//! `keygate restore`: a backup into the store that a configuration names.

use super::{
    exit::{Exit, help},
    failure::Failure,
    output::{self, Output},
    serve,
};
use crate::server::{self, NotRestored, RestoreReport, RestoreStep};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Put a backup into a store, embedded or Redis
///
/// Reads the settings that a server would be started with, and of them the store and the server secrets; asks no server. The whole
/// file is checked before anything is written. A store that holds accounts is refused, unless `--merge` is given: then accounts that
/// are missing are written, and those that stand in an older state than in the backup are brought forward along their audit chain.
/// Nothing is ever turned back: an account that is newer in the store stays, and one that went another way stays and is named (exit
/// code 6). A restore that was interrupted goes on with `--merge`. No server may run on an embedded store meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate restore --config keygate.toml keygate-2030-01-31.backup
  keygate restore --config new.toml --merge keygate-2030-01-31.backup
  keygate restore --data-dir /var/lib/keygate keygate.backup"
))]
pub struct Args {
    #[command(flatten)]
    place: serve::Place,
    /// Also into a store that holds accounts: write what it lacks
    #[arg(long)]
    merge: bool,
    /// The backup: a file, since it is read twice
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

impl Args {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let settings = serve::settings_of(self.place)?;
        let watched = output::is_watched();
        let progress = |step| {
            if watched {
                output::progress(&match step {
                    RestoreStep::Checking(accounts) => format!("checking: {}", output::count(accounts, "account")),
                    RestoreStep::Writing(done, all) => format!("writing: {done} of {}", output::count(all, "account")),
                });
            }
        };
        let done = server::restore(&settings, &self.file, self.merge, progress);
        if watched {
            output::progress("");
        }
        let report = done.map_err(|error| match error {
            NotRestored::Start(error) => serve::not_started(&error),
            other => Failure::start(&other),
        })?;
        show(output, &report)?;
        Ok(if report.left_out_count == 0 { Exit::Success } else { Exit::Conflict })
    }
}

fn show(output: &mut Output, report: &RestoreReport) -> Result<(), Failure> {
    let RestoreReport { store, written, advanced, same, newer, keys, left_out, left_out_count } = report;
    if output.is_json() {
        let named = |(realm, account, why): &(String, String, &str)| json!({ "realm": realm, "account_id": account, "why": why });
        return output.json(&json!({
            "store": store,
            "written": written,
            "advanced": advanced,
            "same": same,
            "newer": newer,
            "keys": keys,
            "left_out": left_out_count,
            "left_out_accounts": left_out.iter().map(named).collect::<Value>(),
        }));
    }
    output.fields(&[
        ("store", store.clone()),
        ("accounts written", written.to_string()),
        ("brought forward", advanced.to_string()),
        ("the same already", same.to_string()),
        ("newer in the store", newer.to_string()),
        ("left out", left_out_count.to_string()),
        ("keys written", keys.to_string()),
    ])?;
    if left_out.is_empty() {
        return Ok(());
    }
    let rows = left_out.iter().map(|(realm, account, why)| vec![realm.clone(), account.clone(), (*why).to_owned()]);
    output.table(&["REALM", "ACCOUNT", "LEFT OUT BECAUSE"], rows)
}
