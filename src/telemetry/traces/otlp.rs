//! Spans in the words of OTLP 1: the messages of `opentelemetry.proto.collector.trace.v1`, as far as anything stands in them.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>. The tests read them by the official definitions.

use crate::app::ports::trace::{Done, Followed, Kind, Told};
use prost::Message;

/// `InstrumentationScope.name`.
const SCOPE: &str = "keygate";
/// `SpanFlags`: the trace is kept, and what follows is known.
const FLAGS: u32 = 0x101;
/// The parent is a span of another service.
const FLAGS_OF_REMOTE: u32 = 0x301;
/// `Status.code`
const STATUS_ERROR: i32 = 2;

/// `ExportTraceServiceRequest`
#[derive(Clone, PartialEq, Message)]
pub struct Export {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

/// What the spans are of: `Resource`.
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 2, 3")]
    value: Option<Value>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `ExportTraceServiceResponse`
#[derive(Clone, PartialEq, Message)]
pub struct Exported {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

impl Exported {
    /// How many spans the receiver did not want. What cannot be read says nothing.
    pub fn rejected(message: &[u8]) -> u64 {
        let read = Self::decode(message).unwrap_or_default();
        u64::try_from(read.partial_success.unwrap_or_default().rejected_spans).unwrap_or_default()
    }
}

impl Resource {
    pub fn new<'a>(attributes: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let attribute = |(key, value): (&str, &str)| pair(key, Value::Text(value.to_owned()));
        Self { attributes: attributes.into_iter().map(attribute).collect() }
    }
}

impl Export {
    /// The spans of these calls.
    pub fn new(resource: &Resource, calls: Vec<Followed>) -> Self {
        let spans = calls.into_iter().flat_map(|Followed { trace, state, spans, .. }| {
            let (trace_id, trace_state) = (trace.as_bytes().to_vec(), state.map(String::from).unwrap_or_default());
            spans.into_iter().map(move |done| Span {
                trace_id: trace_id.clone(),
                trace_state: trace_state.clone(),
                ..Span::of(done)
            })
        });
        let scope = Scope { name: SCOPE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: spans.collect() }];
        Self { resource_spans: vec![ResourceSpans { resource: Some(resource.clone()), scope_spans }] }
    }
}

impl Span {
    fn of(done: Done) -> Self {
        let Done { id, parent, name, kind, began, took, notes, failed } = done;
        let begun = began.as_micros().saturating_mul(1_000);
        let value = |told| match told {
            Told::Text(text) => Value::Text(text.into_owned()),
            Told::Number(number) => Value::Number(number),
            Told::Truth(truth) => Value::Truth(truth),
        };
        let why = failed.map(|why| pair("error.type", Value::Text(why.to_owned())));
        Self {
            span_id: id.as_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.as_bytes().to_vec()).unwrap_or_default(),
            name: name.into_owned(),
            // `SPAN_KIND_INTERNAL`, `SPAN_KIND_SERVER`, `SPAN_KIND_CLIENT`
            kind: match kind {
                Kind::Internal => 1,
                Kind::Server => 2,
                Kind::Client => 3,
            },
            start_time_unix_nano: begun,
            end_time_unix_nano: begun.saturating_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)),
            attributes: notes.into_iter().map(|(key, told)| pair(key, value(told))).chain(why).collect(),
            status: failed.map(|_| Status { message: String::new(), code: STATUS_ERROR }),
            flags: if kind == Kind::Server && parent.is_some() { FLAGS_OF_REMOTE } else { FLAGS },
            ..Self::default()
        }
    }
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}
