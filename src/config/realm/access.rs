//! Which accounts a realm's keys reach beside their own.

use super::must_be;
use crate::{
    config::reader::Table,
    domain::{access::AccessRules, id::AccountId},
};

const KEYS: &[&str] = &["sub_accounts", "shared_organizations", "admin_organization"];

pub fn access(root: &Table<'_>) -> AccessRules {
    let Some(table) = root.table("access", KEYS) else { return AccessRules::default() };
    let truth = |key: &str| table.get(key).and_then(|value| value.truth()).unwrap_or(false);
    AccessRules {
        sub_accounts: truth("sub_accounts"),
        shared_organizations: truth("shared_organizations"),
        admin_organization: table
            .get("admin_organization")
            .and_then(|value| value.parsed(|text| AccountId::new(text).map_err(must_be))),
    }
}
