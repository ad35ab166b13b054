//! The loader: a closed loop over many streams of few connections. It sends bytes that were made beforehand and checks of
//! every answer what can be checked cheaply: HTTP status, grpc-status, and that the request was let through.

use super::{
    keys::Numbers,
    machine::{Busy, Usage},
};
use bytes::Bytes;
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, StatusCode};
use rustls::ClientConfig;
use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime,
    task::LocalSet,
};
use tokio_rustls::TlsConnector;

const GRPC_HEADER: usize = 5;

/// A call that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    pub service: &'static str,
    name: &'static str,
    /// How the message of every answer begins that lets a request through, and of no other.
    pub yes: &'static [u8],
}

impl Method {
    /// Field 1, length-delimited: `allowed`.
    pub const AUTHENTICATE: Self = Self { service: "keygate.v1.Authorization", name: "Authenticate", yes: &[0x0A] };
    /// Field 1, length-delimited: `status`, and empty, since its code is 0.
    pub const CHECK: Self = Self { service: "envoy.service.auth.v3.Authorization", name: "Check", yes: &[0x0A, 0] };
    /// Field 1, a number: `overall_code`, which is `OK`.
    pub const SHOULD_RATE_LIMIT: Self =
        Self { service: "envoy.service.ratelimit.v3.RateLimitService", name: "ShouldRateLimit", yes: &[0x08, 1] };
}

/// Whom to drive.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub address: SocketAddr,
    pub method: Method,
    /// The process whose processor time is measured.
    pub process: u32,
    /// Whom to trust, where TLS is spoken.
    pub tls: Option<&'static Arc<ClientConfig>>,
}

/// How many at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crowd {
    pub connections: usize,
    pub streams: usize,
}

impl Crowd {
    pub const MANY: Self = Self { connections: 8, streams: 8 };
    pub const ONE: Self = Self { connections: 1, streams: 1 };
}

/// Requests in shuffled turn, going on where the last round ended.
pub struct Requests {
    frames: Vec<Bytes>,
    next: Cell<usize>,
}

impl Requests {
    pub fn new(messages: impl IntoIterator<Item = Vec<u8>>) -> Rc<Self> {
        Self::raw(messages.into_iter().map(frame).collect())
    }

    /// The same, each as it is sent.
    pub fn raw(mut frames: Vec<Bytes>) -> Rc<Self> {
        Numbers(2).shuffle(&mut frames);
        Rc::new(Self { frames, next: Cell::new(0) })
    }

    pub fn count(&self) -> usize {
        self.frames.len()
    }

    pub fn take(&self) -> Bytes {
        let at = self.next.get();
        self.next.set((at + 1) % self.frames.len());
        self.frames[at].clone()
    }
}

fn frame(message: Vec<u8>) -> Bytes {
    let length = u32::try_from(message.len()).expect("a small message").to_be_bytes();
    Bytes::from([&[0], &length[..], &message].concat())
}

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    Elapsed(Duration),
    Sent(usize),
}

/// What a round came to.
pub struct Round {
    pub requests: u64,
    pub seconds: f64,
    pub latency_ns: Histogram<u64>,
    pub busy: Busy,
}

impl Round {
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Processor time of the server for one request.
    pub fn us_each(&self) -> f64 {
        self.busy.process * 1e6 / self.per_second()
    }
}

struct Shared {
    requests: Rc<Requests>,
    deadline: Option<Instant>,
    left: Cell<usize>,
    latency_ns: RefCell<Histogram<u64>>,
}

impl Shared {
    fn next(&self) -> Option<(Bytes, Instant)> {
        let (now, left) = (Instant::now(), self.left.get());
        if left == 0 || self.deadline.is_some_and(|deadline| now >= deadline) {
            return None;
        }
        self.left.set(left - 1);
        Some((self.requests.take(), now))
    }
}

/// Drives a server for a round.
pub fn drive(target: Target, crowd: Crowd, requests: &Rc<Requests>, until: Until) -> Round {
    block_on(async {
        let head = head(target);
        let mut connections = Vec::new();
        for _ in 0..crowd.connections {
            connections.push(connect(target).await);
        }
        let usage = Usage::begin(target.process);
        let begun = Instant::now();
        let (deadline, left) = match until {
            Until::Elapsed(span) => (Some(begun + span), usize::MAX),
            Until::Sent(count) => (None, count),
        };
        let shared = Rc::new(Shared {
            requests: Rc::clone(requests),
            deadline,
            left: Cell::new(left),
            latency_ns: RefCell::new(Histogram::new(3).expect("three digits are legal")),
        });
        let mut streams = Vec::new();
        for _ in 0..crowd.streams {
            for connection in &connections {
                let (shared, connection, head) = (Rc::clone(&shared), connection.clone(), head.clone());
                streams.push(tokio::task::spawn_local(async move {
                    while let Some((body, sent)) = shared.next() {
                        exchange(&connection, &head, body, Wanted::Yes(target.method.yes)).await;
                        let nanos = u64::try_from(sent.elapsed().as_nanos()).expect("less than centuries");
                        shared.latency_ns.borrow_mut().record(nanos).expect("the histogram grows");
                    }
                }));
            }
        }
        for stream in streams {
            stream.await.expect("every answer is what it should be");
        }
        let (seconds, busy) = (begun.elapsed().as_secs_f64(), usage.end());
        let latency_ns = shared.latency_ns.take_histogram();
        Round { requests: latency_ns.len(), seconds, latency_ns, busy }
    })
}

trait TakeHistogram {
    fn take_histogram(&self) -> Histogram<u64>;
}

impl TakeHistogram for RefCell<Histogram<u64>> {
    fn take_histogram(&self) -> Histogram<u64> {
        self.replace(Histogram::new(3).expect("three digits are legal"))
    }
}

/// The message that answers one request.
pub fn ask(target: Target, message: Vec<u8>) -> Vec<u8> {
    block_on(async {
        let mut answer = Vec::new();
        exchange(&connect(target).await, &head(target), frame(message), Wanted::Whole(&mut answer)).await;
        answer.split_off(GRPC_HEADER)
    })
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    LocalSet::new().block_on(&runtime, work)
}

async fn connect(target: Target) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(target.address).await.expect("the server listens");
    stream.set_nodelay(true).expect("a TCP stream");
    let Some(config) = target.tls else { return speak(stream).await };
    let name = "localhost".try_into().expect("it is a name");
    let secured = TlsConnector::from(Arc::clone(config)).connect(name, stream).await;
    speak(secured.expect("the server shows a certificate that is trusted")).await
}

async fn speak(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) -> SendRequest<Bytes> {
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(1 << 20).initial_connection_window_size(1 << 22);
    let (sender, connection) = builder.handshake(stream).await.expect("the server speaks HTTP/2");
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    sender
}

fn head(target: Target) -> Request<()> {
    let Target { address, method: Method { service, name, .. }, .. } = target;
    let request = Request::post(format!("http://{address}/{service}/{name}"));
    let request = request.header("te", "trailers").header("content-type", "application/grpc");
    request.header("user-agent", "keygate-bench").body(()).expect("the parts are legal")
}

/// What is wanted of an answer.
enum Wanted<'a> {
    /// That it begins so.
    Yes(&'static [u8]),
    /// Its bytes.
    Whole(&'a mut Vec<u8>),
}

async fn exchange(connection: &SendRequest<Bytes>, head: &Request<()>, body: Bytes, mut wanted: Wanted<'_>) {
    let mut connection = connection.clone().ready().await.expect("the connection holds");
    let (response, mut stream) = connection.send_request(head.clone(), false).expect("the connection holds");
    stream.send_data(body, true).expect("the connection holds");
    let response = response.await.expect("the server answers");
    assert_eq!(response.status(), StatusCode::OK);
    if response.headers().contains_key("grpc-status") {
        check_status(response.headers());
    }
    let mut body = response.into_body();
    let mut length = 0;
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("the server answers");
        body.flow_control().release_capacity(chunk.len()).expect("it was received");
        match &mut wanted {
            Wanted::Whole(kept) => kept.extend_from_slice(&chunk),
            Wanted::Yes(yes) if length == 0 => {
                let message = chunk.get(GRPC_HEADER..).unwrap_or_default();
                assert!(message.starts_with(yes), "the request was denied: {message:?}");
            }
            Wanted::Yes(_) => {}
        }
        length += chunk.len();
    }
    assert!(length > GRPC_HEADER, "the answer is empty");
    let trailers = body.trailers().await.expect("the server answers").expect("gRPC ends with trailers");
    check_status(&trailers);
}

fn check_status(headers: &HeaderMap) {
    let status = headers.get("grpc-status").expect("gRPC ends with a status");
    assert!(status == "0", "the server answered with grpc-status {status:?}: {:?}", headers.get("grpc-message"));
}
