//! `keygate completions`.

use super::{
    Cli,
    exit::{Exit, help},
    failure::Failure,
    output::Output,
};
use clap::CommandFactory;
use clap_complete::Shell;

/// Print completions for a shell
///
/// Put the output where your shell looks for completions, or source it.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate completions bash > ~/.local/share/bash-completion/completions/keygate
  keygate completions zsh > \"${fpath[1]}/_keygate\"
  keygate completions fish > ~/.config/fish/completions/keygate.fish"
))]
pub struct Args {
    /// The shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

impl Args {
    pub(super) fn run(&self, output: &mut Output) -> Result<Exit, Failure> {
        // Written to memory first: the generator panics when its writer fails.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keygate", &mut script);
        output.bytes(&script).map(|()| Exit::Success)
    }
}
