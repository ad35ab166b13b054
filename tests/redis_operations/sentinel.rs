//! A primary that dies, is demoted, and comes back: keygate asks the sentinels and goes on by itself.

use crate::{
    open, options, refusal,
    support::{
        calls::{Answered, by_key, charged, key_for},
        files::ConfigFile,
        keygate::Keygate,
        redis::{RedisServer, binary},
    },
    until,
};
use keygate::{
    proto::v1::{
        CreateKey, ListKeys, authenticate_response::Outcome, manage_keys_request::Operation,
        manage_keys_response::Result as Done,
    },
    store::redis::{RedisOptions, SentinelOptions},
};
use std::{
    collections::BTreeSet,
    fs,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tonic::Code;

const PASSWORD: &str = "password-of-the-sentinels";

/// Three sentinels that watch one primary.
struct Watch {
    sentinels: Vec<Child>,
    ports: Vec<u16>,
    folder: TempDir,
}

impl Watch {
    fn over(primary: &RedisServer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut watch = Self { sentinels: Vec::new(), ports: Vec::new(), folder };
        for number in 0..3 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let file = watch.folder.path().join(format!("sentinel-{number}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndaemonize no\ndir \"{}\"\nrequirepass {PASSWORD}\n\
                 sentinel sentinel-pass {PASSWORD}\nsentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n",
                watch.folder.path().display(),
                primary.port()
            );
            fs::write(&file, text).unwrap();
            let mut command = Command::new(binary());
            command.arg(&file).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            watch.sentinels.push(command.spawn().unwrap());
            watch.ports.push(port);
        }
        watch
    }

    fn password_file(&self) -> String {
        let file = self.folder.path().join("password");
        fs::write(&file, PASSWORD).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn hosts(&self) -> String {
        self.ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>().join(",")
    }

    /// What the first sentinel answers.
    async fn ask(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(format!("redis://:{PASSWORD}@127.0.0.1:{}", self.ports[0]))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd("SENTINEL");
        command.arg(words).query_async(&mut connection).await
    }

    /// Waits until the sentinels know each other and a replica.
    async fn settled(&self) {
        until("the sentinels know each other and the replica", async || {
            let known = self.ask(&["MASTER", "main"]).await.ok();
            let known: Vec<String> = known.and_then(|known| redis::from_redis_value(known).ok()).unwrap_or_default();
            let quorum = self.ask(&["CKQUORUM", "main"]).await.is_ok();
            let says = |name: &str, number: &str| known.chunks(2).any(|pair| pair == [name, number]);
            quorum && says("num-slaves", "1") && says("num-other-sentinels", "2")
        })
        .await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        for child in &mut self.sentinels {
            // Nothing to be done about an error here.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Load {
    over: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<String>>>,
    clients: Vec<tokio::task::JoinHandle<()>>,
    last_answer: Arc<Mutex<(Instant, Duration)>>,
}

impl Load {
    /// Four clients ask for decisions, one makes keys.
    fn on(keygate: &Arc<Keygate>, id: &str, key: &str) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(Mutex::new(BTreeSet::new()));
        let last_answer = Arc::new(Mutex::new((Instant::now(), Duration::ZERO)));
        let mut clients = Vec::new();
        for _ in 0..4 {
            let (keygate, over, last) = (Arc::clone(keygate), Arc::clone(&over), Arc::clone(&last_answer));
            let (id, key) = (id.to_owned(), key.to_owned());
            clients.push(tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    match keygate.try_authenticate(charged(by_key("recurr", &key), "GET", "/", 0)).await {
                        Ok(answer) => {
                            assert!(
                                matches!(&answer.outcome, Some(Outcome::Allowed(a)) if a.key_id == id),
                                "{answer:?}"
                            );
                            let mut last = last.lock().unwrap();
                            *last = (Instant::now(), last.1.max(last.0.elapsed()));
                        }
                        Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }));
        }
        let (keygate, stop, kept) = (Arc::clone(keygate), Arc::clone(&over), Arc::clone(&acknowledged));
        clients.push(tokio::spawn(async move {
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                number += 1;
                let create = CreateKey { name: format!("key {number}"), ..key_for("load", "live") };
                match keygate.try_manage("recurr", Operation::Create(create)).await {
                    Ok(Done::Created(made)) => {
                        kept.lock().unwrap().insert(made.key.unwrap().id);
                    }
                    Ok(other) => panic!("{other:?}"),
                    Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }));
        Self { over, acknowledged, clients, last_answer }
    }

    /// How long it took until decisions were answered again, told from now.
    async fn recovers(&self) -> Duration {
        let now = Instant::now();
        *self.last_answer.lock().unwrap() = (now, Duration::ZERO);
        // First it must stop: what was under way is still answered.
        tokio::time::sleep(Duration::from_millis(500)).await;
        until("decisions are answered", async || self.last_answer.lock().unwrap().0 > now + Duration::from_millis(500))
            .await;
        now.elapsed()
    }

    async fn end(self) -> BTreeSet<String> {
        self.over.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.await.unwrap();
        }
        self.acknowledged.lock().unwrap().clone()
    }
}

async fn lists_all(keygate: &Keygate, acknowledged: &BTreeSet<String>) {
    let mut found = BTreeSet::new();
    let mut filter = ListKeys { page_size: 100, ..ListKeys::default() };
    loop {
        let page = keygate.list("recurr", filter.clone()).await;
        found.extend(page.keys.into_iter().map(|key| key.id));
        if page.next_page_token.is_empty() {
            break;
        }
        filter.page_token = page.next_page_token;
    }
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
}

#[tokio::test]
async fn a_primary_that_dies_or_is_demoted_is_left_for_the_next_and_nothing_that_was_confirmed_is_lost() {
    let mut first = RedisServer::start();
    let port = first.port().to_string();
    let second = RedisServer::start_with(&["--replicaof", "127.0.0.1", &port]);
    let watch = Watch::over(&first);
    watch.settled().await;
    until("the replica follows", async || second.cli(&["INFO", "replication"]).contains("master_link_status:up")).await;
    let settings = ConfigFile::settings(&format!(
        "[store]\nkind = \"redis\"\n[store.redis]\nurl = \"redis+sentinel://keygate:password-of-the-tests@{}/main\"\n\
         deadline = \"500ms\"\nwait_replicas = 1\n[store.redis.sentinel]\npassword_file = \"{}\"\n",
        watch.hosts(),
        watch.password_file()
    ));
    let keygate = Arc::new(Keygate::start(&["--config", &settings.path()]).await);
    let (id, key) = keygate.new_key("recurr", "acme", "live").await;
    let load = Load::on(&keygate, &id, &key);
    tokio::time::sleep(Duration::from_secs(1)).await;

    first.kill();
    let took = load.recovers().await;
    println!("primary killed: decisions after {took:?}");
    let before = load.acknowledged.lock().unwrap().len();
    assert!(before > 0, "nothing was acknowledged");

    // The old primary comes back and is made a replica; then there is one again that acts can wait for.
    first.restart();
    let took = until("acts are acknowledged again", async || load.acknowledged.lock().unwrap().len() > before).await;
    println!("old primary back as a replica: acts after {took:?}");
    assert!(first.cli(&["INFO", "replication"]).contains("role:slave"));

    // Demoted while it goes on answering.
    *load.last_answer.lock().unwrap() = (Instant::now(), Duration::ZERO);
    until("the sentinels agree to change", async || watch.ask(&["FAILOVER", "main"]).await.is_ok()).await;
    until("it is the primary again", async || first.cli(&["INFO", "replication"]).contains("role:master")).await;
    let longest = load.last_answer.lock().unwrap().1;
    let took = load.recovers().await;
    println!("primary demoted: longest wait between decisions {longest:?}, and after it {took:?}");
    let before = load.acknowledged.lock().unwrap().len();
    until("acts are acknowledged again", async || load.acknowledged.lock().unwrap().len() > before).await;
    let acknowledged = load.end().await;
    lists_all(&keygate, &acknowledged).await;
    println!("{} keys were acknowledged, all are there", acknowledged.len());
    assert_eq!(keygate.authenticate(by_key("recurr", &key)).await.allowed().key_id, id);
}

#[tokio::test]
async fn what_is_wrong_with_sentinels_is_told() {
    let primary = RedisServer::start();
    let watch = Watch::over(&primary);
    until("a sentinel answers", async || watch.ask(&["MYID"]).await.is_ok()).await;
    let sentinel =
        || SentinelOptions { password_file: Some(watch.password_file().into()), ..SentinelOptions::default() };
    let at = |name: &str| {
        let url = format!("redis+sentinel://keygate:password-of-the-tests@{}/{name}", watch.hosts());
        RedisOptions { sentinel: sentinel(), ..options(&url) }
    };
    until("every sentinel answers", async || open(at("main")).await.is_ok()).await;
    let text = refusal(at("another")).await;
    assert!(text.contains("another") && text.contains("watches no primary of that name"), "{text}");
    let stranger = RedisOptions { sentinel: SentinelOptions::default(), ..at("main") };
    let text = refusal(stranger).await;
    assert!(text.contains("the sentinel at `127.0.0.1:") && text.contains("password"), "{text}");
}
