//! Texts that may be realm files or settings: read, or refused with every mistake on a line of its own, at a place that
//! there is. A text that begins with `# settings` is read as settings, every other one as a realm.

#![no_main]

use keygate::config::{Mistakes, Settings, parse_realm};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fn on_lines(mistakes: &Mistakes, text: &str) {
    assert!(mistakes.count() > 0);
    let lengths: Vec<usize> = text.split('\n').map(|line| line.chars().count()).collect();
    for mistake in mistakes.iter() {
        assert!(!mistake.problem.is_empty() && !mistake.to_string().contains(char::is_control));
        // Line 0 is the file as a whole.
        let length = mistake.line.checked_sub(1).map(|at| *lengths.get(at).expect("the text has that line"));
        assert!(length.is_none_or(|length| (1..=length + 1).contains(&mistake.column)));
    }
}

fuzz_target!(|text: &str| {
    if text.starts_with("# settings") {
        if let Err(mistakes) = Settings::parse("keygate.toml", text, Path::new("/")) {
            on_lines(&mistakes, text);
        }
        return;
    }
    match parse_realm("realm.toml", text) {
        Ok(realm) => assert!(!realm.environments.is_empty() && !realm.credentials.is_empty()),
        Err(mistakes) => on_lines(&mistakes, text),
    }
});
