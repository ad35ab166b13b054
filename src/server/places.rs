//! The places for connections, and who makes room when all are taken: of those on which nothing was ever asked, the one that came
//! first. Whoever holds places without asking for anything then keeps nobody out, and has to open connections for ever to go on.

use crate::{
    app::{
        meter::{Ending, Meter},
        ports::Clock,
        seldom::Seldom,
    },
    config::ListenerName,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::AbortHandle,
    time::timeout,
};

/// Places of the listener for management: its own, so that nobody who fills the others keeps operators out.
const MANAGEMENT: usize = 256;
/// Places of the Unix socket beyond those that it shares with the port.
const UNIX: usize = 64;
/// Places are scarce when fewer than one in so many is free.
const SCARCE: usize = 8;
/// How long a connection that is cut off may take to go, before the one that came for its place is closed.
const LEAVING: Duration = Duration::from_millis(500);

/// The places for connections.
pub(super) struct Places {
    /// Shared by the port and the Unix socket.
    shared: Arc<Room>,
    of_unix: Arc<Room>,
    of_management: Arc<Room>,
    refused: Seldom,
    clock: Arc<dyn Clock>,
    meter: Arc<Meter>,
}

/// Places that are given to whoever comes first.
struct Room {
    most: usize,
    free: Arc<Semaphore>,
    /// Connections so far.
    came: AtomicU64,
    /// Connections on which nothing was asked so far, by their number: how they are cut off once a worker has them.
    silent: Mutex<BTreeMap<u64, Option<AbortHandle>>>,
}

/// A place that a connection takes up until this is dropped.
pub(super) struct Place {
    occupant: Occupant,
    is_used: AtomicBool,
    _permit: OwnedSemaphorePermit,
}

/// How a connection is known that has a place.
#[derive(Clone)]
pub(super) struct Occupant {
    room: Arc<Room>,
    number: u64,
}

impl Places {
    pub(super) fn new(most: usize, clock: Arc<dyn Clock>, meter: Arc<Meter>) -> Self {
        let (shared, of_unix, of_management) = (Room::new(most), Room::new(UNIX), Room::new(MANAGEMENT));
        Self { shared, of_unix, of_management, refused: Seldom::new(), clock, meter }
    }

    /// How many connections there may be at a time.
    pub(super) const fn of(most: usize) -> usize {
        most.saturating_add(UNIX).saturating_add(MANAGEMENT)
    }

    /// How many are taken, and how many there are: without those that are reserved.
    pub(super) fn taken(&self) -> (u64, u64) {
        let Room { most, free, .. } = &*self.shared;
        (most.saturating_sub(free.available_permits()) as u64, *most as u64)
    }

    /// Whether those who ask for nothing should make room.
    pub(super) fn are_scarce(&self, listener: ListenerName) -> bool {
        let (room, _) = self.rooms(listener);
        room.free.available_permits() < room.most / SCARCE
    }

    /// The places of a listener: those that are taken first, and those beyond them.
    const fn rooms(&self, listener: ListenerName) -> (&Arc<Room>, Option<&Arc<Room>>) {
        match listener {
            ListenerName::Listen => (&self.shared, None),
            ListenerName::ListenUnix => (&self.shared, Some(&self.of_unix)),
            ListenerName::Management => (&self.of_management, None),
        }
    }

    /// A place, if there is one, or if somebody makes room. A connection without one is closed: in a queue it would only wait for
    /// a server that is busy.
    pub(super) async fn take(&self, listener: ListenerName) -> Option<Place> {
        let (room, beyond) = self.rooms(listener);
        let mut place = room.enter().or_else(|| beyond?.enter());
        if place.is_none()
            && let Some(room) = [Some(room), beyond].into_iter().flatten().find(|room| room.cut_off_first())
        {
            self.meter.connections.ended(Ending::MadeRoom);
            place = timeout(LEAVING, room.wait()).await.ok().flatten();
        }
        if place.is_some() {
            self.meter.connections.taken.one();
        } else {
            self.meter.connections.refused.one();
            if let Some(left_out) = self.refused.turn(self.clock.ticks()) {
                tracing::warn!(
                    most = room.most,
                    listener = listener.name(),
                    left_out,
                    "too many connections: a new one was closed (`limits.connections`)"
                );
            }
        }
        place
    }
}

impl Room {
    fn new(most: usize) -> Arc<Self> {
        let (free, silent) = (Arc::new(Semaphore::new(most)), Mutex::new(BTreeMap::new()));
        Arc::new(Self { most, free, came: AtomicU64::new(0), silent })
    }

    fn enter(self: &Arc<Self>) -> Option<Place> {
        Some(self.place(Arc::clone(&self.free).try_acquire_owned().ok()?))
    }

    async fn wait(self: &Arc<Self>) -> Option<Place> {
        Some(self.place(Arc::clone(&self.free).acquire_owned().await.ok()?))
    }

    fn place(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let number = self.came.fetch_add(1, Relaxed);
        self.silent.lock().insert(number, None);
        let occupant = Occupant { room: Arc::clone(self), number };
        Place { occupant, is_used: AtomicBool::new(false), _permit: permit }
    }

    /// Cuts off the connection that came first of those on which nothing was asked. Whether there was one.
    fn cut_off_first(&self) -> bool {
        let first = self.silent.lock().pop_first();
        let Some((_, connection)) = first else { return false };
        // Else a worker has it soon, and finds that it was cut off.
        if let Some(connection) = connection {
            connection.abort();
        }
        true
    }
}

impl Place {
    pub(super) fn occupant(&self) -> Occupant {
        self.occupant.clone()
    }

    /// Something is asked on its connection, which is not cut off any more for others. Whether it was not cut off before.
    pub(super) fn is_kept(&self) -> bool {
        if !self.is_used.load(Relaxed) && self.occupant.leaves() {
            self.is_used.store(true, Relaxed);
        }
        self.is_used.load(Relaxed)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.occupant.leaves();
    }
}

impl Occupant {
    /// It is not among the silent ones any more. Whether it was.
    fn leaves(&self) -> bool {
        self.room.silent.lock().remove(&self.number).is_some()
    }

    /// A worker has it, and cuts it off like this when its place is needed before anything was asked on it.
    pub(super) fn served_by(self, cut_off: AbortHandle) {
        match self.room.silent.lock().get_mut(&self.number) {
            Some(connection) => *connection = Some(cut_off),
            None => cut_off.abort(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn a_connection_that_was_cut_off_before_a_worker_had_it_ends_when_one_has_it() {
        let room = Room::new(1);
        let place = room.enter().expect("it is free");
        assert!(room.enter().is_none() && room.cut_off_first() && !room.cut_off_first());
        let occupant = place.occupant();
        let task = tokio::spawn(async move {
            let _place = place;
            pending::<()>().await;
        });
        occupant.served_by(task.abort_handle());
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(room.enter().is_some(), "its place is free");
    }

    #[tokio::test]
    async fn whoever_asked_is_kept_and_whoever_was_cut_off_is_not_served() {
        let room = Room::new(3);
        let [asked, cut_off, silent] = [(); 3].map(|()| room.enter().expect("it is free"));
        assert!(asked.is_kept());
        assert!(room.cut_off_first());
        assert!(!cut_off.is_kept() && !cut_off.is_kept() && silent.is_kept() && asked.is_kept());
        assert!(!room.cut_off_first());
        drop((asked, cut_off, silent));
        assert!(room.silent.lock().is_empty() && room.free.available_permits() == 3);
    }
}
