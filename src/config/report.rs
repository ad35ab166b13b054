//! Collects the mistakes of one file and knows where in it an offset lies.

use super::{lines::Lines, mistake::Mistake};
use std::{cell::RefCell, collections::HashSet, ops::Range};
use toml::de::DeTable;

/// A place in a file that a later mistake can point at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    pub file: String,
    pub line: usize,
    pub column: usize,
    pub path: String,
}

impl Mark {
    /// A mistake at this place.
    pub fn mistake(&self, problem: String, allowed: String) -> Mistake {
        let Self { file, line, column, path } = self.clone();
        Mistake { file, line, column, path, problem: on_one_line(problem), allowed: on_one_line(allowed) }
    }
}

/// A mistake is one line, and whatever was written must not steer the reader's terminal.
fn on_one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Whether a mistake stands for itself or may only follow from a line that could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    Written,
    Absent,
}

/// One file's text and the mistakes found in it.
pub struct Report<'t> {
    file: &'t str,
    text: &'t str,
    lines: Lines<'t>,
    found: RefCell<Vec<(Cause, Mistake)>>,
}

impl<'t> Report<'t> {
    pub fn new(file: &'t str, text: &'t str) -> Self {
        Self { file, text, lines: Lines::new(text), found: RefCell::default() }
    }

    /// Reads the text as TOML, as much of it as can be read, and gives the syntax errors beside it.
    pub fn parse(&self) -> (toml::Spanned<DeTable<'t>>, Vec<Mistake>) {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        let errors = errors.into_iter().map(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            self.mark(String::new(), offset).mistake(error.message().replace('\n', ", "), String::new())
        });
        (table, errors.collect())
    }

    /// Notes a mistake at a place of the text.
    pub fn note(&self, cause: Cause, path: &str, span: &Range<usize>, problem: String, allowed: String) {
        let mistake = self.mark(path.to_owned(), span.start).mistake(problem, allowed);
        self.found.borrow_mut().push((cause, mistake));
    }

    /// A place that a later mistake can point at.
    pub fn mark(&self, path: String, offset: usize) -> Mark {
        let (line, column) = self.lines.place(offset);
        Mark { file: self.file.to_owned(), line, column, path }
    }

    /// Every mistake of the file. Beside syntax errors only those stay that cannot follow from what was not understood.
    pub fn finish(self, syntax: Vec<Mistake>) -> Vec<Mistake> {
        let found = self.found.into_inner();
        if syntax.is_empty() {
            return found.into_iter().map(|(_, mistake)| mistake).collect();
        }
        let spoilt: HashSet<usize> = syntax.iter().map(|error| error.line).collect();
        let broken_header = spoilt.iter().any(|line| self.lines.line(*line).trim_start().starts_with('['));
        let certain = |cause: Cause, line| cause == Cause::Written && !broken_header && !spoilt.contains(&line);
        let found = found.into_iter().filter(|(cause, mistake)| certain(*cause, mistake.line));
        syntax.into_iter().chain(found.map(|(_, mistake)| mistake)).collect()
    }
}
