//! Finds and reads the files of a configuration.

use super::{caps, mistake::Mistake, text::grouped};
use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
};

/// The realms that ship with the program: file name and text.
pub const SHIPPED: [(&str, &str); 5] = [
    ("recover.toml", include_str!("../../deploy/realms/recover.toml")),
    ("recoup.toml", include_str!("../../deploy/realms/recoup.toml")),
    ("recotap.toml", include_str!("../../deploy/realms/recotap.toml")),
    ("recurr.toml", include_str!("../../deploy/realms/recurr.toml")),
    ("recovea.toml", include_str!("../../deploy/realms/recovea.toml")),
];

/// A file's name, for messages, its text, and where relative paths in it begin: in its directory. Those of a realm that comes
/// with the program stay relative, since that directory is not known before the server's settings are.
pub struct Source {
    pub file: String,
    pub text: String,
    pub base: PathBuf,
}

/// The shipped realm files.
pub fn shipped() -> Vec<Source> {
    let named = |(name, text): (&str, &str)| Source {
        file: format!("shipped realm `{name}`"),
        text: text.to_owned(),
        base: PathBuf::new(),
    };
    SHIPPED.map(named).into()
}

/// The realm files that these paths name: files themselves, and every `*.toml` of directories, by name.
pub fn realm_files(paths: &[PathBuf], mistakes: &mut Vec<Mistake>) -> Vec<Source> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match toml_files(path) {
            Ok(found) if found.is_empty() => {
                mistakes.push(of_file(
                    path,
                    "holds no realm".to_owned(),
                    "must be a file, or a directory with `*.toml` files",
                ));
            }
            Ok(found) => files.extend(found),
            Err(error) => mistakes.push(unreadable(path, &error)),
        }
    }
    files.sort();
    files.dedup();
    if files.len() > caps::REALMS {
        let problem = format!("is one of {} realm files", grouped(files.len() as u64));
        let first = files.get(caps::REALMS).cloned().unwrap_or_default();
        mistakes.push(of_file(&first, problem, &format!("must be at most {}", caps::REALMS)));
        files.truncate(caps::REALMS);
    }
    files.iter().filter_map(|file| read(file, mistakes)).collect()
}

/// The files that these paths lead to, readable or not.
pub fn found(paths: &[PathBuf]) -> Vec<PathBuf> {
    let of = |path: &PathBuf| match toml_files(path) {
        Ok(found) if path.is_dir() && !found.is_empty() => found,
        _ => vec![path.clone()],
    };
    paths.iter().flat_map(of).collect()
}

/// Reads one file.
pub fn read(path: &Path, mistakes: &mut Vec<Mistake>) -> Option<Source> {
    let mut bytes = Vec::new();
    let reading =
        fs::File::open(path).and_then(|file| file.take(caps::FILE_BYTES.saturating_add(1)).read_to_end(&mut bytes));
    if let Err(error) = reading {
        mistakes.push(unreadable(path, &error));
        return None;
    }
    if bytes.len() as u64 > caps::FILE_BYTES {
        mistakes.push(of_file(
            path,
            "is too large".to_owned(),
            &format!("must be at most {} bytes", grouped(caps::FILE_BYTES)),
        ));
        return None;
    }
    let file = path.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => {
            let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            Some(Source { file, text, base: whole.parent().unwrap_or(&whole).to_owned() })
        }
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            mistakes.push(of_file(path, format!("is not UTF-8 from byte {at} on"), "must be UTF-8 text"));
            None
        }
    }
}

fn toml_files(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden && path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Mistake {
    of_file(path, format!("cannot be read: {error}"), "must be a readable file")
}

fn of_file(path: &Path, problem: String, allowed: &str) -> Mistake {
    let (file, path) = (path.display().to_string(), String::new());
    Mistake { file, line: 0, column: 0, path, problem, allowed: allowed.to_owned() }
}
