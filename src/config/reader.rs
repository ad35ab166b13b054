//! Reads TOML values as what they should be. What is something else is noted as a mistake, and reading goes on: `None`
//! always means that a mistake was noted, or that an optional setting is absent.

use super::{
    report::{Cause, Mark, Report},
    text::{DURATION, allowed_words, duration, grouped, quoted, show_duration},
};
use std::{fmt::Display, ops::Range, ops::RangeInclusive, time::Duration};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// A value and where it stands.
#[derive(Clone)]
pub struct Value<'t> {
    report: &'t Report<'t>,
    path: String,
    value: &'t Spanned<DeValue<'t>>,
}

/// A table and where it stands.
pub struct Table<'t> {
    report: &'t Report<'t>,
    path: String,
    span: Range<usize>,
    table: &'t DeTable<'t>,
}

impl<'t> Value<'t> {
    /// Notes that the value is not legal.
    pub fn wrong(&self, problem: impl Display, allowed: impl Display) {
        self.note(Cause::Written, problem, allowed);
    }

    /// Notes that the value names something that is not there.
    pub fn dangling<'w>(&self, written: &str, what: &str, known: impl IntoIterator<Item = &'w str> + Clone) {
        let allowed = match known.clone().into_iter().next() {
            Some(_) => allowed_words(written, known),
            None => format!("this realm has no {what}"),
        };
        self.note(Cause::Absent, format!("{} is no {what} of this realm", quoted(written)), allowed);
    }

    fn note(&self, cause: Cause, problem: impl Display, allowed: impl Display) {
        self.report.note(cause, &self.path, &self.value.span(), problem.to_string(), allowed.to_string());
    }

    fn not_a(&self, wanted: &str) {
        let found = match self.value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("is {found}"), format!("must be {wanted}"));
    }

    /// The place of the value.
    pub fn mark(&self) -> Mark {
        self.report.mark(self.path.clone(), self.value.span().start)
    }

    /// Whether it is a text, where something else would be legal too.
    pub fn is_text(&self) -> bool {
        matches!(self.value.get_ref(), DeValue::String(_))
    }

    /// A text.
    pub fn text(&self) -> Option<&'t str> {
        self.text_that_is("a text in quotes")
    }

    fn text_that_is(&self, wanted: &str) -> Option<&'t str> {
        let DeValue::String(text) = self.value.get_ref() else {
            self.not_a(wanted);
            return None;
        };
        Some(text)
    }

    /// A text of at least one and at most so many bytes, without control characters.
    pub fn line(&self, most: usize) -> Option<&'t str> {
        let text = self.text()?;
        if (1..=most).contains(&text.len()) && !text.chars().any(char::is_control) {
            return Some(text);
        }
        let allowed = format!("must be 1 to {} bytes without control characters", grouped(most as u64));
        self.wrong(format!("{} is not legal", quoted(text)), allowed);
        None
    }

    /// A text that `parse` understands; its error says what is allowed.
    pub fn parsed<T, E: Display>(&self, parse: impl FnOnce(&'t str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        parse(text).map_err(|allowed| self.wrong(format!("{} is not legal", quoted(text)), allowed)).ok()
    }

    /// One of some words.
    pub fn word<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let allowed = allowed_words(text, words.iter().map(|(word, _)| *word));
            self.wrong(format!("{} is not known", quoted(text)), allowed);
        }
        found.map(|(_, meaning)| *meaning)
    }

    /// A whole number in a range.
    pub fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let allowed = format!("a whole number, {} to {}", grouped(*range.start()), grouped(*range.end()));
        let DeValue::Integer(written) = self.value.get_ref() else {
            self.not_a(&allowed);
            return None;
        };
        let number = u64::from_str_radix(written.as_str(), written.radix()).ok().filter(|n| range.contains(n));
        if number.is_none() {
            self.wrong(format!("{} is out of range", quoted(&written.to_string())), format!("must be {allowed}"));
        }
        number
    }

    /// A part of everything, 0 to 1, in millionths.
    pub fn millionths(&self) -> Option<u32> {
        let allowed = "a number from 0 to 1, such as 0.01";
        let number = match self.value.get_ref() {
            DeValue::Float(written) => written.as_str().parse::<f64>().ok(),
            DeValue::Integer(written) => written.as_str().parse::<f64>().ok(),
            _ => {
                self.not_a(allowed);
                return None;
            }
        };
        let Some(number) = number.filter(|number| (0.0..=1.0).contains(number)) else {
            self.wrong("is out of range", format!("must be {allowed}"));
            return None;
        };
        // The range holds, and what is cut off is smaller than a millionth.
        Some((number * 1_000_000.0).round() as u32)
    }

    /// True or false.
    pub fn truth(&self) -> Option<bool> {
        let DeValue::Boolean(truth) = self.value.get_ref() else {
            self.not_a("`true` or `false`");
            return None;
        };
        Some(*truth)
    }

    /// A duration in a range.
    pub fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.text_that_is(DURATION)?;
        let Some(span) = duration(text) else {
            self.wrong(format!("{} is not a duration", quoted(text)), format!("must be {DURATION}"));
            return None;
        };
        if !range.contains(&span) {
            let (least, most) = (show_duration(*range.start()), show_duration(*range.end()));
            self.wrong(format!("{} is out of range", quoted(text)), format!("must be {least} to {most}"));
            return None;
        }
        Some(span)
    }

    /// A list of at most so many values.
    pub fn list(&self, most: usize) -> Option<Vec<Value<'t>>> {
        let DeValue::Array(items) = self.value.get_ref() else {
            self.not_a("a list");
            return None;
        };
        if items.len() > most {
            self.wrong(format!("holds {}", grouped(items.len() as u64)), format!("must hold at most {most}"));
            return None;
        }
        let values = items.iter().enumerate().map(|(at, value)| {
            let path = format!("{}[{at}]", self.path);
            Value { report: self.report, path, value }
        });
        Some(values.collect())
    }

    /// A table with these keys and no other.
    pub fn table(&self, keys: &'static [&'static str]) -> Option<Table<'t>> {
        let table = self.any_table()?;
        table.only(keys);
        Some(table)
    }

    /// A table with keys of its own.
    pub fn any_table(&self) -> Option<Table<'t>> {
        let DeValue::Table(table) = self.value.get_ref() else {
            self.not_a("a table");
            return None;
        };
        Some(Table { report: self.report, path: self.path.clone(), span: self.value.span(), table })
    }
}

impl<'t> Table<'t> {
    /// The whole file as a table with these keys and no other.
    pub fn root(report: &'t Report<'t>, table: &'t Spanned<DeTable<'t>>, keys: &'static [&'static str]) -> Self {
        let table = Self { report, path: String::new(), span: table.span(), table: table.get_ref() };
        table.only(keys);
        table
    }

    fn only(&self, keys: &'static [&'static str]) {
        for (key, _) in self.table.iter().filter(|(key, _)| !keys.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let allowed = allowed_words(name, keys.iter().copied());
            self.report.note(Cause::Written, &self.child(name), &key.span(), "is not a known key".to_owned(), allowed);
        }
    }

    fn child(&self, key: &str) -> String {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        let key = if bare { key.to_owned() } else { format!("\"{}\"", key.escape_debug()) };
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// A setting that may be absent.
    pub fn get(&self, key: &str) -> Option<Value<'t>> {
        self.table.get(key).map(|value| Value { report: self.report, path: self.child(key), value })
    }

    /// A setting that must be there. `allowed` completes "must be …".
    pub fn need(&self, key: &str, allowed: &str) -> Option<Value<'t>> {
        let value = self.get(key);
        if value.is_none() {
            self.missing(key, format!("must be {allowed}"));
        }
        value
    }

    /// Notes that a setting is missing.
    pub fn missing(&self, key: &str, allowed: String) {
        self.report.note(Cause::Absent, &self.child(key), &self.span, "is missing".to_owned(), allowed);
    }

    /// A list that may be absent.
    pub fn list(&self, key: &str, most: usize) -> Option<Vec<Value<'t>>> {
        self.get(key)?.list(most)
    }

    /// A list of tables, each with these keys and no other; absent: none.
    pub fn tables(&self, key: &str, most: usize, keys: &'static [&'static str]) -> Vec<Table<'t>> {
        let items = self.list(key, most).unwrap_or_default();
        items.iter().filter_map(|item| item.table(keys)).collect()
    }

    /// A table that may be absent.
    pub fn table(&self, key: &str, keys: &'static [&'static str]) -> Option<Table<'t>> {
        self.get(key)?.table(keys)
    }

    /// Every key with its value, in the order of the file.
    pub fn entries(&self) -> Vec<(&'t str, Value<'t>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let value = |key: &str, value| Value { report: self.report, path: self.child(key), value };
        entries.into_iter().map(|(key, at)| (key.get_ref().as_ref(), value(key.get_ref(), at))).collect()
    }
}
