//! The house law, read off the source itself.
//!
//! `law` is the law as tables, `names` finds out what a path in a file means, `syntax` judges one file by its syntax
//! tree and `tokens` by what its macros hold, `text` judges it by its text and place, and `tree` puts the files
//! together. `broken` and `kept` feed them snippets and assert what is found: a rule that cannot fail is no rule.

mod broken;
mod kept;
mod law;
mod names;
mod syntax;
mod text;
mod tokens;
mod tree;

use std::{fmt, path::Path};

/// One place where the house law is broken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    pub path: String,
    pub line: usize,
    pub rule: &'static str,
    /// What was found, and what is allowed instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: [{}] {}", self.path, self.line, self.rule, self.message)
    }
}

#[test]
fn the_house_is_tidy() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = tree::read(root, &["src", "tests", "benches"]).expect("the source tree can be read");
    assert!(
        files.iter().any(|(path, _)| path == "src/lib.rs"),
        "`src/lib.rs` was not found below `{}`",
        root.display()
    );

    let found = tree::check(&files);
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "the house law is broken in {} places:\n{}\n", list.len(), list.join("\n"));
}
