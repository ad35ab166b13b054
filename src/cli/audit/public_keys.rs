//! `keygate audit public-keys`.

use super::client;
use crate::cli::{
    client::Connection,
    exit::{Exit, help},
    failure::Failure,
    output::Output,
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

/// Show the keys that verify checkpoints of the audit log
///
/// The newest first. Fetch them once over a way that you trust, and keep them apart from the exports: whoever can change
/// both can sign what they like. No management key is needed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate audit public-keys"))]
pub struct Args {
    #[command(flatten)]
    connection: Connection,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let keys = client::public_keys(&self.connection).await?;
        if output.is_json() {
            let key = |key: &crate::proto::v1::AuditPublicKey| json!({ "secret_version": key.secret_version, "public_key": HEXLOWER.encode(&key.public_key) });
            let keys: Value = keys.iter().map(key).collect();
            output.json(&json!({ "keys": keys }))?;
        } else {
            let row = |key: &crate::proto::v1::AuditPublicKey| {
                vec![key.secret_version.to_string(), HEXLOWER.encode(&key.public_key)]
            };
            output.table(&["VERSION", "PUBLIC KEY"], keys.iter().map(row))?;
        }
        Ok(Exit::Success)
    }
}
