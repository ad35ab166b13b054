//! What a server tells on its operations port, read by Prometheus' own parser.

use super::{
    http::{self, Answer},
    keygate::Keygate,
    python::python,
};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    process::{Command, Output, Stdio},
};

/// What `accept` holds when Prometheus asks.
pub const OPEN_METRICS: &str =
    "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// The arguments that open the port.
pub const OPERATIONS: [&str; 2] = ["--operations-listen", "127.0.0.1:0"];

/// A page of metrics.
#[derive(Debug)]
pub struct Page {
    pub families: BTreeMap<String, Family>,
    pub text: String,
}

/// What stands under one name, which is that of the text format.
#[derive(Debug)]
pub struct Family {
    pub kind: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub name: String,
    pub labels: BTreeMap<String, String>,
    pub value: f64,
    pub exemplar: BTreeMap<String, String>,
}

impl Family {
    /// The names of the labels of its samples; a histogram's `le` is not one of them.
    pub fn labels(&self) -> BTreeSet<String> {
        let all = self.samples.iter().flat_map(|sample| sample.labels.keys().cloned());
        all.filter(|label| !(label == "le" && self.kind == "histogram")).collect()
    }
}

impl Page {
    /// The sum of the samples of that name whose labels are among others these.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let samples = self.families.values().flat_map(|family| &family.samples).filter(|sample| sample.name == name);
        let fits = |sample: &&Sample| {
            labels.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|found| found == value))
        };
        let found: Vec<f64> = samples.filter(fits).map(|sample| sample.value).collect();
        assert!(!found.is_empty(), "no sample `{name}` with {labels:?} in:\n{}", self.text);
        found.iter().sum()
    }
}

impl Keygate {
    /// The operations port.
    pub fn operations_port(&self) -> u16 {
        let output = self.output();
        let (_, address) =
            output.rsplit_once("operations   http://127.0.0.1:").expect("it says where it tells metrics");
        address.split('/').next().and_then(|port| port.parse().ok()).expect("an address has a port")
    }

    /// Asks the operations port.
    pub async fn operations(&self, head: &str, accept: &str) -> Answer {
        // The whole line: half an address is another port.
        self.wait_for_output("/metrics\n").await;
        http::send(self.operations_port(), head, &[("host", "keygate"), ("accept", accept)], "").await
    }

    /// The metrics in Prometheus' text format.
    pub async fn metrics(&self) -> Page {
        let answer = self.operations("GET /metrics", "").await;
        assert_eq!(answer.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        read(answer.body, "text")
    }

    /// The metrics as OpenMetrics.
    pub async fn open_metrics(&self) -> Page {
        let answer = self.operations("GET /metrics", OPEN_METRICS).await;
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(answer.header("content-type"), Some(kind));
        read(answer.body, "openmetrics")
    }
}

fn read(text: String, format: &str) -> Page {
    let output = fed(python("prometheus", "read.py").arg(format), &text);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{text}");
    let families: Vec<Value> = serde_json::from_slice(&output.stdout).expect("the parser prints JSON");
    let map = |value: &Value| -> BTreeMap<String, String> {
        let entries = value.as_object().into_iter().flatten();
        entries.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
    };
    let sample = |sample: &Value| Sample {
        name: sample["name"].as_str().expect("a name").to_owned(),
        labels: map(&sample["labels"]),
        value: sample["value"].as_str().and_then(|value| value.parse().ok()).expect("a number"),
        exemplar: map(&sample["exemplar"]),
    };
    let family = |family: &Value| {
        let kind = family["type"].as_str().expect("a type").replace("info", "gauge");
        let samples = family["samples"].as_array().expect("samples").iter().map(sample).collect();
        (family["name"].as_str().expect("a name").to_owned(), Family { kind, samples })
    };
    Page { families: families.iter().map(family).collect(), text }
}

/// Runs `promtool`, which comes with Prometheus.
pub fn promtool(arguments: &[&str], input: &str) {
    let output = fed(Command::new("promtool").args(arguments), input);
    let told = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}:\n{}", String::from_utf8_lossy(&told));
}

fn fed(command: &mut Command, input: &str) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child =
        child.unwrap_or_else(|error| panic!("{command:?}: {error}; `sh .ci/test` installs what is missing"));
    // Dropped at the end of the statement: that ends the input.
    let written = child.stdin.take().expect("the input is piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("our own child can be waited for");
    written.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    output
}
