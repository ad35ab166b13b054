//! Which calls are followed, and who is told.

use super::{LogFormat, LogLevel, Settings, set};
use crate::config::{
    address, caps,
    reader::{Table, Value},
    text::quoted,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

const KEYS: &[&str] = &[
    "endpoint",
    "protocol",
    "sample",
    "sample_callers",
    "service_name",
    "attributes",
    "ca_file",
    "headers_file",
    "queue",
    "gather",
    "timeout",
];
/// Bytes of a name or a value of what the spans are of.
const ATTRIBUTE_BYTES: usize = 256;
/// Named by a setting of its own.
const SERVICE_NAME: &str = "service.name";

/// Which calls are followed, and who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesSettings {
    /// Where the receiver of OTLP is; absent: no call is followed.
    pub endpoint: Option<http::Uri>,
    /// What it speaks.
    pub protocol: TracesProtocol,
    /// How many of a million calls are followed whose caller says nothing of a trace.
    pub sample: u32,
    /// How many of a million calls are followed whose caller keeps the trace.
    pub sample_callers: u32,
    /// What the server is called in traces.
    pub service_name: String,
    /// What else is told of it: names and values.
    pub attributes: Vec<(String, String)>,
    /// The authorities whose certificates are trusted; absent: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// A file with headers for the receiver.
    pub headers_file: Option<PathBuf>,
    /// Spans that may wait, 256 to 1,000,000.
    pub queue: usize,
    /// How long spans are gathered, 10 ms to 1 minute.
    pub gather: Duration,
    /// How long handing them over may take, 10 ms to 1 minute.
    pub timeout: Duration,
}

/// What a receiver of OTLP speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TracesProtocol {
    /// Protobuf over HTTP/1.1.
    Http,
    /// gRPC.
    Grpc,
}

impl Default for TracesSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: TracesProtocol::Http,
            sample: 10_000,
            sample_callers: 1_000_000,
            service_name: "keygate".to_owned(),
            attributes: Vec::new(),
            ca_file: None,
            headers_file: None,
            queue: 16_384,
            gather: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }
    }
}

impl TracesSettings {
    const ENDPOINT: &str = "must be `https://…` or `http://…`, without user, query and fragment";
    const PATH: &str = "must be left without a query, and without a path where `protocol` is \"grpc\"";
    const HEADERS: &str = "must be left out, or `endpoint` must be `https://…`, or `http://…` of this machine";

    /// The address of a receiver.
    ///
    /// # Errors
    /// When it is none: says what is allowed.
    pub fn endpoint(text: &str) -> Result<http::Uri, &'static str> {
        address::anywhere(text).ok_or(Self::ENDPOINT)
    }

    /// Whether the settings go together, wherever each comes from.
    ///
    /// # Errors
    /// When they do not: says which, and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        if !self.takes(endpoint) {
            return Err(format!("the path of `--traces-endpoint` or `traces.endpoint` {}", Self::PATH));
        }
        if self.headers_file.is_some() && !address::is_guarded(endpoint) {
            return Err(format!("`traces.headers_file` would be told in the open; it {}", Self::HEADERS));
        }
        Ok(())
    }

    fn takes(&self, endpoint: &http::Uri) -> bool {
        let has_path = !matches!(endpoint.path(), "" | "/");
        endpoint.query().is_none() && !(has_path && self.protocol == TracesProtocol::Grpc)
    }
}

pub(super) fn log(root: &Table<'_>, settings: &mut Settings) {
    let Some(table) = root.table("log", &["level", "format", "denials_per_second"]) else { return };
    let levels = LogLevel::ALL.map(|level| (level.name(), level));
    set(&mut settings.log.level, table.get("level").and_then(|value| value.word(&levels)));
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    set(&mut settings.log.format, table.get("format").and_then(|value| value.word(&formats)));
    let denials = table.get("denials_per_second").and_then(|value| u32::try_from(value.number(0..=1_000)?).ok());
    set(&mut settings.log.denials_per_second, denials);
}

pub(super) fn traces(root: &Table<'_>, base: &Path, settings: &mut Settings) {
    let Some(table) = root.table("traces", KEYS) else { return };
    let traces = &mut settings.traces;
    let protocols = [("http", TracesProtocol::Http), ("grpc", TracesProtocol::Grpc)];
    set(&mut traces.protocol, table.get("protocol").and_then(|value| value.word(&protocols)));
    let endpoint = table.get("endpoint").filter(|value| !value.is_text() || value.text() != Some(""));
    if let Some(value) = endpoint
        && let Some(text) = value.text()
    {
        match TracesSettings::endpoint(text) {
            // It may hold a password where there must be none.
            Err(allowed) => value.wrong("is not the address of a service", allowed),
            Ok(address) if !traces.takes(&address) => value.wrong("has a path or a query", TracesSettings::PATH),
            Ok(address) => traces.endpoint = Some(address),
        }
    }
    set(&mut traces.sample, table.get("sample").and_then(|value| value.millionths()));
    set(&mut traces.sample_callers, table.get("sample_callers").and_then(|value| value.millionths()));
    let name = table.get("service_name").and_then(|value| value.line(ATTRIBUTE_BYTES).map(ToOwned::to_owned));
    set(&mut traces.service_name, name);
    if let Some(attributes) = table.get("attributes") {
        traces.attributes = read_attributes(&attributes);
    }
    let file = |key| table.get(key).filter(|value| !value.is_text() || value.text() != Some(""));
    let path = |value: &Value<'_>| value.line(4_096).map(|path| base.join(path));
    traces.ca_file = file("ca_file").as_ref().and_then(path);
    let headers = file("headers_file");
    traces.headers_file = headers.as_ref().and_then(path);
    if let (Some(value), Some(endpoint)) = (&headers, &traces.endpoint)
        && !address::is_guarded(endpoint)
    {
        value.wrong("would be told in the open", TracesSettings::HEADERS);
    }
    let queue = table.get("queue").and_then(|value| usize::try_from(value.number(256..=1_000_000)?).ok());
    set(&mut traces.queue, queue);
    let lasting = Duration::from_millis(10)..=Duration::from_secs(60);
    set(&mut traces.gather, table.get("gather").and_then(|value| value.duration(lasting.clone())));
    set(&mut traces.timeout, table.get("timeout").and_then(|value| value.duration(lasting)));
}

fn read_attributes(value: &Value<'_>) -> Vec<(String, String)> {
    let Some(table) = value.any_table() else { return Vec::new() };
    let entries = table.entries();
    if entries.len() > caps::ATTRIBUTES {
        value.wrong(format!("holds {}", entries.len()), format!("must hold at most {}", caps::ATTRIBUTES));
        return Vec::new();
    }
    let mut attributes = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        let legal = (1..=ATTRIBUTE_BYTES).contains(&name.len()) && !name.contains(char::is_control);
        if !legal || name == SERVICE_NAME {
            let allowed =
                format!("must be 1 to {ATTRIBUTE_BYTES} bytes, and not `{SERVICE_NAME}`, which `service_name` says");
            value.wrong(format!("{} is no name for it", quoted(name)), allowed);
        } else if let Some(text) = value.line(ATTRIBUTE_BYTES) {
            attributes.push((name.to_owned(), text.to_owned()));
        }
    }
    attributes
}
