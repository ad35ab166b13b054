//! The realms that one server serves.

use super::Realm;
use std::sync::Arc;

/// Realms by name. Small and read on every request, so it is a sorted list.
#[derive(Debug, Clone, Default)]
pub struct Realms(Vec<Arc<Realm>>);

impl Realms {
    /// The name of the built-in realm, whose keys manage the others.
    pub const BUILT_IN: &'static str = "keygate";

    /// The set of these realms. Of two with the same name, which the configuration never lets through, the first stays.
    #[must_use]
    pub fn new(mut realms: Vec<Realm>) -> Self {
        realms.sort_by(|a, b| a.name.cmp(&b.name));
        realms.dedup_by(|later, earlier| later.name == earlier.name);
        Self(realms.into_iter().map(Arc::new).collect())
    }

    /// Puts realms in the places of those that are their equals, so that whoever knows them sees that nothing changed.
    pub fn keep(&mut self, equal: impl Fn(&Realm) -> Option<Arc<Realm>>) {
        for realm in &mut self.0 {
            if let Some(known) = equal(realm).filter(|known| known.name == realm.name) {
                *realm = known;
            }
        }
    }

    /// The realm of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Realm>> {
        let at = self.0.binary_search_by(|realm| realm.name.as_str().cmp(name)).ok()?;
        self.0.get(at)
    }

    /// All realms, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Realm>> {
        self.0.iter()
    }
}
