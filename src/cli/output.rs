//! Standard output and standard error. A reader that goes away is no error; a full disk is one.

use super::{failure::Failure, values};
use crate::proto::google;
use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde_json::Value;
use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

/// For whom to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Tables, for people.
    #[default]
    Table,
    /// JSON, for programs.
    Json,
}

/// Where a command's results go.
pub struct Output {
    /// For whom to write.
    pub format: Format,
    stdout: Box<dyn Write>,
    closed: bool,
}

impl Output {
    /// Writes to the process' standard output.
    #[must_use]
    pub fn new(format: Format) -> Self {
        Self::to(format, Box::new(io::stdout()))
    }

    fn to(format: Format, stdout: Box<dyn Write>) -> Self {
        Self { format, stdout, closed: false }
    }

    /// Whether programs read this.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether the reader went away: nothing that is written from now on arrives.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.closed
    }

    /// Writes one line as it is.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn line(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When they cannot be written although somebody reads.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        match self.stdout.write_all(bytes).and_then(|()| self.stdout.flush()) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::io("cannot write the result", &error)),
        }
    }

    /// Writes one JSON value.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(&format!("{value:#}"))
    }

    /// Writes a table with a header.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn table(&mut self, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Result<(), Failure> {
        let mut table = plain_table();
        table.set_header(header.to_vec());
        for row in rows {
            table.add_row(row.iter().map(|cell| shown(cell)));
        }
        self.line(&drawn(table))
    }

    /// Writes names with their values; those without a value are left out.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn fields(&mut self, fields: &[(&str, String)]) -> Result<(), Failure> {
        let mut table = plain_table();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            table.add_row([(*name).to_owned(), shown(value)]);
        }
        if table.is_empty() { Ok(()) } else { self.line(&drawn(table)) }
    }

    /// Writes the ids of keys that ended or would; nothing when there are none.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn ended_keys(&mut self, ids: &[String]) -> Result<(), Failure> {
        if ids.is_empty() { Ok(()) } else { self.table(&["KEY"], ids.iter().map(|id| vec![id.clone()])) }
    }

    /// Begins a list inside a JSON object that is written while it is read.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn begin_list(&mut self, name: &str) -> Result<JsonList<'_>, Failure> {
        self.bytes(format!("{{{}: [", Value::from(name)).as_bytes())?;
        Ok(JsonList { output: self, first: true })
    }
}

/// A JSON object whose first field is a list of any length. One that was not ended is not valid JSON, so that nobody
/// takes a part for the whole.
pub struct JsonList<'o> {
    output: &'o mut Output,
    first: bool,
}

impl JsonList<'_> {
    /// Adds an item, on a line of its own.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn item(&mut self, item: &Value) -> Result<(), Failure> {
        let comma = if self.first { "" } else { "," };
        self.first = false;
        self.output.bytes(format!("{comma}\n{item}").as_bytes())
    }

    /// Whether the reader went away.
    #[must_use]
    pub const fn closed(&self) -> bool {
        self.output.closed()
    }

    /// Ends the list and the object, with further fields.
    ///
    /// # Errors
    /// When it cannot be written although somebody reads.
    pub fn end(self, fields: &[(&str, Value)]) -> Result<(), Failure> {
        self.output.bytes(b"\n]")?;
        for (name, value) in fields {
            self.output.bytes(format!(", {}: {value}", Value::from(*name)).as_bytes())?;
        }
        self.output.line("}")
    }
}

/// Columns and nothing else, which people read and `awk` takes apart.
fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table
}

fn drawn(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// What others wrote, without anything that could steer the terminal or change the order of what is read.
pub fn shown(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(steers) {
        return text.to_owned();
    }
    let escaped = text.chars().map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() });
    escaped.collect()
}

/// Tells people something beside the result. When that fails there is nobody to tell.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{}", shown(text));
}

/// So many of something, in words: `1 key`, `2 keys`.
#[must_use]
pub fn count<N: Display + PartialEq + From<u8>>(number: N, of: &str) -> String {
    let plural = if number == N::from(1) { "" } else { "s" };
    format!("{number} {of}{plural}")
}

/// Tells for how long an act may still be unknown to a server, where it may.
pub fn remembered(span: Option<&google::Duration>) {
    let Some(span) = span.filter(|span| (span.seconds, span.nanos) != (0, 0)) else { return };
    let span = values::span_for_people(span);
    note(&format!("a server that cannot reach the store may go by what it remembers for up to {span}"));
}

/// Replaces the line of progress on a terminal.
pub fn progress(text: &str) {
    let _ = write!(io::stderr(), "\r{text}\x1b[K");
}

/// Whether people see standard error.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// Says why a command failed.
pub fn report(format: Format, failure: &Failure) {
    match format {
        Format::Table => failure.lines().iter().for_each(|line| note(line)),
        Format::Json => {
            let _ = writeln!(io::stderr(), "{}", failure.to_json());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::RefCell, rc::Rc};

    /// Takes `room` bytes, then fails in the given way.
    struct Sink {
        taken: Rc<RefCell<Vec<u8>>>,
        room: usize,
        then: io::ErrorKind,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut taken = self.taken.borrow_mut();
            if taken.len() + bytes.len() > self.room {
                return Err(self.then.into());
            }
            taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn sink(room: usize, then: io::ErrorKind) -> (Output, impl Fn() -> String) {
        let taken = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&taken);
        let output = Output::to(Format::Table, Box::new(Sink { taken, room, then }));
        (output, move || String::from_utf8(seen.borrow().clone()).unwrap())
    }

    #[test]
    fn a_reader_that_goes_away_is_no_error_and_a_full_disk_is() {
        let (mut output, seen) = sink(4, io::ErrorKind::BrokenPipe);
        assert_eq!(output.line("abc"), Ok(()));
        assert!(!output.closed());
        assert_eq!(output.line("def"), Ok(()));
        assert!(output.closed());
        assert_eq!(seen(), "abc\n");

        let (mut output, _) = sink(0, io::ErrorKind::StorageFull);
        assert!(output.line("abc").is_err());
    }

    #[test]
    fn a_streamed_list_is_one_json_object() {
        for items in 0..3 {
            let (mut output, seen) = sink(1_000, io::ErrorKind::BrokenPipe);
            let mut list = output.begin_list("keys").unwrap();
            for number in 0..items {
                list.item(&Value::from(number)).unwrap();
            }
            list.end(&[("next_page_token", Value::from("\"x"))]).unwrap();
            let value: Value = serde_json::from_str(&seen()).unwrap();
            assert_eq!(value["keys"].as_array().unwrap().len(), items);
            assert_eq!(value["next_page_token"], "\"x");
        }
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        let (mut output, seen) = sink(1_000, io::ErrorKind::BrokenPipe);
        output.fields(&[("name", "a\u{1b}[2Jb\nc\u{202e}d é".to_owned()), ("hint", String::new())]).unwrap();
        assert_eq!(seen(), "name  a\\u{1b}[2Jb\\nc\\u{202e}d é\n");
    }
}
