//! Room for a bounded number of things, shared by all who make and drop them.

use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) struct Room {
    most: usize,
    taken: AtomicUsize,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0) }
    }

    /// Takes room for one more, if there is any.
    pub(super) fn take(&self) -> bool {
        let next = |taken: usize| (taken < self.most).then(|| taken.saturating_add(1));
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Gives back the room of so many.
    pub(super) fn give_back(&self, count: usize) {
        if count > 0 {
            self.taken.fetch_sub(count, Ordering::Relaxed);
        }
    }
}
