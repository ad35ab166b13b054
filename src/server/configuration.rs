//! What the files say, read and checked: everything that follows from them and that a server takes over while it runs.
//!
//! Whatever else is to be read anew with it is one more field here: read in [`Configuration::open`] and
//! [`Configuration::again`], its files named in [`Configuration::files`], and put in place where `reload` puts all of it in
//! place.

use super::{StartError, post, secrets, vault};
use crate::{
    app::{
        house::House,
        ports::{Clock, Entropy},
        vault::Vault,
    },
    config::{self, Loaded, Settings},
    courier::Post,
    delivery::Messengers,
    domain::{
        key::SecretRing,
        onboarding::Delivery,
        realm::{Realms, Routing},
    },
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
    pub(super) messengers: Arc<Messengers>,
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
    pub(super) fn open(
        settings: Settings,
        loaded: Loaded,
        ring: SecretRing,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let mut errors = Vec::new();
        let issuers = kept(&mut errors, Issuers::open(&loaded.realms, &ring, clock).map_err(of_issuers));
        let post = kept(&mut errors, post::open(&settings, &loaded.realms, None));
        let vault = kept(&mut errors, vault::load(&settings.vault).map_err(|error| vec![error]));
        match (issuers, post, vault) {
            (Some(issuers), Some(post), Some(vault)) => {
                Ok(Self::of(settings, loaded, ring, Arc::new(vault), Arc::new(issuers), Arc::new(post)))
            }
            _ => Err(StartError::of(errors)),
        }
    }

    /// The state that follows this one, with these settings. Nothing of this one changes; what is still the same goes on.
    pub(super) fn again(&self, settings: Settings, clock: &Arc<dyn Clock>) -> Result<Self, Refused> {
        let mut errors = Vec::new();
        let loaded = config::read(&settings).map_err(|mistakes| vec![StartError::Configuration(mistakes)]);
        let mut loaded = kept(&mut errors, loaded);
        if let Some(loaded) = &mut loaded {
            loaded.keep_equals_of(&self.loaded);
        }
        let ring = secrets::reread(&settings.secrets_path(), &self.ring).map_err(|error| vec![error]);
        let ring = kept(&mut errors, ring);
        let vault = kept(&mut errors, vault::load(&settings.vault).map_err(|error| vec![error]));
        let realms = loaded.as_ref().map(|loaded| &loaded.realms);
        let issuers = realms.and_then(|realms| {
            let issuers = self.issuers.successor(realms, ring.as_ref().unwrap_or(&self.ring), clock);
            kept(&mut errors, issuers.map_err(of_issuers))
        });
        let post = realms.and_then(|realms| kept(&mut errors, post::open(&settings, realms, Some(&self.post))));
        let files = files(&settings, realms.unwrap_or(&self.loaded.realms));
        let (Some(loaded), Some(ring), Some(vault), Some(issuers), Some(post)) = (loaded, ring, vault, issuers, post)
        else {
            return Err(Refused { error: StartError::of(errors), files });
        };
        let vault = if self.vault.is(&vault) { Arc::clone(&self.vault) } else { Arc::new(vault) };
        Ok(Self::of(settings, loaded, ring, vault, Arc::new(issuers), Arc::new(post)))
    }

    fn of(
        settings: Settings,
        loaded: Loaded,
        ring: SecretRing,
        vault: Arc<Vault>,
        issuers: Arc<Issuers>,
        post: Arc<Post>,
    ) -> Self {
        let routing = Arc::new(settings.routing.clone());
        let secret = |file: &str| secrets::webhook(&settings.data_dir.join(file));
        let messengers = Arc::new(Messengers::new(&loaded.realms, secret));
        Self { settings, loaded, routing, ring, vault, issuers, post, messengers }
    }

    /// The house that follows from it: the first one, or the one after `before`.
    pub(super) fn house(&self, before: Option<&House>, clock: &Arc<dyn Clock>, entropy: &Arc<dyn Entropy>) -> House {
        let realms = &self.loaded.realms;
        let house = match before {
            Some(before) => before.successor(realms, &self.ring),
            None => House::new(realms, &self.ring, Arc::clone(clock), Arc::clone(entropy))
                .with_budget(self.settings.limits.misses_per_source),
        };
        let house = house.with_tokens(self.issuers.clone()).with_vault(Arc::clone(&self.vault));
        let house = house.with_messenger(self.messengers.clone());
        house.with_courier(self.post.clone(), self.settings.audit_export_file.is_some())
    }

    /// The files that it comes from, beside settings and realms.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        files(&self.settings, &self.loaded.realms)
    }

    /// What is another than in `before`, in words, beside the realms themselves.
    pub(super) fn differences(&self, before: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if !before.ring.lacks(&self.ring).is_empty() {
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
        if self.settings.check_every != before.settings.check_every {
            found.push("`[reload]`".to_owned());
        }
        found
    }
}

/// The files that a state of the configuration comes from, beside settings and realms.
pub(super) fn files(settings: &Settings, realms: &Realms) -> Vec<PathBuf> {
    let codes = realms.iter().filter_map(|realm| match &realm.onboarding.as_ref()?.delivery {
        Delivery::Webhook { secret_file, .. } => Some(settings.data_dir.join(secret_file)),
        Delivery::Log => None,
    });
    let named = Issuers::files(realms).chain(post::secret_files(realms)).chain(vault::key_files(&settings.vault));
    std::iter::once(settings.secrets_path()).chain(named.map(ToOwned::to_owned)).chain(codes).collect()
}

/// The value, or nothing, and its errors noted.
fn kept<T>(errors: &mut Vec<StartError>, found: Result<T, Vec<StartError>>) -> Option<T> {
    found.map_err(|found| errors.extend(found)).ok()
}

fn of_issuers(errors: Vec<crate::tokens::IssuerError>) -> Vec<StartError> {
    errors.into_iter().map(StartError::Issuers).collect()
}
