//! A disk that takes nothing any more.

use super::{Core, Counters, Embedded, OnceLock, Stamps, Writer};
use crate::{
    app::ports::{Clock, Expected, MemoId, Shelf, Store, StoreError},
    domain::{
        id::RealmName,
        key::{SecretRing, ServerSecret},
        time::{Ticks, Timestamp},
    },
    store::record::RecordCodec,
};
use redb::{StorageBackend, backends::InMemoryBackend};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(0)
    }

    fn observe(&self, _: Timestamp) {}
}

/// Memory that is full while that is so.
#[derive(Debug, Default)]
struct Disk {
    memory: InMemoryBackend,
    is_full: Arc<AtomicBool>,
}

impl Disk {
    fn room(&self) -> io::Result<()> {
        if self.is_full.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        self.memory.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.memory.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room().and_then(|()| self.memory.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.room().and_then(|()| self.memory.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room().and_then(|()| self.memory.write(offset, data))
    }
}

#[tokio::test]
async fn a_store_that_could_not_be_written_says_so_until_it_is_opened_again() {
    let (disk, is_full) = (Disk::default(), Arc::new(AtomicBool::new(false)));
    let disk = Disk { is_full: Arc::clone(&is_full), ..disk };
    let database = redb::Database::builder().create_with_backend(disk).unwrap();
    let ring = SecretRing::new(vec![ServerSecret::new(1, [7; 32].into())]).unwrap();
    let (codec, clock): (_, Arc<dyn Clock>) = (RecordCodec::new(&ring), Arc::new(Still));
    let counters = Counters::new(Arc::clone(&clock), 1_000);
    let core = Core { database, codec, clock, stamps: Stamps::new(), counters, halted: OnceLock::new() };
    let core = Arc::new(core);
    let store = Embedded { writer: Arc::new(Writer::start(Arc::clone(&core)).unwrap()), core };

    let realm = RealmName::new("recurr").unwrap();
    let id = MemoId { realm: &realm, shelf: Shelf::Notices, name: b"acme" };
    let write = async || store.write_memo(&id, Expected::Anything, Some(b"x")).await;
    write().await.unwrap();
    assert_eq!(store.examine().await, []);
    is_full.store(true, Ordering::Relaxed);
    assert!(matches!(write().await, Err(StoreError::Full(_))));
    is_full.store(false, Ordering::Relaxed);
    // Room alone does not help.
    assert!(matches!(write().await, Err(StoreError::Unavailable(why)) if why.contains("restart keygate")));
    let problems = store.examine().await;
    assert_eq!(
        problems.iter().map(|problem| (problem.code.name(), problem.stops)).collect::<Vec<_>>(),
        [("disk", false)]
    );
    assert!(problems[0].remedy.contains("restart keygate"), "{problems:?}");
}
