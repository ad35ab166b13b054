//! How accounts are shown.

use crate::{
    cli::{failure::Failure, json, names, output::Output, values},
    proto::v1::Account,
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
