//! A realm with all that guards it.

use crate::{
    app::{
        error::AppError,
        meter::{Meter, RealmMeter},
    },
    domain::{
        key::{DigestScheme, Minted, RealmDigester, RequestMarker, SecretRing, hint},
        realm::{Realm, Realms},
        webhook::{EventKind, Webhook},
    },
};
use std::sync::Arc;

/// A realm, what digests its keys, and what marks its requests.
pub struct Guarded {
    /// The realm.
    pub realm: Arc<Realm>,
    /// Makes the digests of its keys.
    pub digester: RealmDigester,
    /// Recognizes requests that come again.
    pub marker: RequestMarker,
    /// Who is told what happens in it.
    pub hooks: Vec<Webhook>,
    /// What is counted of it.
    pub meter: Arc<RealmMeter>,
}

impl Guarded {
    /// Whether anything hangs on when its keys were last used.
    pub(in crate::app) fn heeds_uses(&self) -> bool {
        let rests = self.realm.keys.suspend_unused_after.is_some();
        rests || self.hooks.iter().any(|hook| hook.wants(EventKind::Awoken))
    }
}

/// Every realm of a configuration, by name.
pub(super) fn guarded(realms: &Realms, ring: &SecretRing, meter: &Meter) -> Vec<Guarded> {
    let guarded = |realm: &Arc<Realm>| Guarded {
        realm: Arc::clone(realm),
        digester: ring.digester(realm),
        marker: ring.request_marker(&realm.name),
        hooks: realm.webhooks.clone(),
        meter: meter.realm(realm),
    };
    realms.iter().map(guarded).collect()
}

/// What is stored of a key's text.
pub(in crate::app) fn mint(guard: &Guarded, environment: usize, prefix: &str, key: &str) -> Result<Minted, AppError> {
    let (secret_version, digest) =
        guard.digester.newest(environment, key).ok_or(AppError::Bug("no digester for this environment"))?;
    let scheme = DigestScheme::Native;
    Ok(Minted { digest, scheme, secret_version, hint: hint(guard.realm.hint, prefix, key) })
}
