//! Putting a backup into the store that the settings name, without serving.

use super::{StartError, background_runtime, clock::SystemClock, dumps, secrets, store_options};
use crate::{
    app::backup::{LeftOut, RestoreError, Restored, Restorer},
    app::ports::Clock,
    app::ports::backup::Totals,
    config::Settings,
    store::{
        Backend,
        record::{BackupFlaw, BackupReader},
    },
};
use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Bytes of the file that are read together.
const READ_BYTES: usize = 1 << 20;
/// Accounts that are left out and named; more of them are counted alone.
const NAMED: usize = 1_000;
/// Parts between two words of progress.
const STEP: u64 = 10_000;

/// Why nothing, or nothing more, was restored.
#[derive(Debug, thiserror::Error)]
pub enum NotRestored {
    /// The store cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file is not one that can be restored. Nothing was written.
    #[error("`{}` is not restored: {flaw}", path.display())]
    Flaw {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: BackupFlaw,
    },
    /// The store does not take it.
    #[error("{0}")]
    Store(#[from] RestoreError),
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RestoreReport {
    /// Where the store is.
    pub store: String,
    /// Accounts that the store did not have.
    pub written: u64,
    /// Accounts that it had in an older state.
    pub advanced: u64,
    /// Accounts that it had in the same state.
    pub same: u64,
    /// Accounts that it has in a newer state.
    pub newer: u64,
    /// Keys that were written.
    pub keys: u64,
    /// Accounts that stay as they are although the backup has them otherwise: realm, account, why. The first of them.
    pub left_out: Vec<(String, String, &'static str)>,
    /// How many those are.
    pub left_out_count: u64,
}

/// What a restore is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreStep {
    /// The file is checked; so many accounts of it were read.
    Checking(u64),
    /// It is written; so many accounts were, of so many.
    Writing(u64, u64),
}

/// Checks the whole file, then puts it into the store that the settings name. `merge`: also into one that holds accounts.
///
/// # Errors
/// When the file is wrong: then nothing is written. When the store cannot be opened, holds accounts and must not, or fails: what was
/// written so far stays, and the same again with `merge` goes on.
pub fn restore(
    settings: &Settings,
    path: &Path,
    merge: bool,
    mut progress: impl FnMut(RestoreStep),
) -> Result<RestoreReport, NotRestored> {
    dumps::forbid()?;
    let ring = secrets::existing(&settings.secrets_path(), SystemClock::new().now())?;
    let open = || -> Result<_, NotRestored> {
        let file = File::open(path).map_err(StartError::file(path, "opened"))?;
        let regular = file.metadata().is_ok_and(|data| data.is_file());
        if !regular {
            let cause = io::Error::other("it is read twice, so it must be a file on a disk, no pipe");
            return Err(StartError::file(path, "restored")(cause).into());
        }
        Ok(BufReader::with_capacity(READ_BYTES, file))
    };
    let flaw = |flaw| NotRestored::Flaw { path: path.to_owned(), flaw };
    let (mut reader, _) = BackupReader::open(open()?, &ring).map_err(flaw)?;
    let mut parts = 0_u64;
    while reader.next_part().map_err(flaw)?.is_some() {
        parts = parts.saturating_add(1);
        if parts.checked_rem(STEP) == Some(0) {
            progress(RestoreStep::Checking(reader.totals().accounts));
        }
    }
    let Totals { accounts, .. } = reader.totals();

    let clock = Arc::new(SystemClock::new());
    let options = store_options(settings);
    background_runtime()?.block_on(async {
        let store = Backend::open(&options, &ring, clock).await.map_err(StartError::from)?;
        let mut restorer = Restorer::new(store.at_leisure(), merge);
        let (mut reader, header) = BackupReader::open(open()?, &ring).map_err(flaw)?;
        restorer.begin(header).await?;
        let mut parts = 0_u64;
        while let Some(part) = reader.next_part().map_err(flaw)? {
            restorer.take(part).await?;
            parts = parts.saturating_add(1);
            if parts.checked_rem(STEP) == Some(0) {
                progress(RestoreStep::Writing(restorer.accounts(), accounts));
            }
        }
        Ok(report(store.describe(), restorer.finish()))
    })
}

fn report(store: String, done: Restored) -> RestoreReport {
    let Restored { written, advanced, same, newer, keys, left_out, .. } = done;
    let left_out_count = left_out.len() as u64;
    let named = |LeftOut { owner, why }| (owner.realm.to_string(), owner.account.to_string(), why);
    let left_out = left_out.into_iter().take(NAMED).map(named).collect();
    RestoreReport { store, written, advanced, same, newer, keys, left_out, left_out_count }
}
