//! How a realm answers: its error table in its own envelope, and the headers that tell limits.

use super::{once, plain_name, requests::legal_header};
use crate::{
    config::{
        caps,
        reader::{Table, Value},
        text::{allowed_words, grouped, quoted},
    },
    domain::{
        deny::Answer,
        envelope::{Envelope, ErrorRow, Template},
        realm::{RateHeaders, ResetForm},
    },
};
use http::HeaderValue;

/// Headers that keygate writes itself.
const OWN_HEADERS: [&str; 4] = ["content-type", "retry-after", "ratelimit", "ratelimit-policy"];

pub fn rate_headers(root: &Table<'_>) -> RateHeaders {
    let table = root.table("rate_headers", &["limit", "remaining", "reset", "reset_form", "ietf"]);
    let mut seen = Vec::new();
    // An empty name means that the header is not sent.
    let mut name = |key: &str, usual: &str| match table.as_ref().and_then(|table| table.get(key)) {
        None => Some(usual.to_owned()),
        Some(value) if value.text().is_none_or(str::is_empty) => None,
        Some(value) => {
            let name = value.parsed(legal_header)?;
            let fresh = not_own(name, &value) && once(&mut seen, name.to_ascii_lowercase(), &value);
            fresh.then(|| name.to_owned())
        }
    };
    let (limit, remaining) = (name("limit", "x-ratelimit-limit"), name("remaining", "x-ratelimit-remaining"));
    let reset = name("reset", "x-ratelimit-reset");
    let forms = [("epoch-seconds", ResetForm::EpochSeconds), ("delta-seconds", ResetForm::DeltaSeconds)];
    let form = table.as_ref().and_then(|table| table.get("reset_form")).and_then(|value| value.word(&forms));
    let ietf = table.as_ref().and_then(|table| table.get("ietf")).and_then(|value| value.truth());
    RateHeaders {
        limit,
        remaining,
        reset: reset.map(|name| (name, form.unwrap_or(ResetForm::EpochSeconds))),
        ietf: ietf.unwrap_or(true),
    }
}

pub fn envelope(root: &Table<'_>) -> Option<Envelope> {
    let table = root.table("envelope", &["content_type", "body"]);
    let content_type = table.as_ref().and_then(|table| table.get("content_type"));
    let body = table.as_ref().and_then(|table| table.get("body"));
    if let (Some(table), true) = (&table, content_type.is_some() != body.is_some()) {
        let absent = if body.is_some() { "content_type" } else { "body" };
        table.missing(absent, "`content_type` and `body` must be given together".to_owned());
    }
    let content = content_type.as_ref().map_or(Some(Template::DEFAULT_CONTENT_TYPE), media_type);
    let text = match &body {
        None => Some(Template::DEFAULT_BODY),
        Some(value) => value.parsed(|text| {
            let fits = (1..=caps::BODY_BYTES).contains(&text.len());
            fits.then_some(text).ok_or_else(|| format!("must be 1 to {} bytes", grouped(caps::BODY_BYTES as u64)))
        }),
    };
    let rows = errors(root);
    let (content, text) = (content?, text?);
    let template = Template::new(content, text);
    let template = template.map_err(|problem| body.as_ref().map(|value| value.wrong(problem, ""))).ok()?;
    let envelope = Envelope::new(template, rows);
    let broken = envelope.bodies().filter(|_| is_json(content)).find_map(|rendered| {
        let parsed = serde_json::from_str::<serde_json::Value>(&rendered.body);
        parsed.err().map(|error| (rendered.code.clone(), error))
    });
    if let (Some((code, error)), Some(value)) = (broken, &body) {
        let problem = format!("the body of error `{code}` is not JSON: {error}");
        value.wrong(
            problem,
            "must be JSON with `{code}`, `{type}` and `{message}` inside quotes and `{status}` outside",
        );
    }
    Some(envelope)
}

fn media_type<'t>(value: &Value<'t>) -> Option<&'t str> {
    value.parsed(|text| {
        let legal = HeaderValue::from_str(text).is_ok()
            && text.split_once('/').is_some_and(|(a, b)| !a.is_empty() && !b.is_empty());
        legal.then_some(text).ok_or("must be a media type such as `application/json`")
    })
}

fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.ends_with("+json")
}

fn errors(root: &Table<'_>) -> Vec<ErrorRow> {
    let tables = root.tables("errors", caps::ERRORS, &["code", "type", "status", "message", "headers", "for"]);
    let mut codes = Vec::new();
    let mut claimed: Vec<(Answer, usize)> = Vec::new();
    let rows = tables.iter().enumerate().filter_map(|(at, table)| {
        let code = table.need("code", "the error's code").and_then(|value| {
            let code = plain_name(&value)?;
            once(&mut codes, code.to_owned(), &value).then_some(code)
        });
        let kind = table.get("type").map(|value| value.line(caps::NAME_BYTES));
        let status = table.need("status", "the HTTP status").and_then(|value| value.number(400..=599));
        let message = table.need("message", "the message for the end client").and_then(|v| v.line(caps::MESSAGE_BYTES));
        let headers = table.get("headers").map_or_else(Vec::new, |value| headers(&value));
        let answers = answers(table, at, &mut claimed);
        let code = code?;
        let kind = kind.map_or(Some(code), |kind| kind)?;
        Some(ErrorRow {
            code: code.to_owned(),
            kind: kind.to_owned(),
            status: u16::try_from(status?).ok()?,
            message: message?.to_owned(),
            headers,
            answers,
        })
    });
    rows.collect()
}

fn answers(table: &Table<'_>, row: usize, claimed: &mut Vec<(Answer, usize)>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for value in table.list("for", usize::MAX).unwrap_or_default() {
        let Some(text) = value.text() else { continue };
        let Some(answer) = Answer::from_name(text) else {
            let allowed = allowed_words(text, Answer::ALL.iter().map(|answer| answer.name()));
            value.wrong(format!("{} is not known", quoted(text)), allowed);
            continue;
        };
        match claimed.iter().find(|(other, _)| *other == answer) {
            None => {
                claimed.push((answer, row));
                answers.push(answer);
            }
            Some((_, first)) => {
                let problem = format!("{} is answered by `errors[{first}]` already", quoted(text));
                value.wrong(problem, "each must be answered by one row");
            }
        }
    }
    answers
}

fn headers(value: &Value<'_>) -> Vec<(String, String)> {
    let Some(table) = value.any_table() else { return Vec::new() };
    let entries = table.entries();
    if entries.len() > caps::ERROR_HEADERS {
        value.wrong(format!("holds {}", entries.len()), format!("must hold at most {}", caps::ERROR_HEADERS));
    }
    let mut seen = Vec::new();
    let headers = entries.into_iter().filter_map(|(name, value)| {
        let text = value.parsed(|text| {
            let legal = HeaderValue::from_str(text).is_ok() && text.len() <= caps::MESSAGE_BYTES;
            legal.then_some(text).ok_or_else(|| {
                format!("must be at most {} bytes of printable ASCII", grouped(caps::MESSAGE_BYTES as u64))
            })
        });
        let legal = legal_header(name).map_err(|allowed| value.wrong("is not a legal header", allowed)).ok()?;
        let fresh = not_own(legal, &value) && once(&mut seen, legal.to_ascii_lowercase(), &value);
        fresh.then_some((legal.to_owned(), text?.to_owned()))
    });
    headers.collect()
}

/// Notes when a header is one that keygate writes itself.
fn not_own(name: &str, value: &Value<'_>) -> bool {
    let own = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
    if own {
        value.wrong(format!("{} is a header that keygate writes itself", quoted(name)), "must be another header");
    }
    !own
}
