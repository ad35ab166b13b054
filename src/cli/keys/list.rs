//! `keygate keys list`.

use super::show;
use crate::{
    cli::{
        client::{Management, Manager},
        exit::{Exit, help},
        failure::Failure,
        json, names, output,
        output::Output,
    },
    proto::v1::{KeyPage, KeyState, ListKeys, manage_keys_request::Operation, manage_keys_response},
};
use serde_json::Value;

/// The largest page that the API gives.
const LARGEST_PAGE: i32 = 1_000;

/// List keys, page by page or all of them
///
/// With `--output json` the result is one object, `{"keys": […], "next_page_token": "…"}`, also with `--all`: then the
/// token is empty, and the list is written while it is read. If reading fails half-way the output is not valid JSON.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!(
    "  keygate keys list --realm recurr --account acme --environment live --state active
  keygate keys list --realm recurr --all --output json"
))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// Only keys of this account
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    account: String,
    /// Only keys of this environment
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    environment: String,
    /// Only keys in this state
    #[arg(long, value_name = "STATE", value_enum)]
    state: Option<names::State>,
    /// Keys in a page at most, 1 to 1,000; without: 100, or 1,000 with `--all`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=LARGEST_PAGE as i64))]
    page_size: Option<i32>,
    /// Go on where an earlier page ended, with the same filters
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Every page to the end
    #[arg(long)]
    all: bool,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let default_size = if self.all { LARGEST_PAGE } else { 0 };
        let first = ListKeys {
            account_id: self.account,
            environment: self.environment,
            state: self.state.map_or(KeyState::Unspecified, KeyState::from).into(),
            page_size: self.page_size.unwrap_or(default_size),
            page_token: self.page_token,
        };
        let mut pages = Pages { manager: self.management.open().await?, next: Some(first), all: self.all };
        if output.is_json() { pages.as_json(output).await } else { pages.as_tables(output).await }
    }
}

struct Pages {
    manager: Manager,
    /// The request for the next page.
    next: Option<ListKeys>,
    all: bool,
}

impl Pages {
    /// The next page, until there is none or none is wanted.
    async fn next(&mut self) -> Result<Option<KeyPage>, Failure> {
        let Some(request) = self.next.take() else { return Ok(None) };
        let manage_keys_response::Result::Page(page) = self.manager.manage(Operation::List(request.clone())).await?
        else {
            return Err(Failure::odd_answer());
        };
        // A server that gives the same token again would be asked for ever.
        if self.all && !page.next_page_token.is_empty() {
            if page.next_page_token == request.page_token {
                return Err(Failure::odd_answer());
            }
            self.next = Some(ListKeys { page_token: page.next_page_token.clone(), ..request });
        }
        Ok(Some(page))
    }

    async fn as_json(&mut self, output: &mut Output) -> Result<Exit, Failure> {
        // A first page that fails leaves standard output empty.
        let mut page = self.next().await?;
        let mut list = output.begin_list("keys")?;
        let mut token = String::new();
        while let Some(KeyPage { keys, next_page_token }) = page {
            keys.iter().try_for_each(|key| list.item(&json::key(key)))?;
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
        let mut shown = 0_usize;
        let mut token = String::new();
        while let Some(KeyPage { keys, next_page_token }) = self.next().await? {
            if !keys.is_empty() {
                show::table(output, &keys)?;
            }
            shown = shown.saturating_add(keys.len());
            token = next_page_token;
            if output.closed() {
                return Ok(Exit::Success);
            }
        }
        if !token.is_empty() {
            output::note(&format!("more follow: `--page-token {token}` shows the next page, `--all` everything"));
        } else if shown == 0 {
            output::note("no keys");
        }
        Ok(Exit::Success)
    }
}
