//! `keygate onboarding …`: obtains a first key as somebody without a credential does.

use super::{
    client::Connection,
    decision,
    exit::{Exit, help},
    failure::Failure,
    json,
    keys::with_secret,
    output::{self, Output},
    values,
};
use crate::proto::v1::{SignupRequest, VerifyRequest, signup_response, verify_response};

/// Signing up and verifying, without a management key.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Signup(SignupArgs),
    Verify(VerifyArgs),
}

/// Have a one-time code sent to an address
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate onboarding signup --realm recoup --address agent@example.com --name 'my agent'"))]
pub struct SignupArgs {
    #[command(flatten)]
    connection: Connection,
    /// The realm, by its name
    #[arg(long, value_name = "NAME", env = "KEYGATE_REALM")]
    realm: String,
    /// The e-mail address that the code goes to
    #[arg(long, value_name = "ADDRESS")]
    address: String,
    /// What the key will be called
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// Whose call it is: an IPv4 or IPv6 address without a port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    source_address: String,
}

/// Bring the code back and get the key, shown once
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate onboarding verify --realm recoup --signup su_12ab34cd56ef78901234567890abcdef --code 7KQ2M9XA"))]
pub struct VerifyArgs {
    #[command(flatten)]
    connection: Connection,
    /// The realm, by its name
    #[arg(long, value_name = "NAME", env = "KEYGATE_REALM")]
    realm: String,
    /// The signup, as `signup` showed it
    #[arg(long, value_name = "ID")]
    signup: String,
    /// The code as it was delivered. It works once, so it may be an argument
    #[arg(long, value_name = "CODE")]
    code: String,
    /// Whose call it is: an IPv4 or IPv6 address without a port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    source_address: String,
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Signup(args) => args.run(output).await,
            Self::Verify(args) => args.run(output).await,
        }
    }
}

impl SignupArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { connection, realm, address, name, source_address } = self;
        let answer = connection.open().await?.signup(SignupRequest { realm, address, name, source_address }).await?;
        match answer.outcome.ok_or_else(Failure::odd_answer)? {
            signup_response::Outcome::Started(started) => {
                if output.is_json() {
                    output.json(&json::signup_started(&started))?;
                } else {
                    let expires = started.expires_at.as_ref().map(values::instant).unwrap_or_default();
                    output.fields(&[("signup", started.signup_id.clone()), ("works until", expires)])?;
                    output::note("the code is on its way: bring it back with `keygate onboarding verify`");
                }
                Ok(Exit::Success)
            }
            signup_response::Outcome::Denied(denied) => decision::refused(output, &denied),
        }
    }
}

impl VerifyArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Self { connection, realm, signup: signup_id, code, source_address } = self;
        let answer = connection.open().await?.verify(VerifyRequest { realm, signup_id, code, source_address }).await?;
        match answer.outcome.ok_or_else(Failure::odd_answer)? {
            verify_response::Outcome::Created(made) => with_secret(output, &made).map(|()| Exit::Success),
            verify_response::Outcome::Denied(denied) => decision::refused(output, &denied),
        }
    }
}
