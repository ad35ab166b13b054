//! Text into checked values of the domain: the server's settings and one file for each realm. Every mistake of every
//! file is found in one run, with its place and what is allowed, before anything is started.
//!
//! Knows the domain and TOML; must never know who serves, stores or asks.

mod address;
mod builtin;
mod caps;
mod lines;
mod loaded;
mod mistake;
mod reader;
mod realm;
mod report;
mod settings;
mod sources;
#[cfg(test)]
mod tests;
mod text;

pub use loaded::{Loaded, RealmChanges};
pub use mistake::{Mistake, Mistakes};
pub use settings::{
    CacheSettings, ClientCertificates, KekSettings, KekSource, ListenerName, ListenerTls, LoadSettings, LogFormat,
    LogLevel, LogSettings, ManagementSettings, RealmFiles, RedisSettings, RedisUrl, SentinelSettings, Settings,
    StoreKind, StoreSettings, TlsSettings, TracesProtocol, TracesSettings, TransitSettings, VaultSettings,
};

use crate::domain::{
    id::RealmName,
    realm::{Realm, Realms},
};
use realm::Draft;
use report::Mark;
use sources::Source;
use std::path::{Path, PathBuf};

/// What a realm file says, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmSummary {
    /// The file, as it was named.
    pub file: String,
    /// The realm's name.
    pub name: RealmName,
    /// Its name for people.
    pub title: String,
    /// Name and key prefix of each environment.
    pub environments: Vec<(String, String)>,
    /// How many scopes it has.
    pub scopes: usize,
    /// How many operations it has.
    pub operations: usize,
    /// How many limits it has.
    pub limits: usize,
    /// How many errors it can answer with, those included that keygate adds because the file names none.
    pub errors: usize,
}

/// Loads every realm that the settings name, and the built-in one.
///
/// # Errors
/// With every mistake of every file.
pub fn load(settings: &Settings) -> Result<Realms, Mistakes> {
    read(settings).map(|loaded| loaded.realms)
}

/// The same, with the texts that they come from.
///
/// # Errors
/// With every mistake of every file.
pub fn read(settings: &Settings) -> Result<Loaded, Mistakes> {
    let mut mistakes = Vec::new();
    let sources = match &settings.realms {
        RealmFiles::Shipped => sources::shipped(),
        RealmFiles::Paths(paths) => sources::realm_files(paths, &mut mistakes),
    };
    let realms = together(&sources, &mut mistakes);
    for (path, name) in settings.routing.realms() {
        if !realms.iter().any(|(_, realm)| realm.name == *name) {
            let (file, problem) = ("settings".to_owned(), format!("`{name}` is no realm of this server"));
            let allowed = "must be one of its realms".to_owned();
            mistakes.push(Mistake { file, line: 0, column: 0, path, problem, allowed });
        }
    }
    mistakes.extend(settings::wrong_certificates(settings, &realms));
    let releasing = realms.iter().find(|(_, realm)| !realm.providers.is_empty());
    if let Some((_, realm)) = releasing.filter(|_| settings.vault.keks.is_empty()) {
        let problem = format!("is missing, and realm `{}` has `[[providers]]`", realm.name);
        let allowed = "must be at least one key: see docs/vault.md".to_owned();
        let (file, path) = ("settings".to_owned(), "vault.key_encryption_keys".to_owned());
        mistakes.push(Mistake { file, line: 0, column: 0, path, problem, allowed });
    }
    let loaded = mistakes.is_empty().then(|| Loaded::new(realms, &sources));
    Mistakes::unless_none(mistakes, loaded)
}

/// The files that realms are read from, as they are there now. Of a directory that cannot be read, the directory.
#[must_use]
pub fn realm_files(realms: &RealmFiles) -> Vec<PathBuf> {
    match realms {
        RealmFiles::Shipped => Vec::new(),
        RealmFiles::Paths(paths) => sources::found(paths),
    }
}

/// Checks realm files, and directories of them, as if a server were started with them and no others. Gives their fingerprint, too.
///
/// # Errors
/// With every mistake of every file.
pub fn check_files(paths: &[PathBuf]) -> Result<(Vec<RealmSummary>, String), Mistakes> {
    let mut mistakes = Vec::new();
    let sources = sources::realm_files(paths, &mut mistakes);
    let realms = together(&sources, &mut mistakes);
    let written = realms.iter().filter(|(_, realm)| !builtin::owns(&realm.name));
    let summaries = written.map(|(file, realm)| summary(file, realm)).collect();
    let fingerprint = Loaded::new(realms, &sources).fingerprint().to_owned();
    Mistakes::unless_none(mistakes, Some((summaries, fingerprint)))
}

/// Reads one realm. `file_name` serves in messages; relative paths in the text are taken from its directory.
///
/// # Errors
/// With every mistake of the text.
pub fn parse_realm(file_name: &str, text: &str) -> Result<Realm, Mistakes> {
    let mut mistakes = Vec::new();
    let base = Path::new(file_name).parent().unwrap_or(Path::new("")).to_owned();
    let source = Source { file: file_name.to_owned(), text: text.to_owned(), base };
    let realms = together(&[source], &mut mistakes);
    let realm = realms.into_iter().map(|(_, realm)| realm).find(|realm| !builtin::owns(&realm.name));
    Mistakes::unless_none(mistakes, realm)
}

/// Reads files and the built-in realm and checks that they can live side by side. Gives each realm with its file's name.
fn together(sources: &[Source], mistakes: &mut Vec<Mistake>) -> Vec<(String, Realm)> {
    let mut built_in = builtin::read();
    let drafts: Vec<Draft> =
        sources.iter().map(|source| realm::read(&source.file, &source.text, &source.base)).collect();
    let mut names: Vec<&(RealmName, Mark)> = Vec::new();
    for named in drafts.iter().filter_map(|draft| draft.name.as_ref()) {
        let (name, mark) = named;
        if builtin::owns(name) {
            mistakes.push(mark.mistake(format!("`{name}` is the built-in realm"), "must be another name".to_owned()));
        } else if let Some((_, first)) = names.iter().find(|(other, _)| other == name) {
            mistakes.push(mark.mistake(
                format!("`{name}` is the realm of {} already", place(first)),
                "must be another name".to_owned(),
            ));
        } else {
            names.push(named);
        }
    }
    builtin::extend(&mut built_in, names.iter().map(|(name, _)| name));
    prefixes_apart(std::iter::once(&built_in).chain(&drafts), mistakes);

    let files = sources.iter().map(|source| source.file.clone()).chain(std::iter::once(String::new()));
    let read = files.zip(drafts.into_iter().chain(std::iter::once(built_in)));
    let mut realms = Vec::new();
    for (file, draft) in read {
        mistakes.extend(draft.mistakes);
        realms.extend(draft.realm.map(|realm| (file, realm)));
    }
    realms
}

/// A key must be of one environment of one realm: no prefix may begin with another.
fn prefixes_apart<'d>(drafts: impl Iterator<Item = &'d Draft>, mistakes: &mut Vec<Mistake>) {
    let mut seen: Vec<&(String, Mark)> = Vec::new();
    for prefixed in drafts.flat_map(|draft| &draft.prefixes) {
        let (prefix, mark) = prefixed;
        let twin =
            seen.iter().find(|(other, _)| other.starts_with(prefix.as_str()) || prefix.starts_with(other.as_str()));
        match twin {
            None => seen.push(prefixed),
            Some((other, first)) => {
                let problem = format!("`{prefix}` and `{other}` of {} begin alike", place(first));
                mistakes.push(mark.mistake(problem, "no prefix may begin with another one".to_owned()));
            }
        }
    }
}

fn place(mark: &Mark) -> String {
    format!("{}:{}:{}", mark.file, mark.line, mark.column)
}

fn summary(file: &str, realm: &Realm) -> RealmSummary {
    let environments = realm.environments.iter();
    RealmSummary {
        file: file.to_owned(),
        name: realm.name.clone(),
        title: realm.title.clone(),
        environments: environments.map(|e| (e.name.to_string(), e.format.prefix().to_owned())).collect(),
        scopes: realm.scopes.names().count(),
        operations: realm.operations.list().len(),
        limits: realm.limits.len(),
        errors: realm.envelope.codes().count(),
    }
}
