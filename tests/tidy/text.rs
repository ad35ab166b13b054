//! Judges one file by its text and its place.

use crate::{Violation, law, names};

/// Longest file, in lines.
const LONGEST: usize = 500;
/// Words that mark unfinished work.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX"];

/// Judges the file at `path`.
pub fn check(path: &str, source: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut report = |line: usize, rule: &'static str, message: String| {
        found.push(Violation { path: path.to_owned(), line, rule, message });
    };

    let lines = source.lines().count();
    if lines > LONGEST {
        report(LONGEST + 1, "length", format!("{lines} lines; at most {LONGEST}: split by idea, not by size"));
    }
    if !path.starts_with("src/") {
        return found;
    }

    for (index, line) in source.lines().enumerate() {
        if let Some(word) = UNFINISHED.iter().find(|word| has_word(line, word)) {
            report(index + 1, "unfinished", format!("`{word}`: finish it, or write it down where work is planned"));
        }
    }
    let Some(module) = names::module_of(path) else { return found };
    let room = module.first().map_or("lib", String::as_str);
    if law::room(room).is_none() {
        report(1, "place", format!("`{room}` is no room; the rooms are {}", law::rooms()));
    }
    if module.len() <= 1 && !source.trim_start().starts_with("//!") {
        let message = "a room opens with a `//!` comment: what it is for, what it may use, what it must never know";
        report(1, "opening", message.to_owned());
    }
    if ["src/lib.rs", "src/main.rs"].contains(&path) && !forbids_unsafe(source) {
        report(1, "unsafe", "`#![forbid(unsafe_code)]` is missing".to_owned());
    }
    found
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

fn forbids_unsafe(source: &str) -> bool {
    syn::parse_file(source).is_ok_and(|file| {
        file.attrs.iter().any(|attr| {
            attr.path().is_ident("forbid")
                && attr.parse_args::<syn::Path>().is_ok_and(|lint| lint.is_ident("unsafe_code"))
        })
    })
}
