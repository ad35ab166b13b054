//! HTTP/2 by hand: frames as bytes, and a connection that sends them as it likes.

use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub const DATA: u8 = 0;
pub const HEADERS: u8 = 1;
pub const RST_STREAM: u8 = 3;
pub const SETTINGS: u8 = 4;
pub const PING: u8 = 6;
pub const GOAWAY: u8 = 7;
pub const WINDOW_UPDATE: u8 = 8;
pub const CONTINUATION: u8 = 9;
pub const END_STREAM: u8 = 1;
pub const END_HEADERS: u8 = 4;
/// A message that is answered with a message: a realm, and no credential.
pub const ASKED: &[u8] = b"\x0a\x06recurr";
pub const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame is small").to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A setting, as a frame.
pub fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// The number of bytes that an answer may have before its client says more.
pub fn window(bytes: u32) -> Vec<u8> {
    setting(4, bytes)
}

/// The header list of a call, which no table remembers.
pub fn head(path: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")][..], text.as_bytes()].concat();
    // `:method: POST` and `:scheme: http` stand in every table.
    let mut list = vec![0x83, 0x86, 0x04];
    list.extend(text(path));
    list.push(0x01);
    list.extend(text("keygate"));
    list.extend([0x0f, 0x10]);
    list.extend(text("application/grpc"));
    list.push(0x00);
    list.extend([text("te"), text("trailers")].concat());
    list
}

/// A call with this message.
pub fn call(stream: u32, path: &str, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("a message is small").to_be_bytes();
    let body = [&[0][..], &length, message].concat();
    [frame(HEADERS, END_HEADERS, stream, &head(path)), frame(DATA, END_STREAM, stream, &body)].concat()
}

/// The numbers of a client's streams, from the first.
pub fn streams() -> impl Iterator<Item = u32> {
    (1..0x7fff_ffff).step_by(2)
}

/// A connection that has greeted.
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    pub async fn open(address: &str) -> io::Result<Self> {
        Self::open_with(address, &frame(SETTINGS, 0, 0, &[])).await
    }

    pub async fn open_with(address: &str, settings: &[u8]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&[PREFACE, settings].concat()).await?;
        Ok(Self { stream, buffer: vec![0; 65_536] })
    }

    /// Sends, and takes whatever comes meanwhile. False when the server has ended the connection.
    pub async fn send(&mut self, bytes: &[u8], until: Instant) -> bool {
        let (mut reader, mut writer) = self.stream.split();
        let mut send = std::pin::pin!(writer.write_all(bytes));
        loop {
            tokio::select! {
                sent = timeout_at(until, &mut send) => return !matches!(sent, Ok(Err(_))),
                read = reader.read(&mut self.buffer) => if matches!(read, Ok(0) | Err(_)) { return false },
            }
        }
    }

    /// Sends and takes nothing. False when the server has ended the connection; the bytes that fit are sent.
    pub async fn push(&mut self, bytes: &[u8], until: Instant) -> bool {
        !matches!(timeout_at(until, self.stream.write_all(bytes)).await, Ok(Err(_)))
    }

    /// Sends so many calls and waits until each is answered. False when the server ends the connection first.
    pub async fn ask(&mut self, calls: &[u8], count: usize) -> bool {
        if self.stream.write_all(calls).await.is_err() {
            return false;
        }
        let (mut heard, mut answered) = (Vec::new(), 0);
        while answered < count {
            match self.stream.read(&mut self.buffer).await {
                Ok(length @ 1..) => heard.extend_from_slice(&self.buffer[..length]),
                _ => return false,
            }
            let found = frames(&heard);
            let bytes =
                found.iter().filter(|(kind, ..)| *kind == DATA).map(|(.., payload)| payload.len()).sum::<usize>();
            let more = u32::try_from(bytes).expect("less than a window").to_be_bytes();
            if bytes > 0 && self.stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &more)).await.is_err() {
                return false;
            }
            let taken: usize = found.iter().map(|(_, _, _, payload)| 9 + payload.len()).sum();
            heard.drain(..taken);
            answered += found.iter().filter(|(kind, flags, ..)| *kind == HEADERS && flags & END_STREAM != 0).count();
        }
        true
    }

    /// From now on the system throws away whatever comes, and confirms nothing, as if nobody was there.
    pub fn vanish(&self) {
        /// Of every packet, keep nothing.
        const RETURN: u16 = 0x06;
        let filter = [socket2::SockFilter::new(RETURN, 0, 0, 0)];
        socket2::SockRef::from(&self.stream).attach_filter(&filter).expect("whoever has a socket may filter it");
    }

    /// Waits until the server ends the connection; gives the frames that came before, or nothing if it does not.
    pub async fn ended(&mut self, within: Duration) -> Option<Vec<u8>> {
        let mut heard = Vec::new();
        let read = timeout(within, self.stream.read_to_end(&mut heard)).await;
        read.is_ok().then_some(heard)
    }

    /// Takes what has come, for so long.
    pub async fn heard(&mut self, within: Duration) -> Vec<u8> {
        let (mut heard, until) = (Vec::new(), Instant::now() + within);
        while let Ok(Ok(length @ 1..)) = timeout_at(until, self.stream.read(&mut self.buffer)).await {
            heard.extend_from_slice(&self.buffer[..length]);
        }
        heard
    }
}

/// The frames in these bytes: kind, flags, stream, payload.
pub fn frames(mut bytes: &[u8]) -> Vec<(u8, u8, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while bytes.len() >= 9 {
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) as usize;
        let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]);
        let Some(payload) = bytes.get(9..9 + length) else { break };
        found.push((bytes[3], bytes[4], stream, payload.to_vec()));
        bytes = &bytes[9 + length..];
    }
    found
}
