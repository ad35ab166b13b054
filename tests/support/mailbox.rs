//! A mail service of somebody who runs keygate: takes one-time codes over a webhook, and keeps them.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::Value;
use sha2::Sha256;
use std::{
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
};
use tempfile::TempDir;
use tokio::net::TcpListener;

/// What requests are signed with.
const SECRET: &[u8] = b"a secret of the mail service";

/// A running service, and a realm file that leads to it.
pub struct Mailbox {
    letters: Arc<Mutex<Vec<Letter>>>,
    status: Arc<AtomicU16>,
    files: TempDir,
}

/// A code as it arrived.
#[derive(Debug, Clone)]
pub struct Letter {
    pub body: Value,
    /// Whether the signature holds.
    pub signed: bool,
}

impl Letter {
    pub fn text(&self, field: &str) -> String {
        self.body[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {self:?}")).to_owned()
    }
}

impl Mailbox {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let (letters, status) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU16::new(204)));
        let (kept, answer) = (Arc::clone(&letters), Arc::clone(&status));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                let service = service_fn(move |request| take(Arc::clone(&kept), Arc::clone(&answer), request));
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        let files = TempDir::new().expect("a temporary directory can be made");
        let secret = files.path().join("codes.secret");
        fs::write(&secret, format!("whsec_{}\n", BASE64.encode(SECRET))).expect("it can be written");
        let shipped = include_str!("../../deploy/realms/recoup.toml");
        let realm = shipped
            .replace("http://127.0.0.1:8025/codes", &format!("http://{address}/codes"))
            .replace("recoup-codes.secret", secret.to_str().expect("the path is text"));
        assert!(realm.contains(&address.to_string()) && realm.contains("codes.secret\""), "{realm}");
        fs::write(files.path().join("recoup.toml"), realm).expect("it can be written");
        Self { letters, status, files }
    }

    /// Recoup as it ships, but for where its codes go.
    pub fn realm_file(&self) -> PathBuf {
        self.files.path().join("recoup.toml")
    }

    /// The same, with keys that operators manage: they see every key that there is.
    pub fn operated_realm_file(&self) -> PathBuf {
        let owned = fs::read_to_string(self.realm_file()).expect("it can be read");
        let operated = owned.replace("by = \"owners\"", "by = \"operators\"");
        assert_ne!(owned, operated);
        let folder = self.files.path().join("operated");
        fs::create_dir_all(&folder).expect("it can be made");
        fs::write(folder.join("recoup.toml"), operated).expect("it can be written");
        folder.join("recoup.toml")
    }

    pub fn answers_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    pub fn letters(&self) -> Vec<Letter> {
        self.letters.lock().expect("nobody panics with it").clone()
    }

    /// The code that came last.
    pub fn code(&self) -> String {
        self.letters().last().expect("a code came").text("code")
    }
}

async fn take(
    kept: Arc<Mutex<Vec<Letter>>>,
    answer: Arc<AtomicU16>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap_or("")).to_owned();
    let (id, at, signature) = (header("webhook-id"), header("webhook-timestamp"), header("webhook-signature"));
    let line = (request.method().as_str().to_owned(), request.uri().path().to_owned(), header("content-type"));
    let body = request.into_body().collect().await.expect("the body arrives").to_bytes();
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET).expect("any length will do");
    mac.update(format!("{id}.{at}.").as_bytes());
    mac.update(&body);
    let expected = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
    let usual = line == ("POST".to_owned(), "/codes".to_owned(), "application/json".to_owned());
    let letter = Letter {
        body: serde_json::from_slice(&body).expect("the body is JSON"),
        signed: signature == expected && usual && !id.is_empty(),
    };
    let status = answer.load(Ordering::SeqCst);
    if status < 300 {
        kept.lock().expect("nobody panics with it").push(letter);
    }
    let mut response = Response::new(Full::default());
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    Ok(response)
}
