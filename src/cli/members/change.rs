//! `keygate members add` and `keygate members roles`.

use super::{Place, show};
use crate::{
    cli::{
        exit::{Exit, help},
        failure::Failure,
        output,
        output::Output,
    },
    proto::v1::{AddMemberRequest, SetMemberRolesRequest},
};

/// Make somebody a member of an account, which comes to exist with its first one
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate members add --realm recurr --account acme --member ann --role developer"))]
pub struct AddArgs {
    #[command(flatten)]
    place: Place,
    /// A role that the realm knows; may be repeated
    #[arg(long = "role", value_name = "NAME", required = true)]
    roles: Vec<String>,
}

/// Give a member these roles and no others
///
/// Keys that were issued stay: roles are judged when a key is issued.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate members roles --realm recurr --account acme --member ann --role viewer"))]
pub struct RolesArgs {
    #[command(flatten)]
    place: Place,
    /// A role that the realm knows; may be repeated
    #[arg(long = "role", value_name = "NAME", required = true)]
    roles: Vec<String>,
    /// Only if the account still has this version; `members get` shows it
    #[arg(long, value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    expected_version: u64,
}

impl AddArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { place: Place { management, account: account_id, member: member_id }, roles } = self;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        let added = manager.add_member(AddMemberRequest { realm, account_id, member_id, roles }).await?;
        if added.existed && !output.is_json() {
            output::note("the member was there before");
        }
        show::one(output, &added.member.ok_or_else(Failure::odd_answer)?)?;
        Ok(Exit::Success)
    }
}

impl RolesArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { place: Place { management, account: account_id, member: member_id }, roles, expected_version } =
            self;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        let request = SetMemberRolesRequest { realm, account_id, member_id, roles, expected_version };
        show::one(output, &manager.set_member_roles(request).await?)?;
        Ok(Exit::Success)
    }
}
