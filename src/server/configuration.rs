//! What the files say, read and checked: everything that follows from them and that a server takes over while it runs.
//!
//! Whatever else is to be read anew with it is one more field here: read in [`Configuration::open`] and
//! [`Configuration::again`], its files named in [`Configuration::files`], and put in place where `reload` puts all of it in
//! place.

use super::{
    StartError, post,
    reload::Footprint,
    secrets,
    tls::{self, Certificates},
    vault,
    vault::Watch,
};
use crate::{
    app::{house::House, ports::Entropy, vault::Vault},
    config::{self, Loaded, Settings},
    courier::{Codes, Post},
    domain::{
        key::SecretRing,
        realm::{Realms, Routing},
    },
    store::record::BackupFormat,
    tokens::Issuers,
};
use std::{path::PathBuf, sync::Arc};

/// One state of the configuration.
pub(super) struct Configuration {
    /// The settings that the server goes by.
    pub(super) settings: Settings,
    pub(super) loaded: Loaded,
    pub(super) routing: Arc<Routing>,
    pub(super) ring: SecretRing,
    pub(super) vault: Arc<Vault>,
    pub(super) issuers: Arc<Issuers>,
    pub(super) post: Arc<Post>,
    pub(super) codes: Arc<Codes>,
    pub(super) certificates: Arc<Certificates>,
    /// What the secrets say that messages are signed with.
    signed_with: Footprint,
    watch: Watch,
}

/// What the files say, every one of them right.
struct Read {
    loaded: Loaded,
    ring: SecretRing,
    issuers: Issuers,
    post: Post,
    codes: Codes,
    vault: Arc<Vault>,
    certificates: Certificates,
}

/// Files that are not taken over.
pub(super) struct Refused {
    /// Everything that is wrong with them.
    pub(super) error: StartError,
    /// The files that decide whether it still is, beside settings and realms.
    pub(super) files: Vec<PathBuf>,
}

impl Configuration {
    /// The state that a server starts with.
    pub(super) fn open(settings: Settings, loaded: Loaded, ring: SecretRing, watch: Watch) -> Result<Self, StartError> {
        let mut errors = Vec::new();
        let issuers = kept(&mut errors, Issuers::open(&loaded.realms, &ring, &watch.clock).map_err(of_issuers));
        let post = kept(&mut errors, post::open(&settings, &loaded.realms, None));
        let codes = kept(&mut errors, post::open_codes(&settings.data_dir, &loaded.realms));
        let vault = kept(&mut errors, vault::load(&settings.vault, &watch).map_err(|error| vec![error]));
        let certificates = kept(&mut errors, Certificates::load(&settings, None));
        let (Some(issuers), Some(post), Some(codes), Some(vault), Some(certificates)) =
            (issuers, post, codes, vault, certificates)
        else {
            return Err(StartError::of(errors));
        };
        let read = Read { loaded, ring, issuers, post, codes, vault: Arc::new(vault), certificates };
        Ok(Self::of(settings, read, watch))
    }

    /// The state that follows this one, with these settings. Nothing of this one changes; what is still the same goes on.
    pub(super) fn again(&self, settings: Settings) -> Result<Self, Refused> {
        let mut errors = Vec::new();
        let loaded = config::read(&settings).map_err(|mistakes| vec![StartError::Configuration(mistakes)]);
        let mut loaded = kept(&mut errors, loaded);
        if let Some(loaded) = &mut loaded {
            loaded.keep_equals_of(&self.loaded);
        }
        let ring =
            secrets::reread(&settings.secrets_path(), &self.ring, self.watch.clock.now()).map_err(|error| vec![error]);
        let ring = kept(&mut errors, ring);
        let vault = kept(&mut errors, vault::load(&settings.vault, &self.watch).map_err(|error| vec![error]));
        let realms = loaded.as_ref().map(|loaded| &loaded.realms);
        let issuers = realms.and_then(|realms| {
            let issuers = self.issuers.successor(realms, ring.as_ref().unwrap_or(&self.ring), &self.watch.clock);
            kept(&mut errors, issuers.map_err(of_issuers))
        });
        let post = realms.and_then(|realms| kept(&mut errors, post::open(&settings, realms, Some(&self.post))));
        let codes = realms.and_then(|realms| kept(&mut errors, post::open_codes(&settings.data_dir, realms)));
        let certificates = kept(&mut errors, Certificates::load(&settings, Some(&self.certificates)));
        let files = files(&settings, realms.unwrap_or(&self.loaded.realms));
        let (Some(loaded), Some(ring), Some(vault), Some(issuers), Some(post), Some(codes), Some(certificates)) =
            (loaded, ring, vault, issuers, post, codes, certificates)
        else {
            return Err(Refused { error: StartError::of(errors), files });
        };
        let vault = if self.vault.is(&vault) { Arc::clone(&self.vault) } else { Arc::new(vault) };
        let read = Read { loaded, ring, issuers, post, codes, vault, certificates };
        Ok(Self::of(settings, read, self.watch.clone()))
    }

    fn of(settings: Settings, read: Read, watch: Watch) -> Self {
        let Read { loaded, ring, issuers, post, codes, vault, certificates } = read;
        Self {
            routing: Arc::new(settings.routing.clone()),
            signed_with: post::said(&settings.data_dir, &loaded.realms),
            settings,
            loaded,
            ring,
            vault,
            issuers: Arc::new(issuers),
            post: Arc::new(post),
            codes: Arc::new(codes),
            certificates: Arc::new(certificates),
            watch,
        }
    }

    /// The same state at this instant, when another version of the server secret is current or one retires.
    pub(super) fn turned(&self) -> Result<Self, StartError> {
        let ring = self.ring.at(self.watch.clock.now());
        let issuers = self.issuers.successor(&self.loaded.realms, &ring, &self.watch.clock);
        Ok(Self {
            settings: self.settings.clone(),
            loaded: self.loaded.clone(),
            routing: Arc::clone(&self.routing),
            ring,
            vault: Arc::clone(&self.vault),
            issuers: Arc::new(issuers.map_err(|errors| StartError::of(of_issuers(errors)))?),
            post: Arc::clone(&self.post),
            codes: Arc::clone(&self.codes),
            certificates: Arc::clone(&self.certificates),
            signed_with: self.signed_with,
            watch: self.watch.clone(),
        })
    }

    /// The house that follows from it: the first one, or the one after `before`.
    pub(super) fn house(&self, before: Option<&House>, entropy: &Arc<dyn Entropy>) -> House {
        let realms = &self.loaded.realms;
        let house = match before {
            Some(before) => before.successor(realms, &self.ring),
            None => House::new(realms, &self.ring, Arc::clone(&self.watch.clock), Arc::clone(entropy))
                .with_meter(Arc::clone(&self.watch.meter))
                .with_budget(self.settings.limits.misses_per_source),
        };
        let house = house.with_certified(self.settings.management.certificates.as_slice().into());
        let house = house.read_only(self.settings.management.read_only);
        let house = house.with_told_denials(self.settings.log.denials_per_second);
        let house = house.with_tokens(self.issuers.clone()).with_vault(Arc::clone(&self.vault));
        let house = house.with_messenger(self.codes.clone()).with_archive(Arc::new(BackupFormat::new(&self.ring)));
        house.with_courier(self.post.clone(), self.settings.audit_export_file.is_some())
    }

    /// Says in the log which realms cannot bring codes, or do so in the open.
    pub(super) fn tell_weaknesses(&self) {
        post::tell_weaknesses(&self.codes, &self.settings.data_dir, &self.loaded.realms);
    }

    /// The files that it comes from, beside settings and realms.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        files(&self.settings, &self.loaded.realms)
    }

    /// What is another than in `before`, in words, beside the realms themselves.
    pub(super) fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if before.ring.states() != self.ring.states() {
            found.push(format!("the server secrets (the newest version is {})", self.ring.newest_version()));
        }
        if self.routing != before.routing {
            found.push("`[envoy]`".to_owned());
        }
        if !Arc::ptr_eq(&self.vault, &before.vault) {
            found.push("`[vault]`".to_owned());
        }
        if !self.issuers.are(&before.issuers) {
            found.push("the issuers of tokens".to_owned());
        }
        if self.signed_with != before.signed_with {
            found.push("the secrets of webhooks and of onboarding".to_owned());
        }
        found.extend(self.certificates.differences(&before.certificates).map(|table| format!("`[{table}]`")));
        if self.settings.management.certificates != before.settings.management.certificates {
            found.push("`[[management.certificates]]`".to_owned());
        }
        if self.settings.log != before.settings.log {
            found.push("`[log]`".to_owned());
        }
        if self.settings.traces != before.settings.traces {
            found.push("`[traces]`".to_owned());
        }
        if self.settings.management.read_only != before.settings.management.read_only {
            found.push("`management.read_only`".to_owned());
        }
        if self.settings.check_every != before.settings.check_every {
            found.push("`[reload]`".to_owned());
        }
        found
    }
}

/// The files that a state of the configuration comes from, beside settings and realms.
pub(super) fn files(settings: &Settings, realms: &Realms) -> Vec<PathBuf> {
    let named = Issuers::files(realms).chain(vault::key_files(&settings.vault)).map(ToOwned::to_owned);
    let secrets = post::secret_files(&settings.data_dir, realms);
    let certificates = tls::files(settings).map(ToOwned::to_owned);
    std::iter::once(settings.secrets_path()).chain(named).chain(secrets).chain(certificates).collect()
}

/// The value, or nothing, and its errors noted.
fn kept<T>(errors: &mut Vec<StartError>, found: Result<T, Vec<StartError>>) -> Option<T> {
    found.map_err(|found| errors.extend(found)).ok()
}

fn of_issuers(errors: Vec<crate::tokens::IssuerError>) -> Vec<StartError> {
    errors.into_iter().map(StartError::Issuers).collect()
}
