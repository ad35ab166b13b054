//! The ways to the subscribers of all realms, and to those who send one-time codes on: reads the secrets that are signed with.

use super::{StartError, files, reload::Footprint};
use crate::{
    config::Settings,
    courier::{Codes, Post},
    domain::{
        id::RealmName,
        onboarding::Delivery,
        realm::Realms,
        webhook::{SecretSource, SigningSecret, Webhook},
    },
};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Opens every way. The audit log goes on into the file of `before`, or into the one that the settings name.
pub(super) fn open(settings: &Settings, realms: &Realms, before: Option<&Post>) -> Result<Post, Vec<StartError>> {
    let (mut post, mut errors) = (Post::default(), Vec::new());
    for realm in realms.iter() {
        for hook in &realm.webhooks {
            let subscribed = secret(&settings.data_dir, &realm.name, hook)
                .and_then(|secret| post.subscribe(&realm.name, hook, secret).map_err(wrong(&realm.name, hook)));
            errors.extend(subscribed.err());
        }
    }
    match (before, &settings.audit_export_file) {
        (Some(before), _) => post.export_with(before),
        (None, Some(path)) => errors.extend(post.export(path).map_err(StartError::file(path, "opened")).err()),
        (None, None) => {}
    }
    if errors.is_empty() { Ok(post) } else { Err(errors) }
}

/// The files that secrets are read from.
pub(super) fn secret_files(data_dir: &Path, realms: &Realms) -> impl Iterator<Item = PathBuf> {
    let hooks = realms.iter().flat_map(|realm| &realm.webhooks).filter_map(|hook| match &hook.secret {
        SecretSource::File(path) => Some(path),
        SecretSource::Variable(_) | SecretSource::None => None,
    });
    let codes = realms.iter().filter_map(|realm| match &realm.onboarding.as_ref()?.delivery {
        Delivery::Webhook { secret_file, .. } => Some(secret_file),
        Delivery::Log => None,
    });
    hooks.chain(codes).map(|path| data_dir.join(path))
}

/// What those files say.
pub(super) fn said(data_dir: &Path, realms: &Realms) -> Footprint {
    Footprint::of(secret_files(data_dir, realms))
}

fn secret(data_dir: &Path, realm: &RealmName, hook: &Webhook) -> Result<SigningSecret, StartError> {
    let (place, text) = match &hook.secret {
        SecretSource::File(path) => {
            let path = data_dir.join(path);
            (format!("`{}`", path.display()), files::read(&path)?)
        }
        SecretSource::Variable(name) => (format!("the variable {name}"), std::env::var(name).ok().map(Zeroizing::new)),
        SecretSource::None => (String::new(), None),
    };
    let text = text.ok_or_else(|| format!("its secret is missing: {place} must hold it"));
    let secret = text.and_then(|text| {
        SigningSecret::new(&text).ok_or_else(|| format!("{place} must hold {}", SigningSecret::ALLOWED))
    });
    secret.map_err(wrong(realm, hook))
}

fn wrong(realm: &RealmName, hook: &Webhook) -> impl FnOnce(String) -> StartError {
    let (realm, name) = (realm.to_string(), hook.name.clone());
    move |problem| StartError::Webhook { realm, name, problem }
}

/// Opens the ways of one-time codes. A realm whose secret is not there yet can be served: nobody can sign up in it.
pub(super) fn open_codes(data_dir: &Path, realms: &Realms) -> Result<Codes, Vec<StartError>> {
    let (mut codes, mut errors) = (Codes::default(), Vec::new());
    for realm in realms.iter() {
        let Some(Delivery::Webhook { url, secret_file }) = realm.onboarding.as_ref().map(|rules| &rules.delivery)
        else {
            continue;
        };
        let path = data_dir.join(secret_file);
        let wrong = |problem: String| StartError::Onboarding { realm: realm.name.to_string(), problem };
        let opened = files::read(&path).and_then(|text| match text {
            None => Ok(()),
            Some(text) => {
                let secret = SigningSecret::new(&text);
                let secret = secret
                    .ok_or_else(|| wrong(format!("`{}` must hold {}", path.display(), SigningSecret::ALLOWED)))?;
                codes.hand_to(&realm.name, url, secret).map_err(|problem| wrong(format!("`{url}`: {problem}")))
            }
        });
        errors.extend(opened.err());
    }
    if errors.is_empty() { Ok(codes) } else { Err(errors) }
}

/// Says in the log which realms cannot bring codes, or do so in the open.
pub(super) fn tell_weaknesses(codes: &Codes, data_dir: &Path, realms: &Realms) {
    for realm in realms.iter() {
        let name = realm.name.as_str();
        match realm.onboarding.as_ref().map(|rules| &rules.delivery) {
            Some(Delivery::Log) => tracing::warn!(
                realm = name,
                "one-time codes are written to this log, where whoever reads it may use them: only for development"
            ),
            Some(Delivery::Webhook { secret_file, .. }) if !codes.reach(&realm.name) => tracing::warn!(
                realm = name,
                file = %data_dir.join(secret_file).display(),
                "nobody can sign up: there is no file with the secret that the webhook is signed with"
            ),
            _ => {}
        }
    }
}
