//! One issuer of a realm: its public keys as they are known now, and how they are kept up to date.

use super::{IssuerError, fetch::Source, keys::KeySet, keys::SET_BYTES};
use crate::{
    app::ports::{Clock, Entropy, TokenVerdict, meter::Count},
    domain::{
        id::RealmName,
        time::Ticks,
        token::{KeySource, TokenRules},
    },
};
use parking_lot::RwLock;
use std::{
    fs,
    io::Read,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    task::AbortHandle,
};

/// How long a decision waits for newer keys, at most.
const WAIT: Duration = Duration::from_secs(2);
/// However many tokens name keys that nobody knows, the issuer is asked no more often than this.
const PAUSE: Duration = Duration::from_secs(5);
/// The first and the longest pause after an attempt that failed.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// One issuer.
pub(super) struct Issuer {
    rules: TokenRules,
    clock: Arc<dyn Clock>,
    /// Where the keys are fetched from, if they are.
    source: Option<Source>,
    known: RwLock<Option<Known>>,
    /// Raised when the keys become others: what was verified with those before is verified again.
    generation: AtomicU64,
    /// Somebody waits for newer keys.
    wanted: Notify,
    wanting: AtomicBool,
    /// When the last attempt ended.
    tried_at: AtomicU64,
    attempts: watch::Sender<u64>,
    /// Attempts to fetch that went well, and that failed.
    fetches: [Count; 2],
    /// Who fetches them.
    fetching: OnceLock<AbortHandle>,
}

/// How an issuer's keys stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerState {
    /// The realm.
    pub realm: RealmName,
    /// The issuer.
    pub issuer: Arc<str>,
    /// How many keys are known.
    pub keys: usize,
    /// How long ago they were fetched last; nothing: they are not known, or come from a file.
    pub age: Option<Duration>,
    /// Whether its tokens can be judged.
    pub usable: bool,
    /// Attempts to fetch that went well, and that failed.
    pub fetches: [u64; 2],
}

#[derive(Clone)]
struct Known {
    keys: Arc<KeySet>,
    fetched_at: Ticks,
}

impl Issuer {
    /// The issuer of these rules. `before` is what was known of it so far, from the same source: it goes on where nothing
    /// changed, else its keys do, as long as they may be kept.
    pub(super) fn succeed(
        before: Option<&Arc<Self>>,
        realm: &RealmName,
        rules: &TokenRules,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, IssuerError> {
        let same = before.filter(|before| before.rules == *rules);
        let (source, known) = match &rules.keys {
            KeySource::File(path) => {
                let keys = read(realm, path)?;
                if let Some(same) = same.filter(|same| same.known.read().as_ref().is_some_and(|had| *had.keys == keys))
                {
                    return Ok(Arc::clone(same));
                }
                (None, Some(Known { keys: Arc::new(keys), fetched_at: clock.ticks() }))
            }
            KeySource::Url(url) => {
                if let Some(same) = same {
                    return Ok(Arc::clone(same));
                }
                let failed = |problem| IssuerError::Address { realm: realm.clone(), url: url.clone(), problem };
                (Source::open(url).map_err(failed)?, before.and_then(|before| before.known.read().clone()))
            }
        };
        if source.is_none() && known.is_none() {
            let issuer = &*rules.issuer;
            tracing::info!(%realm, issuer, "the address of the issuer's keys is a placeholder: none of its tokens can be judged");
        }
        Ok(Arc::new(Self {
            rules: rules.clone(),
            known: RwLock::new(known),
            clock,
            source,
            generation: AtomicU64::new(0),
            wanted: Notify::new(),
            wanting: AtomicBool::new(false),
            tried_at: AtomicU64::new(0),
            attempts: watch::Sender::new(0),
            fetches: Default::default(),
            fetching: OnceLock::new(),
        }))
    }

    /// Whether that is the same issuer, with keys from the same place.
    pub(super) fn is_of(&self, rules: &TokenRules) -> bool {
        self.rules.issuer == rules.issuer && self.rules.keys == rules.keys
    }

    pub(super) fn rules(&self) -> &TokenRules {
        &self.rules
    }

    /// How its keys stand.
    pub(super) fn state(&self, realm: &RealmName) -> IssuerState {
        let known = self.known.read();
        let age = known.as_ref().filter(|_| self.is_fetched()).map(|known| self.clock.ticks().since(known.fetched_at));
        IssuerState {
            realm: realm.clone(),
            issuer: Arc::clone(&self.rules.issuer),
            keys: known.as_ref().map_or(0, |known| known.keys.len()),
            age,
            usable: known.as_ref().is_some_and(|known| self.trusts(known)),
            fetches: self.fetches.each_ref().map(Count::get),
        }
    }

    /// Fetches the keys now and again, if they are fetched and nobody does it yet.
    pub(super) fn keep_fresh(self: &Arc<Self>, runtime: &Handle, realm: &RealmName, entropy: &Arc<dyn Entropy>) {
        if self.is_fetched() {
            let fetch = || Arc::clone(self).fetch(realm.clone(), Arc::clone(entropy));
            self.fetching.get_or_init(|| runtime.spawn(fetch()).abort_handle());
        }
    }

    /// Fetches no more.
    pub(super) fn retire(&self) {
        if let Some(fetching) = self.fetching.get() {
            fetching.abort();
        }
    }

    /// Whether its keys are fetched.
    fn is_fetched(&self) -> bool {
        self.source.is_some()
    }

    /// The keys and their generation; nothing when there are none, or they are too old to be trusted.
    pub(super) fn keys(&self) -> Option<(Arc<KeySet>, u64)> {
        let known = self.known.read();
        let known = known.as_ref().filter(|known| self.trusts(known))?;
        Some((Arc::clone(&known.keys), self.generation.load(Ordering::Acquire)))
    }

    /// The generation of the keys, as long as they can be trusted.
    pub(super) fn generation(&self) -> Option<u64> {
        let known = self.known.read();
        known.as_ref().filter(|known| self.trusts(known)).map(|_| self.generation.load(Ordering::Acquire))
    }

    fn trusts(&self, known: &Known) -> bool {
        self.source.is_none() || self.clock.ticks().since(known.fetched_at) <= self.rules.keep
    }

    pub(super) fn unavailable(&self) -> TokenVerdict {
        TokenVerdict::Unavailable(Arc::clone(&self.rules.issuer))
    }

    /// Asks for newer keys, unless they were asked for a moment ago. What is given ends when they came, or will not in time.
    pub(super) fn renewal(&self) -> Option<TokenVerdict> {
        self.source.as_ref()?;
        let mut attempts = self.attempts.subscribe();
        if !self.wanting.load(Ordering::Acquire) {
            let tried_at = Ticks::from_micros(self.tried_at.load(Ordering::Acquire));
            if *attempts.borrow() > 0 && self.clock.ticks().since(tried_at) < PAUSE {
                return None;
            }
            self.wanting.store(true, Ordering::Release);
            self.wanted.notify_one();
        }
        let renewed = Box::pin(async move {
            // Late or not: whoever waited judges by what is known then.
            let _ = tokio::time::timeout(WAIT, attempts.changed()).await;
        });
        Some(TokenVerdict::Wait(Arc::clone(&self.rules.issuer), renewed))
    }

    async fn fetch(self: Arc<Self>, realm: RealmName, entropy: Arc<dyn Entropy>) {
        let Some(source) = &self.source else { return };
        let mut failures: u32 = 0;
        loop {
            self.wanting.store(true, Ordering::Release);
            let fetched = source.fetch().await.and_then(|bytes| KeySet::read(&bytes));
            let issuer = &*self.rules.issuer;
            match fetched {
                Ok(keys) => {
                    self.take(&realm, keys);
                    let [well, _] = &self.fetches;
                    well.one();
                    failures = 0;
                }
                Err(problem) => {
                    failures = failures.saturating_add(1);
                    let [_, ill] = &self.fetches;
                    ill.one();
                    let (url, problem) = (source.url(), problem.as_str());
                    tracing::warn!(%realm, issuer, url, problem, failures, "the keys of a token issuer could not be fetched");
                }
            }
            self.tried_at.store(self.clock.ticks().as_micros(), Ordering::Release);
            self.wanting.store(false, Ordering::Release);
            self.attempts.send_modify(|attempts| *attempts = attempts.saturating_add(1));
            let pause = match failures.checked_sub(1) {
                None => self.rules.refresh,
                Some(earlier) => BACK_OFF.0.saturating_mul(2_u32.saturating_pow(earlier.min(10))).min(BACK_OFF.1),
            };
            // Woken or not: it is time.
            let _ = tokio::time::timeout(jittered(pause, &*entropy), self.wanted.notified()).await;
        }
    }

    fn take(&self, realm: &RealmName, keys: KeySet) {
        let mut known = self.known.write();
        let fetched_at = self.clock.ticks();
        match &mut *known {
            Some(known) if *known.keys == keys => known.fetched_at = fetched_at,
            _ => {
                let (issuer, count) = (&*self.rules.issuer, keys.len());
                tracing::info!(%realm, issuer, keys = count, "a token issuer has these keys now");
                *known = Some(Known { keys: Arc::new(keys), fetched_at });
                self.generation.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// Half of the pause, and a part of the other half that nobody can foretell: servers do not ask in step.
fn jittered(pause: Duration, entropy: &dyn Entropy) -> Duration {
    let mut random = [0; 2];
    let part = if entropy.fill(&mut random).is_ok() { u32::from(u16::from_be_bytes(random)) } else { 0 };
    let half = pause.checked_div(2).unwrap_or_default();
    half.saturating_add(half.saturating_mul(part).checked_div(65_536).unwrap_or_default())
}

fn read(realm: &RealmName, path: &Path) -> Result<KeySet, IssuerError> {
    let mut bytes = Vec::new();
    let most = (SET_BYTES as u64).saturating_add(1);
    let reading = fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    reading.map_err(|cause| IssuerError::File { realm: realm.clone(), path: path.to_owned(), cause })?;
    let named = |problem| IssuerError::Keys { realm: realm.clone(), path: path.to_owned(), problem };
    KeySet::read(&bytes).map_err(named)
}
