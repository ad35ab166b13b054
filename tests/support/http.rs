//! HTTP/1.1 to the letter: a request leaves as the test spells it, whatever a client library would make of it.

use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    /// The one value of that header, or none.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let value = found.next();
        assert_eq!(found.next(), None, "`{name}` stands twice in {self:?}");
        value
    }

    /// The headers that an end client can tell answers apart by: not the time of day, nor how long it took.
    pub fn telling(&self) -> Vec<(String, String)> {
        let dull = ["date", "x-envoy-upstream-service-time"];
        self.headers.iter().filter(|(name, _)| !dull.contains(&name.as_str())).cloned().collect()
    }
}

/// Sends one request on a connection of its own.
pub async fn send(port: u16, head: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    try_send(port, head, headers, body).await.unwrap_or_else(|error| panic!("`{head}` was not answered: {error}"))
}

/// The same, or why there is no answer. `head` is the method and the path.
pub async fn try_send(port: u16, head: &str, headers: &[(&str, &str)], body: &str) -> io::Result<Answer> {
    let mut text = format!("{head} HTTP/1.1\r\nconnection: close\r\n");
    if !body.is_empty() {
        text += &format!("content-length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    text += &format!("\r\n{body}");
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(text.as_bytes()).await?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await?;
        io::Result::Ok(bytes)
    };
    let bytes = tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| io::ErrorKind::TimedOut)??;
    read(&bytes).ok_or_else(|| io::Error::other(format!("not HTTP: {}", String::from_utf8_lossy(&bytes))))
}

fn read(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers =
        lines.map(|line| line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())));
    let headers: Vec<(String, String)> = headers.collect::<Option<_>>()?;
    let rest = &bytes[end + 4..];
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunk(rest)? } else { rest.to_vec() };
    Some(Answer { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).ok()?, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(line + 2..line + 2 + length)?);
        rest = rest.get(line + length + 4..)?;
    }
}
