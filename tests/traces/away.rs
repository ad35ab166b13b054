//! A receiver that does not take spans, for whatever reason, never slows a decision.

use crate::{
    embedded, settings,
    support::{
        calls::{Answered, by_key, charged},
        otlp::{Mood, Receiver},
        stack::Stack,
    },
};
use keygate::proto::v1::DenyReason;
use std::time::Duration;

/// Asks more than the queue holds, and gives what was counted.
async fn row(receiver: &Receiver, protocol: &str) -> Stack {
    let settings =
        settings(receiver, &format!("protocol = \"{protocol}\"\nsample = 1\nqueue = 256\ntimeout = \"200ms\""));
    let keygate = embedded(&settings).await;
    let (_, key) = keygate.new_key("recover", "acme", "live").await;
    for _ in 0..300 {
        let request = charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1);
        keygate.authenticate(request).await.allowed();
    }
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_trace_spans_total", &[("result", "dropped")]) > 0.0, "{}", page.text);
    assert!(page.sum("keygate_trace_spans_waiting", &[]) <= 256.0);
    keygate.wait_for_output("the receiver of traces does not take spans").await;
    assert_eq!(keygate.output().matches("the receiver of traces does not take spans").count(), 1);
    keygate
}

#[tokio::test]
async fn never_slows_a_decision_because_it_is_silent() {
    for protocol in ["http", "grpc"] {
        let receiver = Receiver::start(Mood::Silent).await;
        let mut stack = row(&receiver, protocol).await;
        // It ends all the same, within the time that every server takes.
        stack.keygate.terminate().await;
    }
}

#[tokio::test]
async fn never_slows_a_decision_because_it_is_busy_and_goes_on_when_it_has_time() {
    for protocol in ["http", "grpc"] {
        let receiver = Receiver::start(Mood::Busy).await;
        let stack = row(&receiver, protocol).await;
        receiver.is_now(Mood::Good);
        receiver.until(|spans| (!spans.is_empty()).then_some(())).await;
        stack.wait_for_output("the receiver of traces takes spans again").await;
    }
}

#[tokio::test]
async fn never_slows_a_decision_because_nobody_is_there() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(&receiver, "sample = 1\nqueue = 256");
    drop(receiver);
    let mut keygate = embedded(&settings).await;
    let (_, key) = keygate.new_key("recover", "acme", "live").await;
    for _ in 0..300 {
        keygate.authenticate(charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1)).await.allowed();
    }
    let page = keygate.metrics().await;
    assert!(page.sum("keygate_trace_spans_total", &[("result", "dropped")]) > 0.0);
    assert!(page.sum("keygate_trace_export_failures_total", &[]) > 0.0);
    keygate.keygate.terminate().await;
}

#[tokio::test]
async fn never_slows_a_decision_because_it_does_not_want_them() {
    for (mood, protocol, refused_all) in [
        (Mood::Refusing, "http", true),
        (Mood::Refusing, "grpc", true),
        (Mood::Picky, "http", false),
        (Mood::Picky, "grpc", false),
    ] {
        let receiver = Receiver::start(mood).await;
        let settings = settings(&receiver, &format!("protocol = \"{protocol}\"\nsample = 1"));
        let keygate = embedded(&settings).await;
        keygate.authenticate(by_key("recover", "no key")).await.denied_for(DenyReason::MalformedKey);
        loop {
            let page = keygate.metrics().await;
            let spans = |result| page.sum("keygate_trace_spans_total", &[("result", result)]);
            if spans("refused") >= 1.0 {
                assert_eq!(spans("exported") > 0.0, !refused_all && receiver.spans().len() > 1, "{}", page.text);
                assert_eq!(spans("dropped"), 0.0);
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
