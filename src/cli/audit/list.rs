//! `keygate audit list`.

use super::{client::Reader, record};
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output,
        output::Output,
        values,
    },
    proto::{
        google,
        v1::{AuditAct, AuditEvent, ListEventsRequest, ListEventsResponse},
    },
};
use clap::ValueEnum;
use serde_json::Value;

/// The largest page that the API gives.
const LARGEST_PAGE: i32 = 1_000;

/// List events of the audit log, page by page or all of them
///
/// Ordered by account, then by number. With `--output json` the result is one object, `{"events": […],
/// "next_page_token": "…"}`, also with `--all`: then the token is empty, and the list is written while it is read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate audit list --realm recurr --account acme
  keygate audit list --realm recurr --act key_revoked --since 2030-01-01T00:00:00Z --all --output json"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// Only events of this account
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// Only these acts; may be repeated
    #[arg(long = "act", value_name = "ACT", value_enum)]
    acts: Vec<Act>,
    /// Only what was done to the key with this id
    #[arg(long, value_name = "ID", value_parser = key_id)]
    key_id: Option<String>,
    /// Only what the key with this id did, or `keygate` by itself
    #[arg(long, value_name = "ID", value_parser = actor)]
    actor: Option<String>,
    /// Only from this instant on, as RFC 3339: `2030-01-31T12:00:00Z`
    #[arg(long, value_name = "INSTANT", value_parser = values::parse_instant)]
    since: Option<google::Timestamp>,
    /// Only before this instant
    #[arg(long, value_name = "INSTANT", value_parser = values::parse_instant)]
    until: Option<google::Timestamp>,
    /// Only keys of this environment
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// Events in a page at most, 1 to 1,000; without: 100, or 1,000 with `--all`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=LARGEST_PAGE as i64))]
    page_size: Option<i32>,
    /// Go on where an earlier page ended, with the same filters
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Every page to the end
    #[arg(long)]
    all: bool,
}

/// Acts that a list can be filtered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Act {
    AccountCreated,
    KeyCreated,
    KeyImported,
    KeyUpdated,
    KeySuspended,
    KeyResumed,
    KeyRotated,
    KeyRevoked,
    KeyRekeyed,
}

impl From<Act> for AuditAct {
    fn from(act: Act) -> Self {
        match act {
            Act::AccountCreated => Self::AccountCreated,
            Act::KeyCreated => Self::KeyCreated,
            Act::KeyImported => Self::KeyImported,
            Act::KeyUpdated => Self::KeyUpdated,
            Act::KeySuspended => Self::KeySuspended,
            Act::KeyResumed => Self::KeyResumed,
            Act::KeyRotated => Self::KeyRotated,
            Act::KeyRevoked => Self::KeyRevoked,
            Act::KeyRekeyed => Self::KeyRekeyed,
        }
    }
}

fn key_id(text: &str) -> Result<String, String> {
    values::check_key_id(text).map(|()| text.to_owned())
}

fn actor(text: &str) -> Result<String, String> {
    if text == "keygate" { Ok(text.to_owned()) } else { key_id(text) }
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let default_size = if self.all { LARGEST_PAGE } else { 0 };
        let first = ListEventsRequest {
            realm: String::new(),
            account_id: self.account,
            acts: self.acts.into_iter().map(|act| AuditAct::from(act).into()).collect(),
            key_id: self.key_id.unwrap_or_default(),
            actor: self.actor.unwrap_or_default(),
            since: self.since,
            until: self.until,
            environment: self.environment,
            page_size: self.page_size.unwrap_or(default_size),
            page_token: self.page_token,
        };
        let mut pages = Pages { reader: Reader::open(self.management).await?, next: Some(first), all: self.all };
        if output.is_json() { pages.as_json(output).await } else { pages.as_tables(output).await }
    }
}

struct Pages {
    reader: Reader,
    /// The request for the next page.
    next: Option<ListEventsRequest>,
    all: bool,
}

impl Pages {
    /// The next page, until there is none or none is wanted.
    async fn next(&mut self) -> Result<Option<ListEventsResponse>, Failure> {
        let Some(request) = self.next.take() else { return Ok(None) };
        let page = self.reader.list(request.clone()).await?;
        // A server that gives the same token again would be asked for ever.
        if self.all && !page.next_page_token.is_empty() {
            if page.next_page_token == request.page_token {
                return Err(Failure::odd_answer());
            }
            self.next = Some(ListEventsRequest { page_token: page.next_page_token.clone(), ..request });
        }
        Ok(Some(page))
    }

    async fn as_json(&mut self, output: &mut Output) -> Result<Exit, Failure> {
        // A first page that fails leaves standard output empty.
        let mut page = self.next().await?;
        let mut list = output.begin_list("events")?;
        let mut token = String::new();
        while let Some(ListEventsResponse { events, next_page_token }) = page {
            events.iter().try_for_each(|event| list.item(&record::event(event)))?;
            token = next_page_token;
            if list.closed() {
                break;
            }
            page = self.next().await?;
        }
        list.end(&[("next_page_token", Value::from(token))])?;
        Ok(Exit::Success)
    }

    async fn as_tables(&mut self, output: &mut Output) -> Result<Exit, Failure> {
        let (mut shown, mut token) = (0_usize, String::new());
        while let Some(ListEventsResponse { events, next_page_token }) = self.next().await? {
            if !events.is_empty() {
                table(output, &events)?;
            }
            shown = shown.saturating_add(events.len());
            token = next_page_token;
            if output.closed() {
                return Ok(Exit::Success);
            }
        }
        if !token.is_empty() {
            output::note(&format!("more follow: `--page-token {token}` shows the next page, `--all` everything"));
        } else if shown == 0 {
            output::note("no events");
        }
        Ok(Exit::Success)
    }
}

fn table(output: &mut Output, events: &[AuditEvent]) -> Result<(), Failure> {
    let header = ["ACCOUNT", "EVENT", "AT", "ACT", "ENVIRONMENT", "KEY", "OTHER ACCOUNT", "ACTOR", "FIELDS"];
    output.table(&header, events.iter().map(|event| [vec![event.account_id.clone()], record::cells(event)].concat()))
}
