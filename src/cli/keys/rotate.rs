//! `keygate keys rotate`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output::Output,
        values,
    },
    proto::v1::{RotateKey, manage_keys_request::Operation, manage_keys_response},
};
use std::time::Duration;

/// Give a key a new secret and show it, once
///
/// The key keeps its id, its scopes and everything else. The old secret goes on working for the grace, then it is
/// denied without anybody doing anything. The new one is written to standard output this once.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate keys rotate --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM --grace 24h
  keygate keys rotate --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM --grace 0s --output json"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// The key's id, `key_…`
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    /// How long the old secret goes on working, such as `24h` or `0s`; without: the realm's default
    #[arg(long, value_name = "SPAN", value_parser = values::parse_span)]
    grace: Option<Duration>,
    /// Rotate only this version of the key; without: whichever is current
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    expected_version: Option<u64>,
    /// Makes a repeat harmless: 1 to 128 printable ASCII characters of your choice
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    idempotency_key: String,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        values::check_key_id(&self.key_id).map_err(Failure::usage)?;
        let operation = Operation::Rotate(RotateKey {
            key_id: self.key_id,
            grace: self.grace.map(values::to_proto),
            expected_version: self.expected_version.unwrap_or(0),
            idempotency_key: self.idempotency_key,
        });
        match self.management.open().await?.manage(operation).await? {
            manage_keys_response::Result::Rotated(made) => show::with_secret(output, &made).map(|()| Exit::Success),
            _ => Err(Failure::odd_answer()),
        }
    }
}
