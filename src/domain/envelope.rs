//! Errors in a realm's own words: status, headers and body, rendered when the realm is loaded.

use super::deny::{Answer, DenyReason};
use std::fmt::Write;

/// One row of a realm's error table, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorRow {
    /// The error's code.
    pub code: String,
    /// A coarser class that some envelopes carry; may be empty.
    pub kind: String,
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The message for the end client.
    pub message: String,
    /// Headers beside the content type.
    pub headers: Vec<(String, String)>,
    /// What keygate itself answers with this row.
    pub answers: Vec<Answer>,
}

/// A rendered error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedError {
    /// The error's code.
    pub code: String,
    /// The HTTP status.
    pub status: u16,
    /// All headers, the content type first.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// A realm's errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    template: Template,
    rows: Vec<(ErrorRow, RenderedError)>,
    /// For each of [`Answer::ALL`], the index of its row.
    answers: [usize; Answer::ALL.len()],
}

/// The body of an error: JSON in which `{code}`, `{type}`, `{message}` and `{status}` stand for the row's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    content_type: String,
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Code,
    Kind,
    Message,
    Status,
}

/// Why a body template is not legal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{{{0}}}` stands for nothing: allowed are `{{code}}`, `{{type}}`, `{{message}}` and `{{status}}`")]
pub struct TemplateError(pub String);

impl Template {
    /// The body of RFC 9457 problem details, for realms that say nothing of their own.
    pub const DEFAULT_BODY: &'static str =
        r#"{"type":"about:blank","title":"{message}","status":{status},"code":"{code}"}"#;
    /// Its content type.
    pub const DEFAULT_CONTENT_TYPE: &'static str = "application/problem+json";

    /// The body of a realm that says nothing of its own.
    #[must_use]
    pub fn problem_details() -> Self {
        // The default holds no unknown placeholder; a test makes sure.
        Self::new(Self::DEFAULT_CONTENT_TYPE, Self::DEFAULT_BODY)
            .unwrap_or_else(|_| Self { content_type: Self::DEFAULT_CONTENT_TYPE.to_owned(), pieces: Vec::new() })
    }

    /// Reads a template. A pair of braces around a bare word is a placeholder; JSON itself never has that.
    ///
    /// # Errors
    /// When a placeholder stands for nothing.
    pub fn new(content_type: &str, body: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        let mut rest = body;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let word = after
                .split_once('}')
                .filter(|(word, _)| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_'));
            let Some((word, after_word)) = word else {
                text.push('{');
                rest = after;
                continue;
            };
            let piece = match word {
                "code" => Piece::Code,
                "type" => Piece::Kind,
                "message" => Piece::Message,
                "status" => Piece::Status,
                other => return Err(TemplateError(other.to_owned())),
            };
            pieces.push(Piece::Text(std::mem::take(&mut text)));
            pieces.push(piece);
            rest = after_word;
        }
        text.push_str(rest);
        pieces.push(Piece::Text(text));
        Ok(Self { content_type: content_type.to_owned(), pieces })
    }

    /// Fills in a row, with `message` in place of its own.
    #[must_use]
    pub fn render(&self, row: &ErrorRow, message: &str) -> RenderedError {
        let mut body = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => body.push_str(text),
                Piece::Code => escape(&row.code, &mut body),
                Piece::Kind => escape(&row.kind, &mut body),
                Piece::Message => escape(message, &mut body),
                Piece::Status => body.push_str(&row.status.to_string()),
            }
        }
        let content_type = std::iter::once(("content-type".to_owned(), self.content_type.clone()));
        RenderedError {
            code: row.code.clone(),
            status: row.status,
            headers: content_type.chain(row.headers.iter().cloned()).collect(),
            body,
        }
    }
}

impl Envelope {
    /// A realm's errors. An answer that no row claims gets a default row; unless a row says otherwise, an ambiguous credential and
    /// an expired embed token are answered like an invalid one, and a forbidden address or a missing credential of a provider like
    /// an account that is not reached.
    #[must_use]
    pub fn new(template: Template, mut table: Vec<ErrorRow>) -> Self {
        let mut answers = [0; Answer::ALL.len()];
        for (slot, answer) in answers.iter_mut().zip(Answer::ALL) {
            let claims = |answer: Answer| table.iter().position(|row| row.answers.contains(&answer));
            let claimed = claims(answer).or_else(|| match answer {
                Answer::AmbiguousCredential | Answer::ExpiredEmbedToken => claims(Answer::InvalidCredential),
                Answer::ForbiddenAddress | Answer::NoProviderCredential => claims(Answer::ForbiddenAccount),
                _ => None,
            });
            *slot = claimed.unwrap_or_else(|| {
                let (status, code, message) = answer.default_error();
                let (code, message) = (code.to_owned(), message.to_owned());
                let answers = vec![answer];
                table.push(ErrorRow { kind: code.clone(), code, status, message, headers: Vec::new(), answers });
                table.len().saturating_sub(1)
            });
        }
        let rows = table.into_iter().map(|row| {
            let rendered = template.render(&row, &row.message);
            (row, rendered)
        });
        Self { rows: rows.collect(), template, answers }
    }

    /// What the end client is told for that reason.
    #[must_use]
    pub fn answer(&self, reason: DenyReason) -> Option<&RenderedError> {
        let position = Answer::ALL.iter().position(|answer| *answer == reason.answer())?;
        let row = self.answers.get(position)?;
        self.rows.get(*row).map(|(_, rendered)| rendered)
    }

    /// Renders an error of the table by its code, with `message` in place of its own unless that is empty.
    #[must_use]
    pub fn render(&self, code: &str, message: &str) -> Option<RenderedError> {
        let (row, rendered) = self.rows.iter().find(|(row, _)| row.code == code)?;
        Some(if message.is_empty() { rendered.clone() } else { self.template.render(row, message) })
    }

    /// The codes of the table.
    pub fn codes(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|(row, _)| row.code.as_str())
    }

    /// Every body, rendered: for checking that it is what its content type promises.
    pub fn bodies(&self) -> impl Iterator<Item = &RenderedError> {
        self.rows.iter().map(|(_, rendered)| rendered)
    }
}

/// Writes `text` as the inside of a JSON string (RFC 8259, section 7).
fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fills_in_escaped_values() {
        let template =
            Template::new("application/json", r#"{"e":{"c":"{code}","m":"{message}","s":{status}}}"#).unwrap();
        let row = ErrorRow {
            code: "a".to_owned(),
            kind: String::new(),
            status: 401,
            message: String::new(),
            headers: Vec::new(),
            answers: Vec::new(),
        };
        let rendered = template.render(&row, "say \"no\"\n\u{1}");
        assert_eq!(rendered.body, r#"{"e":{"c":"a","m":"say \"no\"\n\u0001","s":401}}"#);
        assert_eq!(Template::new("x", "{nonsense}"), Err(TemplateError("nonsense".to_owned())));
    }

    #[test]
    fn every_reason_has_an_answer_and_all_flaws_of_a_credential_share_one() {
        let envelope = Envelope::new(Template::new("application/json", Template::DEFAULT_BODY).unwrap(), Vec::new());
        for reason in DenyReason::ALL {
            assert!(envelope.answer(reason).is_some(), "{reason:?}");
        }
        let same = [
            DenyReason::RevokedKey,
            DenyReason::ExpiredKey,
            DenyReason::MalformedKey,
            DenyReason::SuspendedKey,
            DenyReason::UnusedKey,
            DenyReason::EarlyKey,
        ];
        for reason in same {
            assert_eq!(envelope.answer(reason), envelope.answer(DenyReason::UnknownKey));
        }
    }
}
