//! How decisions are shown for people: denials, limits, headers.

use super::{exit::Exit, failure::Failure, json, names, output, output::Output, values};
use crate::proto::v1::{Denied, Header, LimitState, TokenIdentity};

/// Shows why not, and what the end client is told. `id`: what the request was called.
pub fn denied(output: &mut Output, denied: &Denied, id: Option<&str>) -> Result<(), Failure> {
    output.line(&format!("denied: {}", names::deny_reason(denied.reason)))?;
    let mut fields = vec![
        ("key", denied.key_id.clone()),
        ("account", denied.account_id.clone()),
        ("limit", denied.limit.clone()),
        ("retry after", denied.retry_after.as_ref().map(values::span_for_people).unwrap_or_default()),
        ("status", denied.http_status.to_string()),
        ("request id", id.unwrap_or_default().to_owned()),
    ];
    fields.extend(token(denied.token.as_ref()));
    fields.extend(headers(&denied.headers));
    fields.push(("body", denied.body.clone()));
    output.fields(&fields)
}

/// What an access token says, as fields.
pub fn token(token: Option<&TokenIdentity>) -> Vec<(&'static str, String)> {
    let Some(token) = token else { return Vec::new() };
    let expires = token.expires_at.as_ref().map(values::instant).unwrap_or_default();
    let (issuer, subject) = (token.issuer.clone(), token.subject.clone());
    vec![("issuer", issuer), ("subject", subject), ("expires", expires), ("roles", token.roles.join(", "))]
}

/// The answer of a command that was denied.
pub fn refused(output: &mut Output, denial: &Denied) -> Result<Exit, Failure> {
    if output.is_json() {
        output.json(&json::refused(denial))?;
    } else {
        denied(output, denial, None)?;
    }
    Ok(Exit::Denied)
}

/// Headers as fields.
pub fn headers(headers: &[Header]) -> impl Iterator<Item = (&'static str, String)> {
    headers.iter().map(|header| ("header", format!("{}: {}", header.name, header.value)))
}

/// Says when the store was not asked.
pub fn degraded(degraded: bool) {
    if degraded {
        output::note("degraded: the store could not be asked, and the configuration decided");
    }
}

/// Shows the state of limits as a table, after an empty line; nothing when there are none.
pub fn limits(output: &mut Output, limits: &[LimitState]) -> Result<(), Failure> {
    if limits.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let span = |span: &Option<_>| span.as_ref().map_or_else(|| "-".to_owned(), values::span_for_people);
    let rows = limits.iter().map(|limit| {
        vec![
            limit.name.clone(),
            limit.limit.to_string(),
            span(&limit.window),
            limit.remaining.to_string(),
            span(&limit.reset_after),
            span(&limit.retry_after),
            remarks(limit),
        ]
    });
    output.table(&["LIMIT", "SIZE", "WINDOW", "REMAINING", "RESET AFTER", "RETRY AFTER", "REMARKS"], rows)
}

fn remarks(limit: &LimitState) -> String {
    let remarks = [(limit.exceeded, "exceeded"), (limit.shadow, "shadow"), (limit.degraded, "degraded")];
    let told: Vec<_> = remarks.iter().filter(|(holds, _)| *holds).map(|(_, word)| *word).collect();
    if told.is_empty() { "-".to_owned() } else { told.join(",") }
}
