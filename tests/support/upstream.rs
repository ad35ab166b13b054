//! The service that Envoy protects in a test: it answers with what it received, as JSON, and counts. HTTP/1.1 and HTTP/2;
//! a gRPC call gets its own bytes back.

use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use serde_json::{Value, json};
use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
    thread,
};
use tokio::{net::TcpListener, runtime, sync::oneshot};

/// What answers `POST /v1/chat/completions`, as an SDK wants it.
const COMPLETION: &str = r#"{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"echo","choices":[{"index":0,
"finish_reason":"stop","message":{"role":"assistant","content":"hello"}}],
"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;

/// A running service; ends when it is dropped.
pub struct Upstream {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    told: Arc<Mutex<Option<Told>>>,
    _stop: oneshot::Sender<()>,
}

/// What it was told to answer with, in place of what it received.
#[derive(Debug, Clone)]
pub struct Told {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: String,
    /// With the query.
    pub path: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub version: String,
    /// In the order of arrival, names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Received {
    /// Every value of that header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The one value of that header, or none.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "`{name}` arrived more than once: {self:?}");
        all.first().copied()
    }
}

impl Upstream {
    pub fn start() -> Self {
        let received = Arc::<Mutex<Vec<Received>>>::default();
        let (tell, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let kept = Arc::clone(&received);
        let told = Arc::<Mutex<Option<Told>>>::default();
        let kept_told = Arc::clone(&told);
        // A thread of its own: many tests block theirs.
        thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
                tell.send(listener.local_addr().expect("it is bound")).expect("the test waits");
                tokio::select! {
                    () = serve(listener, kept, kept_told) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().expect("the service starts"), received, told, _stop: stop }
    }

    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Lets it answer so from now on.
    pub fn tell(&self, told: Told) {
        *self.told.lock().expect("nobody panics with it") = Some(told);
    }

    /// How many requests came.
    pub fn calls(&self) -> usize {
        self.received.lock().expect("nobody panics with it").len()
    }

    /// Every request that came.
    pub fn all(&self) -> Vec<Received> {
        self.received.lock().expect("nobody panics with it").clone()
    }

    /// The last request that came.
    #[track_caller]
    pub fn last(&self) -> Received {
        self.all().pop().expect("a request came")
    }
}

async fn serve(listener: TcpListener, received: Arc<Mutex<Vec<Received>>>, told: Arc<Mutex<Option<Told>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (received, told) = (Arc::clone(&received), Arc::clone(&told));
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&received), Arc::clone(&told)));
            // A connection that breaks is the other side's affair.
            let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    received: Arc<Mutex<Vec<Received>>>,
    told: Arc<Mutex<Option<Told>>>,
) -> Result<Response<BoxBody<Bytes, Infallible>>, hyper::Error> {
    let value = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let one = Received {
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        version: format!("{:?}", request.version()),
        headers: request.headers().iter().map(|(name, known)| (name.to_string(), value(known))).collect(),
    };
    received.lock().expect("nobody panics with it").push(one.clone());
    let body = request.into_body().collect().await?.to_bytes();
    let told = told.lock().expect("nobody panics with it").clone();
    if let Some(Told { status, headers, body }) = told {
        let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
        *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        for (name, value) in headers {
            let name = HeaderName::try_from(name).expect("a name");
            response.headers_mut().append(name, HeaderValue::try_from(value).expect("a value"));
        }
        return Ok(response);
    }
    let is_grpc = one.all("content-type").iter().any(|kind| kind.starts_with("application/grpc"));
    Ok(if is_grpc { grpc(body) } else { http(&one, &body) })
}

fn http(one: &Received, body: &Bytes) -> Response<BoxBody<Bytes, Infallible>> {
    let text = if one.path == "/v1/chat/completions" {
        COMPLETION.to_owned()
    } else {
        let headers: Vec<Value> = one.headers.iter().map(|(name, value)| json!([name, value])).collect();
        let body = String::from_utf8_lossy(body);
        json!({ "method": one.method, "path": one.path, "headers": headers, "body": body }).to_string()
    };
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn grpc(body: Bytes) -> Response<BoxBody<Bytes, Infallible>> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
