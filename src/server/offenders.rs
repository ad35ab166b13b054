//! Where connections came from that had to be ended because they broke HTTP/2, or on which no TLS was agreed on. After a few of
//! them the next ones from there wait for a moment before anything is read of them: else whoever is cut off would be back at
//! once, and beginning a connection costs more than anything that is done on it. One mistake alone slows nobody: behind an
//! address there may be many clients, of which one has a wrong certificate.

use crate::domain::time::Ticks;
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Places for addresses; two that fall on one share what the other did.
const PLACES: usize = 4_096;
/// How long an offence counts.
const COUNTS_US: u64 = 4_000_000;
/// So many may count at a time without anyone having to wait, and so many count at most, so that it is over in half a minute.
const FREE_US: u64 = 4 * COUNTS_US;
const MOST_US: u64 = FREE_US + 30_000_000;
/// How long the next connection waits.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// Offences of all addresses.
#[derive(Debug)]
pub(super) struct Offenders {
    /// When the last one of each will no longer count, as they count one after another.
    until: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Offenders {
    pub(super) fn new() -> Self {
        Self { until: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    /// A connection from there was ended for what was said on it.
    pub(super) fn note(&self, source: IpAddr, now: Ticks) {
        let now = now.as_micros();
        if let Some(until) = self.place(source) {
            let counted = until.load(Relaxed).max(now).saturating_add(COUNTS_US);
            // One that another thread counts at this moment may be lost.
            until.store(counted.min(now.saturating_add(MOST_US)), Relaxed);
        }
    }

    /// Whether that happened often a short while ago.
    pub(super) fn holds(&self, source: IpAddr, now: Ticks) -> bool {
        let free = now.as_micros().saturating_add(FREE_US);
        self.place(source).is_some_and(|until| until.load(Relaxed) > free)
    }

    fn place(&self, source: IpAddr) -> Option<&AtomicU64> {
        // Whoever has an address of IPv6 has all of its network.
        let network = match source.to_canonical() {
            IpAddr::V4(address) => u64::from(u32::from(address)),
            IpAddr::V6(address) => u64::try_from(u128::from(address) >> 64).unwrap_or_default(),
        };
        let at = self.hasher.hash_one((source.to_canonical().is_ipv4(), network)).checked_rem(PLACES as u64)?;
        self.until.get(usize::try_from(at).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Ticks {
        Ticks::from_micros(seconds * 1_000_000)
    }

    fn source(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_few_offences_are_free_and_many_are_over_in_half_a_minute() {
        let (offenders, someone) = (Offenders::new(), source("10.0.0.1"));
        let note = |times: usize, now| (0..times).for_each(|_| offenders.note(someone, now));
        note(4, at(1));
        assert!(!offenders.holds(someone, at(1)));
        note(1, at(1));
        assert!(offenders.holds(someone, at(1)) && offenders.holds(someone, at(4)) && !offenders.holds(someone, at(5)));
        note(1_000, at(5));
        assert!(offenders.holds(someone, at(34)) && !offenders.holds(someone, at(35)));
        // Once in a while is never often.
        for second in (100..1_000).step_by(4) {
            note(1, at(second));
            assert!(!offenders.holds(someone, at(second)), "{second}");
        }
    }

    #[test]
    fn what_one_address_did_counts_for_its_whole_network_and_for_no_other() {
        let offenders = Offenders::new();
        let note = |from| (0..5).for_each(|_| offenders.note(source(from), at(1)));
        note("10.0.0.1");
        assert!(offenders.holds(source("::ffff:10.0.0.1"), at(1)));
        note("2001:db8::1");
        assert!(offenders.holds(source("2001:db8::ffff:2"), at(1)));
        let others = (0..1_000).map(|low| source(&format!("10.1.{}.{}", low / 256, low % 256)));
        assert!(others.filter(|other| offenders.holds(*other, at(1))).count() < 10);
    }
}
