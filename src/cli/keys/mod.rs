//! `keygate keys …`: creating, reading, changing and ending the keys of a realm. One file per command.

mod create;
mod get;
mod import;
mod import_row;
mod list;
mod revoke;
mod revoke_account;
mod rotate;
mod show;
mod update;

pub use show::with_secret;

use super::{exit::Exit, failure::Failure, output::Output};

/// Acts on the keys of a realm.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Create(create::Args),
    Get(get::Args),
    List(list::Args),
    Update(update::Args),
    Suspend(update::SuspendArgs),
    Resume(update::ResumeArgs),
    Rotate(rotate::Args),
    Revoke(revoke::Args),
    RevokeAccount(revoke_account::Args),
    Import(import::Args),
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Create(args) => args.run(output).await,
            Self::Get(args) => args.run(output).await,
            Self::List(args) => args.run(output).await,
            Self::Update(args) => args.run(output).await,
            Self::Suspend(args) => args.run(output).await,
            Self::Resume(args) => args.run(output).await,
            Self::Rotate(args) => args.run(output).await,
            Self::Revoke(args) => args.run(output).await,
            Self::RevokeAccount(args) => args.run(output).await,
            Self::Import(args) => args.run(output).await,
        }
    }
}

/// What a key is bound to.
#[derive(Debug, clap::Args)]
struct Bounds {
    /// When the key begins to work, as RFC 3339: `2030-01-31T12:00:00Z`
    #[arg(long, value_name = "INSTANT", value_parser = super::values::parse_instant)]
    not_before: Option<crate::proto::google::Timestamp>,
    /// A network that the key may be used from, such as `192.0.2.0/24` or `2001:db8::/32`; may be repeated
    #[arg(long = "allow-network", value_name = "NETWORK")]
    allowed_networks: Vec<String>,
}

/// When a key ends by itself.
#[derive(Debug, clap::Args)]
struct Expiry {
    /// When the key ends by itself, as RFC 3339: `2030-01-31T12:00:00Z`
    #[arg(long, value_name = "INSTANT", value_parser = super::values::parse_instant, group = "expiry")]
    expires_at: Option<crate::proto::google::Timestamp>,
    /// After how long the key ends by itself, such as `30d`
    #[arg(long, value_name = "SPAN", value_parser = super::values::parse_span, group = "expiry")]
    expires_in: Option<std::time::Duration>,
}
