//! `keygate keys revoke`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        json, output,
        output::Output,
        values,
    },
    proto::v1::{RevokeKey, manage_keys_request::Operation, manage_keys_response},
};

/// End a key, at once and for ever
///
/// All its secrets are denied from now on. A revoked key cannot be brought back; `keygate keys suspend` can be undone.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate keys revoke --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM --reason 'seen in a public repository'"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// The key's id, `key_…`
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    /// Why: it stands in the record of the key (`keys get`), at most 256 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Revoke only this version of the key; without: whichever is current
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    expected_version: Option<u64>,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        values::check_key_id(&self.key_id).map_err(Failure::usage)?;
        let operation = Operation::Revoke(RevokeKey {
            key_id: self.key_id,
            reason: self.reason,
            expected_version: self.expected_version.unwrap_or(0),
        });
        match self.management.open().await?.manage(operation).await? {
            manage_keys_response::Result::Revoked(revoked) if output.is_json() => {
                output.json(&json::keys_revoked(&revoked))?;
            }
            manage_keys_response::Result::Revoked(revoked) => match revoked.keys.as_slice() {
                [] => output::note("the key was revoked before; nothing changed"),
                [key] => show::one(output, key, show::Uses::Untold)?,
                keys => show::table(output, keys, show::Uses::Untold)?,
            },
            _ => return Err(Failure::odd_answer()),
        }
        Ok(Exit::Success)
    }
}
