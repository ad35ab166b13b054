//! `keygate accounts join` and `keygate accounts leave`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output::Output,
    },
    proto::v1::MembershipRequest,
};

#[derive(Debug, clap::Args)]
struct Membership {
    #[command(flatten)]
    management: Management,
    /// The member
    #[arg(long, value_name = "ID")]
    account: String,
    /// The organization, which is an account too
    #[arg(long, value_name = "ID")]
    organization: String,
}

/// Make an account a member of an organization, at once
///
/// Where the realm says so, its keys reach the accounts of every other member, and theirs reach it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate accounts join --realm recoup --account ann --organization band"))]
pub struct JoinArgs {
    #[command(flatten)]
    membership: Membership,
}

/// End an account's membership of an organization, at once
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate accounts leave --realm recoup --account ann --organization band"))]
pub struct LeaveArgs {
    #[command(flatten)]
    membership: Membership,
}

impl JoinArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Membership { management, account: account_id, organization: organization_id } = self.membership;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        show::one(output, &manager.join(MembershipRequest { realm, account_id, organization_id }).await?)?;
        Ok(Exit::Success)
    }
}

impl LeaveArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Membership { management, account: account_id, organization: organization_id } = self.membership;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        show::one(output, &manager.leave(MembershipRequest { realm, account_id, organization_id }).await?)?;
        Ok(Exit::Success)
    }
}
