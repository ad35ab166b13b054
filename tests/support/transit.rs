//! A key service for one test, on loopback: the two calls of a transit engine, with a key that never leaves it. It really
//! encrypts, and it fails in whatever way it is told to.

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{Aead, Payload},
};
use data_encoding::BASE64;
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// What whoever calls must present.
pub const TOKEN: &str = "hvs.token-of-the-tests-0123456789";

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Works,
    /// 403, as for a token that was taken away; the body repeats what was sent.
    Forbids,
    /// Answers after so long.
    Slow(Duration),
    /// 200, and no answer of a transit engine.
    Garbage,
    /// 200, and a body without end.
    Endless,
    /// Closes without a word.
    Hangs,
    /// Another key under the same name: nothing that was wrapped opens.
    OtherKey,
}

/// A running key service; its threads end with the process.
pub struct KeyService {
    port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    /// The paths of all calls.
    calls: Vec<String>,
    wrapped: u64,
}

impl KeyService {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(Mutex::new(State { mood: Mood::Works, calls: Vec::new(), wrapped: 0 }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // Whoever goes away in between is not waited for.
                thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { port, state }
    }

    /// A table of `[[vault.key_encryption_keys]]` for it; its token is read from the file `token`.
    pub fn kek(&self, name: &str, primary: bool) -> String {
        let url = format!("http://127.0.0.1:{}", self.port);
        format!(
            "name = \"{name}\"\nprimary = {primary}\n\
             transit = {{ url = \"{url}\", key = \"keygate\", token_file = \"token\", timeout = \"500ms\" }}"
        )
    }

    pub fn becomes(&self, mood: Mood) {
        self.state.lock().expect("nobody panics with it").mood = mood;
    }

    /// How many calls it got so far whose path ends so.
    pub fn calls(&self, end: &str) -> usize {
        let state = self.state.lock().expect("nobody panics with it");
        state.calls.iter().filter(|path| path.contains(end)).count()
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length, mut token) = (String::new(), 0, String::new());
    reader.read_line(&mut head)?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "x-vault-token" => token = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mood, number) = {
        let mut state = state.lock().expect("nobody panics with it");
        state.calls.push(path.clone());
        state.wrapped += 1;
        (state.mood, state.wrapped)
    };
    let (status, answer) = match mood {
        Mood::Forbids => ("403 Forbidden", String::from_utf8_lossy(&body).into_owned()),
        Mood::Garbage => ("200 OK", "<html>hello</html>".to_owned()),
        Mood::Endless => ("200 OK", format!("{{\"data\":\"{}\"}}", "x".repeat(1 << 20))),
        Mood::Hangs => return Ok(()),
        Mood::Slow(time) => {
            thread::sleep(time);
            answer(&path, &token, &body, 7, number)
        }
        Mood::Works => answer(&path, &token, &body, 7, number),
        Mood::OtherKey => answer(&path, &token, &body, 8, number),
    };
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{answer}", answer.len())
}

fn answer(path: &str, token: &str, body: &[u8], key: u8, number: u64) -> (&'static str, String) {
    if token != TOKEN {
        return ("403 Forbidden", json!({ "errors": ["permission denied"] }).to_string());
    }
    let cipher = Aes256Gcm::new((&[key; 32]).into());
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let field = |name: &str| sent[name].as_str().unwrap_or_default().to_owned();
    let bytes = |text: &str| BASE64.decode(text.as_bytes()).unwrap_or_default();
    let aad = bytes(&field("associated_data"));
    let data = match path {
        "/v1/transit/encrypt/keygate" => {
            let mut nonce = [0; 12];
            nonce[..8].copy_from_slice(&number.to_be_bytes());
            let msg = bytes(&field("plaintext"));
            let sealed = cipher.encrypt(&nonce.into(), Payload { msg: &msg, aad: &aad }).expect("it is short");
            json!({ "ciphertext": format!("vault:v1:{}", BASE64.encode(&[&nonce[..], &sealed].concat())) })
        }
        "/v1/transit/decrypt/keygate" => {
            let wrapped = bytes(field("ciphertext").strip_prefix("vault:v1:").unwrap_or_default());
            let Some((nonce, msg)) = wrapped.split_first_chunk::<12>() else {
                return ("400 Bad Request", json!({ "errors": ["invalid ciphertext"] }).to_string());
            };
            match cipher.decrypt(&(*nonce).into(), Payload { msg, aad: &aad }) {
                Ok(opened) => json!({ "plaintext": BASE64.encode(&opened) }),
                Err(_) => {
                    return (
                        "400 Bad Request",
                        json!({ "errors": ["cipher: message authentication failed"] }).to_string(),
                    );
                }
            }
        }
        _ => return ("404 Not Found", json!({ "errors": [] }).to_string()),
    };
    ("200 OK", json!({ "data": data }).to_string())
}
