//! `keygate keys create`.

use super::{Bounds, Expiry, show};
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output::Output,
        values,
    },
    proto::v1::{CreateKey, manage_keys_request::Operation, manage_keys_response},
};

/// Make a key and show it, once
///
/// The key itself is written to standard output this once; afterwards keygate knows only a digest of it. With `--output
/// json` the result is one object with `key` and `secret`. Under an idempotency key a repeat within 24 hours makes no
/// second key, and shows no secret.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate keys create --realm recovea --account acme --environment live --name ci
  keygate keys create --realm recurr --account acme --environment live --member ann --name ci --scope read-only
  keygate keys create --realm recurr --account acme --environment live --member ann --name ci --expires-in 90d --output json
  keygate keys create --realm recovea --account acme --environment live --name office --allow-network 192.0.2.0/24
  keygate keys create --realm recoup --name laptop --key-file access.token
  keygate keys create --realm recoup --name ci --key-file laptop.key --key-header x-api-key"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// The account that owns the key; left out where owners manage their own
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// The environment; may be left out where the realm has only one
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// What people call the key
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// A scope of the realm; may be repeated. Without: the realm's default scopes
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Something to keep with the key; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::parse_pair)]
    metadata: Vec<(String, String)>,
    /// The member of the account in whose name the key is issued; some realms demand one
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    member: String,
    #[command(flatten)]
    expiry: Expiry,
    #[command(flatten)]
    bounds: Bounds,
    /// Makes a repeat harmless: 1 to 128 printable ASCII characters of your choice
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    idempotency_key: String,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let operation = Operation::Create(CreateKey {
            account_id: self.account,
            environment: self.environment,
            name: self.name,
            scopes: self.scopes,
            metadata: values::to_map(self.metadata).map_err(Failure::usage)?,
            expires_at: self.expiry.expires_at,
            expires_in: self.expiry.expires_in.map(values::to_proto),
            idempotency_key: self.idempotency_key,
            not_before: self.bounds.not_before,
            allowed_networks: self.bounds.allowed_networks,
            member_id: self.member,
        });
        match self.management.open().await?.manage(operation).await? {
            manage_keys_response::Result::Created(made) => show::with_secret(output, &made).map(|()| Exit::Success),
            _ => Err(Failure::odd_answer()),
        }
    }
}
