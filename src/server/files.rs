//! The two files that only their owner may read: the server secrets and the operator key.

use super::{StartError, entropy::SystemEntropy};
use crate::app::ports::{Entropy, EntropyError};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, chown},
    },
    path::{Path, PathBuf},
    time::Duration,
};
use zeroize::Zeroizing;

/// How the name of a draft ends.
const DRAFT: &str = ".draft";
/// How long writing one takes, and far longer.
const DRAFT_LIFE: Duration = Duration::from_secs(60);

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
    remove_leftovers(directory, path);
    let draft = &draft_of(path)?;
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

/// A name beside the file that nobody else has, be it a server on another machine or one that ended long ago.
fn draft_of(path: &Path) -> Result<PathBuf, StartError> {
    let mut random = [0; 8];
    let failed = |error: EntropyError| StartError::file(path, "written")(std::io::Error::other(error));
    SystemEntropy.fill(&mut random).map_err(failed)?;
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}{DRAFT}", u64::from_be_bytes(random)));
    Ok(draft.into())
}

/// Removes what servers left behind that were killed while they wrote this file: a draft holds a secret too. One that is
/// young may be somebody's who is writing right now.
#[expect(clippy::disallowed_methods, reason = "the age of a file is the time of day less the file's")]
fn remove_leftovers(directory: &Path, path: &Path) {
    let (Some(name), Ok(entries)) = (path.file_name(), fs::read_dir(directory)) else { return };
    let is_draft = |found: &[u8]| {
        let marked = found.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_suffix(DRAFT.as_bytes()));
        marked.is_some_and(|mark| mark.starts_with(b"."))
    };
    for entry in entries.flatten().filter(|entry| is_draft(entry.file_name().as_bytes())) {
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|written| written.elapsed().ok());
        if age.is_some_and(|age| age > DRAFT_LIFE) {
            // That it cannot be removed is no reason not to start.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn sync(directory: &Path) -> Result<(), StartError> {
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(StartError::file(directory, "synced"))
}

/// A secret file that nobody else changes meanwhile, as long as they ask for it in the same way. A lock on its directory leaves
/// no file behind.
pub(super) struct Held {
    path: PathBuf,
    directory: PathBuf,
    _lock: File,
}

impl Held {
    /// Takes hold of a file; where it is a link, of the file that it leads to.
    pub(super) fn take(path: &Path) -> Result<Self, StartError> {
        let missing = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => StartError::SecretsMissing { path: path.to_owned() },
            _ => StartError::file(path, "read")(error),
        };
        let path = path.canonicalize().map_err(missing)?;
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        let lock = File::open(&directory).map_err(StartError::file(&directory, "opened"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, directory, _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let problem = "somebody else is changing it just now; try again when they are done".to_owned();
                Err(StartError::SecretsChange { path, problem })
            }
            Err(TryLockError::Error(error)) => Err(StartError::file(&directory, "locked")(error)),
        }
    }

    /// The file itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts another text in its place, whole or not at all. Mode and owner stay.
    pub(super) fn replace(&self, text: &str) -> Result<(), StartError> {
        remove_leftovers(&self.directory, &self.path);
        let draft = &draft_of(&self.path)?;
        let as_before = || {
            let before = fs::metadata(&self.path)?;
            write_draft(draft, text)?;
            let now = fs::metadata(draft)?;
            if (now.uid(), now.gid()) != (before.uid(), before.gid()) {
                chown(draft, Some(before.uid()), Some(before.gid()))?;
            }
            fs::set_permissions(draft, before.permissions())?;
            fs::rename(draft, &self.path)
        };
        let written: std::io::Result<()> = as_before();
        if let Err(error) = written {
            // What is left of the draft is of no use; that it cannot be removed changes nothing.
            let _ = fs::remove_file(draft);
            return Err(StartError::file(&self.path, "written")(error));
        }
        sync(&self.directory)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn no_draft_is_left_and_none_that_was_left_is_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        // As a process with the same number left it: in a container every server may have the same.
        let old = format!("secrets.{}.draft", std::process::id());
        for name in [old.as_str(), "secrets.young.draft", "other.1.draft", "secrets-1.draft"] {
            let file = File::create(folder.path().join(name)).unwrap();
            if name != "secrets.young.draft" {
                file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
            }
        }
        assert!(write(&path, "one", false).unwrap());
        assert!(!write(&path, "two", false).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "one");
        assert!(write(&path, "three", true).unwrap());
        assert_eq!(fs::read_to_string(&path).unwrap(), "three");
        assert_eq!(names(folder.path()), ["other.1.draft", "secrets", "secrets-1.draft", "secrets.young.draft"]);
    }
}
