//! The embedded store: its worlds, and what happens to its directory and file.

use crate::{
    clock::ManualClock,
    fixtures::*,
    world::{World, sought},
};
use keygate::{
    app::ports::{Clock, Freshness, Store, StoreError},
    domain::{key::SecretRing, time::Timestamp},
    store::{
        Backend, CacheSettings, Cached,
        embedded::{Embedded, FILE_NAME, FORMAT, OpenError},
    },
};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

pub struct EmbeddedWorld {
    store: Embedded,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

pub struct CachedWorld {
    store: Backend,
    clock: Arc<ManualClock>,
    _directory: TempDir,
}

pub fn open(directory: &Path, ring: &SecretRing, clock: Arc<dyn Clock>) -> Result<Embedded, OpenError> {
    Embedded::open(directory, ring, clock, 1_000_000)
}

fn reopen(directory: &Path) -> Result<Embedded, OpenError> {
    open(directory, &ring(&[(1, 1)]), Arc::new(ManualClock::new()))
}

impl World for EmbeddedWorld {
    type Store = Embedded;

    async fn open() -> Self {
        let (directory, clock) = (TempDir::new().unwrap(), Arc::new(ManualClock::new()));
        let store = open(directory.path(), &ring(&[(1, 1)]), clock.clone()).unwrap();
        Self { store, clock, _directory: directory }
    }

    fn store(&self) -> &Embedded {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, span: Duration) {
        self.clock.pass(span);
    }
}

impl World for CachedWorld {
    type Store = Backend;

    async fn open() -> Self {
        let EmbeddedWorld { store, clock, _directory } = EmbeddedWorld::open().await;
        let store = Backend::Embedded(Cached::new(store, CacheSettings::default(), clock.clone()));
        Self { store, clock, _directory }
    }

    fn store(&self) -> &Backend {
        &self.store
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn pass(&self, span: Duration) {
        self.clock.pass(span);
    }
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let EmbeddedWorld { store, clock, _directory: directory } = EmbeddedWorld::open().await;
    let world = EmbeddedWorld { store, clock, _directory: directory };
    let key = world.create(&owner("acme"), 1).await;
    let EmbeddedWorld { store, _directory: directory, .. } = world;
    drop(store);
    let store = reopen(directory.path()).unwrap();
    assert_eq!(store.read_keys(&owner("acme"), &[key.id]).await, Ok(vec![Some(key)]));
    assert_eq!(store.read_audit(&owner("acme"), 1, 10).await.unwrap().len(), 2);
}

#[test]
fn a_second_process_is_told_that_the_directory_is_in_use() {
    let directory = TempDir::new().unwrap();
    let first = reopen(directory.path()).unwrap();
    let error = reopen(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    let said = format!("data directory `{}` is in use by another keygate process", directory.path().display());
    assert!(error.to_string().starts_with(&said), "{error}");
    drop(first);
    assert!(reopen(directory.path()).is_ok());
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let directory = TempDir::new().unwrap();
    // A file in the directory's place.
    let file = directory.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = reopen(&file).err().unwrap();
    assert!(matches!(error, OpenError::Directory { .. }) && error.to_string().contains("/file`"), "{error}");

    // A directory without the right to write; whoever runs as root may write everywhere but where the kernel says no.
    use std::os::unix::fs::PermissionsExt;
    let locked = directory.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = std::fs::write(locked.join("probe"), "").is_ok();
    let locked = if is_root { Path::new("/proc/self").to_owned() } else { locked };
    let error = reopen(&locked).err().unwrap();
    assert!(matches!(error, OpenError::NotWritable { .. }) && error.to_string().contains(FILE_NAME), "{error}");
}

#[test]
fn a_file_that_keygate_did_not_write_is_named_and_left_alone() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join(FILE_NAME);
    let foreign = b"not a database, but somebody's notes".repeat(500);
    std::fs::write(&file, &foreign).unwrap();
    let error = reopen(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::Unreadable { .. }) && error.to_string().contains(FILE_NAME), "{error}");
    assert_eq!(std::fs::read(&file).unwrap(), foreign);
}

#[test]
fn a_file_of_a_newer_format_is_refused() {
    const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let directory = TempDir::new().unwrap();
    drop(reopen(directory.path()).unwrap());
    edit(directory.path(), |transaction| {
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("format", &(FORMAT + 1).to_be_bytes()[..]).unwrap();
    });
    let error = reopen(directory.path()).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    assert!(error.to_string().contains("has format 2, and this keygate knows formats up to 1"), "{error}");
}

#[test]
fn another_server_secret_is_told_plainly_and_a_rotated_one_is_not_another() {
    let directory = TempDir::new().unwrap();
    drop(reopen(directory.path()).unwrap());
    let with = |versions: &[(u32, u8)]| open(directory.path(), &ring(versions), Arc::new(ManualClock::new()));
    let error = with(&[(1, 2)]).err().unwrap();
    assert!(matches!(error, OpenError::OtherSecret { .. }), "{error}");
    assert!(error.to_string().contains("was written with another server secret"), "{error}");
    assert!(with(&[(1, 1), (2, 2)]).is_ok());
    for (alone, missing) in [((1, 1), 2), ((2, 2), 1)] {
        let error = with(&[alone]).err().unwrap();
        let versions = vec![missing];
        assert!(matches!(&error, OpenError::SecretLost { versions: found, .. } if *found == versions), "{error}");
        let error = error.to_string();
        assert!(error.contains(&format!("server secret version {missing} is missing")), "{error}");
        assert!(error.ends_with("put the line back into the `secrets` file from your copy"), "{error}");
    }
    assert!(with(&[(1, 1), (2, 2), (3, 3)]).is_ok());
}

#[test]
fn a_file_of_before_is_taken_over_with_every_version_that_may_have_sealed() {
    const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
    let directory = TempDir::new().unwrap();
    drop(reopen(directory.path()).unwrap());
    edit(directory.path(), |transaction| {
        let mut meta = transaction.open_table(META).unwrap();
        assert!(meta.remove("secrets").unwrap().is_some());
        let witness = keygate::store::record::RecordCodec::new(&ring(&[(1, 1)])).encode_witness();
        meta.insert("witness", witness.as_slice()).unwrap();
    });
    let with = |versions: &[(u32, u8)]| open(directory.path(), &ring(versions), Arc::new(ManualClock::new()));
    assert!(matches!(with(&[(2, 2)]).err().unwrap(), OpenError::OtherSecret { .. }));
    assert!(with(&[(1, 1), (2, 2)]).is_ok());
    assert!(matches!(with(&[(2, 2)]).err().unwrap(), OpenError::SecretLost { .. }));
}

#[tokio::test]
async fn damaged_records_are_errors_that_name_the_place() {
    const RECORDS: [&str; 5] = ["keys", "accounts", "pointers", "audit", "lookups"];
    for damaged in RECORDS {
        let world = EmbeddedWorld::open().await;
        world.create(&owner("acme"), 1).await;
        let EmbeddedWorld { store, _directory: directory, .. } = world;
        drop(store);
        edit(directory.path(), |transaction| {
            if damaged == "lookups" {
                let table = TableDefinition::<&[u8; 32], &[u8]>::new(damaged);
                let mut table = transaction.open_table(table).unwrap();
                table.insert(digest(1).as_bytes(), &[1, 2, 3][..]).unwrap();
                return;
            }
            let mut table = transaction.open_table(TableDefinition::<&[u8], &[u8]>::new(damaged)).unwrap();
            let (place, mut bytes) = {
                let (place, bytes) = table.first().unwrap().unwrap();
                (place.value().to_vec(), bytes.value().to_vec())
            };
            *bytes.last_mut().unwrap() ^= 1;
            table.insert(place.as_slice(), bytes.as_slice()).unwrap();
        });
        let store = reopen(directory.path()).unwrap();
        let result = match damaged {
            "pointers" => store.locate_key(&realm_name(), key_id(1)).await.map(drop),
            "audit" => store.read_audit(&owner("acme"), 1, 10).await.map(drop),
            _ => sought(&store, &[digest(1)], Freshness::Fresh).await.map(drop),
        };
        let error = result.unwrap_err();
        assert!(matches!(&error, StoreError::Corrupt(what) if what.contains('`')), "{damaged}: {error}");
        let (change, _) = creating(&owner("acme"), None, 2, Timestamp::from_micros(1));
        let commit = store.commit(&change).await;
        assert!(commit.is_err(), "{damaged}");
        assert_eq!(store.ping().await, Ok(()), "one damaged record does not stop the store");
    }
}

#[tokio::test]
async fn changes_that_arrive_together_are_each_judged_on_their_own() {
    let world = EmbeddedWorld::open().await;
    let mut tasks = Vec::new();
    for number in 0..300 {
        // Three writers for each account that does not exist yet: one wins.
        let (change, _) = creating(&owner(&format!("a{}", number / 3)), None, number, world.now());
        let store = world.store.clone();
        tasks.push(tokio::spawn(async move { store.commit(&change).await.is_ok() }));
    }
    let mut won = 0;
    for task in tasks {
        won += usize::from(task.await.unwrap());
    }
    assert_eq!(won, 100);
    let mut found = 0;
    for number in 0..300 {
        found += usize::from(world.find(&digest(number), Freshness::Fresh).await.is_some());
    }
    assert_eq!(found, 100);
}

#[tokio::test]
async fn expired_idempotency_records_are_removed_from_the_file() {
    let world = EmbeddedWorld::open().await;
    let owner = owner("acme");
    for number in 1..=100 {
        let account = world.account(&owner).await;
        let (mut change, _) = creating(&owner, account.as_ref(), number, world.now());
        change.idempotency = Some(keygate::domain::key::IdempotencyRecord {
            slot: [number as u8; 32],
            fingerprint: [0; 32],
            keys: Vec::new(),
            expires_at: world.now().after(Duration::from_secs(10)),
        });
        world.commit(&change).await;
    }
    world.pass(Duration::from_secs(11)).await;
    for number in 101..=103 {
        world.create(&owner, number).await;
    }
    let EmbeddedWorld { store, _directory: directory, .. } = world;
    drop(store);
    let database = Database::create(directory.path().join(FILE_NAME)).unwrap();
    let read = database.begin_read().unwrap();
    let records = read.open_table(TableDefinition::<&[u8], &[u8]>::new("idempotency")).unwrap();
    assert_eq!(records.iter().unwrap().count(), 0);
    let expiries = read.open_table(TableDefinition::<&[u8], ()>::new("expiries")).unwrap();
    assert_eq!(expiries.iter().unwrap().count(), 0);
}

const CHILD: &str = "KEYGATE_TEST_CHILD_DIRECTORY";

/// Not a test of its own: the child that the next test kills.
#[tokio::test]
#[ignore = "run by `acknowledged_keys_survive_a_kill` as a process of its own"]
async fn child_that_commits_and_acknowledges() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = reopen(Path::new(&directory)).unwrap();
    for number in 0u64.. {
        let owner = owner(&format!("a{}", number % 7));
        let account = store.read_account(&owner).await.unwrap();
        let (change, _) = creating(&owner, account.as_ref(), number, Timestamp::from_micros(number));
        store.commit(&change).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number}").unwrap();
        out.flush().unwrap();
    }
}

#[tokio::test]
async fn acknowledged_keys_survive_a_kill() {
    let directory = TempDir::new().unwrap();
    let mut numbers = HashSet::new();
    for round in 1..=3 {
        let first = numbers.len();
        let home = directory.path().join(round.to_string());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "embedded::child_that_commits_and_acknowledges", "--ignored", "--nocapture"])
            .env(CHILD, &home)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(number) = line.rsplit_once("acknowledged ").and_then(|(_, number)| number.parse::<u64>().ok()) {
                acknowledged.push(number);
            }
            if acknowledged.len() == 60 * round {
                // SIGKILL; what was printed before it arrives is read until the pipe ends.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= 60 * round, "the child ended early");
        let store = reopen(&home).unwrap();
        for number in acknowledged {
            let found = sought(&store, &[digest(number)], Freshness::Fresh).await.unwrap();
            assert!(matches!(found, keygate::app::ports::Found::Key(_)), "{number} was acknowledged and is gone");
            numbers.insert((round, number));
        }
        assert!(numbers.len() > first);
    }
}

fn edit(directory: &Path, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::create(directory.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}
