//! What people type for spans, instants, request ids, pairs and headers, and how spans and instants are shown.

use crate::{
    domain::id::{KeyId, is_request_id},
    proto::google,
};
use std::{collections::BTreeMap, time::Duration};
use tonic::metadata::{Ascii, MetadataValue};

/// The units of a span, the longest first, in milliseconds.
const UNITS: [(&str, u64); 6] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The longest span that protobuf allows: about 10,000 years.
const LONGEST: Duration = Duration::from_secs(315_576_000_000);

/// Reads a span such as `30d`, `24h`, `1h30m` or `500ms`.
///
/// # Errors
/// Says what is allowed.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    const ALLOWED: &str =
        "allowed are whole numbers with a unit: `ms`, `s`, `m`, `h`, `d` or `w`, such as `30d` or `1h30m`";
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (digits, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| c.is_ascii_alphabetic());
        let millis = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, millis)| *millis).ok_or(ALLOWED)?;
        let count: u64 = digits.parse().map_err(|_| ALLOWED)?;
        total = count.checked_mul(millis).and_then(|part| total.checked_add(part)).ok_or("the span is too long")?;
        rest = after;
    }
    if text.is_empty() {
        return Err(ALLOWED.to_owned());
    }
    let span = Duration::from_millis(total);
    if span > LONGEST { Err("the span is too long".to_owned()) } else { Ok(span) }
}

fn split_while(text: &str, wanted: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(|c| !wanted(c)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// Reads how long to wait for an answer: 1 ms to 1 h.
///
/// # Errors
/// Says what is allowed.
pub fn parse_timeout(text: &str) -> Result<Duration, String> {
    let span = parse_span(text)?;
    let allowed = Duration::from_millis(1)..=Duration::from_secs(3_600);
    if allowed.contains(&span) { Ok(span) } else { Err("allowed is `1ms` to `1h`".to_owned()) }
}

/// Reads a request id, such as `r-1`: one that the server takes as it is.
///
/// # Errors
/// Says what is allowed.
pub fn parse_request_id(text: &str) -> Result<MetadataValue<Ascii>, &'static str> {
    let id = if is_request_id(text) { text.parse().ok() } else { None };
    id.ok_or("allowed are 1 to 128 printable ASCII characters, no spaces")
}

/// Reads an instant in the form of RFC 3339, such as `2030-01-31T12:00:00Z`.
///
/// # Errors
/// Says what is allowed.
pub fn parse_instant(text: &str) -> Result<google::Timestamp, String> {
    let instant: jiff::Timestamp = text
        .parse()
        .map_err(|_| "allowed are date, time and offset as in RFC 3339, such as `2030-01-31T12:00:00Z`".to_owned())?;
    // Before 1970 both parts are negative; protobuf wants the fraction to count forwards.
    let (seconds, nanos) = match (instant.as_second(), instant.subsec_nanosecond()) {
        (seconds, nanos) if nanos < 0 => (seconds.saturating_sub(1), nanos.saturating_add(1_000_000_000)),
        whole => whole,
    };
    Ok(google::Timestamp { seconds, nanos })
}

/// An instant in the form of RFC 3339, in UTC.
#[must_use]
pub fn instant(timestamp: &google::Timestamp) -> String {
    let instant = jiff::Timestamp::new(timestamp.seconds, timestamp.nanos);
    instant.map_or_else(|_| format!("{} s after 1970-01-01", timestamp.seconds), |instant| instant.to_string())
}

/// The same, always to the microsecond: of every instant there is one form.
#[must_use]
pub fn instant_micros(timestamp: &google::Timestamp) -> String {
    let exact = jiff::Timestamp::new(timestamp.seconds, timestamp.nanos);
    exact.map_or_else(|_| instant(timestamp), |exact| format!("{exact:.6}"))
}

/// A span as protobuf writes it in JSON: seconds with 0, 3, 6 or 9 decimals, such as `86400s` or `0.250s`.
#[must_use]
pub fn span(duration: &google::Duration) -> String {
    let sign = if duration.seconds < 0 || duration.nanos < 0 { "-" } else { "" };
    let (seconds, nanos) = (duration.seconds.unsigned_abs(), duration.nanos.unsigned_abs());
    match nanos {
        0 => format!("{sign}{seconds}s"),
        nanos if nanos % 1_000_000 == 0 => format!("{sign}{seconds}.{:03}s", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!("{sign}{seconds}.{:06}s", nanos / 1_000),
        nanos => format!("{sign}{seconds}.{nanos:09}s"),
    }
}

/// A span for people, such as `1d`, `1h 30m` or `250ms`. Below a millisecond it is rounded up: nobody waits too short.
#[must_use]
pub fn span_for_people(duration: &google::Duration) -> String {
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(duration.seconds), u64::try_from(duration.nanos)) else {
        return span(duration);
    };
    let mut rest = seconds.saturating_mul(1_000).saturating_add(nanos.div_ceil(1_000_000));
    let mut parts = Vec::new();
    for (name, millis) in UNITS.iter().filter(|(name, _)| *name != "w") {
        let count = rest.checked_div(*millis).unwrap_or(0);
        if count > 0 {
            parts.push(format!("{count}{name}"));
        }
        rest = rest.checked_rem(*millis).unwrap_or(0);
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// A span as the API takes it.
#[must_use]
pub fn to_proto(span: Duration) -> google::Duration {
    google::Duration {
        seconds: i64::try_from(span.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(span.subsec_nanos()).unwrap_or(0),
    }
}

/// Reads `name=value`. The value may be empty and may hold further `=`.
///
/// # Errors
/// Says what is allowed.
pub fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("allowed is `name=value`".to_owned()),
    }
}

/// Pairs as a map.
///
/// # Errors
/// When a name is given twice.
pub fn to_map(pairs: Vec<(String, String)>) -> Result<BTreeMap<String, String>, String> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), value).is_some() {
            return Err(format!("`{name}` is given twice in `--metadata`"));
        }
    }
    Ok(map)
}

/// Reads a header line, `Name: value`. What is wrong is said without the line, as it may hold a secret.
///
/// # Errors
/// Says what is allowed.
pub fn parse_header(line: &str) -> Result<(String, String), &'static str> {
    match line.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        _ => Err("a `--header` is not one: allowed is `Name: value`"),
    }
}

/// Checks a key's id. What is wrong is said without the text, as people confuse ids with keys.
///
/// # Errors
/// Says what is allowed.
pub fn check_key_id(text: &str) -> Result<(), String> {
    KeyId::parse(text).map(|_| ()).map_err(|allowed| format!("that is not the id of a key: allowed is {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spans_are_read_with_every_unit_and_summed() {
        let millis = |text| parse_span(text).map(|span| span.as_millis());
        assert_eq!(millis("30d"), Ok(2_592_000_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("2w1d3s250ms"), Ok(1_296_003_250));
        assert_eq!(millis("0s"), Ok(0));
    }

    #[test]
    fn odd_spans_are_refused() {
        for text in ["", "5", "d", "1.5h", "-1h", "1h ", "1y", "1M", "h1", "99999999999999999999s", "400000000w"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
        assert!(parse_span("18446744073709551615ms1ms").is_err());
        assert!(parse_timeout("0s").is_err() && parse_timeout("2h").is_err() && parse_timeout("1h").is_ok());
    }

    #[test]
    fn a_request_id_is_one_that_the_server_takes_as_it_is() {
        for text in ["r", "8f0e-1:2/3~", &"x".repeat(128)] {
            assert_eq!(parse_request_id(text).unwrap(), text);
        }
        for text in ["", " ", "a b", "a\n", "a\u{7f}", "ä", &"x".repeat(129)] {
            assert!(parse_request_id(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn instants_are_read_in_any_offset_and_shown_in_utc() {
        let shown = |text| parse_instant(text).map(|timestamp| instant(&timestamp));
        assert_eq!(shown("2030-01-31T12:00:00Z").as_deref(), Ok("2030-01-31T12:00:00Z"));
        assert_eq!(shown("2030-01-31T12:00:00.25+02:00").as_deref(), Ok("2030-01-31T10:00:00.25Z"));
        assert_eq!(shown("1969-12-31T23:59:58.5Z").as_deref(), Ok("1969-12-31T23:59:58.5Z"));
        for text in ["", "tomorrow", "2030-01-31", "2030-01-31T12:00:00", "2030-02-30T00:00:00Z", "1893456000"] {
            assert!(parse_instant(text).is_err(), "{text}");
        }
        assert_eq!(
            instant(&google::Timestamp { seconds: i64::MAX, nanos: 0 }),
            format!("{} s after 1970-01-01", i64::MAX)
        );
    }

    #[test]
    fn instants_of_the_log_have_one_form() {
        let shown = |nanos| instant_micros(&google::Timestamp { seconds: 1_893_456_000, nanos });
        assert_eq!(shown(0), "2030-01-01T00:00:00.000000Z");
        assert_eq!(shown(250_000_000), "2030-01-01T00:00:00.250000Z");
        assert_eq!(shown(999_999_000), "2030-01-01T00:00:00.999999Z");
    }

    #[test]
    fn spans_are_shown_as_protobuf_writes_them_and_for_people() {
        let both = |seconds, nanos| {
            let duration = google::Duration { seconds, nanos };
            (span(&duration), span_for_people(&duration))
        };
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(both(86_400, 0), text("86400s", "1d"));
        assert_eq!(both(5_400, 250_000_000), text("5400.250s", "1h 30m 250ms"));
        assert_eq!(both(0, 1_500), text("0.000001500s", "1ms"));
        assert_eq!(both(0, 15_000), text("0.000015s", "1ms"));
        assert_eq!(both(0, 0), text("0s", "0s"));
        assert_eq!(both(-1, -500_000_000), text("-1.500s", "-1.500s"));
    }

    #[test]
    fn pairs_and_headers_are_split_at_the_first_sign() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(parse_pair("a="), Ok(("a".to_owned(), String::new())));
        assert!(parse_pair("=b").is_err() && parse_pair("ab").is_err());
        let twice = vec![("a".to_owned(), "1".to_owned()), ("a".to_owned(), "2".to_owned())];
        assert!(to_map(twice).is_err());
        assert_eq!(parse_header("X-Key:  a:b "), Ok(("X-Key".to_owned(), "a:b".to_owned())));
        assert!(parse_header("Bearer abc").is_err() && parse_header(": abc").is_err());
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_it() {
        let secret = "rk_live_0123456789abcdefghijABCDEFGH";
        let said = check_key_id(secret).unwrap_err();
        assert!(!said.contains("rk_live") && !parse_header(secret).unwrap_err().contains("rk_live"));
    }

    proptest! {
        #[test]
        fn what_is_shown_for_people_can_be_typed_again(millis in 1_u64..1_000_000_000_000) {
            let shown = span_for_people(&to_proto(Duration::from_millis(millis)));
            prop_assert_eq!(parse_span(&shown.replace(' ', "")), Ok(Duration::from_millis(millis)));
        }

        #[test]
        fn instants_survive_being_shown(seconds in -62_135_596_800_i64..253_402_207_200, nanos in 0..1_000_000_000_i32) {
            let timestamp = google::Timestamp { seconds, nanos };
            prop_assert_eq!(parse_instant(&instant(&timestamp)), Ok(timestamp));
        }
    }
}
