//! `keygate keys get`.

use super::show;
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output::Output,
        values,
    },
    proto::v1::{GetKey, manage_keys_request::Operation, manage_keys_response},
};

/// Show one key, without its secret
///
/// Shows everything that is stored of a key: owner, scopes, state, version, and when each of its secrets works.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate keys get --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM"))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// The key's id, `key_…`
    #[arg(value_name = "KEY_ID")]
    key_id: String,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        values::check_key_id(&self.key_id).map_err(Failure::usage)?;
        let operation = Operation::Get(GetKey { key_id: self.key_id });
        match self.management.open().await?.manage(operation).await? {
            manage_keys_response::Result::Key(key) => show::one(output, &key, show::Uses::Told).map(|()| Exit::Success),
            _ => Err(Failure::odd_answer()),
        }
    }
}
