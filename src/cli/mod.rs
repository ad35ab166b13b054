//! The command line: parses arguments, asks a running keygate over its gRPC API like any other client, and shows the
//! answer. Only `serve` starts a server. Knows neither use cases nor stores.

mod accounts;
mod audit;
mod authenticate;
mod backup;
mod client;
mod completions;
mod decision;
mod embed;
mod exit;
mod failure;
mod json;
mod key;
mod keys;
mod limit;
mod members;
mod names;
mod onboarding;
mod output;
mod pages;
mod ready;
mod realm;
mod restore;
mod secrets;
mod secure;
mod serve;
mod server_secrets;
mod store;
mod values;
mod vault;
mod webhooks;

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use exit::{Exit, help};
use failure::Failure;
use output::{Format, Output};
use std::{ffi::OsString, future::Future, process::ExitCode};

/// Who is calling, may they call this often, and which keys exist
///
/// `keygate serve` runs the server. All other commands but `restore`, `realm check`, `key inspect`, `audit verify`, `secrets`
/// with its file, and `completions` ask a running server over its gRPC API.
#[derive(Debug, Parser)]
#[command(name = "keygate", version, after_long_help = help!(
    "  keygate serve
  keygate keys create --realm recovea --account acme --environment live --name ci
  keygate authenticate --realm recovea --key-stdin < test.key"
))]
struct Cli {
    /// Tables for people, or JSON for programs; errors too
    #[arg(long, global = true, value_enum, default_value = "table", env = "KEYGATE_OUTPUT")]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Serve(Box<serve::Args>),
    /// Create, list, change and end keys
    #[command(subcommand, after_long_help = help!("  keygate keys list --realm recurr --account acme"))]
    Keys(Box<keys::Command>),
    /// Make accounts, end them, and say what they belong to
    #[command(subcommand, after_long_help = help!("  keygate accounts get --realm recover --account client-a"))]
    Accounts(Box<accounts::Command>),
    /// Mint embed tokens from keys
    #[command(subcommand, after_long_help = help!("  keygate embed-tokens key-set --realm recover"))]
    EmbedTokens(Box<embed::Command>),
    /// Deposit and remove credentials of providers; nothing ever shows them
    #[command(subcommand, after_long_help = help!("  keygate vault list --realm recovea --account project-1"))]
    Vault(Box<vault::Command>),
    /// Add members to accounts, change their roles, and remove them with the keys that they issued
    #[command(subcommand, after_long_help = help!("  keygate members list --realm recurr --account acme"))]
    Members(Box<members::Command>),
    /// Obtain a first key as somebody without a credential does
    #[command(subcommand, after_long_help = help!("  keygate onboarding signup --realm recoup --address agent@example.com --name 'my agent'"))]
    Onboarding(Box<onboarding::Command>),
    Authenticate(Box<authenticate::Args>),
    /// Read, follow, export and verify the audit log
    #[command(subcommand, after_long_help = help!("  keygate audit list --realm recurr --account acme"))]
    Audit(Box<audit::Command>),
    /// Charge or look at rate limits
    #[command(subcommand, after_long_help = help!("  keygate limit check --realm recover --limit message-sends --account partner-7 --peek"))]
    Limit(Box<limit::Command>),
    /// Check the configuration of realms
    #[command(subcommand, after_long_help = help!("  keygate realm check deploy/realms"))]
    Realm(realm::Command),
    /// Look at a key offline
    #[command(subcommand, after_long_help = help!("  keygate key inspect --key-stdin < found.txt"))]
    Key(key::Command),
    /// Rotate the server secret, and see how far re-keying is
    #[command(subcommand, after_long_help = help!("  keygate secrets rotate"))]
    Secrets(server_secrets::Command),
    /// See and resend what webhooks did not take
    #[command(subcommand, after_long_help = help!("  keygate webhooks dead --realm recurr"))]
    Webhooks(Box<webhooks::Command>),
    Backup(Box<backup::Args>),
    Restore(Box<restore::Args>),
    Completions(completions::Args),
}

/// Runs the command that `arguments` ask for; the first one is the program's name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return misused(&without_keys(error), &arguments).into(),
    };
    let format = cli.output;
    let mut output = Output::new(format);
    match cli.command.run(&mut output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output::report(format, &failure);
            failure.exit().into()
        }
    }
}

/// Shows help and the version, or says what is wrong with the arguments.
fn misused(error: &clap::Error, arguments: &[OsString]) -> Exit {
    if !error.use_stderr() {
        // When nobody reads there is nobody to tell.
        let _ = error.print();
        return Exit::Success;
    }
    let format = if wants_json(arguments) { Format::Json } else { Format::Table };
    if is_stray(error) {
        let failure = Failure::usage("an argument is one too many");
        output::report(format, &failure.with_hint("`--help` after the command says what it takes"));
    } else if format == Format::Json {
        let text = error.to_string();
        output::report(format, &Failure::usage(text.strip_prefix("error: ").unwrap_or(&text).trim_end()));
    } else {
        let _ = error.print();
    }
    Exit::Usage
}

/// The error, without whatever is long enough to be a key in the wrong place: other errors repeat what was typed.
fn without_keys(mut error: clap::Error) -> clap::Error {
    /// Shorter than any key, longer than any command.
    const LONGEST_SHOWN: usize = 16;
    for kind in [ContextKind::InvalidValue, ContextKind::InvalidSubcommand] {
        let hides = matches!(error.get(kind), Some(ContextValue::String(text)) if text.len() > LONGEST_SHOWN);
        if hides {
            error.insert(kind, ContextValue::String("…".to_owned()));
        }
    }
    error
}

/// Whether the error would repeat an argument that is no flag: it may be a key in the wrong place.
fn is_stray(error: &clap::Error) -> bool {
    let argument = error.get(ContextKind::InvalidArg).filter(|_| error.kind() == ErrorKind::UnknownArgument);
    argument.is_some_and(|argument| !argument.to_string().starts_with('-'))
}

/// Whether errors should be JSON, judged from arguments that could not be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    let asked = arguments.windows(2).any(|pair| matches!(pair, [flag, value] if flag == "--output" && value == "json"));
    asked || arguments.iter().any(|argument| argument == "--output=json")
}

impl Command {
    fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Serve(args) => args.run(output),
            Self::Keys(command) => wait(command.run(output)),
            Self::Accounts(command) => wait(command.run(output)),
            Self::EmbedTokens(command) => wait(command.run(output)),
            Self::Vault(command) => wait(command.run(output)),
            Self::Members(command) => wait(command.run(output)),
            Self::Onboarding(command) => wait(command.run(output)),
            Self::Authenticate(args) => wait(args.run(output)),
            Self::Audit(command) => command.run(output),
            Self::Limit(command) => wait(command.run(output)),
            Self::Realm(command) => command.run(output),
            Self::Key(command) => command.run(output),
            Self::Secrets(command) => command.run(output),
            Self::Webhooks(command) => wait(command.run(output)),
            Self::Backup(args) => wait(args.run(output)),
            Self::Restore(args) => args.run(output),
            Self::Completions(args) => args.run(output),
        }
    }
}

/// Runs one command's calls on this thread.
fn wait(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::io("cannot start", &error))?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests;
