//! The query of a request, read for one parameter.

use std::borrow::Cow;

/// A query as it stands in the target, printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalQuery<'q>(&'q str);

/// Why a parameter of the query is refused: says what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Given twice, or in a spelling that some framework reads as the same name.
    #[error("must stand in the query once and in one spelling, parted by `&`")]
    Ambiguous,
    /// An escape is broken, or hides a control character or bytes that are not UTF-8.
    #[error("must be percent-encoded UTF-8 without control characters")]
    Encoding,
}

impl<'q> CanonicalQuery<'q> {
    pub(super) fn new(query: &'q str) -> Self {
        Self(query)
    }

    /// The value of a parameter, decoded once; nothing when it is not there. A parameter without `=` is empty.
    ///
    /// # Errors
    /// When it is there twice, or in a form that not everyone reads alike.
    pub fn parameter(&self, wanted: &str) -> Result<Option<Cow<'q, str>>, QueryError> {
        let mut found = None;
        for pair in self.0.split('&') {
            // Some readers part at `;` too: what they would take for the parameter must not be missed.
            for (place, piece) in pair.split(';').enumerate() {
                let (name, _) = piece.split_once('=').unwrap_or((piece, ""));
                let Some(name) = decoded(name) else {
                    if mimics(&decoded_anyhow(name), wanted) {
                        return Err(QueryError::Encoding);
                    }
                    continue;
                };
                if !mimics(&name, wanted) {
                    continue;
                }
                if found.is_some() || place > 0 || *name != *wanted || pair.contains(';') {
                    return Err(QueryError::Ambiguous);
                }
                let (_, value) = pair.split_once('=').unwrap_or((pair, ""));
                found = Some(decoded(value).ok_or(QueryError::Encoding)?);
            }
        }
        Ok(found)
    }
}

/// A name, or what some framework reads as it: other case, blanks before it, `[…]` behind it, `.`, ` ` or `-` for `_`.
fn mimics(name: &str, wanted: &str) -> bool {
    let name = name.trim_start_matches(' ');
    let name = name.split_once('[').map_or(name, |(stem, _)| stem).trim_end_matches(' ');
    let plain = |b: u8| if b".- ".contains(&b) { b'_' } else { b.to_ascii_lowercase() };
    name.len() == wanted.len() && name.bytes().zip(wanted.bytes()).all(|(a, b)| plain(a) == plain(b))
}

/// What a lenient reader makes of a name: broken escapes stay as they are, and a zero byte ends it.
fn decoded_anyhow(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(first) = rest.bytes().next() {
        let hex = rest.strip_prefix('%').and_then(|rest| rest.get(..2));
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let (byte, length) = escaped.map_or((first, 1), |byte| (byte, 3));
        if byte == 0 {
            break;
        }
        bytes.push(byte);
        rest = rest.get(length..).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).replace('+', " ")
}

/// Decodes escapes and `+`, once.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let hex = std::str::from_utf8(&digits).ok().filter(|_| digits.iter().all(u8::is_ascii_hexdigit))?;
                u8::from_str_radix(hex, 16).ok()?
            }
            byte => byte,
        };
        if byte.is_ascii_control() {
            return None;
        }
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(query: &'static str) -> Result<Option<String>, QueryError> {
        CanonicalQuery::new(query).parameter("account_id").map(|found| found.map(Cow::into_owned))
    }

    #[test]
    fn a_parameter_is_read_once_and_decoded_once() {
        for (query, value) in [
            ("account_id=a1", Some("a1")),
            ("x=1&account_id=a%40b&y", Some("a@b")),
            ("account%5Fid=a", Some("a")),
            ("account_id=a%2540", Some("a%40")),
            ("account_id=a+b", Some("a b")),
            ("account_id", Some("")),
            ("account_id=a=b", Some("a=b")),
            ("", None),
            ("x=account_id=a", None),
            ("account_ids=a&my_account_id=b&x;y=1&%zz=1", None),
        ] {
            assert_eq!(account(query), Ok(value.map(str::to_owned)), "{query}");
        }
    }

    #[test]
    fn what_not_everyone_reads_alike_is_refused() {
        for query in [
            "account_id=a&account_id=b",
            "account_id=a&account_id=a",
            "account_id=a&Account_Id=b",
            "ACCOUNT_ID=a",
            "account_id[]=a",
            "account_id%5B0%5D=a",
            "account.id=a",
            "account+id=a",
            "+account_id=a",
            "x=1;account_id=a",
            "account_id=a;x=1",
        ] {
            assert_eq!(account(query), Err(QueryError::Ambiguous), "{query}");
        }
        for query in ["account_id=%", "account_id=%zz", "account_id=%00", "account_id=%ff", "account_id%00=a"] {
            assert_eq!(account(query), Err(QueryError::Encoding), "{query}");
        }
    }
}
