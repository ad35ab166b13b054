//! The guide of docs/backup.md: a store moves from one kind to the other, and nobody who calls notices.

use crate::{
    bench::{Kind, Place, allowed, command},
    support::{
        calls::{Answered, by_key, key_for},
        keygate::{BINARY, DataDir, Keygate},
        realms,
        redis::RedisServer,
    },
};
use keygate::proto::v1::{AuthenticateRequest, DenyReason, manage_keys_request::Operation};
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tonic::Code;

/// The commands of the guide, in their order, but for those that start servers.
const NEW: &str = "mkdir -m 700 new && cp old/secrets old/operator.key new/";
const FIRST: &str = "keygate backup first.backup && keygate restore --config new.toml first.backup";
const QUIET: &str = "printf '[management]\\nread_only = true\\n' >> old.toml";
const SECOND: &str = "keygate backup second.backup && keygate restore --config new.toml --merge second.backup";
const JOURNAL: &str = "cp old/journal new/";

fn settings(store: Option<&RedisServer>, data: &str) -> String {
    let store = store
        .map(|redis| format!("[store]\nkind = \"redis\"\n[store.redis]\nurl = {:?}\ndeadline = \"1s\"\n", redis.url()));
    format!(
        "data_dir = {data:?}\nrealms = [{:?}]\n[reload]\ncheck_every = \"100ms\"\n{}",
        realms::shipped().display().to_string(),
        store.unwrap_or_default()
    )
}

fn run(folder: &Path, server: &Keygate, line: &str) {
    let guide = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/backup.md")).unwrap();
    assert!(guide.contains(line), "the guide does not say `{line}`");
    let binaries = Path::new(BINARY).parent().unwrap();
    let path = format!("{}:{}", binaries.display(), env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEYGATE_")) {
        shell.env_remove(name);
    }
    shell.args(["-c", line]).current_dir(folder).stdin(Stdio::null()).env("PATH", path);
    shell.env("KEYGATE_ENDPOINT", server.endpoint()).env("KEYGATE_KEY", server.operator());
    let done = shell.output().unwrap();
    assert!(done.status.success(), "`{line}`: {}", String::from_utf8_lossy(&done.stderr));
}

async fn serve(folder: &Path, name: &str) -> Keygate {
    let file = folder.join(format!("{name}.toml"));
    let data = DataDir::Given(folder.join(name));
    let started = Keygate::try_start(data, &["--config", file.to_str().unwrap()]).await;
    started.unwrap_or_else(|ended| panic!("keygate ended: {ended:#?}"))
}

async fn move_over(from: Kind, to: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let redis = RedisServer::start();
    for (name, kind) in [("old", from), ("new", to)] {
        let store = (kind == Kind::Redis).then_some(&redis);
        fs::write(folder.path().join(format!("{name}.toml")), settings(store, name)).unwrap();
    }
    let mut old = serve(folder.path(), "old").await;
    let (_, key) = old.new_key("recovea", "acme", "live").await;
    let (ended, dead) = old.new_key("recovea", "acme", "live").await;

    // Somebody who calls without end, and is sent elsewhere once.
    let client = Arc::new(Mutex::new(old.client()));
    let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let calling = tokio::spawn({
        let (client, stop, calls, key) = (Arc::clone(&client), Arc::clone(&stop), Arc::clone(&calls), key.clone());
        async move {
            while !stop.load(Ordering::SeqCst) {
                let mut to = client.lock().unwrap().clone();
                let request: AuthenticateRequest = by_key("recovea", &key);
                to.authenticate(request).await.expect("no call fails").into_inner().allowed();
                calls.fetch_add(1, Ordering::SeqCst);
            }
        }
    });

    run(folder.path(), &old, NEW);
    run(folder.path(), &old, FIRST);
    // The old store goes on.
    let (_, between) = old.new_key("recovea", "beta", "live").await;
    old.revoke("recovea", &ended).await;
    run(folder.path(), &old, QUIET);
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = loop {
        match old.try_manage("recovea", Operation::Create(key_for("gamma", "live"))).await {
            Err(refused) => break refused,
            Ok(_) => assert!(Instant::now() < deadline, "acts go on"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let why = "management is read-only just now: the server's settings say `read_only` under `[management]`, as they do while a \
               store moves; keys are decided on as ever";
    assert_eq!((refused.code(), refused.message()), (Code::FailedPrecondition, why));
    run(folder.path(), &old, SECOND);
    run(folder.path(), &old, JOURNAL);

    let new = serve(folder.path(), "new").await;
    *client.lock().unwrap() = new.client();
    let seen = calls.load(Ordering::SeqCst);
    while calls.load(Ordering::SeqCst) < seen + 50 {
        assert!(!calling.is_finished(), "a call failed");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(old.terminate().await.success());
    stop.store(true, Ordering::SeqCst);
    calling.await.unwrap();
    assert!(seen > 10, "only {seen} calls were made meanwhile");

    allowed(&new, "recovea", &between).await;
    new.authenticate(by_key("recovea", &dead)).await.denied_for(DenyReason::RevokedKey);
    new.create("recovea", key_for("gamma", "live")).await;
    assert!(!new.output().contains("went back in time"), "{}", new.output());
}

#[tokio::test]
async fn from_embedded_to_redis_and_no_call_fails() {
    move_over(Kind::Embedded, Kind::Redis).await;
}

#[tokio::test]
async fn from_redis_to_embedded_and_no_call_fails() {
    move_over(Kind::Redis, Kind::Embedded).await;
}

#[tokio::test]
async fn wrong_settings_are_named() {
    let place = Place::new(Kind::Embedded);
    for (text, told) in [
        ("[management]\nread_only = 1\n", "management.read_only: "),
        ("[management]\nreadonly = true\n", "management.readonly: "),
        ("[recovery]\njournal = 3\n", "recovery.journal: "),
        ("[recovery]\nfile = \"x\"\n", "recovery.file: "),
    ] {
        let file = place.data.path().join("keygate.toml");
        fs::write(&file, text).unwrap();
        let ran = crate::bench::Ran::of({
            let mut checking = command(&["serve", "--check-store", "--config"]);
            checking.arg(&file);
            checking
        });
        assert!(ran.code == 2 && ran.stderr.contains(told), "{text}: {ran:?}");
    }
}
