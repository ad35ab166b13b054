//! A receiver of OTLP over gRPC and over HTTP, by the official definitions, which behaves as badly as it is told to.

use super::certificates::Files;
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
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use rustls::ServerConfig;
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;
use tonic::{Status, service::Routes};
use tower::ServiceExt;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// How it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It takes everything.
    Good,
    /// It takes all but one span of each export.
    Picky,
    /// Never.
    Silent,
    /// That it has no time.
    Busy,
    /// That it wants none of it.
    Refusing,
}

/// A span, with what it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    /// 1 internal, 2 server, 3 client.
    pub kind: i32,
    pub state: String,
    pub attributes: BTreeMap<String, String>,
    pub resource: BTreeMap<String, String>,
    pub failed: bool,
    pub began: u64,
    pub ended: u64,
}

impl Seen {
    /// The value of an attribute; empty where there is none.
    pub fn told(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone)]
struct Kept {
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    headers: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

/// The receiver; ends when it is dropped.
pub struct Receiver {
    port: u16,
    kept: Kept,
    task: JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn map(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let value = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(truth)) => truth.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|pair| (pair.key.clone(), value(pair))).collect()
}

fn seen(export: &ExportTraceServiceRequest) -> Vec<Seen> {
    let of = |resource: &BTreeMap<String, String>, span: &Span| Seen {
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: hexadecimal(&span.parent_span_id),
        name: span.name.clone(),
        kind: span.kind,
        state: span.trace_state.clone(),
        attributes: map(&span.attributes),
        resource: resource.clone(),
        failed: span.status.as_ref().is_some_and(|status| status.code == 2),
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
    };
    let mut all = Vec::new();
    for group in &export.resource_spans {
        let resource = group.resource.as_ref().map(|resource| map(&resource.attributes)).unwrap_or_default();
        all.extend(group.scope_spans.iter().flat_map(|scope| &scope.spans).map(|span| of(&resource, span)));
    }
    all
}

impl Kept {
    /// What it answers, after it took what it takes.
    async fn take(&self, export: ExportTraceServiceRequest) -> Result<ExportTraceServiceResponse, Status> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let mood = *self.mood.lock().expect("nobody panics with it");
        let partial = |rejected_spans| {
            let partial_success = Some(ExportTracePartialSuccess { rejected_spans, error_message: String::new() });
            ExportTraceServiceResponse { partial_success }
        };
        let answer = match mood {
            Mood::Good => ExportTraceServiceResponse::default(),
            Mood::Picky => partial(1),
            Mood::Silent => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                return Err(Status::unavailable("late"));
            }
            Mood::Busy => return Err(Status::unavailable("busy")),
            Mood::Refusing => return Err(Status::invalid_argument("not that")),
        };
        self.exports.lock().expect("nobody panics with it").push(export);
        Ok(answer)
    }

    fn note(&self, headers: &http::HeaderMap) {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
        self.headers.lock().expect("nobody panics with it").push(headers);
    }

    async fn http(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let told = |status: u16, body: Vec<u8>| {
            Response::builder().status(status).body(Full::new(Bytes::from(body))).expect("an answer")
        };
        if parts.uri.path() != "/v1/traces" || parts.headers["content-type"] != "application/x-protobuf" {
            return told(404, Vec::new());
        }
        let body = body.collect().await.expect("a whole body").to_bytes();
        let Ok(export) = ExportTraceServiceRequest::decode(body) else { return told(400, Vec::new()) };
        match self.take(export).await {
            Ok(answer) => told(200, answer.encode_to_vec()),
            Err(status) if status.code() == tonic::Code::Unavailable => told(503, Vec::new()),
            Err(_) => told(400, Vec::new()),
        }
    }
}

#[tonic::async_trait]
impl TraceService for Kept {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        self.take(request.into_inner()).await.map(tonic::Response::new)
    }
}

impl Receiver {
    pub async fn start(mood: Mood) -> Self {
        Self::with(mood, None).await
    }

    /// One that speaks TLS, and HTTP/2 only where that was agreed on.
    pub async fn secured(files: &Files) -> Self {
        let mut config = ServerConfig::clone(&files.server());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self::with(Mood::Good, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn with(mood: Mood, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let kept = Kept {
            exports: Arc::default(),
            headers: Arc::default(),
            mood: Arc::new(Mutex::new(mood)),
            asked: Arc::default(),
        };
        let service = kept.clone();
        let task = tokio::spawn(async move {
            let routes = Routes::new(TraceServiceServer::new(service.clone())).prepare();
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, routes, tls) = (service.clone(), routes.clone(), tls.clone());
                tokio::spawn(async move {
                    let (stream, agreed): (Box<dyn Stream>, bool) = match tls {
                        None => (Box::new(stream), true),
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => {
                                let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                                (Box::new(stream), agreed)
                            }
                            Err(_) => return,
                        },
                    };
                    let answer = service_fn(move |request: Request<Incoming>| {
                        let (kept, routes) = (kept.clone(), routes.clone());
                        async move {
                            kept.note(request.headers());
                            if request.version() == http::Version::HTTP_2 {
                                assert!(agreed, "HTTP/2 was spoken without being agreed on");
                                let answer = routes.oneshot(request.map(tonic::body::Body::new)).await;
                                let Ok(answer) = answer;
                                return Ok::<_, Infallible>(answer);
                            }
                            Ok(kept.http(request).await.map(tonic::body::Body::new))
                        }
                    });
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { port, kept, task }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn is_now(&self, mood: Mood) {
        *self.kept.mood.lock().expect("nobody panics with it") = mood;
    }

    /// How often it was asked.
    pub fn asked(&self) -> usize {
        self.kept.asked.load(Ordering::Relaxed)
    }

    /// The headers of every request.
    pub fn headers(&self) -> Vec<BTreeMap<String, String>> {
        self.kept.headers.lock().expect("nobody panics with it").clone()
    }

    /// Every span that it took.
    pub fn spans(&self) -> Vec<Seen> {
        self.kept.exports.lock().expect("nobody panics with it").iter().flat_map(seen).collect()
    }

    /// Every byte that it took, as text.
    pub fn text(&self) -> String {
        let exports = self.kept.exports.lock().expect("nobody panics with it");
        exports.iter().map(|export| String::from_utf8_lossy(&export.encode_to_vec()).into_owned()).collect()
    }

    /// Waits until what it took has that.
    pub async fn until<T>(&self, find: impl Fn(&[Seen]) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let spans = self.spans();
            if let Some(found) = find(&spans) {
                return found;
            }
            assert!(Instant::now() < deadline, "it did not come; there are: {spans:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits for the call with that request id, and gives it with everything of its trace.
    pub async fn call(&self, request_id: &str) -> (Seen, Vec<Seen>) {
        self.until(|spans| {
            let is_call = |span: &&Seen| span.kind == 2 && span.told("keygate.request_id") == request_id;
            let call = spans.iter().find(is_call)?.clone();
            let trace = spans.iter().filter(|span| span.trace == call.trace).cloned().collect();
            Some((call, trace))
        })
        .await
    }
}

/// Whether one span is below another, in however many steps.
pub fn is_below(trace: &[Seen], span: &Seen, above: &Seen) -> bool {
    let mut at = span;
    for _ in 0..trace.len() {
        if at.parent == above.id {
            return true;
        }
        match trace.iter().find(|other| other.id == at.parent) {
            Some(parent) => at = parent,
            None => return false,
        }
    }
    false
}
