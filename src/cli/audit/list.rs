//! `keygate audit list`.

use super::{client::Reader, record};
use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output::Output,
        pages::{self, LARGEST_PAGE, Listing, Page},
        values,
    },
    domain::audit::{Act, Actor},
    proto::{
        google,
        v1::{AuditEvent, ListEventsRequest, ListEventsResponse},
    },
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::Value;

/// List events of the audit log, page by page or all of them
///
/// Ordered by account, then by number. With `--output json` the result is one object, `{"events": […],
/// "next_page_token": "…"}`, also with `--all`: then the token is empty, and the list is written while it is read.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate audit list --realm recurr --account acme
  keygate audit list --realm recurr --act key_revoked --since 2030-01-01T00:00:00Z --all --output json
  keygate audit list --realm recoup --actor 'token:privy.io#did:privy:clx1' --page-size 10"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// Only events of this account
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// Only these acts; may be repeated
    #[arg(long = "act", value_name = "ACT", value_parser = act_parser())]
    acts: Vec<Act>,
    /// Only what was done to the key with this id
    #[arg(long, value_name = "ID", value_parser = key_id)]
    key_id: Option<String>,
    /// Only what this one did: the id of a key, `token:ISSUER#SUBJECT` for whoever presented an access token, `certificate:NAME` for whoever
    /// showed a certificate, or `keygate`
    #[arg(long, value_name = "ACTOR", value_parser = actor)]
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
    /// Events in a page at most, and without `--all` at all: 1 to 1,000; without: 100, or 1,000 with `--all`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=LARGEST_PAGE as i64))]
    page_size: Option<i32>,
    /// Go on where an earlier page ended, with the same filters
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Every page to the end
    #[arg(long)]
    all: bool,
}

fn act_parser() -> impl TypedValueParser<Value = Act> {
    PossibleValuesParser::new(Act::ALL.map(Act::name)).try_map(|name| Act::from_name(&name).ok_or("no such act"))
}

fn key_id(text: &str) -> Result<String, String> {
    values::check_key_id(text).map(|()| text.to_owned())
}

fn actor(text: &str) -> Result<String, String> {
    if Actor::is_text(text) { Ok(text.to_owned()) } else { Err(format!("allowed is {}", Actor::TEXT_ALLOWED)) }
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let default_size = if self.all { LARGEST_PAGE } else { 0 };
        let request = ListEventsRequest {
            account_id: self.account,
            // The numbers of the API are those of the domain.
            acts: self.acts.into_iter().map(|act| act.code() as i32).collect(),
            key_id: self.key_id.unwrap_or_default(),
            actor: self.actor.unwrap_or_default(),
            since: self.since,
            until: self.until,
            environment: self.environment,
            page_size: self.page_size.unwrap_or(default_size),
            ..ListEventsRequest::default()
        };
        let reader = Reader::open(self.management).await?;
        pages::show(Events { reader, request }, self.page_token, self.all, output).await
    }
}

struct Events {
    reader: Reader,
    /// What every page is asked for with, but for its token.
    request: ListEventsRequest,
}

impl Listing for Events {
    type Item = AuditEvent;
    const NAME: &'static str = "events";

    async fn page(&mut self, token: &str) -> Result<Page<AuditEvent>, Failure> {
        let request = ListEventsRequest { page_token: token.to_owned(), ..self.request.clone() };
        let ListEventsResponse { events: items, next_page_token } = self.reader.list(request).await?;
        Ok(Page { items, next_page_token })
    }

    fn json(event: &AuditEvent) -> Value {
        record::event(event)
    }

    fn table(output: &mut Output, events: &[AuditEvent]) -> Result<(), Failure> {
        let header =
            ["ACCOUNT", "EVENT", "AT", "ACT", "ENVIRONMENT", "KEY", "OTHER ACCOUNT", "MEMBER", "ACTOR", "FIELDS"];
        let row = |event: &AuditEvent| [vec![event.account_id.clone()], record::cells(event)].concat();
        output.table(&header, events.iter().map(row))
    }
}
