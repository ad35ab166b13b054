//! Opening the data directory: what is there, whether it is ours, and what to tell if not.

use super::tables;
use crate::store::{
    marks::{self, Verdict},
    record::RecordCodec,
};
use redb::{Database, DatabaseError, StorageError};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The file inside the data directory.
pub const FILE_NAME: &str = "keygate.redb";
/// The format of the file's tables that this version writes. A file of a higher format is refused.
pub const FORMAT: u32 = 1;
const FORMAT_ENTRY: &str = "format";
/// As files of before tell which secret they were sealed with.
const WITNESS_ENTRY: &str = "witness";
/// Which versions of the server secret the file was sealed with: see [`marks`].
pub(super) const SECRETS_ENTRY: &str = "secrets";

/// Why a data directory could not be opened, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory is not there and could not be made.
    #[error("data directory `{}` cannot be made: {cause}; name a directory that this user may write to", .directory.display())]
    Directory {
        /// The data directory.
        directory: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// Another process has it.
    #[error("data directory `{}` is in use by another keygate process; stop that one, or name another directory", .directory.display())]
    InUse {
        /// The data directory.
        directory: PathBuf,
    },
    /// This user may not write.
    #[error("`{}` cannot be opened for reading and writing: {cause}; give this user the right to write to it and to its directory", .file.display())]
    NotWritable {
        /// The file.
        file: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// Not a file that keygate wrote, or damaged.
    #[error("`{}` cannot be read as a keygate store: {cause}; restore it from a backup, or move it away to start empty", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// Written by a newer keygate.
    #[error("`{}` has format {found}, and this keygate knows formats up to {known}; use the keygate that wrote it, or a newer one", .file.display())]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// The file's format.
        found: u32,
        /// The newest format that is known here.
        known: u32,
    },
    /// The writing thread could not be started.
    #[error("the writing thread of data directory `{}` cannot be started: {cause}; allow this user more threads", .directory.display())]
    Thread {
        /// The data directory.
        directory: PathBuf,
        /// What the operating system says.
        cause: io::Error,
    },
    /// Sealed with a version of the server secret that is not there any more.
    #[error("`{}`: {}; {}", .file.display(), marks::loss(.versions), marks::REMEDY)]
    SecretLost {
        /// The file.
        file: PathBuf,
        /// The versions.
        versions: Vec<u32>,
    },
    /// Sealed with another server secret.
    #[error("`{}` was written with another server secret; give keygate the secret that belongs to this data, older versions included", .file.display())]
    OtherSecret {
        /// The file.
        file: PathBuf,
    },
}

/// Opens the file, or makes it; afterwards every table exists.
pub(super) fn open(directory: &Path, codec: &RecordCodec, cache_bytes: usize) -> Result<Database, OpenError> {
    let file = directory.join(FILE_NAME);
    make_directory(directory).map_err(|cause| OpenError::Directory { directory: directory.to_owned(), cause })?;
    let is_new = !file.exists();
    let database = open_file(&file)
        .map_err(|cause| DatabaseError::Storage(StorageError::Io(cause)))
        .and_then(|opened| Database::builder().set_cache_size(cache_bytes).create_file(opened))
        .map_err(|error| explain(error, directory, &file))?;
    check(&database, codec, &file)?;
    if is_new {
        // Without this, a power failure could forget the file's very name.
        let named = fs::File::open(directory).and_then(|directory| directory.sync_all());
        named.map_err(|cause| OpenError::NotWritable { file, cause })?;
    }
    Ok(database)
}

/// Only the server's user may read a file that is made here.
fn open_file(file: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

#[cfg(unix)]
fn make_directory(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

#[cfg(not(unix))]
fn make_directory(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)
}

fn check(database: &Database, codec: &RecordCodec, file: &Path) -> Result<(), OpenError> {
    let unreadable = |error: redb::Error| OpenError::Unreadable { file: file.to_owned(), cause: error.to_string() };
    let transaction = database.begin_write().map_err(|error| unreadable(error.into()))?;
    check_meta(&transaction, codec, file, unreadable)?;
    transaction.commit().map_err(|error| unreadable(error.into()))
}

fn check_meta(
    transaction: &redb::WriteTransaction,
    codec: &RecordCodec,
    file: &Path,
    unreadable: impl Fn(redb::Error) -> OpenError,
) -> Result<(), OpenError> {
    let mut meta = transaction.open_table(tables::META).map_err(|error| unreadable(error.into()))?;
    let mut entry = |name: &'static str, otherwise: Vec<u8>| -> Result<Vec<u8>, redb::Error> {
        use redb::ReadableTable;
        if let Some(found) = meta.get(name)? {
            return Ok(found.value().to_vec());
        }
        meta.insert(name, otherwise.as_slice())?;
        Ok(otherwise)
    };
    let format = entry(FORMAT_ENTRY, FORMAT.to_be_bytes().to_vec()).map_err(&unreadable)?;
    let found = <[u8; 4]>::try_from(format.as_slice()).map(u32::from_be_bytes);
    match found {
        Ok(found) if found > FORMAT => {
            return Err(OpenError::NewerFormat { file: file.to_owned(), found, known: FORMAT });
        }
        Ok(FORMAT) => {}
        _ => {
            let cause = "it does not say which format it has".to_owned();
            return Err(OpenError::Unreadable { file: file.to_owned(), cause });
        }
    }
    let read = |name: &'static str| -> Result<Option<Vec<u8>>, redb::Error> {
        use redb::ReadableTable;
        Ok(meta.get(name)?.map(|found| found.value().to_vec()))
    };
    let marks = read(SECRETS_ENTRY).map_err(&unreadable)?;
    // A file of before tells of one version alone; others may have sealed since.
    let witness = read(WITNESS_ENTRY).map_err(&unreadable)?.filter(|_| marks.is_none());
    if witness.as_ref().is_some_and(|witness| !codec.knows_witness(witness)) {
        return Err(OpenError::OtherSecret { file: file.to_owned() });
    }
    match marks::judge(codec, marks.as_deref(), witness.is_some()) {
        Verdict::Known => {}
        Verdict::Note(noted) => {
            meta.insert(SECRETS_ENTRY, noted.as_slice()).map_err(|error| unreadable(error.into()))?;
        }
        Verdict::Lost(versions) => return Err(OpenError::SecretLost { file: file.to_owned(), versions }),
        Verdict::Foreign => return Err(OpenError::OtherSecret { file: file.to_owned() }),
    }
    drop(meta);
    super::write::Tables::open(transaction).map(drop).map_err(unreadable)
}

fn explain(error: DatabaseError, directory: &Path, file: &Path) -> OpenError {
    let file = file.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { directory: directory.to_owned() },
        DatabaseError::Storage(StorageError::Io(cause)) if cause.kind() != io::ErrorKind::InvalidData => {
            OpenError::NotWritable { file, cause }
        }
        other => OpenError::Unreadable { file, cause: other.to_string() },
    }
}
