//! A real HTTP server for key sets, which behaves as badly as it is told to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mood {
    /// With this body.
    Good(String),
    /// With another status.
    Status(&'static str),
    /// With a body that is no key set.
    Rubbish,
    /// With a body that says how long it is and is larger than any key set may be.
    Huge,
    /// With a body that never ends.
    Endless,
    /// With a head that never ends.
    EndlessHead,
    /// With a body of which a byte comes now and then.
    Drip,
    /// With a redirect to the path `/elsewhere`, where the keys are.
    Redirect(String),
    /// Never.
    Silent,
    /// By hanging up.
    Down,
}

pub struct KeyHost {
    port: u16,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

impl KeyHost {
    pub async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let (mood, asked) = (Arc::new(Mutex::new(mood)), Arc::new(AtomicUsize::new(0)));
        let (moods, count) = (Arc::clone(&mood), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let mood = moods.lock().expect("nobody panics with it").clone();
                tokio::spawn(answer(stream, mood));
            }
        });
        Self { port, mood, asked }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/keys?of=test", self.port)
    }

    pub fn is_now(&self, mood: Mood) {
        *self.mood.lock().expect("nobody panics with it") = mood;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn answer(mut stream: TcpStream, mood: Mood) {
    if mood == Mood::Down {
        return;
    }
    let mut request = Vec::new();
    let mut buffer = [0; 1_024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(length @ 1..) => request.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
    let whole = |status: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let elsewhere = request.starts_with(b"GET /elsewhere ");
    let text = match &mood {
        Mood::Good(keys) => whole("200 OK", "", keys),
        Mood::Redirect(keys) if elsewhere => whole("200 OK", "", keys),
        Mood::Redirect(_) => whole("302 Found", "location: /elsewhere\r\n", ""),
        Mood::Status(status) => whole(status, "", ""),
        Mood::Rubbish => whole("200 OK", "", "<html>Service Unavailable</html>"),
        Mood::Huge => format!("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n{}", "{".repeat(400_000)),
        Mood::Endless => "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_owned(),
        Mood::EndlessHead => "HTTP/1.1 200 OK\r\n".to_owned(),
        Mood::Drip => "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"keys\":[".to_owned(),
        Mood::Silent | Mood::Down => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            return;
        }
    };
    if stream.write_all(text.as_bytes()).await.is_err() {
        return;
    }
    let (again, pause) = match mood {
        Mood::Endless => (format!("1000\r\n{}\r\n", " ".repeat(0x1000)), Duration::ZERO),
        Mood::EndlessHead => (format!("x-more: {}\r\n", "x".repeat(0x1000)), Duration::ZERO),
        Mood::Drip => (" ".to_owned(), Duration::from_millis(50)),
        _ => (String::new(), Duration::ZERO),
    };
    while !again.is_empty() && stream.write_all(again.as_bytes()).await.is_ok() {
        tokio::time::sleep(pause).await;
    }
    let _ = stream.read(&mut buffer).await;
}
