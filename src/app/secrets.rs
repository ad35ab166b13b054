//! Which keys hang on which version of the server secret: a page at a time for whoever asks, and in the background while keys hang
//! on a version that will not be there for ever.

use super::{
    error::AppError,
    house::{App, Guarded},
    keys::OwnedKey,
    manager::{ManagePermit, Reader},
    ports::{KeyQuery, Store},
};
use crate::domain::{
    id::{AccountId, KeyId, RealmName},
    key::{KeyRecord, SecretPhase, SecretState},
    time::{Ticks, Timestamp},
};
use std::{collections::BTreeMap, time::Duration};

/// What to count.
#[derive(Debug, Clone)]
pub struct Survey {
    /// Begin after this key.
    pub after: Option<(AccountId, KeyId)>,
    /// Name the keys that hang on this version.
    pub version: Option<u32>,
    /// What was used since then counts as used lately.
    pub used_since: Timestamp,
    /// Look at so many keys.
    pub page_size: usize,
}

/// Keys that hang on one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many may work.
    pub keys: u64,
    /// How many of them were used lately.
    pub used_lately: u64,
}

/// One page of a count.
#[derive(Debug)]
pub struct SurveyPage {
    /// By version.
    pub tallies: BTreeMap<u32, Tally>,
    /// The keys that were asked for.
    pub keys: Vec<OwnedKey>,
    /// Where the next page begins; absent: the realm is done.
    pub next: Option<(AccountId, KeyId)>,
}

/// The version of the server secret that a key hangs on: the oldest that one of its working secrets is stored under. Nothing for a
/// key that does not work and never will.
fn hangs_on(key: &KeyRecord, now: Timestamp) -> Option<u32> {
    let working = key.secrets.iter().filter(|secret| secret.works(now));
    working.map(|secret| secret.secret_version).min().filter(|_| key.counts(now))
}

impl<S: Store> App<S> {
    /// Counts a page of a realm's keys by version. Costs the same however many keys there are.
    ///
    /// # Errors
    /// When the store cannot answer.
    pub async fn survey_secrets(
        &self,
        permit: &ManagePermit<'_, Reader>,
        survey: &Survey,
    ) -> Result<SurveyPage, AppError> {
        let realm = &permit.guard().realm.name;
        let now = self.house.clock.now();
        let (found, next) = self.page_of_keys(realm, survey.after.clone(), survey.page_size).await?;
        let mut found: Vec<OwnedKey> = found.into_iter().filter(|owned| hangs_on(&owned.key, now).is_some()).collect();
        self.with_last_use(realm, &mut found).await?;
        let mut page = SurveyPage { tallies: BTreeMap::new(), keys: Vec::new(), next };
        for owned in found {
            let Some(version) = hangs_on(&owned.key, now) else { continue };
            let tally = page.tallies.entry(version).or_default();
            tally.keys = tally.keys.saturating_add(1);
            if owned.uses.last.is_some_and(|last| last.at >= survey.used_since) {
                tally.used_lately = tally.used_lately.saturating_add(1);
            }
            if survey.version == Some(version) {
                page.keys.push(owned);
            }
        }
        Ok(page)
    }

    async fn page_of_keys(
        &self,
        realm: &RealmName,
        after: Option<(AccountId, KeyId)>,
        limit: usize,
    ) -> Result<(Vec<OwnedKey>, Option<(AccountId, KeyId)>), AppError> {
        let query = KeyQuery { realm: realm.clone(), account: None, ended: Some(false), after, limit };
        let listing = self.store.list_keys(&query).await?;
        Ok((listing.keys.into_iter().map(|(account, key)| OwnedKey::new(account, key)).collect(), listing.next))
    }
}

/// A count of all keys in small steps, begun again now and then while keys may hang on a version that is not current.
#[derive(Debug, Default)]
pub struct Census {
    /// The versions that are counted for: with others it begins anew.
    of: Vec<SecretState>,
    /// The realm that it has come to, and the last key of it; nothing: it is done, or not begun.
    at: Option<(RealmName, Option<(AccountId, KeyId)>)>,
    counted: BTreeMap<u32, u64>,
    done_at: Option<Ticks>,
}

impl Census {
    /// Keys that one step looks at.
    const STEP: usize = 500;
    /// How long a count holds.
    const EVERY: Duration = Duration::from_secs(3_600);
    /// Keys on a version that retires so soon are warned of.
    pub const NOTICE: Duration = Duration::from_secs(14 * 86_400);

    /// Whether a version may have keys on it that should move: with one version, or when all others are retired, nothing is
    /// counted.
    fn is_of_use(states: &[SecretState]) -> bool {
        states.iter().any(|state| state.phase == SecretPhase::Older)
    }
}

impl<S: Store> App<S> {
    /// Takes the next step of a count, if there is one to take.
    ///
    /// # Errors
    /// When the store cannot answer: the step is taken again.
    pub async fn count_keys_by_secret(&self, census: &mut Census) -> Result<(), AppError> {
        let house = &self.house;
        if census.of != house.secrets {
            *census = Census { of: house.secrets.clone(), ..Census::default() };
            house.meter.secrets.forget();
        }
        if !Census::is_of_use(&census.of) {
            return Ok(());
        }
        let (realm, after) = match census.at.clone() {
            Some(at) => at,
            None => {
                let ticks = house.clock.ticks();
                let holds = census.done_at.is_some_and(|done| ticks.since(done) < Census::EVERY);
                let Some(first) = house.realms().next().filter(|_| !holds) else { return Ok(()) };
                (first.realm.name.clone(), None)
            }
        };
        let (keys, next) = self.page_of_keys(&realm, after, Census::STEP).await?;
        let now = house.clock.now();
        for version in keys.iter().filter_map(|owned| hangs_on(&owned.key, now)) {
            let count = census.counted.entry(version).or_default();
            *count = count.saturating_add(1);
        }
        let behind =
            || house.realms().map(|guarded: &Guarded| &guarded.realm.name).find(|name| **name > realm).cloned();
        census.at = match next {
            Some(next) => Some((realm.clone(), Some(next))),
            None => behind().map(|realm| (realm, None)),
        };
        if census.at.is_none() {
            census.done_at = Some(house.clock.ticks());
            let counted = std::mem::take(&mut census.counted);
            warn_of_ends(&census.of, &counted, now);
            house.meter.secrets.counted(counted);
        }
        Ok(())
    }
}

/// Nothing dies silently: whoever reads the log hears of keys that a retirement will end.
fn warn_of_ends(states: &[SecretState], counted: &BTreeMap<u32, u64>, now: Timestamp) {
    for state in states.iter().filter(|state| state.phase == SecretPhase::Older) {
        let (version, keys) = (state.mark.version, counted.get(&state.mark.version).copied().unwrap_or_default());
        let Some(left) = state.retires_at.map(|end| end.since(now)).filter(|left| *left < Census::NOTICE) else {
            continue;
        };
        if keys > 0 {
            tracing::warn!(
                version,
                keys,
                hours_left = left.as_secs().div_ceil(3_600),
                "a version of the server secret retires soon, and keys that were not used since it was replaced will be unknown then"
            );
        }
    }
}
