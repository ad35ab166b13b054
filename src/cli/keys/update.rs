//! `keygate keys update`, `suspend` and `resume`: all three are one act of the API.

use super::{Bounds, Expiry, show};
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output::Output,
        values,
    },
    proto::v1::{
        KeyState, MetadataPatch, NetworkList, ScopeList, UpdateKey, manage_keys_request::Operation,
        manage_keys_response,
    },
};

/// Which key, and on which of its versions the change is based.
#[derive(Debug, clap::Args)]
struct Target {
    #[command(flatten)]
    management: Management,
    /// The key's id, `key_…`
    #[arg(value_name = "KEY_ID")]
    key_id: String,
    /// Change only this version of the key; without: whichever is current
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    expected_version: Option<u64>,
}

/// Change a key's name, scopes, metadata, times or networks
///
/// Only what is named changes; the secret stays the same. With `--expected-version` the change is refused (exit code 6)
/// if somebody else changed the key in between.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("change").required(true).multiple(true)
        .args(["name", "scopes", "no_scopes", "metadata", "remove_metadata", "expires_at", "expires_in", "never_expires",
            "not_before", "valid_at_once", "allowed_networks", "any_network"]),
    after_long_help = help!(
        "  keygate keys update --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM --name deploy --scope read-write
  keygate keys update --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM --metadata team=core --never-expires"
    )
)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// What people call the key
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// A scope; may be repeated. The scopes named replace those that the key has
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// Take all scopes away
    #[arg(long, conflicts_with = "scopes")]
    no_scopes: bool,
    /// Metadata to set; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::parse_pair)]
    metadata: Vec<(String, String)>,
    /// Metadata to remove, by its name; may be repeated
    #[arg(long, value_name = "NAME")]
    remove_metadata: Vec<String>,
    #[command(flatten)]
    expiry: Expiry,
    /// The key no longer ends by itself
    #[arg(long, group = "expiry")]
    never_expires: bool,
    #[command(flatten)]
    bounds: Bounds,
    /// The key begins to work now
    #[arg(long, conflicts_with = "not_before")]
    valid_at_once: bool,
    /// The key may be used from anywhere
    #[arg(long, conflicts_with = "allowed_networks")]
    any_network: bool,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let set = values::to_map(self.metadata).map_err(Failure::usage)?;
        let metadata = MetadataPatch { set, remove: self.remove_metadata };
        let patched = !metadata.set.is_empty() || !metadata.remove.is_empty();
        let replaced = self.no_scopes || !self.scopes.is_empty();
        let bound = self.any_network || !self.bounds.allowed_networks.is_empty();
        let change = UpdateKey {
            name: self.name,
            scopes: replaced.then_some(ScopeList { scopes: self.scopes }),
            metadata: patched.then_some(metadata),
            expires_at: self.expiry.expires_at,
            expires_in: self.expiry.expires_in.map(values::to_proto),
            never_expires: self.never_expires,
            not_before: self.bounds.not_before,
            valid_at_once: self.valid_at_once,
            allowed_networks: bound.then_some(NetworkList { networks: self.bounds.allowed_networks }),
            ..UpdateKey::default()
        };
        self.target.change(change, output).await
    }
}

/// Let a key rest: it is denied until it is resumed
///
/// Takes effect at once. Unlike a revoked key, a suspended one can be brought back.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate keys suspend --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM"))]
pub struct SuspendArgs {
    #[command(flatten)]
    target: Target,
}

impl SuspendArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let change = UpdateKey { state: KeyState::Suspended.into(), ..UpdateKey::default() };
        self.target.change(change, output).await
    }
}

/// Let a suspended key work again
///
/// A revoked key cannot be resumed (exit code 6).
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate keys resume --realm recurr key_01JD3V6Q0C8W4R5T9Y2KXPZ7NM"))]
pub struct ResumeArgs {
    #[command(flatten)]
    target: Target,
}

impl ResumeArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let change = UpdateKey { state: KeyState::Active.into(), ..UpdateKey::default() };
        self.target.change(change, output).await
    }
}

impl Target {
    async fn change(self, change: UpdateKey, output: &mut Output) -> Result<Exit, Failure> {
        values::check_key_id(&self.key_id).map_err(Failure::usage)?;
        let expected_version = self.expected_version.unwrap_or(0);
        let operation = Operation::Update(UpdateKey { key_id: self.key_id, expected_version, ..change });
        match self.management.open().await?.manage(operation).await? {
            manage_keys_response::Result::Key(key) => {
                show::one(output, &key, show::Uses::Untold).map(|()| Exit::Success)
            }
            _ => Err(Failure::odd_answer()),
        }
    }
}
