//! `keygate webhooks …`: what subscribers did not take.

use super::{
    client::Management,
    exit::{Exit, help},
    failure::Failure,
    output::{self, Output},
    values,
};
use crate::proto::v1::{DeadLetter, ListDeadLettersRequest, RedeliverRequest, TestWebhookRequest};
use serde_json::{Value, json};

/// Acts on the webhooks of a realm.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    Dead(DeadArgs),
    Redeliver(RedeliverArgs),
    Test(TestArgs),
}

/// Show messages that nobody took for as long as they were tried
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate webhooks dead --realm recurr --webhook billing"))]
pub struct DeadArgs {
    #[command(flatten)]
    management: Management,
    /// Only those of this subscriber
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    webhook: String,
}

/// Send dead letters again, the oldest first
///
/// Those that are taken are dead no more. Stops at the first that is not; the exit code is then 1.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate webhooks redeliver --realm recurr --webhook billing"))]
pub struct RedeliverArgs {
    #[command(flatten)]
    management: Management,
    /// The subscriber
    #[arg(long, value_name = "NAME")]
    webhook: String,
    /// Only the letter of this id. Without: up to 100
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    id: String,
}

/// Send a message that tells nothing, to try whether it arrives
///
/// The exit code is 1 where it does not.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate webhooks test --realm recurr --webhook billing"))]
pub struct TestArgs {
    #[command(flatten)]
    management: Management,
    /// The subscriber
    #[arg(long, value_name = "NAME")]
    webhook: String,
}

impl Command {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        match self {
            Self::Dead(args) => args.run(output).await,
            Self::Redeliver(args) => args.run(output).await,
            Self::Test(args) => args.run(output).await,
        }
    }
}

impl DeadArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let mut letters = Vec::new();
        let mut page_token = String::new();
        loop {
            let (realm, webhook) = (manager.realm(), self.webhook.clone());
            let request = ListDeadLettersRequest { realm, webhook, page_size: 0, page_token };
            let page = manager.dead_letters(request).await?;
            letters.extend(page.letters);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if output.is_json() {
            output.json(&json!({ "letters": letters.iter().map(shown).collect::<Value>() }))?;
            return Ok(Exit::Success);
        }
        if letters.is_empty() {
            output::note("no dead letters");
            return Ok(Exit::Success);
        }
        let rows = letters.iter().map(|letter| {
            let at = letter.given_up_at.as_ref().map(values::instant).unwrap_or_default();
            let attempts = letter.attempts.to_string();
            let texts =
                [&letter.id, &letter.webhook, &letter.event, &letter.account_id, &at, &attempts, &letter.problem];
            texts.map(|text| if text.is_empty() { "-".to_owned() } else { text.clone() }).to_vec()
        });
        output.table(&["ID", "WEBHOOK", "EVENT", "ACCOUNT", "GIVEN UP", "ATTEMPTS", "PROBLEM"], rows)?;
        Ok(Exit::Success)
    }
}

fn shown(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id,
        "webhook": letter.webhook,
        "event": letter.event,
        "account_id": letter.account_id,
        "given_up_at": letter.given_up_at.as_ref().map(values::instant),
        "problem": letter.problem,
        "attempts": letter.attempts,
        "body": letter.body,
    })
}

impl RedeliverArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let realm = manager.realm();
        let done = manager.redeliver(RedeliverRequest { realm, webhook: self.webhook, id: self.id }).await?;
        if output.is_json() {
            let (delivered, failed, problem) = (done.delivered, done.failed, &done.problem);
            output.json(&json!({ "delivered": delivered, "failed": failed, "problem": problem }))?;
        } else {
            output.fields(&[
                ("delivered", done.delivered.to_string()),
                ("failed", done.failed.to_string()),
                ("problem", done.problem.clone()),
            ])?;
        }
        Ok(if done.failed == 0 { Exit::Success } else { Exit::Failure })
    }
}

impl TestArgs {
    async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let realm = manager.realm();
        let done = manager.test_webhook(TestWebhookRequest { realm, webhook: self.webhook }).await?;
        if output.is_json() {
            let (id, delivered, problem) = (&done.id, done.delivered, &done.problem);
            output.json(&json!({ "id": id, "delivered": delivered, "problem": problem }))?;
        } else {
            let delivered = if done.delivered { "yes" } else { "no" };
            let fields =
                [("id", done.id.clone()), ("delivered", delivered.to_owned()), ("problem", done.problem.clone())];
            output.fields(&fields)?;
        }
        Ok(if done.delivered { Exit::Success } else { Exit::Failure })
    }
}
