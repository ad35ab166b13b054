//! `keygate accounts create` and `keygate accounts get`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output,
        output::Output,
    },
    proto::v1::{CreateAccountRequest, GetAccountRequest},
};

/// Make an account before its first key, below another one if need be
///
/// An account also comes to exist with its first key, with none above it. What stands above an account never changes.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate accounts create --realm recover --account client-a --parent partner-1"
))]
pub struct CreateArgs {
    #[command(flatten)]
    management: Management,
    /// The account: 1 to 128 of `A-Z a-z 0-9 . _ - @ : ~`
    #[arg(long, value_name = "ID")]
    account: String,
    /// The account right above it, whose keys reach it where the realm says so
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    parent: String,
}

impl CreateArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { management, account: account_id, parent: parent_account_id } = self;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        let made = manager.create_account(CreateAccountRequest { realm, account_id, parent_account_id }).await?;
        if made.existed && !output.is_json() {
            output::note("it was there before");
        }
        show::one(output, &made.account.ok_or_else(Failure::odd_answer)?)?;
        Ok(Exit::Success)
    }
}

/// Show an account: its status, what stands above it, and which organizations it is a member of
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate accounts get --realm recoup --account ann --output json"))]
pub struct GetArgs {
    #[command(flatten)]
    management: Management,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
}

impl GetArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let realm = manager.realm();
        let account = manager.get_account(GetAccountRequest { realm, account_id: self.account }).await?;
        show::one(output, &account)?;
        Ok(Exit::Success)
    }
}
