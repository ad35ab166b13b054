//! Hands spans over, a batch at a time, on the runtime of background work: no decision ever waits for it. A receiver that is away is
//! tried again a few times; meanwhile the queue fills, and what finds no room in it is counted.

use super::{
    Protocol, Room, TraceOptions,
    otlp::{Export, Exported, Resource},
};
use crate::{
    app::ports::{Clock, trace::Followed},
    dial::{Bounds, EndpointError, GrpcSite, Site, Trust},
    domain::time::Ticks,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use prost::Message;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};

/// `opentelemetry.proto.collector.trace.v1.TraceService`
const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The end of the path over HTTP.
const PATH: &str = "/v1/traces";
/// Spans of one export, about.
const BATCH: usize = 1_024;
/// Bytes of an answer, at most.
const ANSWER_BYTES: usize = 64 * 1_024;
/// Bytes of the file with headers, at most.
const HEADERS_BYTES: u64 = 8_192;
/// How often a batch is tried, and how long the first pause in between is; each further one is twice as long.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);
/// How often the log tells that a receiver is away.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// Hands spans to a receiver.
pub struct Exporter {
    way: Way,
    resource: Resource,
    headers_file: Option<PathBuf>,
    timeout: Duration,
    every: Duration,
    receiver: mpsc::UnboundedReceiver<Followed>,
    room: Arc<Room>,
    clock: Arc<dyn Clock>,
    /// When the log last told that the receiver is away, if it is.
    told: Option<Ticks>,
}

enum Way {
    Grpc(GrpcSite),
    /// With the path.
    Http(Site, String),
}

/// Why spans were not taken.
enum Untaken {
    /// They may be later.
    Away(String),
    /// They never will be.
    Unwanted(String),
}

impl Exporter {
    pub(super) fn open(
        options: TraceOptions,
        receiver: mpsc::UnboundedReceiver<Followed>,
        room: Arc<Room>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let TraceOptions { endpoint, protocol, ca_file, headers_file, resource, timeout, every, .. } = options;
        let trust = ca_file.as_deref().map_or(Trust::Machine, Trust::File);
        let failed = |error: EndpointError| error.to_string();
        let way = match protocol {
            Protocol::Grpc => Way::Grpc(GrpcSite::open(&endpoint, trust).map_err(failed)?),
            Protocol::Http => {
                let base = endpoint.path().trim_end_matches('/');
                let path = if base.ends_with(PATH) { base.to_owned() } else { format!("{base}{PATH}") };
                Way::Http(Site::open(&endpoint, trust).map_err(failed)?, path)
            }
        };
        let resource = Resource::new(resource.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok(Self { way, resource, headers_file, timeout, every, receiver, room, clock, told: None })
    }

    /// Exports until told to stop, and then what still waits, each batch once.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut calls = Vec::new();
        loop {
            let first = tokio::select! {
                first = self.receiver.recv() => first,
                _ = stop.wait_for(|stop| *stop) => None,
            };
            let Some(first) = first else { break };
            calls.push(first);
            self.gather(&mut calls, &mut stop).await;
            self.hand_over(std::mem::take(&mut calls), &mut stop).await;
        }
        self.receiver.close();
        while let Ok(call) = self.receiver.try_recv() {
            calls.push(call);
            if spans(&calls) >= BATCH {
                self.hand_over(std::mem::take(&mut calls), &mut stop).await;
            }
        }
        if !calls.is_empty() {
            self.hand_over(calls, &mut stop).await;
        }
    }

    /// Waits for more, until a batch is full or has waited long enough.
    async fn gather(&mut self, calls: &mut Vec<Followed>, stop: &mut watch::Receiver<bool>) {
        let late = sleep(self.every);
        tokio::pin!(late);
        let mut gathered = spans(calls);
        while gathered < BATCH {
            let more = tokio::select! {
                more = self.receiver.recv() => more,
                () = &mut late => None,
                _ = stop.wait_for(|stop| *stop) => None,
            };
            let Some(more) = more else { return };
            gathered = gathered.saturating_add(more.spans.len());
            calls.push(more);
        }
    }

    async fn hand_over(&mut self, calls: Vec<Followed>, stop: &mut watch::Receiver<bool>) {
        let spans = spans(&calls);
        let message = Export::new(&self.resource, calls).encode_to_vec();
        let room = Arc::clone(&self.room);
        let meter = &room.meter;
        let mut pause = PAUSE;
        for attempt in 1..=ATTEMPTS {
            match self.send(&message).await {
                Ok(rejected) => {
                    let rejected = rejected.min(spans as u64);
                    meter.refused.many(rejected);
                    meter.exported.many((spans as u64).saturating_sub(rejected));
                    if self.told.take().is_some() {
                        tracing::info!(dropped = meter.dropped.get(), "the receiver of traces takes spans again");
                    }
                    break;
                }
                Err(Untaken::Unwanted(problem)) => {
                    meter.failures.one();
                    meter.refused.many(spans as u64);
                    self.tell(&problem);
                    break;
                }
                Err(Untaken::Away(problem)) => {
                    meter.failures.one();
                    self.tell(&problem);
                    if attempt == ATTEMPTS || *stop.borrow() {
                        meter.dropped.many(spans as u64);
                        break;
                    }
                    tokio::select! {
                        () = sleep(pause) => {}
                        // Once more, and no more than that.
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    pause = pause.saturating_mul(2);
                }
            }
        }
        self.room.leave(spans);
    }

    /// Tells that spans are not taken, now and then.
    fn tell(&mut self, problem: &str) {
        let now = self.clock.ticks();
        if self.told.is_some_and(|told| now.since(told) < TOLD_EVERY) {
            return;
        }
        self.told = Some(now);
        let dropped = self.room.meter.dropped.get();
        tracing::warn!(problem, dropped, "the receiver of traces does not take spans; decisions go on without it");
    }

    /// How many spans the receiver did not want of those that it was sent.
    async fn send(&self, message: &[u8]) -> Result<u64, Untaken> {
        let headers = self.headers().await.map_err(Untaken::Away)?;
        let bounds = Bounds { time: self.timeout, body_bytes: ANSWER_BYTES };
        let answer = match &self.way {
            Way::Grpc(site) => {
                let answer = site.call(METHOD, headers, message, bounds).await;
                let answer = answer.map_err(|error| Untaken::Away(error.to_string()))?;
                match (answer.http, answer.status) {
                    (StatusCode::OK, Some(0)) => answer.message,
                    (StatusCode::OK, Some(code)) if !passes(code) => {
                        return Err(Untaken::Unwanted(format!("it answered with the gRPC status {code}")));
                    }
                    (StatusCode::OK, Some(code)) => {
                        return Err(Untaken::Away(format!("it answered with the gRPC status {code}")));
                    }
                    (http, _) => return Err(Untaken::Away(format!("it answered {http}, which is no answer of gRPC"))),
                }
            }
            Way::Http(site, path) => {
                let mut request = Request::post(path.as_str())
                    .header(header::CONTENT_TYPE, "application/x-protobuf")
                    .body(Bytes::copy_from_slice(message))
                    .map_err(|error| Untaken::Unwanted(error.to_string()))?;
                request.headers_mut().extend(headers);
                let answer = site.send(request, bounds).await.map_err(|error| Untaken::Away(error.to_string()))?;
                match answer.status.as_u16() {
                    200..=299 => Bytes::copy_from_slice(&answer.body),
                    // What OTLP says may be tried again.
                    429 | 502..=504 => return Err(Untaken::Away(format!("it answered {}", answer.status))),
                    _ => return Err(Untaken::Unwanted(format!("it answered {}", answer.status))),
                }
            }
        };
        Ok(Exported::rejected(&answer))
    }

    /// What stands in the file with headers.
    async fn headers(&self) -> Result<HeaderMap, String> {
        let Some(path) = &self.headers_file else { return Ok(HeaderMap::new()) };
        let shown = path.display();
        let unread = |cause: std::io::Error| format!("the file with headers `{shown}` cannot be read: {cause}");
        let illegal =
            || format!("the file with headers `{shown}` must hold lines such as `name: value`, 8,192 bytes at most");
        if tokio::fs::metadata(path).await.map_err(unread)?.len() > HEADERS_BYTES {
            return Err(illegal());
        }
        let text = zeroize::Zeroizing::new(tokio::fs::read_to_string(path).await.map_err(unread)?);
        let mut headers = HeaderMap::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').ok_or_else(illegal)?;
            let name: HeaderName = name.trim().parse().map_err(|_| illegal())?;
            let mut value = HeaderValue::from_str(value.trim()).map_err(|_| illegal())?;
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }
}

fn spans(calls: &[Followed]) -> usize {
    calls.iter().map(|call| call.spans.len()).sum()
}

/// Whether a gRPC status passes by itself, as OTLP has it: cancelled, deadline exceeded, resource exhausted, aborted, out of range,
/// unavailable, data loss.
fn passes(code: u32) -> bool {
    matches!(code, 1 | 4 | 8 | 10 | 11 | 14 | 15)
}
