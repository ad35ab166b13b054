//! Brings one-time codes to whoever signed up: to a service that sends them on, or to the log. Knows what is brought, and nothing
//! of how it came to be.

use super::http::Door;
use crate::{
    app::ports::{DeliveryError, Messenger, Parcel},
    domain::{id::RealmName, onboarding::Delivery, time::Timestamp, webhook::SigningSecret},
};
use std::{collections::BTreeMap, future::Future, pin::Pin, time::Duration};
use zeroize::Zeroizing;

/// How long a service may take, all in all: somebody waits for the answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The services of all realms that hand codes to one.
#[derive(Default)]
pub struct Codes {
    doors: BTreeMap<RealmName, Door>,
}

impl Codes {
    /// Opens the way to a realm's service.
    ///
    /// # Errors
    /// Says what is wrong with its address, or with this machine.
    pub fn hand_to(&mut self, realm: &RealmName, url: &str, secret: SigningSecret) -> Result<(), String> {
        self.doors.insert(realm.clone(), Door::open(url, secret, PATIENCE)?);
        Ok(())
    }

    /// Whether that realm's codes go to a service.
    #[must_use]
    pub fn reach(&self, realm: &RealmName) -> bool {
        self.doors.contains_key(realm)
    }

    async fn bring(&self, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
        if let Delivery::Log = parcel.delivery {
            let (realm, address, code) = (parcel.realm.as_str(), parcel.address, parcel.code.expose());
            tracing::warn!(realm, address, code, "a one-time code, for development");
            return Ok(());
        }
        let door = self.doors.get(parcel.realm);
        let problem =
            "there was no file with the secret of the webhook when the server started, which said where it must be";
        let door = door.ok_or_else(|| DeliveryError(problem.to_owned()))?;
        let handed = door.post(&parcel.id, &body(parcel), parcel.now).await;
        handed.map_err(|error| DeliveryError(format!("the webhook did not take it: {}", error.problem)))
    }
}

impl Messenger for Codes {
    fn deliver<'p>(
        &'p self,
        parcel: Parcel<'p>,
    ) -> Pin<Box<dyn Future<Output = Result<(), DeliveryError>> + Send + 'p>> {
        Box::pin(async move { self.bring(&parcel).await })
    }
}

fn body(parcel: &Parcel<'_>) -> Zeroizing<String> {
    let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
    let body = serde_json::json!({
        "type": "onboarding.code",
        "realm": parcel.realm.as_str(),
        "address": parcel.address,
        "name": parcel.name,
        "code": parcel.code.expose(),
        "expires_at": seconds(parcel.expires_at),
    });
    Zeroizing::new(body.to_string())
}
