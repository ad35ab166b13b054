//! Logs and traces as the settings want them, also where the settings change while the server runs.

use super::StartError;
use crate::{
    app::{
        meter::TraceMeter,
        ports::{Clock, trace::Following},
    },
    config::{LogFormat, LogLevel, LogSettings, Settings, TracesProtocol, TracesSettings},
    telemetry::{
        self,
        traces::{self, Collector, Exporter, Protocol, Sampling, TraceOptions},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::{runtime::Runtime, sync::watch, task::JoinHandle, time::timeout};

/// How long the last spans may take to be handed over when the server ends.
const FLUSH: Duration = Duration::from_secs(3);

/// What the server says of itself.
#[derive(Default)]
pub(super) struct Telling {
    collector: Option<Arc<Collector>>,
}

/// Whoever hands spans over, until it is told to end.
pub(super) struct Handing {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Starts logging.
pub(super) fn start_log(settings: &LogSettings) {
    let format = match settings.format {
        LogFormat::Text => telemetry::Format::Text,
        LogFormat::Json => telemetry::Format::Json,
    };
    telemetry::start(level(settings.level), format);
}

impl Telling {
    /// Makes ready to follow calls, where the settings name a receiver.
    pub(super) fn open(
        settings: &TracesSettings,
        meter: &Arc<TraceMeter>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(Self, Option<Exporter>), StartError> {
        let Some(endpoint) = settings.endpoint.clone() else { return Ok((Self::default(), None)) };
        let resource = [("service.name", &*settings.service_name), ("service.version", env!("CARGO_PKG_VERSION"))];
        let resource = resource.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let options = TraceOptions {
            endpoint,
            protocol: match settings.protocol {
                TracesProtocol::Http => Protocol::Http,
                TracesProtocol::Grpc => Protocol::Grpc,
            },
            ca_file: settings.ca_file.clone(),
            headers_file: settings.headers_file.clone(),
            resource: resource.into_iter().chain(settings.attributes.iter().cloned()).collect(),
            queue: settings.queue,
            timeout: settings.timeout,
            every: settings.gather,
            sampling: sampling(settings),
        };
        let opened = traces::open(options, Arc::clone(meter), Arc::clone(clock));
        let (collector, exporter) = opened.map_err(StartError::Traces)?;
        Ok((Self { collector: Some(collector) }, Some(exporter)))
    }

    /// Who follows calls.
    pub(super) fn following(&self) -> Following {
        let collector = self.collector.clone();
        collector.map_or_else(Following::default, |collector| Following::by(collector))
    }

    /// Goes on as these settings want it.
    pub(super) fn take_over(&self, settings: &Settings) {
        telemetry::set_level(level(settings.log.level));
        if let Some(collector) = &self.collector {
            collector.sample(sampling(&settings.traces));
        }
    }
}

impl Handing {
    /// Hands spans over on that runtime.
    pub(super) fn start(exporter: Exporter, runtime: &Runtime) -> Self {
        let (stop, stopping) = watch::channel(false);
        Self { stop, task: runtime.spawn(exporter.run(stopping)) }
    }

    /// Hands over what is left, within a bounded time.
    pub(super) fn finish(self, runtime: &Runtime) {
        self.stop.send_replace(true);
        if runtime.block_on(async { timeout(FLUSH, self.task).await }).is_err() {
            tracing::warn!(seconds = FLUSH.as_secs(), "the last spans could not be handed over in time");
        }
    }
}

fn sampling(settings: &TracesSettings) -> Sampling {
    Sampling { own: settings.sample, callers: settings.sample_callers }
}

fn level(level: LogLevel) -> tracing::Level {
    match level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    }
}
