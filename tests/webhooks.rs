//! Contract row U10: subscribers are told what happens, signed, in order for each account, at least once, whatever ends in
//! between; what they do not take can be seen and sent again.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{
    CreateKey, ListDeadLettersRequest, RedeliverRequest, TestWebhookRequest, webhooks_client::WebhooksClient,
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{
    calls::{key_for, seconds, signed, violations},
    files::ConfigFile,
    stack::Stack,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tonic::Code;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A message as it arrived.
#[derive(Clone, Debug)]
struct Received {
    headers: BTreeMap<String, String>,
    body: String,
    /// What was answered.
    status: u16,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }

    fn id(&self) -> &str {
        &self.headers["webhook-id"]
    }
}

/// A subscriber, with the status that it answers.
struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<Mutex<u16>>,
    work: JoinHandle<()>,
}

impl Receiver {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (received, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(204)));
        let (all, answer) = (Arc::clone(&received), Arc::clone(&status));
        let work = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (all, status) = (Arc::clone(&all), *answer.lock().unwrap());
                tokio::spawn(async move { take(stream, &all, status).await });
            }
        });
        Self { port, received, status, work }
    }

    fn answer(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// Everything that arrived, once so many messages were taken.
    async fn taken(&self, count: usize) -> Vec<Received> {
        for _ in 0..600 {
            let taken: Vec<Received> = self.all().into_iter().filter(|one| one.status < 300).collect();
            if taken.len() >= count {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:#?}", self.all());
    }

    async fn refused(&self, count: usize) {
        for _ in 0..600 {
            if self.all().iter().filter(|one| one.status >= 300).count() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:#?}", self.all());
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn take(stream: TcpStream, all: &Mutex<Vec<Received>>, status: u16) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    stream.read_exact(&mut body).await.ok()?;
    all.lock().unwrap().push(Received { headers, body: String::from_utf8(body).ok()?, status });
    let answer = format!("HTTP/1.1 {status} X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 2\r\n\r\nno");
    stream.get_mut().write_all(answer.as_bytes()).await.ok()
}

/// A server with one subscriber.
struct World {
    stack: Stack,
    receiver: Receiver,
    _realm: ConfigFile,
    _secret: ConfigFile,
}

#[derive(Clone, Copy)]
enum Kind {
    Embedded,
    Redis,
}

async fn world(kind: Kind, settings: &str, more: &[&str]) -> World {
    let receiver = Receiver::start().await;
    let secret = ConfigFile::new("secret", &format!("{SECRET}\n"));
    let (port, path) = (receiver.port, secret.path());
    let realm = ConfigFile::new(
        "shop.toml",
        &format!(
            "realm = \"shop\"\ncredentials = [{{ header = \"x-api-key\" }}]\n[[environments]]\nname = \"live\"\n\
             prefix = \"sh_live_\"\n[[webhooks]]\nname = \"billing\"\nurl = \"http://127.0.0.1:{port}/hook?a=b\"\n\
             secret_file = \"{path}\"\n{settings}\n"
        ),
    );
    let file = realm.path();
    let arguments = [&["--realm-file", file.as_str()][..], more].concat();
    let stack = match kind {
        Kind::Embedded => Stack::embedded(&arguments).await,
        Kind::Redis => Stack::redis(&arguments).await,
    };
    World { stack, receiver, _realm: realm, _secret: secret }
}

/// Each row on each store.
macro_rules! rows {
    ($($name:ident: $settings:expr;)*) => {
        mod on {
            mod embedded {
                $(#[tokio::test]
                async fn $name() {
                    super::super::$name(super::super::world(super::super::Kind::Embedded, $settings, &[]).await).await;
                })*
            }
            mod redis {
                $(#[tokio::test]
                async fn $name() {
                    super::super::$name(super::super::world(super::super::Kind::Redis, $settings, &[]).await).await;
                })*
            }
        }
    };
}

rows! {
    u10_every_act_is_told_in_order_and_signed: "events = [\"account.created\", \"key.created\", \"key.updated\", \"key.rotated\", \"key.revoked\"]";
    u10_a_subscriber_that_fails_and_recovers_misses_nothing: "";
    u10_what_was_done_before_a_kill_is_told_after_it: "";
    u10_what_nobody_takes_is_a_dead_letter_and_can_be_sent_again: "retry_for = \"0s\"";
    u10_gone_is_given_up_at_once: "";
    u10_an_expiry_is_told_before_it_comes: "expiring_within = \"1s\"\nevents = [\"key.expiring\"]";
    wrong_requests_are_refused: "";
}

async fn u10_every_act_is_told_in_order_and_signed(world: World) {
    let World { stack, receiver, .. } = &world;
    let mut acts = 0;
    for account in ["acme", "beta", "acme"] {
        let (id, _) = stack.new_key("shop", account, "live").await;
        stack.rotate("shop", &id, Some(seconds(60))).await;
        stack.revoke("shop", &id).await;
        acts += 3;
    }
    // Two accounts came to exist.
    let taken = receiver.taken(acts + 2).await;
    let mut seen: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for message in &taken {
        let data = message.json()["data"].clone();
        assert_eq!(data["realm"], "shop");
        let account = data["account_id"].as_str().unwrap().to_owned();
        seen.entry(account).or_default().push((data["sequence"].as_u64().unwrap(), message.kind()));
        assert_eq!(message.headers["content-type"], "application/json");
        assert!(is_genuine(message, SECRET), "{message:?}");
        assert!(!is_genuine(message, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), "{message:?}");
        let changed = Received { body: message.body.replace("shop", "shoq"), ..message.clone() };
        assert!(!is_genuine(&changed, SECRET), "{message:?}");
    }
    let kinds =
        ["account.created", "key.created", "key.rotated", "key.revoked", "key.created", "key.rotated", "key.revoked"];
    for (account, told) in &seen {
        let wanted: Vec<(u64, String)> = (1..).zip(kinds.map(str::to_owned)).take(told.len()).collect();
        assert_eq!(*told, wanted, "{account}");
    }
    assert_eq!((seen["acme"].len(), seen["beta"].len()), (7, 4));
    let mut ids: Vec<&str> = taken.iter().map(Received::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), taken.len());
}

/// Judged by the lines that the documentation gives to receivers.
fn is_genuine(message: &Received, secret: &str) -> bool {
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/webhooks.md")).unwrap();
    let code = docs.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the code is there");
    let more = "\nimport json, sys\nasked = json.load(sys.stdin)\n\
                print(is_genuine(asked['secret'], asked['headers'], asked['body'].encode()))\n";
    let mut python = Command::new("python3")
        .args(["-c", &format!("{code}{more}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 is installed");
    let asked = serde_json::json!({ "secret": secret, "headers": message.headers, "body": message.body });
    python.stdin.take().unwrap().write_all(asked.to_string().as_bytes()).unwrap();
    let said = python.wait_with_output().unwrap();
    match String::from_utf8_lossy(&said.stdout).trim() {
        "True" => true,
        "False" => false,
        other => panic!("{other}"),
    }
}

async fn u10_a_subscriber_that_fails_and_recovers_misses_nothing(world: World) {
    let World { stack, receiver, .. } = &world;
    receiver.answer(503);
    let (id, _) = stack.new_key("shop", "acme", "live").await;
    stack.revoke("shop", &id).await;
    receiver.refused(2).await;
    // A redirect is not followed.
    receiver.answer(302);
    receiver.refused(3).await;
    // Until the first is taken, nothing after it is told.
    let refused = receiver.all();
    assert!(refused.iter().all(|one| one.id() == refused[0].id() && one.kind() == "account.created"), "{refused:#?}");
    receiver.answer(200);
    let taken = receiver.taken(3).await;
    assert_eq!(taken[0].id(), refused[0].id());
    let kinds: Vec<String> = taken.iter().map(Received::kind).collect();
    assert_eq!(kinds, ["account.created", "key.created", "key.revoked"]);
}

async fn u10_what_was_done_before_a_kill_is_told_after_it(mut world: World) {
    world.receiver.answer(500);
    let (id, _) = world.stack.new_key("shop", "acme", "live").await;
    world.stack.revoke("shop", &id).await;
    world.stack.keygate.kill();
    world.receiver.answer(204);
    let before = world.receiver.all().len();
    world.stack.keygate.restart().await;
    // The lease of the one that was killed may have to run out: 30 s and the time of one delivery.
    let mut taken = Vec::new();
    for _ in 0..1_200 {
        taken = world.receiver.all().split_off(before);
        if taken.iter().any(|one| one.kind() == "key.revoked") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let kinds: Vec<String> = taken.iter().map(Received::kind).collect();
    assert_eq!(kinds, ["account.created", "key.created", "key.revoked"]);
}

async fn dead(stack: &Stack, count: usize) -> Vec<keygate::proto::v1::DeadLetter> {
    let list = || ListDeadLettersRequest { realm: "shop".to_owned(), ..Default::default() };
    let mut client = WebhooksClient::new(stack.channel());
    for _ in 0..600 {
        let found = client.list_dead_letters(signed(Some(stack.operator()), list())).await.unwrap().into_inner();
        if found.letters.len() == count {
            return found.letters;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{:#?}", client.list_dead_letters(signed(Some(stack.operator()), list())).await);
}

async fn u10_what_nobody_takes_is_a_dead_letter_and_can_be_sent_again(world: World) {
    let World { stack, receiver, .. } = &world;
    receiver.answer(500);
    let (id, _) = stack.new_key("shop", "acme", "live").await;
    let letters = dead(stack, 2).await;
    assert_eq!((letters[0].event.as_str(), letters[1].event.as_str()), ("account.created", "key.created"));
    assert!(letters[1].body.contains(&id) && letters[1].account_id == "acme" && letters[1].attempts == 1);
    assert_eq!(letters[0].problem, "it answers 500 Internal Server Error");
    // What comes after it goes on.
    receiver.answer(200);
    stack.revoke("shop", &id).await;
    assert_eq!(receiver.taken(1).await[0].kind(), "key.revoked");

    let mut client = WebhooksClient::new(stack.channel());
    let (realm, webhook) = ("shop".to_owned(), "billing".to_owned());
    let redeliver = |id: &str| {
        signed(
            Some(stack.operator()),
            RedeliverRequest { realm: realm.clone(), webhook: webhook.clone(), id: id.to_owned() },
        )
    };
    receiver.answer(500);
    let failed = client.redeliver(redeliver("")).await.unwrap().into_inner();
    assert_eq!((failed.delivered, failed.failed), (0, 1));
    receiver.answer(200);
    let one = client.redeliver(redeliver(&letters[1].id)).await.unwrap().into_inner();
    assert_eq!((one.delivered, one.failed), (1, 0));
    assert_eq!(dead(stack, 1).await[0].id, letters[0].id);
    let rest = client.redeliver(redeliver("")).await.unwrap().into_inner();
    assert_eq!((rest.delivered, rest.failed), (1, 0));
    dead(stack, 0).await;
    let taken = receiver.taken(3).await;
    assert_eq!((taken[1].id(), taken[2].id()), (letters[1].id.as_str(), letters[0].id.as_str()));
    assert_eq!(taken[1].body, letters[1].body);

    let test = TestWebhookRequest { realm, webhook };
    let tried = client.test(signed(Some(stack.operator()), test.clone())).await.unwrap().into_inner();
    assert!(tried.delivered && receiver.taken(4).await[3].id() == tried.id);
    receiver.answer(404);
    let tried = client.test(signed(Some(stack.operator()), test)).await.unwrap().into_inner();
    assert_eq!((tried.delivered, tried.problem.as_str()), (false, "it answers 404 Not Found"));
}

async fn u10_gone_is_given_up_at_once(world: World) {
    let World { stack, receiver, .. } = &world;
    receiver.answer(410);
    stack.new_key("shop", "acme", "live").await;
    assert_eq!(dead(stack, 2).await[0].problem, "it answers 410 Gone");
    assert_eq!(receiver.all().len(), 2);
}

async fn u10_an_expiry_is_told_before_it_comes(world: World) {
    let World { stack, receiver, .. } = &world;
    let brief = CreateKey { expires_in: Some(seconds(4)), ..key_for("acme", "live") };
    let brief = stack.create("shop", brief).await.key.unwrap();
    let long = CreateKey { expires_in: Some(seconds(600)), ..key_for("acme", "live") };
    stack.create("shop", long).await;
    let expiring = &receiver.taken(1).await[0];
    assert_eq!(
        (expiring.kind().as_str(), expiring.json()["data"]["key_id"].as_str()),
        ("key.expiring", Some(&*brief.id))
    );
    assert_eq!(expiring.json()["data"]["environment"], "live");

    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(receiver.all().len(), 1, "each is told once: {:#?}", receiver.all());
}

async fn wrong_requests_are_refused(world: World) {
    let World { stack, .. } = &world;
    let mut client = WebhooksClient::new(stack.channel());
    let realm = || "shop".to_owned();
    let refused = "must be a webhook of the realm: `billing`";
    let list = |webhook: &str, page_size, page_token: &str| ListDeadLettersRequest {
        realm: realm(),
        webhook: webhook.to_owned(),
        page_size,
        page_token: page_token.to_owned(),
    };
    for (request, field, problem) in [
        (list("other", 0, ""), "webhook", refused),
        (list("", -1, ""), "page_size", "must be 1 to 1000, or 0 for 100"),
        (list("", 1_001, ""), "page_size", "must be 1 to 1000, or 0 for 100"),
        (list("", 0, "?"), "page_token", "must be `next_page_token` of the page before, unchanged"),
    ] {
        let status = client.list_dead_letters(signed(Some(stack.operator()), request)).await.unwrap_err();
        assert_eq!(violations(&status), [(field.to_owned(), problem.to_owned())]);
    }
    for webhook in ["", "other"] {
        let webhook = webhook.to_owned();
        let request = RedeliverRequest { realm: realm(), webhook: webhook.clone(), ..Default::default() };
        let status = client.redeliver(signed(Some(stack.operator()), request)).await.unwrap_err();
        assert_eq!(violations(&status), [("webhook".to_owned(), refused.to_owned())]);
        let status = client.test(signed(Some(stack.operator()), TestWebhookRequest { realm: realm(), webhook })).await;
        assert_eq!(violations(&status.unwrap_err()), [("webhook".to_owned(), refused.to_owned())]);
    }
    // Without a key, and with too small a role.
    let reader = CreateKey { scopes: support::calls::texts(&["reader"]), ..key_for("staff", "") };
    let reader = stack.create("keygate", reader).await.secret;
    let test = || TestWebhookRequest { realm: realm(), webhook: "billing".to_owned() };
    let redeliver = || RedeliverRequest { realm: realm(), webhook: "billing".to_owned(), id: String::new() };
    for (key, code) in [(None, Code::Unauthenticated), (Some(reader.as_str()), Code::PermissionDenied)] {
        assert_eq!(client.test(signed(key, test())).await.unwrap_err().code(), code);
        assert_eq!(client.redeliver(signed(key, redeliver())).await.unwrap_err().code(), code);
    }
    assert_eq!(
        client.list_dead_letters(signed(None, list("", 0, ""))).await.unwrap_err().code(),
        Code::Unauthenticated
    );
    client.list_dead_letters(signed(Some(&reader), list("", 0, ""))).await.unwrap();
}

#[tokio::test]
async fn the_audit_log_is_written_to_a_file_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("audit.jsonl");
    let settings = ConfigFile::settings(&format!("[audit]\nexport_file = {log:?}\n"));
    let mut world = world(Kind::Embedded, "", &["--config", &settings.path()]).await;
    let (id, _) = world.stack.new_key("shop", "acme", "live").await;
    let lines = || {
        let text = fs::read_to_string(&log).unwrap_or_default();
        let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["data"]["account_id"] == "acme").collect::<Vec<_>>()
    };
    let wait = async |count: usize| {
        for _ in 0..400 {
            if lines().len() >= count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{:#?}", lines());
    };
    wait(2).await;
    // It may be moved away at any time.
    fs::rename(&log, folder.path().join("audit.1")).unwrap();
    world.stack.revoke("shop", &id).await;
    wait(1).await;
    assert_eq!((&lines()[0]["type"], &lines()[0]["data"]["sequence"]), (&Value::from("key.revoked"), &Value::from(3)));
    world.stack.keygate.restart().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(lines().len(), 1, "what was written is not written again");
}

#[test]
fn no_act_is_committed_past_the_notice() {
    fn read(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, found);
            } else if fs::read_to_string(&path).unwrap().contains("store.commit(") {
                found.push(path.file_name().unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let mut found = Vec::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/app"), &mut found);
    found.sort_unstable();
    // What a backup holds was told when it was done.
    assert_eq!(
        found,
        ["notice.rs", "settle.rs"],
        "acts are committed by `App::commit`, which tells subscribers of them"
    );
}
