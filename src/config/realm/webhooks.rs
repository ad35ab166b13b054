//! A realm's webhooks.

use super::{once, plain_name};
use crate::{
    config::{
        address, caps,
        reader::{Table, Value},
        text::{allowed_words, quoted},
    },
    domain::webhook::{EventKind, SecretSource, Webhook},
};
use std::{path::Path, time::Duration};

const KEYS: &[&str] = &[
    "name",
    "url",
    "secret_file",
    "secret_env",
    "events",
    "timeout",
    "retry_for",
    "expiring_within",
    "resting_within",
    "idle_after",
];
const DAY: Duration = Duration::from_secs(86_400);
const YEAR: Duration = Duration::from_secs(366 * 86_400);

pub fn webhooks(root: &Table<'_>, base: &Path) -> Vec<Webhook> {
    let mut names = Vec::new();
    root.tables("webhooks", caps::WEBHOOKS, KEYS).iter().filter_map(|table| webhook(table, base, &mut names)).collect()
}

fn webhook(table: &Table<'_>, base: &Path, names: &mut Vec<String>) -> Option<Webhook> {
    let name = table.need("name", "what the subscriber is called").and_then(|value| {
        let name = plain_name(&value)?;
        once(names, name.to_owned(), &value).then(|| name.to_owned())
    });
    let url = table.need("url", "where messages go").and_then(|value| address::service(&value));
    let secret = secret(table, base);
    let events = events(table);
    let span = |key: &str, usual: Duration, least: Duration, most: Duration| {
        table.get(key).map_or(Some(usual), |value| value.duration(least..=most))
    };
    let second = Duration::from_secs(1);
    let timeout = span("timeout", second.saturating_mul(10), Duration::from_millis(100), second.saturating_mul(60));
    let retry_for = span("retry_for", DAY, Duration::ZERO, DAY.saturating_mul(30));
    let expiring_within = span("expiring_within", DAY.saturating_mul(7), second, YEAR);
    let resting_within = span("resting_within", DAY.saturating_mul(7), second, YEAR);
    let idle_after = span("idle_after", DAY.saturating_mul(30), Duration::from_secs(3_600), YEAR);
    Some(Webhook {
        name: name?,
        url: url?.to_string(),
        secret: secret?,
        events: events?,
        timeout: timeout?,
        retry_for: retry_for?,
        longest_wait: Webhook::LONGEST_WAIT,
        expiring_within: expiring_within?,
        resting_within: resting_within?,
        idle_after: idle_after?,
    })
}

fn secret(table: &Table<'_>, base: &Path) -> Option<SecretSource> {
    match (table.get("secret_file"), table.get("secret_env")) {
        (Some(file), None) => file.line(4_096).map(|path| SecretSource::File(base.join(path))),
        (None, Some(variable)) => variable.parsed(|text| {
            let legal = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            let fits = (1..=caps::NAME_BYTES).contains(&text.len()) && text.bytes().all(legal);
            fits.then(|| SecretSource::Variable(text.to_owned())).ok_or("must be the name of a variable")
        }),
        (Some(_), Some(second)) => {
            second.wrong("stands beside `secret_file`", "must be one of the two");
            None
        }
        (None, None) => {
            table.missing(
                "secret_file",
                "must be a file with the secret, `whsec_…`; or `secret_env` a variable".to_owned(),
            );
            None
        }
    }
}

/// Without a list: everything.
fn events(table: &Table<'_>) -> Option<Vec<EventKind>> {
    let Some(list) = table.get("events") else { return Some(EventKind::all().collect()) };
    let mut events = Vec::new();
    for value in list.list(caps::EVENTS)? {
        events.push(event(&value)?);
    }
    Some(events)
}

fn event(value: &Value<'_>) -> Option<EventKind> {
    let text = value.text()?;
    let found = EventKind::from_name(text);
    if found.is_none() {
        let names: Vec<String> = EventKind::all().map(EventKind::name).collect();
        let allowed = allowed_words(text, names.iter().map(String::as_str));
        value.wrong(format!("{} is not known", quoted(text)), allowed);
    }
    found
}

#[cfg(test)]
mod tests {
    /// The mistakes of a realm with one webhook, from its line on.
    fn mistakes(hook: &str) -> Vec<String> {
        let text = format!(
            "realm = \"shop\"\ncredentials = [{{ header = \"x-api-key\" }}]\n[[environments]]\nname = \"live\"\n\
             prefix = \"sh_live_\"\n[[webhooks]]\n{hook}"
        );
        super::super::read("f", &text, std::path::Path::new("")).mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn messages_go_only_where_nobody_listens() {
        let hook = |url: &str| mistakes(&format!("name = \"a\"\nsecret_env = \"A\"\nurl = \"{url}\""));
        for url in ["https://a.example/x?y", "http://127.0.0.1:80/", "http://[::1]:1/x", "http://localhost:1"] {
            assert_eq!(hook(url), Vec::<String>::new(), "{url}");
        }
        for url in [
            "http://a.example/",
            "https://user:pass@a.example/",
            "https://a.example/#x",
            "a.example",
            "ftp://127.0.0.1/",
            "",
        ] {
            let found = hook(url);
            assert!(found.len() == 1 && found[0].contains("webhooks[0].url"), "{url}: {found:?}");
        }
    }

    #[test]
    fn a_secret_stands_in_one_place_and_events_are_known() {
        let found = mistakes("name = \"a\"\nurl = \"https://a.example\"");
        assert!(found.len() == 1 && found[0].contains("secret_file"), "{found:?}");
        let both = "name = \"a\"\nurl = \"https://a.example\"\nsecret_file = \"x\"\nsecret_env = \"X\"";
        assert!(mistakes(both)[0].contains("must be one of the two"));
        let odd =
            "name = \"a\"\nurl = \"https://a.example\"\nsecret_env = \"X\"\nevents = [\"key.maed\", \"key.created\"]";
        let found = mistakes(odd);
        assert!(found.len() == 1 && found[0].contains("`key.maed` is not known"), "{found:?}");
    }
}
