//! The reference: a tonic server whose handler does nothing. It runs in a process of its own, made by starting the bench
//! again, and answers with one `bytes` field, the cheapest message of a given size.

use super::machine::Cores;
use bytes::Bytes;
use http::{Request, Response};
use std::{
    convert::Infallible,
    env,
    future::{Future, Ready, ready},
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    process::{self, Child, Stdio},
    task::{Context, Poll},
    thread,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    runtime,
};
use tokio_stream::StreamExt;
use tonic::{
    Status,
    body::Body,
    server::{Grpc, NamedService, UnaryService},
    transport::{
        Server,
        server::{Connected, TcpIncoming},
    },
};
use tonic_prost::ProstCodec;
use tower::Service;

const VARIABLE: &str = "KEYGATE_BENCH_BARE_SERVER";
/// As long as the path of `Authenticate`.
pub const PATH: &str = "/keygate.v1.Bare_Reference/Authenticate";

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
    pub address: SocketAddr,
}

impl Bare {
    /// Starts one that answers messages of `answer` bytes.
    pub fn start(cores: Cores, runtime: Runtime, answer: usize) -> Self {
        let mut command = cores.server(env::current_exe().expect("the bench is a file"));
        command.env(VARIABLE, format!("{runtime:?} {answer}")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the bench can start itself");
        let mut line = String::new();
        let output = child.stdout.take().expect("it is a pipe");
        BufReader::new(output).read_line(&mut line).expect("the bare server says where it listens");
        Self { child, address: line.trim().parse().expect("the bare server says where it listens") }
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
    let (kind, answer) = wanted.split_once(' ').expect("we wrote it");
    let runtime = match kind {
        "MultiThread" => runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build(),
        _ => runtime::Builder::new_current_thread().enable_all().build(),
    };
    let together = kind == "WritesTogether";
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        process::exit(0)
    });
    let answer = answer_of(answer.parse().expect("we wrote it"));
    runtime.expect("a runtime can be made").block_on(async move {
        let served = serve(answer, together);
        // A task of its own, so that the worker of the multi-thread runtime accepts as well.
        tokio::spawn(served).await.expect("the server does not panic").expect("the server serves");
    });
    process::exit(0);
}

async fn serve(answer: Message, together: bool) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port").with_nodelay(Some(true));
    println!("{}", incoming.local_addr().expect("it is bound"));
    std::io::stdout().flush().expect("the bench reads");
    let server = Server::builder().add_service(Reference { answer });
    if together {
        return server.serve_with_incoming(incoming.map(|stream| stream.map(Together))).await;
    }
    server.serve_with_incoming(incoming).await
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

/// A message that takes `size` bytes, its tag and length included; one more where no message takes exactly that.
fn answer_of(size: usize) -> Message {
    let data = (size.saturating_sub(4)..=size).find(|data| encoded(*data) >= size).unwrap_or(size);
    Message { data: Bytes::from(vec![b'x'; data]) }
}

fn encoded(data: usize) -> usize {
    1 + prost::length_delimiter_len(data) + data
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
}

/// The bytes of a request of exactly that size.
pub fn request(size: usize) -> Vec<u8> {
    prost::Message::encode_to_vec(&answer_of(size))
}

#[derive(Clone)]
struct Reference {
    answer: Message,
}

impl NamedService for Reference {
    const NAME: &'static str = "keygate.v1.Bare_Reference";
}

impl Service<Request<Body>> for Reference {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let handler = Handler { answer: self.answer.clone() };
        Box::pin(async move { Ok(Grpc::new(ProstCodec::<Message, Message>::default()).unary(handler, request).await) })
    }
}

struct Handler {
    answer: Message,
}

impl UnaryService<Message> for Handler {
    type Response = Message;
    type Future = Ready<Result<tonic::Response<Message>, Status>>;

    fn call(&mut self, _: tonic::Request<Message>) -> Self::Future {
        ready(Ok(tonic::Response::new(self.answer.clone())))
    }
}
