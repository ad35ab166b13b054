//! `keygate audit …`: reading the audit log, taking it out, and judging what was taken out. One file per command.

mod client;
mod export;
mod follow;
mod list;
mod public_keys;
mod record;
mod verify;

use super::{exit::Exit, failure::Failure, output::Output, wait};

/// Acts on the audit log.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    List(list::Args),
    Follow(follow::Args),
    Export(export::Args),
    Verify(verify::Args),
    PublicKeys(public_keys::Args),
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::List(args) => wait(args.run(output)),
            Self::Follow(args) => wait(args.run(output)),
            Self::Export(args) => wait(args.run(output)),
            Self::Verify(args) => args.run(output),
            Self::PublicKeys(args) => wait(args.run(output)),
        }
    }
}
