//! `keygate members remove`.

use super::Place;
use crate::{
    cli::{
        exit::{Exit, help},
        failure::Failure,
        json, output,
        output::Output,
    },
    proto::v1::RemoveMemberRequest,
};

/// Remove a member, and end the keys that were issued in the member's name, at once and for ever
///
/// `--preview` changes nothing and shows which keys would end.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate members remove --realm recurr --account acme --member ann --preview
  keygate members remove --realm recurr --account acme --member ann --reason 'left the team'"
))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Why, for the record of each key: at most 256 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Only if the account still has this version; the preview shows it
    #[arg(long, value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    expected_version: u64,
    /// Change nothing, only show what would end
    #[arg(long)]
    preview: bool,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { place: Place { management, account: account_id, member: member_id }, .. } = self;
        let Self { reason, expected_version, preview, .. } = self;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        let request = RemoveMemberRequest { realm, account_id, member_id, reason, expected_version, preview };
        let removed = manager.remove_member(request).await?;
        if output.is_json() {
            output.json(&json::member_removed(&removed))?;
            return Ok(Exit::Success);
        }
        let (keys, ended) =
            (output::count(removed.ended_key_ids.len(), "key"), if preview { "would end" } else { "ended" });
        output::note(&format!("{keys} {ended}; the account is at version {}", removed.account_version));
        output::remembered(removed.remembered_for.as_ref());
        output.ended_keys(&removed.ended_key_ids)?;
        Ok(Exit::Success)
    }
}
