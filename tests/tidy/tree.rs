//! Reads the source tree and judges it whole: which files exist only in tests is known only from their parents.

use crate::{
    Violation,
    names::{self, Module},
    syntax, text,
};
use std::{fs, io, path::Path};

/// Kinds of files that are read.
const KINDS: &[&str] = &["rs", "lua", "proto", "py", "sh"];

/// All source files below `root` in `rooms`, with their paths relative to `root`, in order.
pub fn read(root: &Path, rooms: &[&str]) -> io::Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for room in rooms.iter().map(|room| root.join(room)).filter(|room| room.exists()) {
        read_below(root, &room, &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn read_below(root: &Path, folder: &Path, files: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            read_below(root, &path, files)?;
        } else if path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known)) {
            let relative = path.strip_prefix(root).unwrap_or(&path);
            let name: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            files.push((name.join("/"), fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

/// Judges all files, given as path and text.
pub fn check(files: &[(String, String)]) -> Vec<Violation> {
    let test_only = test_only_modules(files);
    let mut found = Vec::new();
    for (path, source) in files {
        found.extend(text::check(path, source));
        if path.ends_with(".rs") {
            let module = names::module_of(path);
            let only = module.is_some_and(|module| test_only.iter().any(|test| module.starts_with(test)));
            found.extend(syntax::check(path, source, only));
        }
    }
    found.sort();
    found.dedup();
    found
}

fn test_only_modules(files: &[(String, String)]) -> Vec<Module> {
    let parsed = files.iter().filter_map(|(path, source)| {
        let module = names::module_of(path)?;
        let file = syn::parse_file(source).ok()?;
        Some(syntax::test_only_modules(&module, &file.items, syntax::is_test_only(&file.attrs)))
    });
    parsed.flatten().collect()
}
