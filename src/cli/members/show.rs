//! How members are shown.

use crate::{
    cli::{failure::Failure, json, output::Output, values},
    proto::v1::Member,
};

/// Shows one member.
pub fn one(output: &mut Output, member: &Member) -> Result<(), Failure> {
    if output.is_json() {
        return output.json(&json::member(member));
    }
    let mut fields = vec![
        ("id", member.id.clone()),
        ("realm", member.realm.clone()),
        ("account", member.account_id.clone()),
        ("roles", member.roles.join(", ")),
        ("added", member.added_at.as_ref().map(values::instant).unwrap_or_default()),
        ("account version", member.account_version.to_string()),
    ];
    fields.extend(member.key_ids.iter().map(|key| ("key", key.clone())));
    output.fields(&fields)
}

/// Shows several members as a table.
pub fn table(output: &mut Output, members: &[Member]) -> Result<(), Failure> {
    let row = |member: &Member| {
        vec![
            member.id.clone(),
            member.roles.join(","),
            member.key_ids.len().to_string(),
            member.added_at.as_ref().map_or_else(|| "-".to_owned(), values::instant),
        ]
    };
    output.table(&["ID", "ROLES", "KEYS", "ADDED"], members.iter().map(row))
}
