//! `keygate keys revoke-account`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        json, output,
        output::Output,
    },
    proto::v1::{KeysRevoked, RevokeAccountKeys, manage_keys_request::Operation, manage_keys_response},
};

/// End every key of an account, at once and for ever
///
/// Asks until none is left, and shows the keys that this ended. If it fails half-way, what was ended until then is
/// shown all the same (with `"more": true` in JSON); repeating ends the rest.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate keys revoke-account --realm recurr --account acme --reason 'contract ended'
  keygate keys revoke-account --realm recurr --account acme --environment test --output json"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// The account whose keys end
    #[arg(long, value_name = "ID")]
    account: String,
    /// Only keys of this environment
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// Why: it stands in the record of each key (`keys get`), at most 256 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let act = RevokeAccountKeys { account_id: self.account, environment: self.environment, reason: self.reason };
        let mut manager = self.management.open().await?;
        let mut all = KeysRevoked { keys: Vec::new(), more: true };
        let mut outcome = Ok(Exit::Success);
        while all.more {
            match manager.manage(Operation::RevokeAccount(act.clone())).await {
                // More to come, but nothing done: asking again would not end.
                Ok(manage_keys_response::Result::Revoked(some)) if some.keys.is_empty() && some.more => {
                    outcome = Err(Failure::odd_answer());
                    break;
                }
                Ok(manage_keys_response::Result::Revoked(some)) => {
                    all.keys.extend(some.keys);
                    all.more = some.more;
                }
                Ok(_) => {
                    outcome = Err(Failure::odd_answer());
                    break;
                }
                Err(failure) => {
                    outcome = Err(failure);
                    break;
                }
            }
        }
        match outcome {
            Err(failure) if all.keys.is_empty() => Err(failure),
            outcome => show_all(output, &all).and(outcome),
        }
    }
}

fn show_all(output: &mut Output, all: &KeysRevoked) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json::keys_revoked(all));
    }
    if all.keys.is_empty() {
        output::note("no key was left to end");
        return Ok(());
    }
    show::table(output, &all.keys, show::Uses::Untold)
}
