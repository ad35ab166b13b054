//! A receiver of OTLP over HTTP that takes everything and reads nothing of it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

/// It lasts as long as the bench.
pub struct Sink {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let bytes = Arc::<AtomicU64>::default();
        let count = Arc::clone(&bytes);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(take(stream).unwrap_or_default(), Ordering::Relaxed);
            }
        });
        Self { address, bytes }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Bytes that it took so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

fn take(stream: TcpStream) -> Option<u64> {
    let mut reader = BufReader::new(stream);
    let mut length = 0_u64;
    loop {
        let mut line = String::new();
        reader
            .read_line(&mut line)
            .ok()
            .filter(|read| *read > 2)
            .map(drop)
            .or_else(|| (line == "\r\n").then_some(()))?;
        if line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok()?;
    reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()?;
    Some(length)
}
