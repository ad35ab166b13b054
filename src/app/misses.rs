//! A budget of misses for each address that callers come from: lookups of well-formed keys that turn out not to work. Anybody
//! can make such keys, and each costs the store an answer.
//!
//! An address beyond its budget is not shut out, since a good key may come from it that nobody remembers yet: of what it asks
//! on, every sixteenth question goes to the store. The others wait. Keys that are remembered and work never come here.
//!
//! The memory is a table of fixed size. Two addresses that fall on one place take it from each other, which forgets misses
//! and invents none.

use crate::domain::time::Ticks;
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Addresses that are remembered, at most.
const PLACES: usize = 65_536;
/// How long misses count, at most.
const WINDOW_US: u64 = 10_000_000;
/// Of so many questions beyond the budget, one goes to the store.
const LOTTERY: u64 = 16;
/// The low bits of a place count; above them stand the number of the window and what tells addresses apart.
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const COUNT_BITS: u32 = 24;
const WINDOW_BITS: u32 = 16;

/// The misses of every address.
pub struct Misses {
    /// Misses in one window; 0: nobody counts.
    budget: u64,
    places: Box<[AtomicU64]>,
    // Nobody outside can choose where an address falls.
    hasher: RandomState,
}

/// The place of an address, and what it must hold to speak of it.
struct Place<'m> {
    place: &'m AtomicU64,
    mark: u64,
}

impl Misses {
    /// How long whoever is beyond the budget is told to wait: then the lottery is open to them again.
    pub const WAIT: Duration = Duration::from_secs(1);

    /// So many misses an address in ten seconds; 0 for any number.
    #[must_use]
    pub fn new(budget: u32) -> Self {
        let places = if budget == 0 { 0 } else { PLACES };
        let places = (0..places).map(|_| AtomicU64::new(0)).collect();
        Self { budget: u64::from(budget), places, hasher: RandomState::new() }
    }

    /// Whether the store may be asked for a key that came from there. Asking this counts beyond the budget.
    pub fn admit(&self, source: Option<IpAddr>, now: Ticks) -> bool {
        let Some(place) = self.place(source, now) else { return true };
        if place.count() < self.budget {
            return true;
        }
        place.add().saturating_sub(self.budget) % LOTTERY == LOTTERY - 1
    }

    /// Notes that the store was asked for a key that does not work. True when that was the last one within the budget.
    pub fn note(&self, source: Option<IpAddr>, now: Ticks) -> bool {
        // Beyond the budget the question itself was counted.
        let within = self.place(source, now).filter(|place| place.count() < self.budget);
        within.is_some_and(|place| place.add().saturating_add(1) == self.budget)
    }

    fn place(&self, source: Option<IpAddr>, now: Ticks) -> Option<Place<'_>> {
        let hash = self.hasher.hash_one(network(source?));
        let index = (hash as usize).checked_rem(self.places.len())?;
        let window = now.as_micros() / WINDOW_US;
        let mark = ((hash >> WINDOW_BITS << WINDOW_BITS) | (window & ((1 << WINDOW_BITS) - 1))) << COUNT_BITS;
        self.places.get(index).map(|place| Place { place, mark })
    }
}

impl Place<'_> {
    fn count(&self) -> u64 {
        self.counted(self.place.load(Ordering::Relaxed))
    }

    /// Counts one more, and tells how many there were.
    fn add(&self) -> u64 {
        let one_more = |held| Some(self.mark | self.counted(held).saturating_add(1).min(COUNT));
        let held = self.place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        self.counted(held.unwrap_or_else(|held| held))
    }

    /// What was counted for this address in this window.
    fn counted(&self, held: u64) -> u64 {
        if held & !COUNT == self.mark { held & COUNT } else { 0 }
    }
}

/// An IPv6 client is its /64: whoever has one has them all.
fn network(source: IpAddr) -> (bool, u64) {
    match source.to_canonical() {
        IpAddr::V4(v4) => (false, u64::from(u32::from(v4))),
        IpAddr::V6(v6) => (true, (u128::from(v6) >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Ticks = Ticks::from_micros(3 * WINDOW_US + 5);

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn beyond_the_budget_one_question_of_sixteen_is_asked_until_the_window_is_over() {
        let (misses, source) = (Misses::new(5), address("192.0.2.1"));
        for count in 1..=5 {
            assert!(misses.admit(source, NOW));
            assert_eq!(misses.note(source, NOW), count == 5);
        }
        for _ in 0..10 {
            let admitted = (0..16).filter(|_| misses.admit(source, NOW) && !misses.note(source, NOW)).count();
            assert_eq!(admitted, 1);
        }
        let next = Ticks::from_micros(4 * WINDOW_US);
        assert!((0..100).all(|_| misses.admit(source, next)), "what finds its key is no miss");
    }

    #[test]
    fn every_address_has_its_own_budget_and_a_network_of_ipv6_one() {
        let misses = Misses::new(1);
        misses.note(address("2001:db8::1"), NOW);
        assert!(!misses.admit(address("2001:db8::2"), NOW));
        for other in ["2001:db8:0:1::1", "192.0.2.1", "::1"] {
            assert!(misses.admit(address(other), NOW));
        }
        misses.note(address("::ffff:192.0.2.1"), NOW);
        assert!(!misses.admit(address("192.0.2.1"), NOW));
        assert!((0..100).all(|_| !misses.note(None, NOW) && misses.admit(None, NOW)));
    }

    #[test]
    fn without_a_budget_nobody_counts() {
        let (misses, source) = (Misses::new(0), address("192.0.2.1"));
        assert!((0..100).all(|_| !misses.note(source, NOW) && misses.admit(source, NOW)));
        assert!(misses.places.is_empty());
    }

    #[test]
    fn an_address_that_loses_its_place_only_gets_its_budget_back() {
        let misses = Misses::new(1);
        let mut sources = (0..200_000_u32).map(|number| Some(IpAddr::from(number.to_be_bytes())));
        // Three times as many as there are places: each is in its budget until its own miss.
        assert!(sources.all(|source| misses.admit(source, NOW) && misses.note(source, NOW)));
    }
}
