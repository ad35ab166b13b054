//! Where connections came from that had to be ended because they broke HTTP/2, or on which no TLS was agreed on. The next ones
//! from there wait for a moment before anything is read of them: else whoever is cut off would be back at once, and beginning a
//! connection costs more than anything that is done on it.

use crate::domain::time::Ticks;
use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Places for addresses; two that fall on one share what the other did.
const PLACES: usize = 4_096;
/// How long an offence is remembered.
const REMEMBERED_US: u64 = 30_000_000;
/// How long the next connection waits.
pub(super) const WAIT: Duration = Duration::from_secs(2);

/// Offences of all addresses.
#[derive(Debug)]
pub(super) struct Offenders {
    until: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Offenders {
    pub(super) fn new() -> Self {
        Self { until: (0..PLACES).map(|_| AtomicU64::new(0)).collect(), hasher: RandomState::new() }
    }

    /// A connection from there was ended for what was said on it.
    pub(super) fn note(&self, source: IpAddr, now: Ticks) {
        if let Some(until) = self.place(source) {
            until.store(now.as_micros().saturating_add(REMEMBERED_US), Relaxed);
        }
    }

    /// Whether that happened a short while ago.
    pub(super) fn holds(&self, source: IpAddr, now: Ticks) -> bool {
        self.place(source).is_some_and(|until| until.load(Relaxed) > now.as_micros())
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

    #[test]
    fn an_offence_is_remembered_for_a_while_and_of_a_whole_network() {
        let offenders = Offenders::new();
        let at = Ticks::from_micros;
        let source = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(!offenders.holds(source("10.0.0.1"), at(0)));
        offenders.note(source("10.0.0.1"), at(5));
        assert!(offenders.holds(source("10.0.0.1"), at(6)) && offenders.holds(source("::ffff:10.0.0.1"), at(6)));
        assert!(!offenders.holds(source("10.0.0.1"), at(REMEMBERED_US + 5)));
        offenders.note(source("2001:db8::1"), at(5));
        assert!(offenders.holds(source("2001:db8::ffff:2"), at(6)));
        let others = (0..1_000).map(|low| source(&format!("10.1.{}.{}", low / 256, low % 256)));
        assert!(others.filter(|other| offenders.holds(*other, at(6))).count() < 10);
    }
}
