//! What a proxy passes on to the service behind it.

use super::{once, requests::legal_header};
use crate::{
    config::{reader::Table, text::quoted},
    domain::{
        credential::CredentialSource,
        realm::{Identity, Operations, Upstream},
    },
};

const KEYS: &[&str] = &["account", "target_account", "key_id", "environment", "scopes", "operation", "credential"];

pub fn upstream(root: &Table<'_>, credentials: &[CredentialSource], operations: &Operations) -> Upstream {
    let table = root.table("upstream", KEYS);
    let get = |key: &str| table.as_ref().and_then(|table| table.get(key));
    let dashed = |name: &str| name.to_ascii_lowercase().replace('_', "-");
    let credential = credentials.iter().map(|source| dashed(&source.header));
    let taken: Vec<String> = credential.chain(operations.headers().map(dashed)).collect();
    let mut seen = Vec::new();
    let mut names = Identity::ALL.map(|identity| {
        // An empty name means that the header is not sent.
        let value = get(identity.name()).filter(|value| value.text().is_some_and(|name| !name.is_empty()))?;
        let name = value.parsed(legal_header)?.to_ascii_lowercase();
        if taken.contains(&dashed(&name)) {
            value.wrong(format!("{} is read from requests", quoted(&name)), "must be another header");
            return None;
        }
        once(&mut seen, dashed(&name), &value).then_some(name)
    });
    for (identity, name) in
        Identity::ALL.into_iter().zip(&mut names).filter(|(identity, _)| get(identity.name()).is_none())
    {
        let usual = identity.default_header();
        if seen.iter().chain(&taken).any(|other| other == usual) {
            root.missing(&format!("upstream.{}", identity.name()), format!("must be given: `{usual}` is used already"));
        }
        *name = Some(usual.to_owned());
    }
    let words = [("remove", false), ("keep", true)];
    let keeps = get("credential").and_then(|value| value.word(&words)).unwrap_or(false);
    Upstream::new(names, keeps)
}
