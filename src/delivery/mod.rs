//! Brings one-time codes to whoever signed up. One file per way. Knows what is brought, and nothing of how it came to be.

mod webhook;

use crate::{
    app::ports::{DeliveryError, Messenger, Parcel},
    domain::{
        onboarding::Delivery,
        realm::{Realm, Realms},
        secret::Secret,
    },
};
use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc};
use webhook::Webhook;

/// The ways of all realms of a server.
pub struct Messengers {
    /// By realm; those without one deliver to the log, or cannot deliver.
    webhooks: BTreeMap<String, Webhook>,
}

impl Messengers {
    /// Makes ready what the realms need. `secret` reads a secret from its file.
    pub fn new(realms: &Realms, secret: impl Fn(&str) -> Option<Secret>) -> Self {
        let webhook = |realm: &Arc<Realm>| match way(realm)? {
            Delivery::Log => None,
            Delivery::Webhook { url, secret_file } => {
                let webhook = Webhook::parse(url)?.signed_with(secret(secret_file)?);
                Some((realm.name.to_string(), webhook))
            }
        };
        Self { webhooks: realms.iter().filter_map(webhook).collect() }
    }

    /// Says in the log which realms cannot deliver, or do so in the open.
    pub fn tell_weaknesses(&self, realms: &Realms) {
        for realm in realms.iter() {
            let name = realm.name.as_str();
            match way(realm) {
                Some(Delivery::Log) => tracing::warn!(
                    realm = name,
                    "one-time codes are written to this log, where whoever reads it may use them: only for development"
                ),
                Some(Delivery::Webhook { secret_file, .. }) if !self.webhooks.contains_key(name) => tracing::warn!(
                    realm = name,
                    file = secret_file,
                    "nobody can sign up: there is no file with a secret of 16 to 512 bytes for the webhook"
                ),
                _ => {}
            }
        }
    }
}

fn way(realm: &Realm) -> Option<&Delivery> {
    realm.onboarding.as_ref().map(|rules| &rules.delivery)
}

impl Messenger for Messengers {
    fn deliver<'p>(
        &'p self,
        parcel: Parcel<'p>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'p>> {
        Box::pin(async move {
            match parcel.delivery {
                Delivery::Log => {
                    let (realm, address, code) = (parcel.realm.as_str(), parcel.address, parcel.code.expose());
                    tracing::warn!(realm, address, code, "a one-time code, for development");
                    Ok(())
                }
                Delivery::Webhook { secret_file, .. } => match self.webhooks.get(parcel.realm.as_str()) {
                    Some(webhook) => webhook.deliver(&parcel).await,
                    None => Err(DeliveryError(format!("there is no secret in `{secret_file}`"))),
                },
            }
        })
    }
}
