//! Ids for traces and spans. They need to be even and to be had once, not to be kept from anybody: a keyed hash of a number that goes
//! up, with a key for each thread, costs some nanoseconds and no call of the system.

use crate::domain::trace::{SpanId, TraceId};
use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

thread_local! {
    static NEXT: (RandomState, Cell<u64>) = (RandomState::new(), const { Cell::new(0) });
}

fn number() -> u64 {
    NEXT.with(|(hasher, next)| {
        let number = next.get();
        next.set(number.wrapping_add(1));
        hasher.hash_one(number)
    })
}

/// A new trace's.
pub(super) fn trace() -> TraceId {
    TraceId::new(number(), number())
}

/// A new span's.
pub(super) fn span() -> SpanId {
    SpanId::new(number())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_id_is_there_twice_on_one_thread_or_on_several() {
        let make = || (0..2_000).map(|_| *span().as_bytes()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(make)).collect();
        let all: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 8_000);
    }
}
