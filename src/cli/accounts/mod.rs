//! `keygate accounts …`: the accounts of a realm, and what they belong to. One file per kind of act.

mod create;
mod membership;
mod show;
mod status;

use super::{exit::Exit, failure::Failure, output::Output};

/// Acts on the accounts of a realm.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Create(create::CreateArgs),
    Get(create::GetArgs),
    Suspend(status::SuspendArgs),
    Deactivate(status::DeactivateArgs),
    Activate(status::ActivateArgs),
    Offboard(status::OffboardArgs),
    Join(membership::JoinArgs),
    Leave(membership::LeaveArgs),
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Create(args) => args.run(output).await,
            Self::Get(args) => args.run(output).await,
            Self::Suspend(args) => args.run(output).await,
            Self::Deactivate(args) => args.run(output).await,
            Self::Activate(args) => args.run(output).await,
            Self::Offboard(args) => args.run(output).await,
            Self::Join(args) => args.run(output).await,
            Self::Leave(args) => args.run(output).await,
        }
    }
}
