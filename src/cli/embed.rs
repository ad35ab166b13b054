//! `keygate embed-tokens …`: tokens that are minted from keys.

use super::{
    client::{self, Connection, Management},
    exit::{Exit, help},
    failure::Failure,
    output::Output,
    values,
};
use crate::proto::v1::{EmbedKeySetRequest, MintEmbedTokenRequest, embed_tokens_client::EmbedTokensClient};
use serde_json::json;
use std::time::Duration;

/// Mints embed tokens, and shows what verifies them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Mint(MintArgs),
    KeySet(KeySetArgs),
}

/// Mint a token from a key, for one account that the key reaches
///
/// The token is written to standard output; keygate keeps no copy. It may do no more than the key, and ends with the key, or when its
/// time is over. Needs the role minter.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate embed-tokens mint --realm recover --key-id key_01J8… --account client-a --lifetime 15m"
))]
pub struct MintArgs {
    #[command(flatten)]
    management: Management,
    /// The key that the token comes from
    #[arg(long, value_name = "KEY_ID")]
    key_id: String,
    /// The one account that the token is for
    #[arg(long, value_name = "ID")]
    account: String,
    /// A scope of the key; may be repeated. Without: all that the key has
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// How long it holds, such as `15m`; without: as the realm says
    #[arg(long, value_name = "SPAN", value_parser = values::parse_span)]
    lifetime: Option<Duration>,
}

/// Show the public keys of a realm's embed tokens, as a JWK set
///
/// For whoever wants to look into tokens without asking keygate. No management key is needed.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate embed-tokens key-set --realm recover"))]
pub struct KeySetArgs {
    #[command(flatten)]
    connection: Connection,
    /// The realm
    #[arg(long, value_name = "NAME", env = "KEYGATE_REALM")]
    realm: String,
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Mint(args) => args.run(output).await,
            Self::KeySet(args) => args.run(output).await,
        }
    }
}

impl MintArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let minted = manager
            .mint_embed_token(MintEmbedTokenRequest {
                realm: manager.realm(),
                key_id: self.key_id,
                account_id: self.account,
                scopes: self.scopes,
                lifetime: self.lifetime.map(values::to_proto),
            })
            .await?;
        if output.is_json() {
            let expires_at = minted.expires_at.as_ref().map(values::instant);
            output.json(&json!({ "token": minted.token, "expires_at": expires_at }))?;
        } else {
            output.line(&minted.token)?;
        }
        Ok(Exit::Success)
    }
}

impl KeySetArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Connection { endpoint, timeout, .. } = &self.connection;
        let mut client = EmbedTokensClient::new(self.connection.channel().await?);
        let asked = client.key_set(EmbedKeySetRequest { realm: self.realm });
        output.line(&client::answered(endpoint, *timeout, asked).await?.jwk_set)?;
        Ok(Exit::Success)
    }
}
