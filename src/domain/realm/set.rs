//! All realms of a server, by name.

use super::Realm;
use crate::domain::id::RealmName;
use std::{collections::BTreeMap, sync::Arc};

/// The realms of a server.
#[derive(Debug, Clone, Default)]
pub struct Realms(BTreeMap<RealmName, Arc<Realm>>);

impl Realms {
    /// The built-in realm whose keys manage all others.
    pub const MANAGEMENT: &'static str = "keygate";

    /// A set of these realms. Of two with the same name, the later stays.
    #[must_use]
    pub fn new(realms: impl IntoIterator<Item = Realm>) -> Self {
        Self(realms.into_iter().map(|realm| (realm.name.clone(), Arc::new(realm))).collect())
    }

    /// The realm of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Realm>> {
        self.0.get(name)
    }

    /// All realms, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Realm>> {
        self.0.values()
    }
}
