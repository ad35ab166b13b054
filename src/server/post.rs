//! The ways to the subscribers of all realms, and to those who send one-time codes on: reads the secrets that are signed with.

use super::{StartError, files};
use crate::{
    config::Settings,
    courier::{Codes, Post},
    domain::{
        onboarding::Delivery,
        realm::Realms,
        webhook::{SecretSource, SigningSecret},
    },
};
use std::path::Path;
use zeroize::Zeroizing;

/// Opens every way, and the file that the audit log is written to.
pub(super) fn open(settings: &Settings, realms: &Realms) -> Result<Post, StartError> {
    let mut post = Post::default();
    for realm in realms.iter() {
        for hook in &realm.webhooks {
            let wrong = |problem: String| StartError::Webhook {
                realm: realm.name.to_string(),
                name: hook.name.clone(),
                problem,
            };
            let (place, text) = match &hook.secret {
                SecretSource::File(path) => {
                    let path = settings.data_dir.join(path);
                    (format!("`{}`", path.display()), files::read(&path)?)
                }
                SecretSource::Variable(name) => {
                    (format!("the variable {name}"), std::env::var(name).ok().map(Zeroizing::new))
                }
                SecretSource::None => (String::new(), None),
            };
            let text = text.ok_or_else(|| wrong(format!("its secret is missing: {place} must hold it")))?;
            let secret = SigningSecret::new(&text);
            let secret = secret.ok_or_else(|| wrong(format!("{place} must hold {}", SigningSecret::ALLOWED)))?;
            post.subscribe(&realm.name, hook, secret).map_err(wrong)?;
        }
    }
    if let Some(path) = &settings.audit_export_file {
        post.export(path).map_err(StartError::file(path, "opened"))?;
    }
    Ok(post)
}

/// Opens the ways of one-time codes. A realm whose secret is not there yet can be served: nobody can sign up in it.
pub(super) fn open_codes(data_dir: &Path, realms: &Realms) -> Result<Codes, StartError> {
    let mut codes = Codes::default();
    for realm in realms.iter() {
        let Some(Delivery::Webhook { url, secret_file }) = realm.onboarding.as_ref().map(|rules| &rules.delivery)
        else {
            continue;
        };
        let path = data_dir.join(secret_file);
        let wrong = |problem: String| StartError::Onboarding { realm: realm.name.to_string(), problem };
        if let Some(text) = files::read(&path)? {
            let secret = SigningSecret::new(&text)
                .ok_or_else(|| wrong(format!("`{}` must hold {}", path.display(), SigningSecret::ALLOWED)))?;
            codes.hand_to(&realm.name, url, secret).map_err(|problem| wrong(format!("`{url}`: {problem}")))?;
        }
    }
    Ok(codes)
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
