//! `keygate vault …`: credentials of providers. They go in and never come out. One file per act.

mod credentials;
mod rewrap;

use super::{exit::Exit, failure::Failure, output::Output};

/// Acts on credentials of providers.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Put(credentials::PutArgs),
    List(credentials::ListArgs),
    Delete(credentials::DeleteArgs),
    Rewrap(rewrap::Args),
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Put(args) => args.run(output).await,
            Self::List(args) => args.run(output).await,
            Self::Delete(args) => args.run(output).await,
            Self::Rewrap(args) => args.run(output).await,
        }
    }
}
