//! One row of an import: a line of JSON with the fields of `ImportRow` in the proto. What is wrong with a row is said
//! without anything that stands in it, as a row holds a key.

use crate::{
    cli::values,
    proto::{
        google,
        v1::{ImportRow, import_row::Secret},
    },
};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest line that is read, in bytes. The API takes far less.
pub const MAX_LINE_BYTES: usize = 64 * 1024;

const FIELDS: &str =
    "`raw_key` or `hash`, `account_id`, `environment`, `name`, `scopes`, `metadata`, `expires_at`, `not_before`,
     `allowed_networks`, `hint` and `member_id`";

/// Reads a row.
///
/// # Errors
/// Says what is wrong and what is allowed.
pub fn parse(line: &[u8]) -> Result<ImportRow, String> {
    let value: Value =
        serde_json::from_slice(line).map_err(|error| format!("the line is not JSON: see column {}", error.column()))?;
    let Value::Object(mut fields) = value else {
        return Err("the line is not a JSON object".to_owned());
    };
    let secret = match (text(&mut fields, "raw_key")?, text(&mut fields, "hash")?) {
        (Some(key), None) => Secret::RawKey(key),
        (None, Some(hash)) => Secret::Hash(hash),
        _ => return Err("a row needs exactly one of `raw_key` and `hash`".to_owned()),
    };
    let row = ImportRow {
        secret: Some(secret),
        account_id: text(&mut fields, "account_id")?.unwrap_or_default(),
        environment: text(&mut fields, "environment")?.unwrap_or_default(),
        name: text(&mut fields, "name")?.unwrap_or_default(),
        scopes: texts(&mut fields, "scopes")?,
        metadata: metadata(fields.remove("metadata"))?,
        expires_at: moment(&mut fields, "expires_at")?,
        not_before: moment(&mut fields, "not_before")?,
        allowed_networks: texts(&mut fields, "allowed_networks")?,
        hint: text(&mut fields, "hint")?.unwrap_or_default(),
        member_id: text(&mut fields, "member_id")?.unwrap_or_default(),
    };
    // A misspelt field must not be lost: it may be the one that says when a key ends.
    if fields.is_empty() {
        Ok(row)
    } else {
        Err(format!("the row has a field that is not known: allowed are {FIELDS}"))
    }
}

fn text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("`{name}` must be a string")),
    }
}

fn moment(fields: &mut Map<String, Value>, name: &str) -> Result<Option<google::Timestamp>, String> {
    let instant = text(fields, name)?.map(|instant| values::parse_instant(&instant));
    instant.transpose().map_err(|allowed| format!("`{name}`: {allowed}"))
}

fn texts(fields: &mut Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{name}` must be a list of strings");
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => {
            let texts = items.into_iter().map(|item| match item {
                Value::String(text) => Ok(text),
                _ => Err(wrong()),
            });
            texts.collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn metadata(value: Option<Value>) -> Result<BTreeMap<String, String>, String> {
    const WRONG: &str = "`metadata` must be an object whose values are strings";
    match value {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => {
            let texts = entries.into_iter().map(|(name, value)| match value {
                Value::String(text) => Ok((name, text)),
                _ => Err(WRONG.to_owned()),
            });
            texts.collect()
        }
        Some(_) => Err(WRONG.to_owned()),
    }
}

/// At least as many bytes as the row takes on the wire.
#[must_use]
pub fn wire_bytes(row: &ImportRow) -> usize {
    /// Tag and length of a field, of an entry, and of what contains it.
    const FRAME: usize = 12;
    let secret = match &row.secret {
        Some(Secret::RawKey(text) | Secret::Hash(text)) => text.len(),
        None => 0,
    };
    let fixed = [
        secret,
        row.account_id.len(),
        row.environment.len(),
        row.name.len(),
        row.hint.len(),
        row.member_id.len(),
        3 * FRAME,
    ];
    let pairs = row.metadata.iter().map(|(name, value)| name.len().saturating_add(value.len()).saturating_add(FRAME));
    let lengths = fixed.into_iter().chain(row.scopes.iter().chain(&row.allowed_networks).map(String::len)).chain(pairs);
    lengths.fold(FRAME, |sum, length| sum.saturating_add(length).saturating_add(FRAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_carries_every_field_of_the_proto() {
        let line = br#"{"raw_key":"k","account_id":"acme","environment":"live","name":"n","scopes":["a","b"],
            "metadata":{"x":"y"},"expires_at":"2030-01-01T00:00:00Z","hint":"h","member_id":"ann",
            "not_before":"2029-01-01T00:00:00Z","allowed_networks":["192.0.2.0/24"]}"#;
        let row = parse(line).unwrap();
        assert_eq!(row.secret, Some(Secret::RawKey("k".to_owned())));
        assert_eq!((row.account_id.as_str(), row.environment.as_str(), row.name.as_str()), ("acme", "live", "n"));
        assert_eq!((row.scopes.join(" ").as_str(), row.metadata["x"].as_str(), row.hint.as_str()), ("a b", "y", "h"));
        assert_eq!(row.member_id, "ann");
        assert_eq!(row.expires_at.map(|at| at.seconds), Some(1_893_456_000));
        assert_eq!(row.not_before.map(|at| at.seconds), Some(1_861_920_000));
        assert_eq!(row.allowed_networks, ["192.0.2.0/24"]);
    }

    #[test]
    fn an_odd_row_is_refused_without_showing_it() {
        let rows = [
            "",
            "sesame",
            "[]",
            "\"sesame\"",
            "{}",
            r#"{"raw_key":"sesame","hash":"sesame"}"#,
            r#"{"raw_key":7}"#,
            r#"{"raw_key":"sesame","sesame":1}"#,
            r#"{"raw_key":"sesame","scopes":"sesame"}"#,
            r#"{"raw_key":"sesame","allowed_networks":["sesame",7]}"#,
            r#"{"raw_key":"sesame","metadata":{"sesame":1}}"#,
            r#"{"raw_key":"sesame","expires_at":"sesame"}"#,
            r#"{"raw_key":"sesame""#,
            "{\"raw_key\":\"sesame\u{0}\"}",
        ];
        for row in rows {
            let problem = parse(row.as_bytes()).unwrap_err();
            assert!(!problem.contains("sesame"), "{problem}");
        }
        assert!(parse(b"{\"raw_key\":\"\xff\"}").is_err());
    }
}
