//! The text of a `secrets` file: a line for each version, `VERSION SECRET`, behind which `from=TIME` and `until=TIME` may stand.

use super::super::StartError;
use crate::domain::{
    key::{SecretRing, ServerSecret},
    time::Timestamp,
};
use data_encoding::HEXLOWER_PERMISSIVE;
use std::path::Path;
use zeroize::Zeroizing;

const FORM: &str = "must be `VERSION SECRET`: a number from 1, a space, 64 hexadecimal digits; behind them may stand `from=TIME` \
                    and `until=TIME`, each once";
const TIME: &str = "`from` and `until` must be times such as `2030-01-31T12:00:00Z`";
const ORDER: &str = "`until` must come after `from`";
const NEWEST: &str = "the newest version must not have `until`: nothing takes its place";
const EARLY: &str = "`until` must not come before a newer version is used";
const VERSIONS: &str = "must hold at least one secret, and each version once";

/// One version as it is written.
pub(super) struct Line {
    /// Its line, from 0.
    pub(super) at: usize,
    pub(super) version: u32,
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    secret: Zeroizing<[u8; 32]>,
}

/// Reads the versions, in the order of the file. They are a ring.
pub(super) fn parse(path: &Path, text: &str) -> Result<(Vec<Line>, SecretRing), StartError> {
    let wrong = |at: usize, problem| StartError::Secrets { path: path.to_owned(), line: at, problem };
    let mut lines = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if !line.trim().is_empty() && !line.trim().starts_with('#') {
            lines.push(read(at, line).map_err(|problem| wrong(at.saturating_add(1), problem))?);
        }
    }
    let secret =
        |line: &Line| ServerSecret::new(line.version, Zeroizing::new(*line.secret)).between(line.from, line.until);
    let ring = SecretRing::new(lines.iter().map(secret).collect());
    let ring = ring.ok_or_else(|| wrong(text.lines().count(), VERSIONS))?;
    for line in &lines {
        may_end(&lines, line).map_err(|problem| wrong(line.at.saturating_add(1), problem))?;
    }
    Ok((lines, ring))
}

/// Whether a version may end when it says: another must have taken its place.
pub(super) fn may_end(lines: &[Line], line: &Line) -> Result<(), &'static str> {
    let Some(until) = line.until else { return Ok(()) };
    if line.from.is_some_and(|from| until <= from) {
        return Err(ORDER);
    }
    let mut newer = lines.iter().filter(|other| other.version > line.version).peekable();
    if newer.peek().is_none() {
        return Err(NEWEST);
    }
    let follows =
        |other: &Line| other.from.is_none_or(|from| from <= until) && other.until.is_none_or(|end| end > until);
    if newer.any(follows) { Ok(()) } else { Err(EARLY) }
}

fn read(at: usize, line: &str) -> Result<Line, &'static str> {
    let mut words = line.split_ascii_whitespace();
    let version = words.next().and_then(|word| word.parse().ok()).filter(|version| *version > 0).ok_or(FORM)?;
    let hex = words.next().ok_or(FORM)?;
    let decoded = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).map_err(|_| FORM)?);
    let secret = Zeroizing::new(<[u8; 32]>::try_from(decoded.as_slice()).map_err(|_| FORM)?);
    let mut found = Line { at, version, from: None, until: None, secret };
    for word in words {
        let (field, time) = match word.split_once('=') {
            Some(("from", time)) => (&mut found.from, time),
            Some(("until", time)) => (&mut found.until, time),
            _ => return Err(FORM),
        };
        if field.replace(instant(time).ok_or(TIME)?).is_some() {
            return Err(FORM);
        }
    }
    Ok(found)
}

fn instant(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let time = Timestamp::from_micros(u64::try_from(time.as_microsecond()).ok()?);
    (time <= Timestamp::MAX).then_some(time)
}

/// A time as it stands in the file.
pub(super) fn told(time: Timestamp) -> String {
    let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).map(|time| time.to_string()).unwrap_or_default()
}

/// The line of a new version.
pub(super) fn written(version: u32, secret: &[u8; 32], from: Option<Timestamp>) -> Zeroizing<String> {
    let hex = Zeroizing::new(HEXLOWER_PERMISSIVE.encode(secret));
    let from = from.map(|from| format!(" from={}", told(from))).unwrap_or_default();
    Zeroizing::new(format!("{version} {}{from}\n", *hex))
}

/// A text in which a version ends at another time, or never. Everything else stays as it is.
pub(super) fn ending(text: &str, line: &Line, until: Option<Timestamp>) -> Zeroizing<String> {
    let mut changed = Zeroizing::new(String::with_capacity(text.len().saturating_add(64)));
    for (at, old) in text.split_inclusive('\n').enumerate() {
        if at != line.at {
            changed.push_str(old);
            continue;
        }
        let kept = old.split_ascii_whitespace().filter(|word| !word.starts_with("until="));
        for (place, word) in kept.enumerate() {
            if place > 0 {
                changed.push(' ');
            }
            changed.push_str(word);
        }
        if let Some(until) = until {
            changed.push_str(" until=");
            changed.push_str(&told(until));
        }
        changed.push('\n');
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "abababababababababababababababababababababababababababababababab";

    fn refusal(text: &str) -> String {
        parse(Path::new("secrets"), text).err().expect("it is wrong").to_string()
    }

    #[test]
    fn every_wrong_file_is_told_by_its_line_and_never_shown() {
        let t = |n: u8| format!("2030-01-0{n}T00:00:00Z");
        for (text, line, problem) in [
            (String::new(), 0, VERSIONS),
            ("# only a comment\n".to_owned(), 1, VERSIONS),
            (format!("1 {A}\n1 {A}\n"), 2, VERSIONS),
            (format!("1 {A}\n2 dead\n"), 2, FORM),
            (format!("0 {A}\n"), 1, FORM),
            (format!("one {A}\n"), 1, FORM),
            (format!("1 {A}ab\n"), 1, FORM),
            (format!("1\n2 {A}\n"), 1, FORM),
            (format!("1 {A} soon\n"), 1, FORM),
            (format!("1 {A} at={}\n", t(1)), 1, FORM),
            (format!("1 {A} from={} from={}\n", t(1), t(2)), 1, FORM),
            (format!("1 {A} from=tomorrow\n"), 1, TIME),
            (format!("1 {A} from=2030-01-01\n"), 1, TIME),
            (format!("1 {A} until=1969-12-31T00:00:00Z\n2 {A}\n"), 1, TIME),
            (format!("1 {A} from={} until={}\n2 {A}\n", t(2), t(2)), 1, ORDER),
            (format!("1 {A}\n2 {A} until={}\n", t(1)), 2, NEWEST),
            (format!("1 {A} until={}\n2 {A} from={}\n", t(1), t(2)), 1, EARLY),
            (format!("1 {A} until={}\n2 {A} until={}\n3 {A} from={}\n", t(2), t(1), t(3)), 1, EARLY),
        ] {
            let error = refusal(&text);
            assert_eq!(error, format!("`secrets`, line {line}: {problem}"), "{text}");
            assert!(!error.contains("dead") && !error.contains("abab"));
        }
    }

    #[test]
    fn what_is_written_is_read_and_the_rest_of_a_file_is_left_alone() {
        let from = instant("2030-01-31T12:00:00Z").unwrap();
        let text = format!("# mine\n\n  1   {A}\n# between\n{}", *written(2, &[7; 32], Some(from)));
        let (lines, ring) = parse(Path::new("secrets"), &text).unwrap();
        assert_eq!(ring.states().len(), 2);
        let until = instant("2031-01-31T12:00:00Z").unwrap();
        let ended = ending(&text, &lines[0], Some(until));
        let hex = "07".repeat(32);
        let expected =
            format!("# mine\n\n1 {A} until=2031-01-31T12:00:00Z\n# between\n2 {hex} from=2030-01-31T12:00:00Z\n");
        assert_eq!(*ended, expected);
        let (lines, _) = parse(Path::new("secrets"), &ended).unwrap();
        assert_eq!((lines[0].until, lines[1].from), (Some(until), Some(from)));
        assert_eq!(*ending(&ended, &lines[0], None), expected.replace(" until=2031-01-31T12:00:00Z", ""));
    }
}
