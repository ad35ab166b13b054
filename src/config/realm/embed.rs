//! What a realm says of embed tokens.

use crate::{
    config::reader::Table,
    domain::{credential::CredentialSource, embed::EmbedRules},
};
use std::time::Duration;

const KEYS: &[&str] = &["lifetime", "longest"];
const LIFETIME: Duration = Duration::from_secs(900);
const LONGEST: Duration = Duration::from_secs(3_600);
const MOST: Duration = Duration::from_secs(86_400);

pub fn embed_tokens(root: &Table<'_>, credentials: &[CredentialSource]) -> Option<EmbedRules> {
    let table = root.table("embed_tokens", KEYS)?;
    let span = |key: &str, from, to| table.get(key).and_then(|value| value.duration(from..=to));
    let second = Duration::from_secs(1);
    let longest = span("longest", second, MOST).unwrap_or(LONGEST);
    let lifetime = span("lifetime", second, longest).unwrap_or(LIFETIME.min(longest));
    if !credentials.iter().any(|source| source.accepts.token)
        && let Some(value) = root.get("embed_tokens")
    {
        value.wrong(
            "are accepted nowhere",
            "must be left out, or `accepts` of a place for credentials must hold \"token\"",
        );
    }
    Some(EmbedRules { lifetime, longest })
}
