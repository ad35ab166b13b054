//! `keygate vault rewrap`.

use crate::{
    cli::{
        client::Management,
        exit::{Exit, help},
        failure::Failure,
        output,
        output::Output,
    },
    proto::v1::RewrapCredentialsRequest,
};
use serde_json::json;
use std::collections::BTreeMap;

/// Move every credential of the realm to the primary key-encryption key
///
/// Data keys are wrapped anew; the credentials themselves are not opened. Goes through the accounts page by page and may be
/// broken off: `--page-token` goes on, and starting over does no harm. Ends with exit code 6 when credentials hang on a
/// key-encryption key that the server does not have, and names it: give that key back to the server's settings first.
#[derive(Debug, clap::Args)]
#[command(after_long_help = help!("  keygate vault rewrap --realm recovea"))]
pub struct Args {
    #[command(flatten)]
    management: Management,
    /// Also what hangs on the primary key already: for a key service that made a new version of that key
    #[arg(long)]
    all: bool,
    /// Go on where an earlier run was broken off
    #[arg(long, value_name = "TOKEN", default_value = "", hide_default_value = true)]
    page_token: String,
}

impl Args {
    pub(super) async fn run(self, output: &mut Output) -> Result<Exit, Failure> {
        let mut manager = self.management.open().await?;
        let (mut accounts, mut rewrapped, mut kept, mut lost) = (0_u64, 0_u64, 0_u64, BTreeMap::<String, u64>::new());
        let mut page_token = self.page_token;
        let primary = loop {
            let (realm, token) = (manager.realm(), page_token.clone());
            let request = RewrapCredentialsRequest { realm, page_size: 0, page_token: token, all: self.all };
            let done = manager.rewrap_credentials(request).await.map_err(|failure| {
                failure.after(&format!(
                    "{} done; `--page-token '{page_token}'` goes on",
                    output::count(accounts, "account")
                ))
            })?;
            accounts = accounts.saturating_add(done.accounts);
            rewrapped = rewrapped.saturating_add(done.rewrapped);
            kept = kept.saturating_add(done.kept);
            for found in done.lost {
                let sum = lost.entry(found.key_encryption_key).or_default();
                *sum = sum.saturating_add(found.credentials);
            }
            if output::is_watched() {
                output::progress(&format!(
                    "{}, {} moved",
                    output::count(accounts, "account"),
                    output::count(rewrapped, "credential")
                ));
            }
            // A server that gives the same token again would be asked for ever.
            if done.next_page_token.is_empty() {
                break done.key_encryption_key;
            } else if done.next_page_token == page_token {
                return Err(Failure::odd_answer());
            }
            page_token = done.next_page_token;
        };
        if output.is_json() {
            let list =
                lost.iter().map(|(key, credentials)| json!({ "key_encryption_key": key, "credentials": credentials }));
            let lost: Vec<_> = list.collect();
            output.json(&json!({
                "key_encryption_key": primary,
                "accounts": accounts,
                "rewrapped": rewrapped,
                "kept": kept,
                "lost": lost,
            }))?;
        } else {
            output.fields(&[
                ("key", primary),
                ("accounts", accounts.to_string()),
                ("moved to it", rewrapped.to_string()),
                ("there before", kept.to_string()),
            ])?;
            for (key, credentials) in &lost {
                output::note(&format!(
                    "{} hang{} on `{key}`, which the server does not have",
                    output::count(*credentials, "credential"),
                    if *credentials == 1 { "s" } else { "" },
                ));
            }
        }
        Ok(if lost.is_empty() { Exit::Success } else { Exit::Conflict })
    }
}
