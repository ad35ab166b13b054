//! How much is remembered: bounds, what each entry takes of them, and how much is held.

use crate::domain::{
    account::AccountSnapshot,
    id::AccountRef,
    key::{Digest, KeySnapshot},
};
use quick_cache::Weighter;
use std::{sync::Arc, time::Duration};

/// How much is remembered, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSettings {
    /// Keys at most, about 1 KiB each: one that carries more than that counts as several.
    pub keys: usize,
    /// Accounts that are acted on by keys of others, at most, about 300 bytes each; and as many keys that embed tokens came from.
    pub accounts: usize,
    /// Digests that lead nowhere, at most, about 100 bytes each.
    pub misses: usize,
    /// How long a digest is taken to lead nowhere.
    pub miss_lifetime: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { keys: 200_000, accounts: 100_000, misses: 100_000, miss_lifetime: Duration::from_secs(1) }
    }
}

/// How much is remembered of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Of what.
    pub of: &'static str,
    /// How many.
    pub entries: usize,
    /// How much there is room for, in entries of usual size.
    pub room: u64,
    /// About how many bytes they take.
    pub bytes: u64,
}

impl Held {
    pub(super) fn small(of: &'static str, entries: usize, room: u64, each: u64) -> Self {
        Self { of, entries, room, bytes: (entries as u64).saturating_mul(each) }
    }
}

/// Weighs a key by the texts that its managers gave it: it is bounded by bytes, not by their good will.
#[derive(Clone, Copy)]
pub(super) struct ByText;

impl Weighter<Digest, Arc<KeySnapshot>> for ByText {
    fn weight(&self, _: &Digest, snapshot: &Arc<KeySnapshot>) -> u64 {
        let key = &snapshot.key;
        let entries: usize = key.metadata.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        let scopes: usize = key.scopes.iter().map(|scope| scope.as_str().len()).sum();
        // Once in the record, and once in what answers tell of it.
        let networks = std::mem::size_of_val(key.networks.as_slice());
        let organizations = snapshot.organizations.len().saturating_mul(200);
        let bytes = networks
            .saturating_add(organizations)
            .saturating_add(key.name.len())
            .saturating_add(entries)
            .saturating_add(scopes)
            .saturating_mul(2);
        1_u64.saturating_add(bytes as u64 / 1_024)
    }
}

/// Weighs an account by the organizations that were read with it.
#[derive(Clone, Copy)]
pub(super) struct ByOrganizations;

impl Weighter<AccountRef, Arc<AccountSnapshot>> for ByOrganizations {
    fn weight(&self, _: &AccountRef, snapshot: &Arc<AccountSnapshot>) -> u64 {
        1_u64.saturating_add(snapshot.organizations.len() as u64)
    }
}
