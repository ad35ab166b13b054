//! Texts that may be realm files or settings: read, or refused with every mistake on a line of its own.

#![no_main]

use keygate::config::{Mistakes, Settings, parse_realm};
use libfuzzer_sys::fuzz_target;
use std::path::Path;

fn on_lines(mistakes: &Mistakes) {
    assert!(mistakes.count() > 0);
    assert!(mistakes.iter().all(|mistake| !mistake.to_string().contains(char::is_control)));
}

fuzz_target!(|text: &str| {
    match parse_realm("realm.toml", text) {
        Ok(realm) => assert!(!realm.environments.is_empty() && !realm.credentials.is_empty()),
        Err(mistakes) => on_lines(&mistakes),
    }
    if let Err(mistakes) = Settings::parse("keygate.toml", text, Path::new("/")) {
        on_lines(&mistakes);
    }
});
