//! Settings of traces and of the log.

use crate::config::{LogLevel, Settings, TracesProtocol};
use std::path::Path;

fn parse(text: &str) -> Result<Settings, String> {
    Settings::parse("k", text, Path::new("/etc/keygate")).map_err(|mistakes| mistakes.to_string())
}

#[test]
fn every_setting_of_traces_is_read() {
    let text = "[traces]\nendpoint = 'https://collector.internal:4317'\nprotocol = 'grpc'\nsample = 1\nsample_callers = 0.000001\n\
                service_name = 'gate'\nattributes = { zone = 'a', 'k8s.pod.name' = 'p-1' }\nca_file = 'ca.pem'\nheaders_file = '/h'\n\
                queue = 256\ngather = '10ms'\ntimeout = '1m'\n";
    let traces = parse(text).unwrap().traces;
    assert_eq!(traces.endpoint.unwrap().to_string(), "https://collector.internal:4317/");
    assert_eq!((traces.protocol, traces.sample, traces.sample_callers), (TracesProtocol::Grpc, 1_000_000, 1));
    assert_eq!((traces.service_name.as_str(), traces.attributes.len(), traces.queue), ("gate", 2, 256));
    assert_eq!(traces.ca_file.unwrap(), Path::new("/etc/keygate/ca.pem"));
    assert_eq!(traces.headers_file.unwrap(), Path::new("/h"));
    let none = parse("[traces]\nendpoint = ''\nca_file = ''\nheaders_file = ''\n").unwrap();
    assert_eq!(none, Settings { data_dir: none.data_dir.clone(), ..Settings::default() });
    let with_path = parse("[traces]\nendpoint = 'http://collector.internal/otlp'\n").unwrap();
    assert_eq!(with_path.traces.endpoint.unwrap().path(), "/otlp");
}

#[test]
fn wrong_settings_of_traces_are_named() {
    let number = "must be a number from 0 to 1, such as 0.01";
    let service = "k:2:12: traces.endpoint: is not the address of a service; must be `https://…` or `http://…`, without user, query and fragment";
    let path = "must be left without a query, and without a path where `protocol` is \"grpc\"";
    for (setting, expected) in [
        ("endpoint = 4318", "k:2:12: traces.endpoint: is a whole number; must be a text in quotes".to_owned()),
        ("endpoint = 'localhost:4318'", service.to_owned()),
        ("endpoint = 'ftp://collector'", service.to_owned()),
        ("endpoint = 'http://'", service.to_owned()),
        ("endpoint = 'http://user:hunter2@collector'", service.to_owned()),
        ("endpoint = 'http://collector#x'", service.to_owned()),
        ("endpoint = 'http://collector?x=1'", format!("k:2:12: traces.endpoint: has a path or a query; {path}")),
        (
            "endpoint = 'http://collector/x'\nprotocol = 'grpc'",
            format!("k:2:12: traces.endpoint: has a path or a query; {path}"),
        ),
        ("protocol = 'udp'", "k:2:12: traces.protocol: `udp` is not known; allowed are `http` and `grpc`".to_owned()),
        ("sample = 1.01", format!("k:2:10: traces.sample: is out of range; {number}")),
        ("sample = -1", format!("k:2:10: traces.sample: is out of range; {number}")),
        ("sample = nan", format!("k:2:10: traces.sample: is out of range; {number}")),
        ("sample = '1 %'", format!("k:2:10: traces.sample: is a text; {number}")),
        ("sample_callers = 2", format!("k:2:18: traces.sample_callers: is out of range; {number}")),
        ("service_name = ''", "k:2:16: traces.service_name: `` is not legal; must be 1 to 256 bytes without control characters".to_owned()),
        ("queue = 10", "k:2:9: traces.queue: `10` is out of range; must be a whole number, 256 to 1,000,000".to_owned()),
        ("gather = '1ms'", "k:2:10: traces.gather: `1ms` is out of range; must be 10ms to 1m".to_owned()),
        ("timeout = 5", "k:2:11: traces.timeout: is a whole number; must be a whole number and a unit, `ms`, `s`, `m` (minutes), `h` or `d`, such as \"90s\"".to_owned()),
        ("attributes = ['a']", "k:2:14: traces.attributes: is a list; must be a table".to_owned()),
        ("attributes = { a = 1 }", "k:2:20: traces.attributes.a: is a whole number; must be a text in quotes".to_owned()),
        (
            "attributes = { 'service.name' = 'x' }",
            "k:2:33: traces.attributes.\"service.name\": `service.name` is no name for it; must be 1 to 256 bytes, and not `service.name`, which `service_name` says".to_owned(),
        ),
        (
            "endpoint = 'http://collector'\nheaders_file = 'h'",
            "k:3:16: traces.headers_file: would be told in the open; must be left out, or `endpoint` must be `https://…`, or `http://…` of this machine".to_owned(),
        ),
    ] {
        assert_eq!(parse(&format!("[traces]\n{setting}\n")), Err(expected), "{setting}");
    }
}

#[test]
fn level_and_sampling_are_taken_over_and_the_form_and_the_receiver_are_not() {
    let running = parse("[traces]\nendpoint = 'http://a'\n").unwrap();
    let read = "[log]\nlevel = 'debug'\nformat = 'json'\ndenials_per_second = 7\n\
                [traces]\nendpoint = 'http://b'\nsample = 0.5\nsample_callers = 0\nqueue = 512\n";
    let (next, take_restart) = running.reloaded(parse(read).unwrap());
    assert_eq!(take_restart, ["log.format", "traces"]);
    assert_eq!(
        (next.log.level, next.log.format, next.log.denials_per_second),
        (LogLevel::Debug, running.log.format, 7)
    );
    assert_eq!((next.traces.sample, next.traces.sample_callers), (500_000, 0));
    assert_eq!((&next.traces.endpoint, next.traces.queue), (&running.traces.endpoint, running.traces.queue));
    let same = parse("[traces]\nendpoint = 'http://a'\nsample = 0\n").unwrap();
    assert!(running.reloaded(same).1.is_empty());
}
