//! What members of a realm's accounts may be, and which of them issue keys.

use super::{must_be, once};
use crate::{
    config::{
        caps,
        reader::{Table, Value},
    },
    domain::{id::MemberRole, member::MemberRules},
};

const KEYS: &[&str] = &["roles", "issuers", "required"];

/// Outer `None`: a mistake was noted. Inner `None`: the realm knows no members.
pub fn members(root: &Table<'_>) -> Option<Option<MemberRules>> {
    let Some(value) = root.get("members") else { return Some(None) };
    let table = value.table(KEYS)?;
    let mut names = Vec::new();
    let written = table.need("roles", "a list of role names, such as [\"viewer\", \"developer\"]");
    let roles = written.and_then(|value| {
        let items = value.list(caps::MEMBER_ROLES)?;
        if items.is_empty() {
            value.wrong("holds none", "must hold at least one");
        }
        // Each is looked at, also behind one that is wrong.
        let found: Vec<Option<MemberRole>> = items.iter().map(|item| role(item, &mut names)).collect();
        found.into_iter().collect::<Option<Vec<_>>>()
    });
    let issuers = table.need("issuers", "a list of those of the roles that may issue keys").and_then(|value| {
        let mut named = Vec::new();
        let items = value.list(caps::MEMBER_ROLES)?;
        let found: Vec<Option<MemberRole>> = items.iter().map(|item| issuer(item, &names, &mut named)).collect();
        found.into_iter().collect::<Option<Vec<_>>>()
    });
    let required = table.get("required").map_or(Some(false), |value| value.truth());
    Some(Some(MemberRules { roles: roles?, issuers: issuers?, required: required? }))
}

fn role(value: &Value<'_>, names: &mut Vec<String>) -> Option<MemberRole> {
    let role = value.parsed(|text| MemberRole::new(text).map_err(must_be))?;
    once(names, role.to_string(), value).then_some(role)
}

fn issuer(value: &Value<'_>, roles: &[String], named: &mut Vec<String>) -> Option<MemberRole> {
    let text = value.text()?;
    if !roles.iter().any(|role| role == text) {
        value.dangling(text, "role", roles.iter().map(String::as_str));
        return None;
    }
    once(named, text.to_owned(), value).then(|| MemberRole::new(text).ok()).flatten()
}
