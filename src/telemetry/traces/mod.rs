//! Traces: which calls are followed, a bounded queue of what was, and whoever hands it to a receiver of OTLP.

mod exporter;
mod ids;
mod otlp;

pub use exporter::Exporter;

use crate::{
    app::ports::{
        Clock,
        trace::{Followed, TraceMeter, Tracer},
    },
    domain::trace::{Caller, SpanId, TraceId},
};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// How calls are followed.
pub struct TraceOptions {
    /// Where the receiver is.
    pub endpoint: http::Uri,
    /// What it speaks.
    pub protocol: Protocol,
    /// The authorities whose certificates are trusted; absent: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// A file with headers for the receiver, one a line; read at every export.
    pub headers_file: Option<PathBuf>,
    /// What the spans are of: names and values.
    pub resource: Vec<(String, String)>,
    /// Spans that may wait.
    pub queue: usize,
    /// How long one export may take.
    pub timeout: Duration,
    /// How long spans are gathered before they are exported.
    pub every: Duration,
    /// Which calls are followed.
    pub sampling: Sampling,
}

/// What a receiver speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP over gRPC.
    Grpc,
    /// OTLP as protobuf over HTTP/1.1.
    Http,
}

/// Which calls are followed, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampling {
    /// Of calls whose caller says nothing of a trace.
    pub own: u32,
    /// Of calls whose caller keeps the trace. Those of which the caller does not are never followed.
    pub callers: u32,
}

/// Decides what is followed, and keeps what was until it is exported.
pub struct Collector {
    own: AtomicU64,
    callers: AtomicU64,
    room: Arc<Room>,
    sender: mpsc::UnboundedSender<Followed>,
}

/// The room for spans that wait.
pub(super) struct Room {
    most: usize,
    taken: AtomicUsize,
    meter: Arc<TraceMeter>,
}

impl Room {
    /// Room for so many; false where there is none.
    fn enter(&self, spans: usize) -> bool {
        let taken = self.taken.fetch_add(spans, Ordering::Relaxed).saturating_add(spans);
        if taken > self.most {
            self.taken.fetch_sub(spans, Ordering::Relaxed);
            return false;
        }
        self.meter.waiting.set(taken as u64);
        true
    }

    /// They wait no more.
    fn leave(&self, spans: usize) {
        let taken = self.taken.fetch_sub(spans, Ordering::Relaxed).saturating_sub(spans);
        self.meter.waiting.set(taken as u64);
    }
}

/// Makes ready to follow calls. Asks nobody yet: a receiver that is away does not keep a server from starting.
///
/// # Errors
/// When the receiver's address or the file with the authorities cannot be used: says which.
pub fn open(
    options: TraceOptions,
    meter: Arc<TraceMeter>,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<Collector>, Exporter), String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let room = Arc::new(Room { most: options.queue, taken: AtomicUsize::new(0), meter });
    let collector = Collector { own: AtomicU64::new(0), callers: AtomicU64::new(0), room: Arc::clone(&room), sender };
    collector.sample(options.sampling);
    let exporter = Exporter::open(options, receiver, room, clock)?;
    Ok((Arc::new(collector), exporter))
}

impl Collector {
    /// Follows another share of the calls from now on.
    pub fn sample(&self, sampling: Sampling) {
        self.own.store(share(sampling.own), Ordering::Relaxed);
        self.callers.store(share(sampling.callers), Ordering::Relaxed);
    }
}

/// Millionths as a part of all numbers: 0 is none of them, the largest one is all.
fn share(millionths: u32) -> u64 {
    let part = (u128::from(u64::MAX)).saturating_mul(u128::from(millionths)) / 1_000_000;
    u64::try_from(part).unwrap_or(u64::MAX)
}

/// Whether a trace belongs to that share: the same on every server.
fn belongs(trace: TraceId, share: u64) -> bool {
    share != 0 && trace.share() <= share
}

impl Tracer for Collector {
    fn follow(&self, caller: Option<&Caller>) -> Option<TraceId> {
        match caller {
            Some(caller) => {
                let share = self.callers.load(Ordering::Relaxed);
                (caller.sampled && belongs(caller.trace, share)).then_some(caller.trace)
            }
            None => {
                let share = self.own.load(Ordering::Relaxed);
                (share != 0).then(ids::trace).filter(|trace| belongs(*trace, share))
            }
        }
    }

    fn span_id(&self) -> SpanId {
        ids::span()
    }

    fn take(&self, done: Followed) {
        let (spans, meter) = (done.spans.len(), &self.room.meter);
        meter.dropped.many(done.left_out);
        if !self.room.enter(spans) {
            meter.dropped.many(spans as u64);
        } else if self.sender.send(done).is_err() {
            self.room.leave(spans);
            meter.dropped.many(spans as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collector(own: u32, callers: u32, queue: usize) -> (Arc<Collector>, mpsc::UnboundedReceiver<Followed>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let room = Arc::new(Room { most: queue, taken: AtomicUsize::new(0), meter: Arc::default() });
        let collector = Collector { own: AtomicU64::new(0), callers: AtomicU64::new(0), room, sender };
        collector.sample(Sampling { own, callers });
        (Arc::new(collector), receiver)
    }

    #[test]
    fn as_large_a_share_is_followed_as_was_said() {
        let followed = |millionths, with_caller: Option<bool>| {
            let (own, callers) = if with_caller.is_some() { (0, millionths) } else { (millionths, 0) };
            let (collector, _receiver) = collector(own, callers, 10);
            let caller =
                |_| with_caller.map(|sampled| Caller { trace: ids::trace(), span: ids::span(), sampled, state: None });
            (0..20_000).filter(|at| collector.follow(caller(*at).as_ref()).is_some()).count()
        };
        for caller in [None, Some(true)] {
            assert_eq!((followed(0, caller), followed(1_000_000, caller)), (0, 20_000), "{caller:?}");
            let half = followed(500_000, caller);
            assert!((9_000..11_000).contains(&half), "{half} of 20,000 with {caller:?}");
        }
        assert_eq!(followed(1_000_000, Some(false)), 0, "a caller that keeps nothing is followed never");
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let (collector, mut receiver) = collector(1_000_000, 0, 3);
        let call = |left_out| {
            let done = crate::app::ports::trace::Done {
                id: ids::span(),
                parent: None,
                name: "x".into(),
                kind: crate::app::ports::trace::Kind::Internal,
                began: crate::domain::time::Timestamp::from_micros(1),
                took: Duration::ZERO,
                notes: Vec::new(),
                failed: None,
            };
            Followed { trace: ids::trace(), state: None, spans: vec![done.clone(), done], left_out }
        };
        collector.take(call(0));
        collector.take(call(5));
        let meter = &collector.room.meter;
        assert_eq!((meter.dropped.get(), meter.waiting.get()), (7, 2));
        collector.room.leave(receiver.try_recv().unwrap().spans.len());
        collector.take(call(0));
        assert_eq!((meter.dropped.get(), meter.waiting.get()), (7, 2));
        drop(receiver);
        collector.take(call(0));
        assert_eq!(meter.dropped.get(), 9);
    }
}
