//! Following one call: which steps it took, how long each lasted, and what came of it. Where nobody follows, nothing here is made.
//!
//! A call that is followed carries its place with it while it is worked on, so that whoever does a step of it need not be handed
//! anything: [`here`] tells it. Nothing but words from the code, names from the configuration, ids and numbers can be noted; no
//! type that holds a secret becomes any of these.

use super::{Clock, meter::Count, meter::Level};
use crate::domain::{
    time::{Ticks, Timestamp},
    trace::{Caller, SpanId, TraceId},
};
use parking_lot::Mutex;
use std::{
    borrow::Cow,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

/// Decides what is followed, and takes what was.
pub trait Tracer: Send + Sync + 'static {
    /// The trace of a call that is to be followed. Asked once for each call.
    fn follow(&self, caller: Option<&Caller>) -> Option<TraceId>;

    /// An id for a span.
    fn span_id(&self) -> SpanId;

    /// Takes the spans of a call. Never waits: what finds no room is counted and forgotten.
    fn take(&self, done: Followed);
}

/// A call that was followed, to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The trace.
    pub trace: TraceId,
    /// What the caller wrote beside it.
    pub state: Option<Box<str>>,
    /// The steps, each after those that it is made of.
    pub spans: Vec<Done>,
    /// How many more there were than are kept of one call.
    pub left_out: u64,
}

/// A step that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its id.
    pub id: SpanId,
    /// The step that it is a part of; of another service, perhaps.
    pub parent: Option<SpanId>,
    /// What it is called.
    pub name: Cow<'static, str>,
    /// What it is to others.
    pub kind: Kind,
    /// When it began.
    pub began: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What is told of it.
    pub notes: Vec<Note>,
    /// Why it failed, if it did: one of a few words.
    pub failed: Option<&'static str>,
}

/// What a step is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It answers somebody.
    Server,
    /// It asks somebody.
    Client,
    /// Neither.
    Internal,
}

/// Something that is told of a step.
pub type Note = (&'static str, Told);

/// What can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A word.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// Yes or no.
    Truth(bool),
}

/// How following goes.
#[derive(Debug, Default)]
pub struct TraceMeter {
    /// Spans that a receiver took.
    pub exported: Count,
    /// Spans for which there was no room, or that were given up.
    pub dropped: Count,
    /// Spans that a receiver did not want.
    pub refused: Count,
    /// Attempts to hand spans over that failed.
    pub failures: Count,
    /// Spans that wait.
    pub waiting: Level,
}

/// A call that is being followed.
struct Trail {
    tracer: Arc<dyn Tracer>,
    clock: Arc<dyn Clock>,
    trace: TraceId,
    state: Option<Box<str>>,
    /// One instant by both clocks.
    origin: (Timestamp, Ticks),
    round_trips: AtomicU32,
    spans: Mutex<Vec<Done>>,
    left_out: AtomicU64,
}

/// Steps of one call that are kept; an act on a thousand keys takes more.
const SPANS: usize = 256;

impl Drop for Trail {
    // With the last step of the call, also where it is given up in between.
    fn drop(&mut self) {
        let (state, spans) = (self.state.take(), std::mem::take(self.spans.get_mut()));
        let left_out = self.left_out.load(Ordering::Relaxed);
        self.tracer.take(Followed { trace: self.trace, state, spans, left_out });
    }
}

/// A step that is being done; it ends when this goes.
pub struct Span {
    trail: Arc<Trail>,
    id: SpanId,
    parent: Option<SpanId>,
    name: Cow<'static, str>,
    kind: Kind,
    began: Ticks,
    is_first: bool,
    told: Mutex<(Vec<Note>, Option<&'static str>)>,
}

/// A place in a call that is being followed.
#[derive(Clone)]
pub struct Here {
    trail: Arc<Trail>,
    span: SpanId,
}

tokio::task_local! {
    static HERE: Here;
}

/// Where the work stands that is done now, if its call is followed.
#[must_use]
pub fn here() -> Option<Here> {
    HERE.try_with(Clone::clone).ok()
}

/// Who follows calls, if anybody does.
#[derive(Clone, Default)]
pub struct Following(Option<Arc<dyn Tracer>>);

impl Following {
    /// This one does.
    #[must_use]
    pub fn by(tracer: Arc<dyn Tracer>) -> Self {
        Self(Some(tracer))
    }

    /// Whether any call may be followed.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The first step of a call, if it is to be followed. `caller` is asked only where anybody follows, `name` only where this call is.
    pub fn call(
        &self,
        name: impl FnOnce() -> String,
        caller: impl FnOnce() -> Option<Caller>,
        clock: &Arc<dyn Clock>,
        begun: (Timestamp, Ticks),
    ) -> Option<Span> {
        let tracer = self.0.as_ref()?;
        let caller = caller();
        let trace = tracer.follow(caller.as_ref())?;
        let (parent, state) = caller.map(|caller| (caller.span, caller.state)).unzip();
        let trail = Arc::new(Trail {
            tracer: Arc::clone(tracer),
            clock: Arc::clone(clock),
            trace,
            state: state.flatten(),
            origin: begun,
            round_trips: AtomicU32::new(0),
            spans: Mutex::new(Vec::with_capacity(4)),
            left_out: AtomicU64::new(0),
        });
        let mut first = Span::new(trail, parent, name().into(), Kind::Server, begun.1);
        first.is_first = true;
        Some(first)
    }

    /// The first step of work that nobody asked for, if it is to be followed.
    pub fn work(&self, name: &'static str, clock: &Arc<dyn Clock>) -> Option<Span> {
        let tracing = self.is_on().then(|| clock.reading());
        self.call(|| name.to_owned(), || None, clock, tracing?).map(Span::internal)
    }
}

impl Here {
    /// A step of it, which begins now.
    #[must_use]
    pub fn step(&self, name: impl Into<Cow<'static, str>>, kind: Kind) -> Span {
        let began = self.trail.clock.ticks();
        Span::new(Arc::clone(&self.trail), Some(self.span), name.into(), kind, began)
    }

    /// How many times the call has gone to another service and back, this time included.
    #[must_use]
    pub fn round_trip(&self) -> u32 {
        self.trail.round_trips.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }
}

impl Span {
    fn new(trail: Arc<Trail>, parent: Option<SpanId>, name: Cow<'static, str>, kind: Kind, began: Ticks) -> Self {
        let id = trail.tracer.span_id();
        Self { trail, id, parent, name, kind, began, is_first: false, told: Mutex::default() }
    }

    fn internal(mut self) -> Self {
        self.kind = Kind::Internal;
        self
    }

    /// The trace that it belongs to.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        self.trail.trace
    }

    /// Tells something of it, in place of what was told under that name before.
    pub fn note(&self, name: &'static str, told: impl Into<Told>) {
        let notes = &mut self.told.lock().0;
        match notes.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) => *before = told.into(),
            None => notes.push((name, told.into())),
        }
    }

    /// It failed, in one of a few words; or it did not, after all.
    pub fn ended(&self, failed: Option<&'static str>) {
        self.told.lock().1 = failed;
    }

    /// Does work as a part of it. To be boxed by whoever waits for it where most work is not followed.
    pub async fn around<T>(&self, work: impl Future<Output = T>) -> T {
        HERE.scope(Here { trail: Arc::clone(&self.trail), span: self.id }, work).await
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let trail = &self.trail;
        let (notes, failed) = std::mem::take(self.told.get_mut());
        let (origin, ticks) = trail.origin;
        let done = Done {
            id: self.id,
            parent: self.parent,
            name: std::mem::take(&mut self.name),
            kind: self.kind,
            began: origin.after(self.began.since(ticks)),
            took: trail.clock.ticks().since(self.began),
            notes,
            failed,
        };
        let mut spans = trail.spans.lock();
        // The first step ends last, and must not be the one that is missing.
        if spans.len() < SPANS || self.is_first {
            spans.push(done);
        } else {
            trail.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl From<&'static str> for Told {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<i64> for Told {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Told {
    fn from(truth: bool) -> Self {
        Self::Truth(truth)
    }
}
