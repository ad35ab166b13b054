//! `keygate limit check`: charges limits, or looks at them, without a credential.

use super::{
    client::Connection,
    decision,
    exit::{Exit, help},
    failure::Failure,
    json,
    output::Output,
};
use crate::proto::v1::{CheckRateLimitRequest, LimitNames, Subject, check_rate_limit_request::Selection};

/// Acts on limits.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Check(CheckArgs),
}

/// Charge limits, or look at them with `--peek`
///
/// Charges all the limits named, or all that apply to an operation: all of them or none. Each limit says in `per` whom
/// it counts and so which of `--account`, `--key-id`, … it needs. The exit code is 0 when the cost is admitted and 3
/// when it is not. RESET AFTER may exceed WINDOW by one of its buckets, since each counts until all of it has left the window.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("selection").required(true).args(["limits", "operation"]),
    after_long_help = help!(
        "  keygate limit check --realm recover --limit lead-import-bulk --account partner-7 --cost 10
  keygate limit check --realm recover --operation messages.send --account partner-7 --peek --output json"
    )
)]
pub struct CheckArgs {
    #[command(flatten)]
    connection: Connection,
    /// The realm whose limits are meant
    #[arg(long, value_name = "NAME", env = "KEYGATE_REALM")]
    realm: String,
    /// A limit by its name; may be repeated
    #[arg(long = "limit", value_name = "NAME")]
    limits: Vec<String>,
    /// Every limit that applies to this operation
    #[arg(long, value_name = "NAME")]
    operation: Option<String>,
    /// Counters are apart for each environment; may be left out where the realm has only one
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// The account to charge
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// The account acted on; without: `--account`
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    target_account: String,
    /// The key to charge
    #[arg(long, value_name = "KEY_ID", default_value = "", hide_default_value = true)]
    key_id: String,
    /// The client's IPv4 or IPv6 address, without a port
    #[arg(long, value_name = "ADDRESS", default_value = "", hide_default_value = true)]
    source_address: String,
    /// Free text, for limits that count per `subject`
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    subject: String,
    /// What to charge; without: 1
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    cost: Option<i64>,
    /// Show what would happen, and charge nothing
    #[arg(long)]
    peek: bool,
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Check(args) => args.run(output).await,
        }
    }
}

impl CheckArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let request = CheckRateLimitRequest {
            realm: self.realm,
            environment: self.environment,
            subject: Some(Subject {
                account_id: self.account,
                target_account_id: self.target_account,
                key_id: self.key_id,
                source_address: self.source_address,
                custom: self.subject,
            }),
            cost: self.cost,
            peek: self.peek,
            selection: Some(match self.operation {
                Some(operation) => Selection::Operation(operation),
                None => Selection::Limits(LimitNames { names: self.limits }),
            }),
        };
        let answer = self.connection.open().await?.check_rate_limit(request).await?;
        if output.is_json() {
            output.json(&json::rate_limit_checked(&answer))?;
        } else {
            match &answer.denied {
                Some(denied) => decision::denied(output, denied, None)?,
                None if answer.allowed => output.line("allowed")?,
                None => output.line("denied")?,
            }
            decision::degraded(answer.degraded);
            decision::limits(output, &answer.limits)?;
        }
        Ok(if answer.allowed { Exit::Success } else { Exit::Denied })
    }
}
