//! The key-encryption keys: read from where the settings say, all that is wrong with any of them told at once.

use super::{StartError, files};
use crate::{
    app::{
        meter::Meter,
        ports::{
            Clock, KeyService, KeyServiceAnswer, KeyServiceError,
            trace::{self, Kind},
        },
        vault::{Kek, KeyRing, ServiceKey, Vault},
    },
    config::{KekSettings, KekSource, TransitSettings, VaultSettings},
    domain::{
        id::KekName,
        seal::{DataKey, KeyEncryptionKey},
    },
    kms::{Transit, TransitOptions},
};
use data_encoding::HEXLOWER_PERMISSIVE;
use sha2::{Digest, Sha256};
use std::{env, path::Path, sync::Arc};
use zeroize::Zeroizing;

/// What a key must be, wherever it is read from.
const FORM: &str = "must hold 64 hexadecimal digits, such as `openssl rand -hex 32` makes";

/// What key services are measured with.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) meter: Arc<Meter>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A key service whose answers are counted and timed.
struct Measured<K> {
    service: K,
    watch: Watch,
}

impl<K> Measured<K> {
    async fn timed<T>(&self, opens: bool, answer: KeyServiceAnswer<'_, T>) -> Result<T, KeyServiceError> {
        let Watch { meter, clock } = &self.watch;
        let name = if opens { "key service open" } else { "key service wrap" };
        let span = trace::here().map(|here| here.step(name, Kind::Client));
        let begun = clock.ticks();
        let answer = answer.await;
        if let Some(span) = &span {
            span.ended(answer.is_err().then_some("unavailable"));
        }
        let [wrap, open] = &meter.key_service;
        let (took, failed) = if opens { open } else { wrap };
        took.note(clock.ticks().since(begun));
        if answer.is_err() {
            failed.one();
        }
        answer
    }
}

impl<K: KeyService> KeyService for Measured<K> {
    fn wrap<'a>(&'a self, bound: &'a [u8], key: &'a DataKey) -> KeyServiceAnswer<'a, Vec<u8>> {
        Box::pin(self.timed(false, self.service.wrap(bound, key)))
    }

    fn open<'a>(&'a self, bound: &'a [u8], wrapped: &'a [u8]) -> KeyServiceAnswer<'a, DataKey> {
        Box::pin(self.timed(true, self.service.open(bound, wrapped)))
    }
}

/// The vault that the settings describe.
pub(super) fn load(settings: &VaultSettings, watch: &Watch) -> Result<Vault, StartError> {
    let mut problems = Vec::new();
    let (mut primary, mut others) = (None, Vec::new());
    for kek in &settings.keks {
        match read(kek, watch) {
            Ok(key) if kek.primary => primary = Some((kek.name.clone(), key)),
            Ok(key) => others.push((kek.name.clone(), key)),
            Err(problem) => problems.push(format!("key-encryption key `{}`: {problem}", kek.name)),
        }
    }
    if let Some((one, other)) = twins(primary.iter().chain(&others)) {
        problems.push(format!("key-encryption keys `{one}` and `{other}` are the same key: each must be another"));
    }
    if !problems.is_empty() {
        return Err(StartError::Vault(problems.join("; ")));
    }
    Ok(match primary {
        Some(primary) => Vault::new(KeyRing::new(primary, others), settings.remember),
        None => Vault::off(),
    })
}

/// The files that the keys are read from.
pub(super) fn key_files(settings: &VaultSettings) -> impl Iterator<Item = &Path> {
    settings.keks.iter().filter_map(|kek| match &kek.source {
        KekSource::File(path) => Some(path.as_path()),
        KekSource::Transit(transit) => transit.ca_file.as_deref(),
        KekSource::Variable(_) => None,
    })
}

fn read(kek: &KekSettings, watch: &Watch) -> Result<Kek, String> {
    match &kek.source {
        KekSource::File(path) => {
            let text = files::read(path).map_err(|error| error.to_string())?;
            let text = text.ok_or_else(|| format!("`{}` does not exist", path.display()))?;
            held(&text).ok_or_else(|| format!("`{}` {FORM}", path.display()))
        }
        KekSource::Variable(name) => match env::var(name) {
            Ok(text) => held(&Zeroizing::new(text)).ok_or_else(|| format!("the variable {name} {FORM}")),
            Err(env::VarError::NotPresent) => Err(format!("the variable {name} is not set")),
            Err(env::VarError::NotUnicode(_)) => Err(format!("the variable {name} {FORM}")),
        },
        KekSource::Transit(settings) => {
            let TransitSettings { url, mount, key, token_file, ca_file, timeout } = settings.clone();
            let transit = Transit::new(TransitOptions { url, mount, key, token_file, ca_file, timeout })?;
            let service = Arc::new(Measured { service: transit, watch: watch.clone() });
            Ok(Kek::Service(ServiceKey { service, identity: identity(settings) }))
        }
    }
}

/// The same for a key that is asked for alike: by the same settings, trusting the same authorities.
fn identity(settings: &TransitSettings) -> [u8; 32] {
    let authorities = settings.ca_file.as_ref().map(std::fs::read);
    let authorities = authorities.and_then(Result::ok).unwrap_or_default();
    Sha256::new_with_prefix(format!("{settings:?}")).chain_update(authorities).finalize().into()
}

fn held(text: &str) -> Option<Kek> {
    let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).ok()?);
    KeyEncryptionKey::from_slice(&bytes).map(Kek::Held)
}

/// Two names of one key: whoever rotates from one to the other would believe that the old one can go.
fn twins<'k>(keys: impl Iterator<Item = &'k (KekName, Kek)> + Clone) -> Option<(&'k KekName, &'k KekName)> {
    let held = keys.filter_map(|(name, kek)| match kek {
        Kek::Held(kek) => Some((name, kek)),
        Kek::Service(_) => None,
    });
    let mut rest = held.clone();
    while let Some((name, kek)) = rest.next() {
        if let Some((other, _)) = rest.clone().find(|(_, other)| kek.is(other)) {
            return Some((name, other));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, time::Duration};

    fn settings(files: &[(&str, bool, std::path::PathBuf)]) -> VaultSettings {
        let kek = |(name, primary, path): &(&str, bool, std::path::PathBuf)| KekSettings {
            name: KekName::new(name).unwrap(),
            primary: *primary,
            source: KekSource::File(path.clone()),
        };
        VaultSettings {
            release_on: Vec::new(),
            remember: Duration::from_secs(1),
            keks: files.iter().map(kek).collect(),
        }
    }

    #[test]
    fn every_key_that_cannot_be_read_is_told_and_none_is_shown() {
        let clock = Arc::new(crate::server::clock::SystemClock::new());
        let watch = Watch { meter: Arc::new(Meter::default()), clock };
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let good = put("good", &format!("{}\n", "ab".repeat(32)));
        let short = put("short", "abcd");
        let twin = put("twin", &"AB".repeat(32));
        let absent = folder.path().join("absent");
        assert!(load(&settings(&[("k1", true, good.clone())]), &watch).unwrap().is_on());
        assert!(!load(&settings(&[]), &watch).unwrap().is_on());
        let error = load(&settings(&[("k1", true, short), ("k2", false, absent), ("k3", false, good.clone())]), &watch);
        let error = error.err().unwrap().to_string();
        assert!(error.contains("`k1`: `") && error.contains("64 hexadecimal digits"), "{error}");
        assert!(
            error.contains("absent` does not exist") && !error.contains("abab") && !error.contains("abcd"),
            "{error}"
        );
        let error = load(&settings(&[("k1", true, good), ("k2", false, twin)]), &watch).err().unwrap().to_string();
        assert!(error.contains("`k1` and `k2` are the same key"), "{error}");
    }
}
