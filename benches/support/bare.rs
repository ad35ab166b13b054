//! The reference: a tonic server whose handler does nothing. It runs in a process of its own, made by starting the bench
//! again, and answers every call that is measured with the same bytes.

use super::{loader::Method, machine::Cores};
use bytes::{Buf, BufMut, Bytes};
use data_encoding::HEXLOWER;
use http::{Request, Response};
use prost::{
    DecodeError,
    encoding::{DecodeContext, WireType, skip_field},
};
use std::{
    convert::Infallible,
    env,
    future::{Future, Ready, ready},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    pin::Pin,
    process::{self, Child, Stdio},
    task::{Context, Poll},
    thread,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixListener, UnixStream},
    runtime,
};
use tokio_stream::{Stream, StreamExt};
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};
use tonic_health::ServingStatus;
use tonic_prost::ProstCodec;
use tower::Service;

const VARIABLE: &str = "KEYGATE_BENCH_BARE_SERVER";

/// How the server is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    /// One thread that does everything: what keygate uses for each core.
    CurrentThread,
    /// The same, and small answers leave in one write, as keygate's do.
    WritesTogether,
    /// Tokio's default with one worker thread.
    MultiThread,
}

/// A running server; it ends with this value.
pub struct Bare {
    child: Child,
    /// Where it listens: an address, or the path of a socket.
    place: String,
}

impl Bare {
    /// Starts one on a free port that answers with this message.
    pub fn start(cores: Cores, runtime: Runtime, answer: &[u8]) -> Self {
        Self::launch(cores, runtime, answer, "")
    }

    /// Starts one on a Unix socket, on the runtime that keygate uses.
    pub fn start_unix(cores: Cores, answer: &[u8], socket: &Path) -> Self {
        Self::launch(cores, Runtime::CurrentThread, answer, socket.to_str().expect("temporary files have plain names"))
    }

    fn launch(cores: Cores, runtime: Runtime, answer: &[u8], socket: &str) -> Self {
        let mut command = cores.server(env::current_exe().expect("the bench is a file"));
        let wanted = format!("{runtime:?} {} {socket}", HEXLOWER.encode(answer));
        command.env(VARIABLE, wanted).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the bench can start itself");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the bare server says where it listens");
        Self { child, place: line.trim().to_owned() }
    }

    pub fn address(&self) -> SocketAddr {
        self.place.parse().expect("it listens on a port")
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Serves, when this process was started to do so.
pub fn serve_if_asked() {
    let Ok(wanted) = env::var(VARIABLE) else { return };
    let mut wanted = wanted.splitn(3, ' ').map(str::to_owned);
    let mut next = move || wanted.next().expect("we wrote it");
    let (kind, answer, socket) = (next(), next(), next());
    let runtime = match kind.as_str() {
        "MultiThread" => runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build(),
        _ => runtime::Builder::new_current_thread().enable_all().build(),
    };
    let together = kind == "WritesTogether";
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        process::exit(0)
    });
    let answer = Whole(HEXLOWER.decode(answer.as_bytes()).expect("we wrote it").into());
    runtime.expect("a runtime can be made").block_on(async move {
        let served = serve(answer, socket, together);
        // A task of its own, so that the worker of the multi-thread runtime accepts as well.
        tokio::spawn(served).await.expect("the server does not panic").expect("the server serves");
    });
    process::exit(0);
}

async fn serve(answer: Whole, socket: String, together: bool) -> Result<(), tonic::transport::Error> {
    let say = |place: &str| {
        println!("{place}");
        io::stdout().flush().expect("the bench reads");
    };
    let mut server = Server::builder();
    let server = server
        .add_service(Reference::<0>(answer.clone()))
        .add_service(Reference::<1>(answer.clone()))
        .add_service(Reference::<2>(answer));
    if socket.is_empty() {
        let incoming =
            TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port").with_nodelay(Some(true));
        say(&incoming.local_addr().expect("it is bound").to_string());
        if together {
            return server.serve_with_incoming(incoming.map(|stream| stream.map(Together))).await;
        }
        return server.serve_with_incoming(incoming).await;
    }
    // Whoever puts a proxy before it asks it for its health.
    let (health, service) = tonic_health::server::health_reporter();
    health.set_service_status("readiness", ServingStatus::Serving).await;
    let incoming = UnixIncoming(UnixListener::bind(&socket).expect("the socket can be made"));
    say(&socket);
    server.add_service(service).serve_with_incoming(incoming).await
}

/// A connection that takes no slices, upon which HTTP/2 copies small answers together.
struct Together(TcpStream);

impl Connected for Together {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Together {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Together {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

struct UnixIncoming(UnixListener);

impl Stream for UnixIncoming {
    type Item = io::Result<UnixStream>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(context).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

/// The bytes of a request of that size, the cheapest to read: one field of `bytes`. One more byte where no such message
/// takes exactly that.
pub fn request(size: usize) -> Vec<u8> {
    let encoded = |data: usize| 1 + prost::length_delimiter_len(data) + data;
    let data = (size.saturating_sub(4)..=size).find(|data| encoded(*data) >= size).unwrap_or(size);
    prost::Message::encode_to_vec(&Asked { data: Bytes::from(vec![b'x'; data]) })
}

#[derive(Clone, PartialEq, prost::Message)]
struct Asked {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
}

/// A message whose bytes were made before: nothing is cheaper to write.
#[derive(Clone, Debug, Default)]
struct Whole(Bytes);

impl prost::Message for Whole {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.0);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        skip_field(wire_type, tag, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.0.len()
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// One of keygate's services by name, of which nothing else is there.
#[derive(Clone)]
struct Reference<const AT: usize>(Whole);

const METHODS: [Method; 3] = [Method::AUTHENTICATE, Method::CHECK, Method::SHOULD_RATE_LIMIT];

impl<const AT: usize> NamedService for Reference<AT> {
    const NAME: &'static str = METHODS[AT].service;
}

impl<const AT: usize> Service<Request<Body>> for Reference<AT> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let handler = Handler { answer: self.0.clone() };
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<Whole, Asked>::default()).unary(handler, request).await) })
    }
}

struct Handler {
    answer: Whole,
}

impl UnaryService<Asked> for Handler {
    type Response = Whole;
    type Future = Ready<Result<tonic::Response<Whole>, Status>>;

    fn call(&mut self, _: tonic::Request<Asked>) -> Self::Future {
        ready(Ok(tonic::Response::new(self.answer.clone())))
    }
}
