//! The operations port: metrics for Prometheus, and health for whoever asks over plain HTTP. HTTP/1.1, answers to GET and HEAD
//! alone, on the runtime of management: whoever asks here never delays a decision.

mod figures;
mod health;
mod process;

pub(super) use figures::{Figures, Load};
pub(super) use health::Health;

use super::tls::{self, Secured};
use crate::metrics::Format;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{sleep, timeout},
};

/// Connections at a time; whoever comes later is turned away.
const CONNECTIONS: usize = 32;
/// How long a connection may last, from the moment that it is safe until its answer is taken: one request each.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long accepting rests after a failure that passes by itself.
const REST: Duration = Duration::from_millis(50);

/// What is told at the operations port.
pub(super) struct Desk {
    pub(super) figures: Figures,
    pub(super) health: Arc<Health>,
}

/// How connections are made safe.
pub(super) struct Security {
    pub(super) tls: Arc<tls::Present>,
    /// How long that may take.
    pub(super) patience: Duration,
}

/// Answers until told to stop.
pub(super) async fn serve(
    listener: std::net::TcpListener,
    desk: Desk,
    security: Security,
    mut stop: watch::Receiver<bool>,
) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "nobody listens on the operations port"),
    };
    let (desk, places) = (Arc::new(desk), Arc::new(Semaphore::new(CONNECTIONS)));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection to the operations port could not be accepted");
                sleep(REST).await;
                continue;
            }
        };
        // A scraper comes again; whoever holds all places must not hold up the others for longer than one request may last.
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let (desk, acceptor, stop) = (Arc::clone(&desk), security.tls.acceptor(Secured::Operations), stop.clone());
        let most = Box::pin(sleep(security.patience));
        tokio::spawn(async move {
            let Some(acceptor) = acceptor else { return desk.talk(stream, place).await };
            match tls::shake_hands(&acceptor, stream, most, stop).await {
                Ok((stream, _)) => desk.talk(stream, place).await,
                Err(error) => desk.not_agreed(&error),
            }
        });
    }
}

impl Desk {
    async fn talk(&self, stream: impl AsyncRead + AsyncWrite + Unpin, place: OwnedSemaphorePermit) {
        let service = service_fn(|request: Request<Incoming>| {
            let answer = self.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        let mut protocol = http1::Builder::new();
        protocol.timer(TokioTimer::new()).keep_alive(false).max_buf_size(16 * 1_024);
        let served = protocol.serve_connection(TokioIo::new(stream), service);
        match timeout(PATIENCE, served).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection to the operations port ended before its time"),
            Err(_) => tracing::debug!("a connection to the operations port took too long"),
        }
        drop(place);
    }

    fn not_agreed(&self, error: &tls::NotAgreed) {
        self.figures.meter.connections.not_agreed.one();
        tracing::debug!(%error, "no TLS was agreed on with a client of the operations port: its connection was closed");
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n".to_owned());
            refused.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/metrics" => {
                let accept = request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok());
                let format = Format::asked_for(accept.unwrap_or_default());
                kind(StatusCode::OK, format.content_type(), self.figures.show(&self.health, format))
            }
            "/livez" => json(StatusCode::OK, self.health.live()),
            "/readyz" => {
                let (ready, told) = self.health.ready(self.figures.issuers());
                json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, told)
            }
            _ => text(StatusCode::NOT_FOUND, "here are /metrics, /livez and /readyz\n".to_owned()),
        }
    }
}

fn json(status: StatusCode, told: serde_json::Value) -> Response<Full<Bytes>> {
    kind(status, "application/json", format!("{told}\n"))
}

fn text(status: StatusCode, told: String) -> Response<Full<Bytes>> {
    kind(status, "text/plain; charset=utf-8", told)
}

fn kind(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
