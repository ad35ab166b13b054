//! Traces against a real receiver of OTLP: one request from Envoy to the command that Redis was sent; what is followed and what is
//! not; a receiver that is away, silent or refuses; and that nothing of a credential ever leaves.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod away;
mod documented;
#[path = "../support/mod.rs"]
mod support;

use keygate::proto::v1::AuthenticateRequest;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};
use support::{
    calls::{by_key, charged},
    certificates::Authority,
    envoy,
    files::{ConfigFile, PATIENT},
    front::Front,
    keygate::Keygate,
    operations::OPERATIONS,
    otlp::{Mood, Receiver, Seen, is_below},
    proxy::Change,
    rotel::Rotel,
    stack::Stack,
};
use tonic::{Request, Status};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Settings that tell that receiver.
fn settings(receiver: &Receiver, more: &str) -> ConfigFile {
    let url = receiver.url();
    ConfigFile::new("keygate.toml", &format!("[traces]\nendpoint = \"{url}\"\ngather = \"20ms\"\n{more}\n"))
}

fn arguments(settings: &ConfigFile) -> Vec<String> {
    [OPERATIONS[0], OPERATIONS[1], "--config"].map(ToOwned::to_owned).into_iter().chain([settings.path()]).collect()
}

async fn embedded(settings: &ConfigFile) -> Stack {
    Stack::embedded(&arguments(settings).iter().map(String::as_str).collect::<Vec<_>>()).await
}

async fn on_redis(settings: &ConfigFile) -> Stack {
    Stack::redis(&arguments(settings).iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// A call with these metadata.
fn marked(message: AuthenticateRequest, metadata: &[(&'static str, &str)]) -> Request<AuthenticateRequest> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

async fn ask(keygate: &Keygate, message: AuthenticateRequest, metadata: &[(&'static str, &str)]) -> Result<(), Status> {
    keygate.client().authenticate(marked(message, metadata)).await.map(drop)
}

#[track_caller]
fn only<'s>(trace: &'s [Seen], name: &str) -> &'s Seen {
    let found: Vec<&Seen> = trace.iter().filter(|span| span.name == name).collect();
    assert_eq!(found.len(), 1, "`{name}` in {trace:#?}");
    found[0]
}

/// The requirement: from the id that Envoy gave a request to the command that Redis was sent, in one trace.
#[tokio::test]
async fn a_request_is_followed_from_envoy_to_redis() {
    let receiver = Receiver::start(Mood::Good).await;
    let file = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/envoy/keygate.toml")).unwrap();
    let own =
        format!("[traces]\nendpoint = \"{}\"\nprotocol = \"grpc\"\nsample = 0\ngather = \"20ms\"\n", receiver.url());
    let settings = ConfigFile::new("keygate.toml", &format!("{file}\n{own}{PATIENT}"));
    let stack = Stack::redis(&["--config", &settings.path()]).await;
    // Envoy follows every request, and tells the same receiver.
    let tracing = "stat_prefix: public
                tracing:
                  random_sampling: { value: 100 }
                  provider:
                    name: envoy.tracers.opentelemetry
                    typed_config:
                      \"@type\": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
                      grpc_service: { envoy_grpc: { cluster_name: traces } }
                      service_name: envoy";
    let place = support::proxy::local(receiver.port());
    let cluster = format!(
        "  clusters:
    - name: traces
      type: STATIC
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config: {{ http2_protocol_options: {{}} }}
      load_assignment:
        cluster_name: traces
        endpoints: [{{ lb_endpoints: [{{ endpoint: {{ address: {{ socket_address: {{ {place} }} }} }} }}] }}]"
    );
    let changes: [Change<'_>; 2] = [("stat_prefix: public", tracing), ("  clusters:", &cluster)];
    let front = Front::before(stack, &changes).await;
    let key = format!("Bearer {}", front.stack.new_key("recurr", "acme", "live").await.1);
    front.passes("recurr", "GET /v1/invoices", &[("authorization", &key)]).await;
    let request_id = front.upstream.all().last().unwrap().header("x-request-id").unwrap().to_owned();

    let (call, trace) = receiver.call(&request_id).await;
    let trace = receiver
        .until(|spans| {
            let trace: Vec<Seen> = spans.iter().filter(|span| span.trace == call.trace).cloned().collect();
            trace.iter().any(|span| span.told("guid:x-request-id") == request_id).then_some(trace)
        })
        .await
        .into_iter()
        .chain(trace)
        .fold(Vec::<Seen>::new(), |mut all, span| {
            if all.iter().all(|other| other.id != span.id) {
                all.push(span);
            }
            all
        });
    let of_envoy = trace.iter().find(|span| span.told("guid:x-request-id") == request_id).unwrap();
    assert_eq!(of_envoy.resource["service.name"], "envoy");
    assert!(is_below(&trace, &call, of_envoy), "{trace:#?}");
    assert_eq!(call.name, "envoy.service.auth.v3.Authorization/Check");
    assert_eq!((call.told("keygate.realm"), call.told("keygate.outcome")), ("recurr", "allowed"));
    assert_eq!((call.told("keygate.account"), call.told("keygate.environment")), ("acme", "live"));
    assert_eq!((call.told("rpc.system"), call.told("rpc.grpc.status_code")), ("grpc", "0"));
    assert_eq!(call.resource["service.name"], "keygate");

    let find = only(&trace, "store find_key");
    let charge = only(&trace, "store charge");
    assert_eq!((&find.parent, &charge.parent), (&call.id, &call.id));
    for (name, above, script, round_trip) in
        [("EVALSHA find", find, "find", "1"), ("EVALSHA charge", charge, "charge", "2")]
    {
        let command = only(&trace, name);
        assert_eq!((&command.parent, command.kind), (&above.id, 3), "{command:#?}");
        assert_eq!((command.told("db.system.name"), command.told("db.operation.name")), ("redis", "EVALSHA"));
        assert_eq!(command.told("db.stored_procedure.name"), script);
        assert_eq!(command.told("keygate.round_trip"), round_trip);
        assert!(is_below(&trace, command, of_envoy));
        assert!(command.began >= above.began && command.ended <= above.ended && above.ended <= call.ended);
    }
    front.stack.assert_no_secret("what the receiver of traces got", &receiver.text());
}

/// Without a tracer in Envoy: what the client said of its trace stands in the request that is asked about.
#[tokio::test]
async fn a_check_is_a_part_of_the_clients_trace_where_the_proxy_says_nothing() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(&receiver, &format!("sample = 0\n{PATIENT}"));
    let stack = on_redis(&settings).await;
    let (_, key) = stack.new_key("recover", "acme", "live").await;
    let headers =
        [("x-partner-key", key.as_str()), ("traceparent", PARENT), ("tracestate", "a=1"), ("x-request-id", "r-1")];
    stack.envoy_check(envoy::check("recover", "GET", "/v1/accounts/acme", &headers)).await;
    let (call, trace) = receiver.call("r-1").await;
    assert_eq!((call.trace.as_str(), call.parent.as_str(), call.state.as_str()), (TRACE, "b7ad6b7169203331", "a=1"));
    assert!(is_below(&trace, only(&trace, "EVALSHA charge"), &call));
}

mod what_is_followed {
    use super::*;

    async fn followed(sampling: &str, traceparent: &str) -> bool {
        let receiver = Receiver::start(Mood::Good).await;
        let settings = settings(&receiver, sampling);
        let keygate = embedded(&settings).await;
        let parent = [("traceparent", traceparent), ("x-request-id", "r-1")];
        let metadata = if traceparent.is_empty() { &parent[1..] } else { &parent[..] };
        ask(&keygate, by_key("recover", "no key"), metadata).await.unwrap();
        // What is not followed does not come; what comes after it would come before.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let calls = receiver.spans();
        let ours: Vec<&Seen> = calls.iter().filter(|span| span.told("keygate.request_id") == "r-1").collect();
        if let [call] = ours.as_slice() {
            assert_eq!(call.trace == TRACE, traceparent.starts_with(&PARENT[..50]), "{call:#?}");
        }
        !ours.is_empty()
    }

    #[tokio::test]
    async fn depends_on_the_share_and_on_the_caller() {
        let unsampled = PARENT.replace("-01", "-00");
        for (sampling, traceparent, expected) in [
            ("sample = 0", "", false),
            ("sample = 1", "", true),
            ("sample = 1.0", "not a traceparent", true),
            ("sample = 1", &*"0".repeat(8_000), true),
            ("sample = 0", PARENT, true),
            ("sample = 0\nsample_callers = 0.0", PARENT, false),
            ("sample = 1", &unsampled, false),
        ] {
            assert_eq!(followed(sampling, traceparent).await, expected, "{sampling} {traceparent:.60}");
        }
    }
}

/// What stands for a call on the embedded store, and in the log; and what an act of management looks like.
#[tokio::test]
async fn denials_failures_and_acts_are_told_as_what_they_are() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(
        &receiver,
        "sample = 1\nservice_name = \"gate\"\nattributes = { zone = \"a\" }\n[log]\nlevel = \"debug\"",
    );
    let keygate = embedded(&settings).await;
    let (id, key) = keygate.new_key("recover", "acme", "live").await;
    ask(&keygate, charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1), &[("x-request-id", "r-1")])
        .await
        .unwrap();
    let (call, trace) = receiver.call("r-1").await;
    assert_eq!((call.told("keygate.key_id"), call.told("keygate.account")), (id.as_str(), "acme"));
    assert_eq!((call.told("rpc.service"), call.told("rpc.method")), ("keygate.v1.Authorization", "Authenticate"));
    assert_eq!((call.resource["service.name"].as_str(), call.resource["zone"].as_str()), ("gate", "a"));
    let charge = only(&trace, "store charge");
    assert_eq!((charge.told("db.system.name"), charge.told("db.operation.name")), ("redb", "charge"));
    let names: BTreeSet<&str> = trace.iter().map(|span| span.name.as_str()).collect();
    let expected = [call.name.as_str(), "store charge", "store find_account", "store find_key"];
    assert_eq!(names, BTreeSet::from(expected), "nothing below the embedded store");
    keygate.wait_for_output("request_id=\"r-1\"").await;
    let line = keygate.output().lines().find(|line| line.contains("r-1")).unwrap().to_owned();
    assert!(line.contains(&call.trace), "{line}");

    ask(&keygate, by_key("recover", "no key"), &[("x-request-id", "r-2")]).await.unwrap();
    let (denied, _) = receiver.call("r-2").await;
    assert_eq!((denied.told("keygate.outcome"), denied.told("keygate.reason")), ("denied", "malformed_key"));
    assert!(!denied.failed, "a denial is an answer");

    ask(&keygate, by_key("nowhere", &key), &[("x-request-id", "r-3")]).await.unwrap_err();
    let (wrong, _) = receiver.call("r-3").await;
    assert_eq!((wrong.told("rpc.grpc.status_code"), wrong.failed), ("3", false));

    keygate.revoke("recover", &id).await;
    let act = receiver.until(|spans| spans.iter().find(|span| span.told("keygate.act") == "revoke").cloned()).await;
    assert_eq!((act.name.as_str(), act.told("keygate.outcome")), ("keygate.v1.Authorization/ManageKeys", "done"));
    assert!(act.told("keygate.actor").starts_with("key_"), "{act:#?}");
    keygate.assert_no_secret("what the receiver of traces got", &receiver.text());
}

#[tokio::test]
async fn a_store_that_does_not_answer_shows_where_the_time_went() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(&receiver, "sample = 1\n[store.redis]\ndeadline = \"300ms\"");
    let stack = on_redis(&settings).await;
    let (_, key) = stack.new_key("recover", "acme", "live").await;
    let request = || charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1);
    ask(&stack, request(), &[]).await.unwrap();
    stack.redis.as_ref().unwrap().pause();
    ask(&stack, request(), &[("x-request-id", "r-1")]).await.unwrap_err();
    stack.redis.as_ref().unwrap().resume();
    let (call, trace) = receiver.call("r-1").await;
    assert_eq!((call.told("keygate.outcome"), call.told("keygate.reason")), ("failed", "store_deadline"));
    assert!(call.failed && call.told("error.type") == "store_deadline" && call.told("rpc.grpc.status_code") == "14");
    let charge = only(&trace, "store charge");
    let command = only(&trace, "EVALSHA charge");
    assert_eq!((charge.told("error.type"), command.told("error.type")), ("deadline", "unanswered"));
    assert!(command.ended - command.began >= 290_000_000, "the deadline is 300 ms: {command:#?}");
}

#[tokio::test]
async fn a_caller_that_gives_up_is_followed_to_there() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(&receiver, &format!("sample = 1\n{PATIENT}"));
    let stack = on_redis(&settings).await;
    let (_, key) = stack.new_key("recover", "acme", "live").await;
    stack.redis.as_ref().unwrap().pause();
    let mut request = marked(by_key("recover", &key), &[("x-request-id", "r-1")]);
    request.set_timeout(Duration::from_millis(100));
    stack.client().authenticate(request).await.unwrap_err();
    // Until the server has heard of it.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stack.redis.as_ref().unwrap().resume();
    assert_eq!(receiver.call("r-1").await.0.told("error.type"), "cancelled");
}

#[tokio::test]
async fn the_last_spans_are_handed_over_at_the_end() {
    let receiver = Receiver::start(Mood::Good).await;
    let url = receiver.url();
    let settings =
        ConfigFile::new("keygate.toml", &format!("[traces]\nendpoint = \"{url}\"\ngather = \"1m\"\nsample = 1\n"));
    let mut stack = embedded(&settings).await;
    ask(&stack, by_key("recover", "no key"), &[("x-request-id", "r-1")]).await.unwrap();
    assert!(receiver.spans().is_empty(), "they are gathered for a minute");
    stack.keygate.terminate().await;
    receiver.call("r-1").await;
}

#[tokio::test]
async fn headers_for_the_receiver_are_read_anew_and_shown_to_nobody() {
    for protocol in ["http", "grpc"] {
        let receiver = Receiver::start(Mood::Good).await;
        let headers = ConfigFile::new("headers", "authorization: Bearer of-the-receiver-0123456789\nx-tenant: a\n");
        let more = format!("protocol = \"{protocol}\"\nsample = 1\nheaders_file = \"{}\"", headers.path());
        let settings = settings(&receiver, &more);
        let keygate = embedded(&settings).await;
        keygate.remember("Bearer of-the-receiver-0123456789");
        ask(&keygate, by_key("recover", "no key"), &[("x-request-id", "r-1")]).await.unwrap();
        receiver.call("r-1").await;
        let sent = receiver.headers().pop().unwrap();
        assert_eq!(
            (sent["authorization"].as_str(), sent["x-tenant"].as_str()),
            ("Bearer of-the-receiver-0123456789", "a")
        );
        fs::write(headers.path(), "x-tenant: b").unwrap();
        ask(&keygate, by_key("recover", "no key"), &[("x-request-id", "r-2")]).await.unwrap();
        receiver.call("r-2").await;
        let sent = receiver.headers().pop().unwrap();
        assert_eq!((sent.get("authorization"), sent["x-tenant"].as_str()), (None, "b"));
    }
}

/// A collector that others wrote takes what we write, both ways.
#[tokio::test]
async fn a_collector_of_others_reads_every_span() {
    let rotel = Rotel::start().await;
    for (protocol, url) in rotel.urls() {
        let text =
            format!("[traces]\nendpoint = \"{url}\"\nprotocol = \"{protocol}\"\nsample = 1\ngather = \"20ms\"\n");
        let settings = ConfigFile::settings(&(text + PATIENT));
        let stack = on_redis(&settings).await;
        let (id, key) = stack.new_key("recover", "acme", "live").await;
        ask(&stack, charged(by_key("recover", &key), "GET", "/v1/accounts/acme", 1), &[("traceparent", PARENT)])
            .await
            .unwrap();
        rotel.until(&format!("keygate.key_id: Str({id})")).await;
        let output = rotel.output();
        for told in
            [TRACE, "EVALSHA charge", "service.name: Str(keygate)", "SPAN_KIND_CLIENT", "keygate.round_trip: Int(1)"]
        {
            assert!(output.contains(told), "{protocol}: `{told}` in:\n{output}");
        }
        stack.assert_no_secret("what the collector printed", &output);
    }
}

#[tokio::test]
async fn a_receiver_behind_tls_is_trusted_by_its_authority_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, others) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "others"));
    let receiver = Receiver::secured(&ours.sign(folder.path(), "receiver", &["localhost"])).await;
    for protocol in ["http", "grpc"] {
        let text = |authority: &Authority| {
            let (port, file) = (receiver.port(), authority.file.display());
            format!(
                "[traces]\nendpoint = \"https://localhost:{port}\"\nprotocol = \"{protocol}\"\nca_file = \"{file}\"\n\
                 sample = 1\ngather = \"20ms\"\n"
            )
        };
        let keygate = embedded(&ConfigFile::new("keygate.toml", &text(&others))).await;
        ask(&keygate, by_key("recover", "no key"), &[("x-request-id", "never")]).await.unwrap();
        keygate.wait_for_output("it cannot be trusted").await;
        let keygate = embedded(&ConfigFile::new("keygate.toml", &text(&ours))).await;
        ask(&keygate, by_key("recover", "no key"), &[("x-request-id", protocol)]).await.unwrap();
        receiver.call(protocol).await;
    }
    assert!(receiver.spans().iter().all(|span| span.told("keygate.request_id") != "never"));
}

#[tokio::test]
async fn a_bucket_shows_the_trace_that_is_kept_here() {
    let receiver = Receiver::start(Mood::Good).await;
    let settings = settings(&receiver, "sample = 1");
    let keygate = embedded(&settings).await;
    ask(&keygate, by_key("recover", "no key"), &[("x-request-id", "r-1")]).await.unwrap();
    let (call, _) = receiver.call("r-1").await;
    let page = keygate.open_metrics().await;
    let samples = &page.families["keygate_decision_duration_seconds"].samples;
    let shown: Vec<&BTreeMap<_, _>> = samples.iter().map(|sample| &sample.exemplar).collect();
    let of_call = shown.iter().find(|shown| shown.get("request_id").is_some_and(|id| id == "r-1")).unwrap();
    assert_eq!(of_call["trace_id"], call.trace);
}
