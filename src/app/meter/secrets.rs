//! How many keys hang on which version of the server secret, as last counted.

use parking_lot::Mutex;
use std::collections::BTreeMap;

/// What the last count came to.
#[derive(Debug, Default)]
pub struct SecretsMeter(Mutex<Option<BTreeMap<u32, u64>>>);

impl SecretsMeter {
    /// A count is done.
    pub fn counted(&self, keys: BTreeMap<u32, u64>) {
        *self.0.lock() = Some(keys);
    }

    /// What was counted says nothing any more.
    pub fn forget(&self) {
        *self.0.lock() = None;
    }

    /// Keys that hang on that version; nothing while they are not counted.
    #[must_use]
    pub fn keys(&self, version: u32) -> Option<u64> {
        self.0.lock().as_ref().map(|keys| keys.get(&version).copied().unwrap_or_default())
    }
}
