//! The two files that only their owner may read: the server secrets and the operator key.

use super::StartError;
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};
use zeroize::Zeroizing;

/// What a secret file holds, if it is there.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, StartError> {
    match fs::read_to_string(path) {
        Ok(text) => {
            warn_if_open(path);
            Ok(Some(Zeroizing::new(text)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StartError::file(path, "read")(error)),
    }
}

/// Writes a secret file with mode 0600, whole or not at all, and makes its directory if need be. It reaches the disk before
/// this returns. `replace`: also over a file that is there; else such a file stays, and the answer is false.
pub(super) fn write(path: &Path, text: &str, replace: bool) -> Result<bool, StartError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut maker = DirBuilder::new();
    maker.recursive(true).mode(0o700).create(directory).map_err(StartError::file(directory, "made"))?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.draft", std::process::id()));
    let draft = Path::new(&draft);
    let written = write_draft(draft, text).and_then(|()| {
        if replace {
            fs::rename(draft, path)
        } else {
            // A link, unlike a rename, never takes the place of a file that somebody else wrote in the meantime.
            fs::hard_link(draft, path).and_then(|()| fs::remove_file(draft))
        }
    });
    if let Err(error) = written {
        // What is left of the draft is of no use; that it cannot be removed changes nothing.
        let _ = fs::remove_file(draft);
        let somebody_was_faster = !replace && error.kind() == ErrorKind::AlreadyExists && path.exists();
        return if somebody_was_faster { Ok(false) } else { Err(StartError::file(path, "written")(error)) };
    }
    sync(directory).map(|()| true)
}

/// Gives a secret file another name, in the place of the file that has it. It reaches the disk before this returns.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), StartError> {
    fs::rename(from, to).map_err(StartError::file(from, "renamed"))?;
    sync(to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

fn sync(directory: &Path) -> Result<(), StartError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(StartError::file(directory, "synced"))
}

fn write_draft(draft: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn warn_if_open(path: &Path) {
    let mode = fs::metadata(path).map(|data| data.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), mode = format!("{:o}", mode & 0o777), "others than its owner may read this secret file; give it mode 600");
    }
}
