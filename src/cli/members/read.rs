//! `keygate members list` and `keygate members get`.

use super::{Place, show};
use crate::{
    cli::{
        client::{Management, Manager},
        exit::{Exit, help},
        failure::Failure,
        json,
        output::Output,
        pages::{self, Listing, Page},
    },
    proto::v1::{GetMemberRequest, ListMembersRequest, ListMembersResponse, Member},
};
use serde_json::Value;

/// The largest page of members that the API gives.
const LARGEST_PAGE: i32 = 256;

/// List the members of an account
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate members list --realm recurr --account acme --all --output json"))]
pub struct ListArgs {
    #[command(flatten)]
    management: Management,
    /// The account
    #[arg(long, value_name = "ID")]
    account: String,
    /// Members in a page at most, 1 to 256; without: 100, or 256 with `--all`
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=LARGEST_PAGE as i64))]
    page_size: Option<i32>,
    /// Go on where an earlier page ended
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
    /// Every page to the end
    #[arg(long)]
    all: bool,
}

/// Show a member: roles, and the keys that were issued in the member's name and did not end
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate members get --realm recurr --account acme --member ann"))]
pub struct GetArgs {
    #[command(flatten)]
    place: Place,
}

impl ListArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let manager = self.management.open().await?;
        let default_size = if self.all { LARGEST_PAGE } else { 0 };
        let request = ListMembersRequest {
            realm: manager.realm(),
            account_id: self.account,
            page_size: self.page_size.unwrap_or(default_size),
            page_token: String::new(),
        };
        pages::show(Members { manager, request }, self.page_token, self.all, output).await
    }
}

impl GetArgs {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let Place { management, account: account_id, member: member_id } = self.place;
        let mut manager = management.open().await?;
        let realm = manager.realm();
        show::one(output, &manager.get_member(GetMemberRequest { realm, account_id, member_id }).await?)?;
        Ok(Exit::Success)
    }
}

struct Members {
    manager: Manager,
    /// What every page is asked for with, but for its token.
    request: ListMembersRequest,
}

impl Listing for Members {
    type Item = Member;
    const NAME: &'static str = "members";

    async fn page(&mut self, token: &str) -> Result<Page<Member>, Failure> {
        let request = ListMembersRequest { page_token: token.to_owned(), ..self.request.clone() };
        let ListMembersResponse { members: items, next_page_token } = self.manager.list_members(request).await?;
        Ok(Page { items, next_page_token })
    }

    fn json(member: &Member) -> Value {
        json::member(member)
    }

    fn table(output: &mut Output, members: &[Member]) -> Result<(), Failure> {
        show::table(output, members)
    }
}
