//! Listings: one page of them, or every page to the end.

use super::{
    exit::Exit,
    failure::Failure,
    output::{self, Output},
};
use serde_json::Value;

/// The largest page that the API gives.
pub const LARGEST_PAGE: i32 = 1_000;

/// Something that a server lists page by page.
pub trait Listing {
    /// What is listed.
    type Item;
    /// What they are called, in JSON and in words.
    const NAME: &'static str;

    /// The page behind that token.
    async fn page(&mut self, token: &str) -> Result<Page<Self::Item>, Failure>;

    /// One of them.
    fn json(item: &Self::Item) -> Value;

    /// Some of them, at least one.
    fn table(output: &mut Output, items: &[Self::Item]) -> Result<(), Failure>;
}

/// One page.
pub struct Page<I> {
    /// What is on it.
    pub items: Vec<I>,
    /// Where the next page begins; empty: this is the last one.
    pub next_page_token: String,
}

/// Shows the page behind `token`, or with `all` every page from there on.
pub async fn show<L: Listing>(listing: L, token: String, all: bool, output: &mut Output) -> Result<Exit, Failure> {
    let mut pages = Pages { listing, next: Some(token), all };
    if output.is_json() { pages.as_json(output).await } else { pages.as_tables(output).await }
}

struct Pages<L> {
    listing: L,
    /// The token of the next page.
    next: Option<String>,
    all: bool,
}

impl<L: Listing> Pages<L> {
    /// The next page, until there is none or none is wanted.
    async fn next(&mut self) -> Result<Option<Page<L::Item>>, Failure> {
        let Some(token) = self.next.take() else { return Ok(None) };
        let page = self.listing.page(&token).await?;
        // A server that gives the same token again would be asked for ever.
        if self.all && !page.next_page_token.is_empty() {
            if page.next_page_token == token {
                return Err(Failure::odd_answer());
            }
            self.next = Some(page.next_page_token.clone());
        }
        Ok(Some(page))
    }

    async fn as_json(&mut self, output: &mut Output) -> Result<Exit, Failure> {
        // A first page that fails leaves standard output empty.
        let mut page = self.next().await?;
        let mut list = output.begin_list(L::NAME)?;
        let mut token = String::new();
        while let Some(Page { items, next_page_token }) = page {
            items.iter().try_for_each(|item| list.item(&L::json(item)))?;
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
        while let Some(Page { items, next_page_token }) = self.next().await? {
            if !items.is_empty() {
                L::table(output, &items)?;
            }
            shown = shown.saturating_add(items.len());
            token = next_page_token;
            if output.closed() {
                return Ok(Exit::Success);
            }
        }
        if !token.is_empty() {
            output::note(&format!("more follow: `--page-token {token}` shows the next page, `--all` everything"));
        } else if shown == 0 {
            output::note(&format!("no {}", L::NAME));
        }
        Ok(Exit::Success)
    }
}
