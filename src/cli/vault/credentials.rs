//! `keygate vault put`, `list` and `delete`.

use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        json, output,
        output::Output,
        secrets, values,
    },
    proto::v1::{DeleteCredentialRequest, ListCredentialsRequest, ProviderCredential, PutCredentialRequest},
};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
struct Place {
    #[command(flatten)]
    management: Management,
    /// The account that the credential is of
    #[arg(long, value_name = "ID")]
    account: String,
    /// The environment whose keys release it; needed where the realm has several
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// The provider, as the realm's file names it
    #[arg(long, value_name = "NAME")]
    provider: String,
}

/// Deposit the credential that a provider gave to an account, in the place of whatever is there
///
/// Read from standard input, or from a file: one line. Allowed requests of the account's keys in that environment go on with
/// it from now on. No command shows it again.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate vault put --realm recovea --account project-1 --environment live --provider openai < openai.key
  keygate vault put --realm recovea --account project-1 --environment test --provider openai --file openai-test.key"
))]
pub struct PutArgs {
    #[command(flatten)]
    place: Place,
    /// File with the credential; without: standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl PutArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let given = secrets::deposited(self.file.as_deref())?;
        let Place { management, account: account_id, environment, provider } = self.place;
        let mut manager = management.open().await?;
        let (realm, credential) = (manager.realm(), given.to_string());
        let request = PutCredentialRequest { realm, account_id, environment, provider, credential };
        show(output, &manager.put_credential(request).await?)?;
        Ok(Exit::Success)
    }
}

/// List the credentials that an account deposited; what they are is not told
///
/// A credential that cannot be opened hangs on a key-encryption key that the server does not have.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate vault list --realm recovea --account project-1 --output json"))]
pub struct ListArgs {
    #[command(flatten)]
    management: Management,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
}

impl ListArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let request = ListCredentialsRequest { realm: manager.realm(), account_id: self.account };
        let listed = manager.list_credentials(request).await?.credentials;
        if output.is_json() {
            output.json(&json!({ "credentials": listed.iter().map(json::credential).collect::<Vec<_>>() }))?;
        } else if listed.is_empty() {
            output::note("no credentials");
        } else {
            let header = ["ENVIRONMENT", "PROVIDER", "CREATED", "UPDATED", "UPDATED BY", "KEY", "CAN BE OPENED"];
            output.table(&header, listed.iter().map(row))?;
        }
        Ok(Exit::Success)
    }
}

/// Remove a credential: it is released no more, at once
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate vault delete --realm recovea --account project-1 --environment live --provider openai"
))]
pub struct DeleteArgs {
    #[command(flatten)]
    place: Place,
}

impl DeleteArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Place { management, account: account_id, environment, provider } = self.place;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        let request = DeleteCredentialRequest { realm, account_id, environment, provider };
        manager.delete_credential(request).await?;
        if output.is_json() {
            output.json(&json!({ "deleted": true }))?;
        } else {
            output.line("deleted")?;
        }
        Ok(Exit::Success)
    }
}

fn show(output: &mut Output, found: &ProviderCredential) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json::credential(found));
    }
    let instant = |at: &Option<_>| at.as_ref().map(values::instant).unwrap_or_default();
    output.fields(&[
        ("realm", found.realm.clone()),
        ("account", found.account_id.clone()),
        ("environment", found.environment.clone()),
        ("provider", found.provider.clone()),
        ("created", instant(&found.created_at)),
        ("updated", instant(&found.updated_at)),
        ("updated by", found.updated_by.clone()),
        ("key", found.key_encryption_key.clone()),
    ])
}

fn row(found: &ProviderCredential) -> Vec<String> {
    let instant = |at: &Option<_>| at.as_ref().map_or_else(|| "-".to_owned(), values::instant);
    vec![
        found.environment.clone(),
        found.provider.clone(),
        instant(&found.created_at),
        instant(&found.updated_at),
        found.updated_by.clone(),
        found.key_encryption_key.clone(),
        if found.can_open { "yes" } else { "no" }.to_owned(),
    ]
}
