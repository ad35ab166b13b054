//! The way to the subscribers of all realms: reads the secrets that their messages are signed with.

use super::{StartError, files};
use crate::{
    config::Settings,
    courier::Post,
    domain::{
        id::RealmName,
        realm::Realms,
        webhook::{SecretSource, SigningSecret, Webhook},
    },
};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens every way. The audit log goes on into the file of `before`, or into the one that the settings name.
pub(super) fn open(settings: &Settings, realms: &Realms, before: Option<&Post>) -> Result<Post, Vec<StartError>> {
    let (mut post, mut errors) = (Post::default(), Vec::new());
    for realm in realms.iter() {
        for hook in &realm.webhooks {
            let subscribed = secret(&realm.name, hook)
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
pub(super) fn secret_files(realms: &Realms) -> impl Iterator<Item = &Path> {
    realms.iter().flat_map(|realm| &realm.webhooks).filter_map(|hook| match &hook.secret {
        SecretSource::File(path) => Some(path.as_path()),
        SecretSource::Variable(_) | SecretSource::None => None,
    })
}

fn secret(realm: &RealmName, hook: &Webhook) -> Result<SigningSecret, StartError> {
    let (place, text) = match &hook.secret {
        SecretSource::File(path) => (format!("`{}`", path.display()), files::read(path)?),
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
