//! How accounts are shown.

use crate::{
    cli::{failure::Failure, json, names, output, output::Output, values},
    proto::v1::{Account, SetAccountStatusResponse},
};

/// Shows one account.
pub fn one(output: &mut Output, account: &Account) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json::account(account));
    }
    output.fields(&[
        ("id", account.id.clone()),
        ("realm", account.realm.clone()),
        ("status", names::account_status(account.status)),
        ("below", account.above_account_ids.join(", ")),
        ("member of", account.organization_ids.join(", ")),
        ("created", account.created_at.as_ref().map(values::instant).unwrap_or_default()),
        ("version", account.version.to_string()),
    ])
}

/// Shows an account that was moved to another status, or what would come of that; `ends` when its keys end with it.
pub fn status_set(
    output: &mut Output,
    set: &SetAccountStatusResponse,
    ends: bool,
    preview: bool,
) -> Result<(), Failure> {
    let account = set.account.as_ref().ok_or_else(Failure::odd_answer)?;
    if ends {
        let (keys, ended) =
            (output::count(set.ended_key_ids.len(), "key"), if preview { "would end" } else { "ended" });
        let and_more = if set.more { " and more" } else { "" };
        output::note(&format!("{keys}{and_more} {ended}"));
    } else if preview {
        output::note("no key would end");
    }
    if set.removed_credentials > 0 {
        let credentials = output::count(set.removed_credentials, "credential");
        output::note(&format!("{credentials} of providers {}", if preview { "would be removed" } else { "removed" }));
    }
    output::remembered(set.remembered_for.as_ref());
    output.ended_keys(&set.ended_key_ids)?;
    if preview {
        output::note(&format!("nothing was changed: the account is at version {}", account.version));
        return Ok(());
    }
    one(output, account)
}
