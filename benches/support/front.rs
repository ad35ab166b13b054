//! A real Envoy between a client and a service that answers at once, and what one request through it takes.

use super::{
    loader::{Requests, Round},
    machine::Usage,
    proxy::{Envoy, SERVICE, SOCKET, local},
};
use hdrhistogram::Histogram;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};
use tokio::runtime;

/// What only a request carries that was let through.
const LET_THROUGH: &[u8] = b"x-auth-account: account-";
const END: &[u8] = b"\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const REFUSAL: &[u8] = b"HTTP/1.1 500 Not Asked\r\ncontent-length: 2\r\n\r\nno";
/// How long one answer may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Starts the service. It ends with this process. Gives its port.
pub fn service() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream));
        }
    });
    port
}

fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a TCP stream");
    let mut buffer = [0; 16 * 1_024];
    let mut filled = 0;
    // A connection that breaks is the other side's affair.
    while let Some(read) = stream.read(&mut buffer[filled..]).ok().filter(|read| *read > 0) {
        filled += read;
        let request = &buffer[..filled];
        if request.ends_with(END) {
            let asked = request.windows(LET_THROUGH.len()).any(|part| part == LET_THROUGH);
            filled = 0;
            if stream.write_all(if asked { ANSWER } else { REFUSAL }).is_err() {
                return;
            }
        }
    }
}

/// Starts Envoy with `deploy/envoy/sidecar.yaml`, before that service and whoever answers at that socket.
pub fn envoy(service: u16, socket: &Path, realm: &str) -> Envoy {
    let socket = format!("path: {}", socket.display());
    let service = local(service);
    let realm = format!("realm: {realm} }}");
    let changes = [(SERVICE, service.as_str()), (SOCKET, &socket), ("realm: recover }", &realm)];
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(Envoy::start("sidecar.yaml", &changes))
}

/// A client's request to the host whose realm was changed.
pub fn request(key: &str, number: usize) -> Vec<u8> {
    let line = format!("GET /v1/orders/{number:07} HTTP/1.1\r\nhost: recover.localhost\r\nuser-agent: curl/8.5.0\r\n");
    format!("{line}accept: */*\r\nauthorization: Bearer {key}\r\n\r\n").into_bytes()
}

/// Sends one request after the other on one connection. `process` is whose processor time is measured.
pub fn drive(port: u16, requests: &Requests, span: Duration, process: u32) -> Round {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("Envoy listens");
    stream.set_nodelay(true).expect("a TCP stream");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a TCP stream");
    let mut latency_ns = Histogram::new(3).expect("three digits are legal");
    let mut buffer = [0; 16 * 1_024];
    let (usage, begun) = (Usage::begin(process), Instant::now());
    while begun.elapsed() < span {
        let request = requests.take();
        let sent = Instant::now();
        stream.write_all(&request).expect("Envoy reads");
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\r\n\r\nok") {
            let read = stream.read(&mut buffer[filled..]).expect("Envoy answers");
            filled += read;
            let refused = read == 0 || !buffer[..filled].starts_with(b"HTTP/1.1 200 ");
            assert!(!refused, "the request was refused: {}", String::from_utf8_lossy(&buffer[..filled]));
        }
        let nanos = u64::try_from(sent.elapsed().as_nanos()).expect("less than centuries");
        latency_ns.record(nanos).expect("the histogram grows");
    }
    let (seconds, busy) = (begun.elapsed().as_secs_f64(), usage.end());
    Round { requests: latency_ns.len(), seconds, latency_ns, busy }
}
