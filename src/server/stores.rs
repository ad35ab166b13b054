//! From settings to what a store is opened with; and a look at one without serving.

use super::{
    StartError, background_runtime, clock::SystemClock, dumps, journal::FileJournal, secrets, setback, store_options,
};
use crate::{
    app::{
        ports::{Clock, Store},
        recovery::{self, Setback},
    },
    config::{RedisSettings, Settings, StoreKind, TlsSettings},
    store::{
        Backend, embedded,
        redis::{RedisOptions, SentinelOptions, TlsFiles},
    },
};
use std::sync::Arc;

/// What a look at a store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreReport {
    /// Where it is.
    pub store: String,
    /// What is wrong with it.
    pub problems: Vec<StoreProblem>,
}

/// Something that is wrong with a store that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreProblem {
    /// Which kind of problem.
    pub code: &'static str,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Whether a server does not serve while it lasts.
    pub stops: bool,
}

/// Opens the store as a start does, tells what is wrong with it, and leaves it. Makes neither secrets nor an embedded store: whoever
/// looks with the wrong directory must not make a right one of it.
///
/// # Errors
/// When it cannot be opened: as a start would fail. When there are no secrets, or no embedded store.
pub fn check_store(settings: &Settings) -> Result<StoreReport, StartError> {
    dumps::forbid()?;
    let clock = Arc::new(SystemClock::new());
    let ring = secrets::existing(&settings.secrets_path(), clock.now())?;
    let data = settings.data_dir.join(embedded::FILE_NAME);
    if settings.store.kind == StoreKind::Embedded && !data.exists() {
        return Err(StartError::file(&data, "opened")(std::io::ErrorKind::NotFound.into()));
    }
    let options = store_options(settings);
    background_runtime()?.block_on(async {
        let store = Backend::open(&options, &ring, clock).await?;
        let behind = match settings.journal_path() {
            Some(path) => {
                let marks = FileJournal::look(&path, &ring)?;
                recovery::look(&store, marks).await.map_err(StartError::Recovery)?
            }
            None => Setback::default(),
        };
        let behind = (behind.accounts > 0).then(|| setback::problem(&behind));
        let found = store.examine().await.into_iter().chain(behind);
        let problems = found.map(|one| StoreProblem {
            code: one.code.name(),
            what: one.what,
            remedy: one.remedy,
            stops: one.stops,
        });
        Ok(StoreReport { store: store.describe(), problems: problems.collect() })
    })
}

/// How Redis is used.
pub(super) fn redis(settings: &RedisSettings) -> RedisOptions {
    let sentinel = &settings.sentinel;
    let own = (sentinel.files != TlsSettings::default()).then(|| files(&sentinel.files));
    RedisOptions {
        url: settings.url.expose().to_owned(),
        password_file: settings.password_file.clone(),
        tls: files(&settings.tls),
        sentinel: SentinelOptions {
            user: sentinel.user.clone(),
            password_file: sentinel.password_file.clone(),
            tls: sentinel.tls,
            files: own,
        },
        deadline: settings.deadline,
        connect_timeout: settings.connect_timeout,
        allow_no_persistence: settings.allow_no_persistence,
        allow_eviction: settings.allow_eviction,
        wait_replicas: settings.wait_replicas,
        wait_timeout: settings.wait_timeout,
    }
}

fn files(settings: &TlsSettings) -> TlsFiles {
    TlsFiles {
        ca_file: settings.ca_file.clone(),
        identity: settings.certificate_file.clone().zip(settings.key_file.clone()),
        server_name: settings.server_name.clone(),
    }
}
