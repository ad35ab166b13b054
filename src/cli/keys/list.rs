//! `keygate keys list`.

use super::show;
use crate::{
    cli::{
        client::{Management, Manager},
        exit::{Exit, help},
        failure::Failure,
        json, names,
        output::Output,
        pages::{self, LARGEST_PAGE, Listing, Page},
    },
    proto::v1::{Key, KeyPage, KeyState, ListKeys, manage_keys_request::Operation, manage_keys_response},
};
use serde_json::Value;

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
    /// Only keys that were issued in the name of this member
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    member: String,
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
        let request = ListKeys {
            account_id: self.account,
            environment: self.environment,
            member_id: self.member,
            state: self.state.map_or(KeyState::Unspecified, KeyState::from).into(),
            page_size: self.page_size.unwrap_or(default_size),
            ..ListKeys::default()
        };
        let manager = self.management.open().await?;
        pages::show(Keys { manager, request }, self.page_token, self.all, output).await
    }
}

struct Keys {
    manager: Manager,
    /// What every page is asked for with, but for its token.
    request: ListKeys,
}

impl Listing for Keys {
    type Item = Key;
    const NAME: &'static str = "keys";

    async fn page(&mut self, token: &str) -> Result<Page<Key>, Failure> {
        let request = ListKeys { page_token: token.to_owned(), ..self.request.clone() };
        match self.manager.manage(Operation::List(request)).await? {
            manage_keys_response::Result::Page(KeyPage { keys: items, next_page_token }) => {
                Ok(Page { items, next_page_token })
            }
            _ => Err(Failure::odd_answer()),
        }
    }

    fn json(key: &Key) -> Value {
        json::key(key)
    }

    fn table(output: &mut Output, keys: &[Key]) -> Result<(), Failure> {
        show::table(output, keys, show::Uses::Told)
    }
}
