//! The way to the subscribers of all realms: reads the secrets that their messages are signed with.

use super::{StartError, files};
use crate::{
    config::Settings,
    courier::Post,
    domain::{
        realm::Realms,
        webhook::{SecretSource, SigningSecret},
    },
};
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
                SecretSource::File(path) => (format!("`{}`", path.display()), files::read(path)?),
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
