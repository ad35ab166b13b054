//! `keygate members …`: the people of an account, and the keys that were issued in their names.

mod change;
mod read;
mod remove;
mod show;

use super::{client::Management, exit::Exit, failure::Failure, output::Output};

/// Acts on the members of an account.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Add(change::AddArgs),
    Roles(change::RolesArgs),
    Remove(remove::Args),
    List(read::ListArgs),
    Get(read::GetArgs),
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Add(args) => args.run(output).await,
            Self::Roles(args) => args.run(output).await,
            Self::Remove(args) => args.run(output).await,
            Self::List(args) => args.run(output).await,
            Self::Get(args) => args.run(output).await,
        }
    }
}

/// One member of one account.
#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    management: Management,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// The member: 1 to 128 of `A-Z a-z 0-9 . _ - @ : ~ | +`
    #[arg(long, value_name = "ID")]
    member: String,
}
