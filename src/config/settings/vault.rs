//! What a server seals providers' credentials with, and where it releases them.

use super::set;
use crate::{
    config::{
        address, caps,
        reader::{Table, Value},
        settings::{KekSettings, KekSource, ListenerName, Settings, TransitSettings},
        text::quoted,
    },
    domain::id::KekName,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const VAULT_KEYS: &[&str] = &["release_on", "remember", "key_encryption_keys"];
const KEK_KEYS: &[&str] = &["name", "primary", "file", "env", "transit"];
const TRANSIT_KEYS: &[&str] = &["url", "mount", "key", "token_file", "ca_file", "timeout"];
const SOURCES: [&str; 3] = ["file", "env", "transit"];

pub fn vault(root: &Table<'_>, base: &Path, settings: &mut Settings) {
    let Some(table) = root.table("vault", VAULT_KEYS) else { return };
    let vault = &mut settings.vault;
    let listeners = ListenerName::ALL.map(|listener| (listener.name(), listener));
    if let Some(items) = table.list("release_on", listeners.len()) {
        vault.release_on = items.iter().filter_map(|item| item.word(&listeners)).collect();
    }
    let lasting = Duration::from_millis(100)..=Duration::from_secs(30);
    set(&mut vault.remember, table.get("remember").and_then(|value| value.duration(lasting)));
    let tables = table.tables("key_encryption_keys", caps::KEKS, KEK_KEYS);
    let mut primaries = 0_usize;
    for table in &tables {
        let primary = table.get("primary").and_then(|value| value.truth()).unwrap_or(false);
        primaries = primaries.saturating_add(usize::from(primary));
        let name = table.need("name", KekName::ALLOWED).and_then(|value| {
            let name = value.parsed(|text| KekName::new(text).map_err(|error| format!("must be {error}")))?;
            if vault.keks.iter().any(|kek| kek.name == name) {
                value.wrong(format!("{} is used twice", quoted(name.as_str())), "each must be there once");
                return None;
            }
            Some(name)
        });
        if let (Some(name), Some(source)) = (name, source(table, base)) {
            vault.keks.push(KekSettings { name, primary, source });
        }
    }
    if let (Some(value), true) = (table.get("key_encryption_keys"), primaries != 1) {
        let problem = format!("{primaries} of them say `primary = true`");
        value.wrong(problem, "exactly one must: new credentials are sealed with it, the others only open");
    }
}

fn source(table: &Table<'_>, base: &Path) -> Option<KekSource> {
    let given: Vec<(&str, Value<'_>)> = SOURCES.into_iter().filter_map(|key| Some((key, table.get(key)?))).collect();
    let [(key, value)] = given.as_slice() else {
        match given.as_slice() {
            [] => table.missing("file", "must be given, or `env` or `transit` in its place".to_owned()),
            [_, (_, second), ..] => {
                second.wrong("is one source too many", "must be one of `file`, `env` and `transit`")
            }
            [_] => {}
        }
        return None;
    };
    match *key {
        "file" => path(value, base).map(KekSource::File),
        "env" => value.parsed(variable).map(KekSource::Variable),
        _ => transit(&value.table(TRANSIT_KEYS)?, base).map(KekSource::Transit),
    }
}

fn transit(table: &Table<'_>, base: &Path) -> Option<TransitSettings> {
    let url = table.need("url", "the address of the key service, such as \"https://vault.internal:8200\"");
    let url = url.and_then(|value| {
        let url = address::service(&value)?;
        let bare = matches!(url.path(), "" | "/") && url.query().is_none();
        if !bare {
            value.wrong("has a path or a query", "must be left without: where the engine is mounted says `mount`");
        }
        bare.then_some(url)
    });
    let mount = table.get("mount").map_or_else(|| Some("transit".to_owned()), |value| value.parsed(segments));
    let key = table.need("key", "the key's name in the service").and_then(|value| value.parsed(segment));
    let token = table.need("token_file", "the file with the service's token").and_then(|value| path(&value, base));
    let ca_file = match table.get("ca_file") {
        None => None,
        Some(value) => Some(path(&value, base)?),
    };
    let lasting = Duration::from_millis(10)..=Duration::from_secs(30);
    let timeout = table.get("timeout").map_or(Some(Duration::from_secs(2)), |value| value.duration(lasting));
    Some(TransitSettings { url: url?, mount: mount?, key: key?, token_file: token?, ca_file, timeout: timeout? })
}

fn path(value: &Value<'_>, base: &Path) -> Option<PathBuf> {
    value.line(4_096).map(|path| base.join(path))
}

fn variable(text: &str) -> Result<String, &'static str> {
    let mut bytes = text.bytes();
    let legal = text.len() <= 128
        && bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    legal.then(|| text.to_owned()).ok_or("must be the name of an environment variable: 1 to 128 of `A-Z a-z 0-9 _`")
}

fn segment(text: &str) -> Result<String, &'static str> {
    let legal = (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.bytes().all(|b| b == b'.');
    legal.then(|| text.to_owned()).ok_or("must be 1 to 128 of `A-Z a-z 0-9 . _ -`")
}

fn segments(text: &str) -> Result<String, &'static str> {
    let legal = text.split('/').all(|part| segment(part).is_ok());
    legal.then(|| text.to_owned()).ok_or("must be 1 to 128 of `A-Z a-z 0-9 . _ -`, or several of them joined by `/`")
}
