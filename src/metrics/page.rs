//! The two text formats. Prometheus' own, version 0.0.4, names a counter's family as its samples; OpenMetrics 1.0 without
//! `_total`, has units, exemplars and an end.

use crate::app::meter::{BOUNDS_US, DurationsRead, Exemplar};
use std::fmt::{Display, Write};

/// How a page is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that a header `accept` asks for: OpenMetrics where it is named and not refused, else text. Which of several has
    /// the larger weight is not looked at: Prometheus asks for OpenMetrics whenever it can read it.
    #[must_use]
    pub fn asked_for(accept: &str) -> Self {
        let wanted = accept.split(',').any(|kind| {
            let mut parts = kind.split(';').map(str::trim);
            let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("application/openmetrics-text"));
            named
                && parts.all(|part| {
                    let (name, value) = part.split_once('=').unwrap_or((part, ""));
                    match name.trim().to_ascii_lowercase().as_str() {
                        "q" => value.trim().parse::<f32>().is_ok_and(|weight| weight > 0.0),
                        "version" => ["0.0.1", "1.0.0"].contains(&value.trim().trim_matches('"')),
                        _ => true,
                    }
                })
        });
        if wanted { Self::OpenMetrics } else { Self::Text }
    }

    /// The header `content-type` of a page.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family's numbers mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// A name with what stands under it. A counter's name is written without `_total`, an info's without `_info`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Family {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// A page in the making.
pub(super) struct Page {
    format: Format,
    text: String,
}

impl Page {
    pub(super) fn new(format: Format) -> Self {
        Self { format, text: String::with_capacity(128 * 1_024) }
    }

    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, family: &'static Family) -> Samples<'_> {
        let Family { name, kind, help, .. } = family;
        let ending = match (self.format, kind) {
            (Format::Text, Kind::Counter) => "_total",
            (Format::Text, Kind::Info) => "_info",
            _ => "",
        };
        let kind = match (self.format, kind) {
            (_, Kind::Counter) => "counter",
            (_, Kind::Histogram) => "histogram",
            (Format::OpenMetrics, Kind::Info) => "info",
            (Format::Text, Kind::Info) | (_, Kind::Gauge) => "gauge",
        };
        self.line(format_args!("# HELP {name}{ending} {help}"));
        self.line(format_args!("# TYPE {name}{ending} {kind}"));
        if self.format == Format::OpenMetrics
            && let Some(unit) = ["seconds", "bytes"].iter().find(|unit| name.ends_with(*unit))
        {
            self.line(format_args!("# UNIT {name} {unit}"));
        }
        Samples { page: self, family }
    }

    fn line(&mut self, line: impl Display) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// The samples of one family.
pub(super) struct Samples<'p> {
    page: &'p mut Page,
    family: &'static Family,
}

impl Samples<'_> {
    /// A number under the values of the family's labels.
    pub(super) fn add(&mut self, values: &[&str], number: impl Display) -> &mut Self {
        let ending = match self.family.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        self.sample(ending, values, None, &number, None);
        self
    }

    /// A histogram; `shown` holds an exemplar for each bucket that has one.
    pub(super) fn durations(&mut self, values: &[&str], read: &DurationsRead, shown: &[Option<Exemplar>]) -> &mut Self {
        let mut counted = 0_u64;
        let bounds = BOUNDS_US.iter().map(|micros| seconds(*micros)).chain(["+Inf".to_owned()]);
        for (at, (bound, bucket)) in bounds.zip(&read.buckets).enumerate() {
            counted = counted.saturating_add(*bucket);
            let exemplar = shown.get(at).and_then(Option::as_ref);
            self.sample("_bucket", values, Some(&bound), &counted, exemplar);
        }
        self.sample("_sum", values, None, &seconds(read.sum_us), None);
        self.sample("_count", values, None, &counted, None);
        self
    }

    fn sample(
        &mut self,
        ending: &str,
        values: &[&str],
        bound: Option<&str>,
        number: &dyn Display,
        exemplar: Option<&Exemplar>,
    ) {
        let text = &mut self.page.text;
        text.push_str(self.family.name);
        text.push_str(ending);
        let labels = self.family.labels.iter().copied().zip(values.iter().copied());
        write_labels(text, labels.chain(bound.map(|bound| ("le", bound))));
        // Writing to a string does not fail.
        let _ = write!(text, " {number}");
        if let Some(exemplar) = exemplar.filter(|_| self.page.format == Format::OpenMetrics) {
            let marks = [("request_id", &exemplar.marks.request_id), ("trace_id", &exemplar.marks.trace_id)];
            text.push_str(" # ");
            write_labels(text, marks.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))));
            let took = u64::try_from(exemplar.took.as_micros()).unwrap_or(u64::MAX);
            let _ = write!(text, " {} {}", seconds(took), seconds(exemplar.at.as_micros()));
        }
        text.push('\n');
    }
}

fn write_labels<'l>(text: &mut String, labels: impl Iterator<Item = (&'l str, &'l str)>) {
    let mut before = '{';
    for (name, value) in labels {
        text.push(before);
        before = ',';
        text.push_str(name);
        text.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => text.push_str("\\\\"),
                '"' => text.push_str("\\\""),
                '\n' => text.push_str("\\n"),
                other => text.push(other),
            }
        }
        text.push('"');
    }
    if before == ',' {
        text.push('}');
    }
}

/// Microseconds as seconds, always with a point: OpenMetrics wants the bounds of buckets so.
pub(super) fn seconds(micros: u64) -> String {
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    let digits = format!("{part:06}");
    let digits = digits.trim_end_matches('0');
    format!("{whole}.{}", if digits.is_empty() { "0" } else { digits })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{app::meter::Marks, domain::time::Timestamp};
    use std::time::Duration;

    const COUNTED: Family = Family { name: "k_acts", kind: Kind::Counter, labels: &["act"], help: "Acts." };
    const TOOK: Family = Family { name: "k_took_seconds", kind: Kind::Histogram, labels: &[], help: "Time." };

    #[test]
    fn a_label_that_holds_anything_stays_one_label() {
        let mut page = Page::new(Format::Text);
        page.family(&COUNTED).add(&["a\"b\\c\nd"], 3);
        assert_eq!(
            page.finish(),
            "# HELP k_acts_total Acts.\n# TYPE k_acts_total counter\nk_acts_total{act=\"a\\\"b\\\\c\\nd\"} 3\n"
        );
    }

    #[test]
    fn buckets_add_up_and_show_what_fell_into_them_to_who_reads_that() {
        let mut read = DurationsRead { sum_us: 30, ..DurationsRead::default() };
        (read.buckets[0], read.buckets[1]) = (1, 1);
        let marks = Marks { request_id: Some("r\"1".to_owned()), trace_id: None };
        let exemplar = Exemplar { marks, took: Duration::from_micros(20), at: Timestamp::from_micros(5_500_000) };
        let page = |format| {
            let mut page = Page::new(format);
            page.family(&TOOK).durations(&[], &read, &[None, Some(exemplar.clone())]);
            page.finish()
        };
        let text = page(Format::Text);
        assert!(text.contains("k_took_seconds_bucket{le=\"0.00001\"} 1\nk_took_seconds_bucket{le=\"0.000025\"} 2\n"));
        assert!(
            text.contains("k_took_seconds_bucket{le=\"1.0\"} 2\n")
                && text.ends_with("_sum 0.00003\nk_took_seconds_count 2\n")
        );
        let open = page(Format::OpenMetrics);
        assert!(open.contains("{le=\"0.000025\"} 2 # {request_id=\"r\\\"1\"} 0.00002 5.5\n"), "{open}");
        assert!(open.contains("# UNIT k_took_seconds seconds\n") && open.ends_with("# EOF\n"));
    }

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.4";
        assert_eq!(Format::asked_for(prometheus), Format::OpenMetrics);
        assert_eq!(Format::asked_for("application/openmetrics-text"), Format::OpenMetrics);
        for other in
            ["", "*/*", "text/plain", "application/openmetrics-text;q=0", "application/openmetrics-text;version=2.0.0"]
        {
            assert_eq!(Format::asked_for(other), Format::Text, "{other}");
        }
    }
}
