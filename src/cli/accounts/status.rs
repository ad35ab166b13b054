//! `keygate accounts suspend`, `deactivate`, `activate` and `offboard`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        json,
        output::Output,
    },
    proto::v1::{AccountStatus, SetAccountStatusRequest},
};

#[derive(Debug, clap::Args)]
struct Change {
    #[command(flatten)]
    management: Management,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// Only if the account still has this version; `accounts get` and a preview show it
    #[arg(long, value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    expected_version: u64,
    /// Change nothing, only show what would come of it; of keys that would end the first 1,000
    #[arg(long)]
    preview: bool,
}

impl Change {
    async fn to(self, status: AccountStatus, reason: String, output: &mut Output) -> Result<Exit, Failure> {
        let Self { management, account: account_id, expected_version, preview } = self;
        let mut manager = management.open().await?;
        let (realm, number) = (manager.realm(), status.into());
        let mut request =
            SetAccountStatusRequest { realm, account_id, status: number, reason, expected_version, preview };
        let mut set = manager.set_account_status(request.clone()).await?;
        // The first call changed the version, and none of the keys works since.
        request.expected_version = 0;
        while set.more && !preview {
            let next = manager.set_account_status(request.clone()).await?;
            if next.ended_key_ids.is_empty() && next.more {
                return Err(Failure::odd_answer());
            }
            set.ended_key_ids.extend(next.ended_key_ids);
            set.removed_credentials = set.removed_credentials.saturating_add(next.removed_credentials);
            (set.account, set.more) = (next.account, next.more);
        }
        if output.is_json() {
            output.json(&json::account_status_set(&set))?;
        } else {
            show::status_set(output, &set, status == AccountStatus::Offboarded, preview)?;
        }
        Ok(Exit::Success)
    }
}

/// Let an account rest: its keys do not work until it is activated
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate accounts suspend --realm recover --account client-a"))]
pub struct SuspendArgs {
    #[command(flatten)]
    change: Change,
}

/// Deactivate an account: its keys do not work, and end clients are told that it is deactivated
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate accounts deactivate --realm recover --account client-a"))]
pub struct DeactivateArgs {
    #[command(flatten)]
    change: Change,
}

/// Let the keys of a suspended or deactivated account work again
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate accounts activate --realm recover --account client-a"))]
pub struct ActivateArgs {
    #[command(flatten)]
    change: Change,
}

/// End an account and all its keys, at once and for ever
///
/// Asks until no key is left. `--preview` changes nothing and shows which keys would end, and the account's version: with
/// `--expected-version` exactly those end, or nothing.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate accounts offboard --realm recurr --account acme --preview
  keygate accounts offboard --realm recurr --account acme --reason 'contract ended'"
))]
pub struct OffboardArgs {
    #[command(flatten)]
    change: Change,
    /// Why, for the record of each key: at most 256 bytes
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

impl SuspendArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        self.change.to(AccountStatus::Suspended, String::new(), output).await
    }
}

impl DeactivateArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        self.change.to(AccountStatus::Deactivated, String::new(), output).await
    }
}

impl ActivateArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        self.change.to(AccountStatus::Active, String::new(), output).await
    }
}

impl OffboardArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        self.change.to(AccountStatus::Offboarded, self.reason, output).await
    }
}
