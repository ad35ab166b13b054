//! Taking over changed files while the server runs.
//!
//! The new state is read and checked beside the present one, as a whole or not at all. Then every worker is given an entrance
//! to the new house: calls that came in before go to their end in the old one, so that none ever sees two states.

mod footprint;
mod state;
mod turning;

pub(super) use footprint::Footprint;
pub use state::{Refusal, ReloadState};

use super::{
    StartError,
    configuration::{self, Configuration, Refused},
    front::Front,
    telling::Telling,
    tls,
};
use crate::{
    app::{
        house::{App, House},
        ports::{Clock, Entropy},
    },
    config::{RealmChanges, Settings},
    domain::realm::Realms,
    store::Backend,
    tokens::Issuers,
};
use footprint::Watched;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    runtime::Handle,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::spawn_blocking,
    time::{Instant, sleep},
};
use tonic_health::pb::health_server::Health;

/// Files that changed are left alone until nothing changes in them for so long: they may be written in several steps.
const SETTLE: Duration = Duration::from_millis(200);
/// Files that change for so many times in a row are read all the same.
const RESTLESS: usize = 25;
/// Files that change while they are read are read again, so many times at most.
const ATTEMPTS: usize = 5;

/// Where settings come from.
pub struct Source {
    /// The settings file, if there is one.
    pub file: Option<PathBuf>,
    /// Reads them as they are now: file, environment and flags together.
    pub read: Box<dyn Fn() -> Result<Settings, StartError> + Send + Sync>,
}

/// What a reload goes through.
pub(super) struct Parts<H: Health> {
    pub(super) source: Source,
    pub(super) fronts: Vec<Arc<Front<Backend, H>>>,
    /// The way to the store on the runtime where reloading runs.
    pub(super) store: Backend,
    pub(super) runtime: Handle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    /// What the server says of itself.
    pub(super) telling: Telling,
    pub(super) tls: Arc<tls::Present>,
}

/// Looks at the files now and then, and takes over what changed.
pub(super) struct Reloader<H: Health> {
    parts: Arc<Parts<H>>,
    /// The house that is lived in: nobody else keeps it between two calls.
    house: watch::Sender<Arc<House>>,
    present: Arc<Configuration>,
    watched: Watched,
    /// What the files said when they were last read.
    seen: Footprint,
    /// The last attempt failed for another reason than the files.
    again: bool,
    told: Signal,
    state: watch::Sender<ReloadState>,
    issuers: watch::Sender<Arc<Issuers>>,
    /// Another version of the server secret could not be turned to: when to try again.
    late: Option<Instant>,
}

/// Why a server looks up.
enum Woken {
    /// It was told to read its files.
    Told,
    /// It is time to see whether they changed.
    Look,
    /// Another version of the server secret is due, or one retires.
    Due,
}

/// What files said at a moment.
pub(super) struct Seen {
    watched: Watched,
    footprint: Footprint,
}

/// The files, read between two looks that found the same.
struct Attempt {
    watched: Watched,
    seen: Footprint,
    outcome: Result<(Configuration, Vec<&'static str>), StartError>,
}

impl<H: Health> Reloader<H> {
    /// For a server that starts with this configuration.
    pub(super) fn new(
        parts: Parts<H>,
        house: Arc<House>,
        present: Configuration,
        Seen { watched, footprint }: Seen,
        told: Signal,
    ) -> Self {
        let state = watch::Sender::new(ReloadState {
            generation: 1,
            loaded_at: parts.clock.now(),
            fingerprint: present.loaded.fingerprint().to_owned(),
            refusals: 0,
            refused: None,
        });
        house.move_in();
        let issuers = watch::Sender::new(Arc::clone(&present.issuers));
        let house = watch::Sender::new(house);
        let (parts, present) = (Arc::new(parts), Arc::new(present));
        Self { parts, house, present, watched, seen: footprint, again: false, told, state, issuers, late: None }
    }

    /// The house that is lived in, also later.
    pub(super) fn house(&self) -> watch::Receiver<Arc<House>> {
        self.house.subscribe()
    }

    /// The issuers of tokens, also later.
    pub(super) fn issuers(&self) -> watch::Receiver<Arc<Issuers>> {
        self.issuers.subscribe()
    }

    /// What the server says of its configuration, also later.
    pub(super) fn state(&self) -> watch::Receiver<ReloadState> {
        self.state.subscribe()
    }

    /// Takes over what changes, until told to stop; gives the house that was lived in last.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Arc<House> {
        loop {
            let every = self.present.settings.check_every;
            let woken = tokio::select! {
                told = self.told.recv() => if told.is_some() { Woken::Told } else { Woken::Look },
                () = turning::moment(&self.present.ring, &self.parts.clock, self.late) => Woken::Due,
                () = sleep(every), if !every.is_zero() => Woken::Look,
                _ = stop.wait_for(|stop| *stop) => return Arc::clone(&self.house.borrow()),
            };
            // Once begun, a reload is done to its end.
            match woken {
                Woken::Due => self.turn().await,
                Woken::Told => self.reload().await,
                Woken::Look => {
                    // Looking changes nothing: whoever is told to stop stops.
                    let changed = tokio::select! {
                        changed = self.changed() => changed,
                        _ = stop.wait_for(|stop| *stop) => false,
                    };
                    if changed {
                        self.reload().await;
                    }
                }
            }
        }
    }

    /// Whether the files say something else than when they were last read, once they have come to rest.
    async fn changed(&self) -> bool {
        let mut found = footprint(&self.watched).await;
        if found == self.seen {
            return self.again;
        }
        for _ in 0..RESTLESS {
            sleep(SETTLE).await;
            let now = footprint(&self.watched).await;
            if now == found {
                break;
            }
            found = now;
        }
        found != self.seen
    }

    async fn reload(&mut self) {
        let (parts, present, watched) = (Arc::clone(&self.parts), Arc::clone(&self.present), self.watched.clone());
        let attempt = spawn_blocking(move || parts.attempt(&present, watched)).await;
        let Ok(Attempt { watched, seen, outcome }) = attempt else {
            tracing::error!("the configuration was not reloaded: reading it broke off");
            return;
        };
        (self.watched, self.seen, self.again) = (watched, seen, false);
        let taken = match outcome {
            Ok((next, take_restart)) => {
                if !take_restart.is_empty() {
                    let settings = take_restart.join("`, `");
                    tracing::warn!(
                        "settings that changed take a restart, and stay as they were until then: `{settings}`"
                    );
                }
                let taken = self.put_in_place(next).await;
                self.again = taken.is_err();
                taken.map(|before| self.tell(&before))
            }
            Err(error) => Err(error),
        };
        if let Err(error) = taken {
            self.refuse(&error);
        }
    }

    /// The new state in the place of the present one, for every call and every step of background work from now on.
    /// Gives what was before.
    async fn put_in_place(&mut self, next: Configuration) -> Result<Arc<Configuration>, StartError> {
        let Parts { fronts, store, runtime, entropy, tls, .. } = &*self.parts;
        let before = Arc::clone(&self.house.borrow());
        let house = Arc::new(next.house(Some(&before), entropy));
        drop(before);
        let entrances = fronts.iter().map(|front| front.build(&house, &next.routing)).collect::<Result<Vec<_>, _>>()?;
        let app = App::new(Arc::clone(&house), store.clone());
        app.begin_webhooks().await.map_err(StartError::Webhooks)?;

        // What is sealed with the newest secret can be opened in the old house too.
        let taken = store.take_ring(&next.ring).await;
        taken.map_err(StartError::Ring)?;

        // Nothing fails from here on.
        self.parts.telling.take_over(&next.settings);
        next.issuers.keep_fresh(runtime, entropy);
        for (front, entrance) in fronts.iter().zip(entrances) {
            front.put(entrance);
        }
        tls.put(&next.certificates);
        house.move_in();
        house.news.notify_one();
        let before = std::mem::replace(&mut self.present, Arc::new(next));
        if !Arc::ptr_eq(&before.vault, &self.present.vault) {
            before.vault.forget();
        }
        self.issuers.send_replace(Arc::clone(&self.present.issuers));
        self.house.send_replace(house);
        before.issuers.retire(&self.present.issuers);
        turning::tell(&before.ring, &self.present.ring);
        self.late = None;
        Ok(before)
    }

    /// Goes on with the server secrets as they are to be used from this instant on. No file is read: that one has a mistake in it
    /// is no reason to be late.
    async fn turn(&mut self) {
        let taken = match self.present.turned() {
            Ok(next) => self.put_in_place(next).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = &taken
            && self.late.is_none()
        {
            tracing::error!(%error, "another version of the server secret is due and cannot be used yet");
        }
        self.late = taken.is_err().then(turning::next_try);
    }

    fn tell(&self, before: &Configuration) {
        let present = &*self.present;
        let changes = present.loaded.changes_since(&before.loaded);
        self.house.borrow().meter.configuration.loaded(self.parts.clock.now());
        self.state.send_modify(|state| {
            state.generation = state.generation.saturating_add(1);
            state.loaded_at = self.parts.clock.now();
            state.fingerprint = present.loaded.fingerprint().to_owned();
            state.refused = None;
        });
        let (generation, fingerprint) = (self.state.borrow().generation, present.loaded.fingerprint());
        let RealmChanges { added, removed, changed } = &changes;
        for (realm, parts) in changed {
            tracing::info!(%realm, generation, "changed: {}", parts.join(", "));
        }
        if !added.is_empty() || !changed.is_empty() {
            present.tell_weaknesses();
        }
        let list = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let realms = changed.iter().map(|(realm, _)| format!("realm `{realm}`"));
        let also = list(&realms.chain(present.differences(before)).collect::<Vec<_>>());
        let named = |names: &[_]| list(&names.iter().map(|name| format!("realm `{name}`")).collect::<Vec<_>>());
        let (added, removed) = (named(added), named(removed));
        tracing::info!(
            generation,
            fingerprint,
            "the configuration was reloaded; added: {added}; removed: {removed}; changed: {also}"
        );
    }

    fn refuse(&self, error: &StartError) {
        let problems = error.sentences();
        let known = self.state.borrow().refused.as_ref().is_some_and(|refused| refused.problems == problems);
        let generation = self.state.borrow().generation;
        if known && self.again {
            return;
        }
        for problem in &problems {
            tracing::error!("{problem}");
        }
        tracing::error!(
            generation,
            problems = problems.len(),
            "the configuration was not reloaded: the one before stays in place until the files are right"
        );
        let at = self.parts.clock.now();
        self.house.borrow().meter.configuration.refused(at);
        self.state.send_modify(|state| {
            state.refusals = state.refusals.saturating_add(1);
            state.refused = Some(Refusal { at, problems });
        });
    }
}

/// Every SIGHUP from now on, none of which ends the process.
pub(super) fn hangups() -> Result<Signal, StartError> {
    signal(SignalKind::hangup()).map_err(|cause| StartError::System { what: "listening to signals", cause })
}

impl Source {
    /// What settings and realms say. To be taken before they are read.
    pub(super) fn footprint(&self, settings: &Settings) -> Footprint {
        self.watched(settings, Vec::new()).footprint()
    }

    /// What the files of a start say, where settings and realms said `before` when they were read. To be called before what they
    /// name is read: what changes while the server still starts is noticed then.
    pub(super) fn look(&self, settings: &Settings, realms: &Realms, before: Footprint) -> Seen {
        let watched = self.watched(settings, configuration::files(settings, realms));
        let unchanged = self.footprint(settings) == before;
        Seen { footprint: if unchanged { watched.footprint() } else { Footprint::NONE }, watched }
    }

    fn watched(&self, settings: &Settings, others: Vec<PathBuf>) -> Watched {
        Watched { settings: self.file.clone(), realms: settings.realms.clone(), others }
    }
}

impl<H: Health> Parts<H> {
    /// Reads the files. What is torn, since somebody wrote at the same time, is read again.
    fn attempt(&self, present: &Configuration, mut watched: Watched) -> Attempt {
        let mut left = ATTEMPTS;
        loop {
            let seen = watched.footprint();
            let (found, outcome) = self.read(present);
            let torn = found != watched || found.footprint() != seen;
            left = left.saturating_sub(1);
            let outcome = if torn && left == 0 { Err(StartError::Restless) } else { outcome };
            if !torn || left == 0 {
                return Attempt { watched: found, seen, outcome };
            }
            watched = found;
        }
    }

    fn read(&self, present: &Configuration) -> (Watched, Result<(Configuration, Vec<&'static str>), StartError>) {
        let read = match (self.source.read)() {
            Ok(read) => read,
            Err(error) => {
                let watched = self.source.watched(&present.settings, present.files());
                return (watched, Err(error));
            }
        };
        let (settings, take_restart) = present.settings.reloaded(read);
        match present.again(settings.clone()) {
            Ok(next) => (self.source.watched(&settings, next.files()), Ok((next, take_restart))),
            Err(Refused { error, files }) => (self.source.watched(&settings, files), Err(error)),
        }
    }
}

async fn footprint(watched: &Watched) -> Footprint {
    let watched = watched.clone();
    let looked = spawn_blocking(move || watched.footprint());
    // It does not panic; if it did, the files would be read again.
    looked.await.unwrap_or(Footprint::NONE)
}
