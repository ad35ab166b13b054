//! Questions of Envoy that cannot be read. Whoever sends a request has a hand in how large they are, and in their bytes: they
//! are answered with no, since an error would leave it to Envoy's failure mode.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use envoy_types::pb::envoy::service::{
    auth::v3::CheckResponse,
    ratelimit::v3::{RateLimitResponse, rate_limit_response::Code as Limited},
};
use prost::Message;
use support::{
    envoy::{Answer, check, descriptor, limit},
    front::{Front, SETTINGS},
    keygate::Keygate,
    proxy::PART_TWO,
    raw::{call_in_frames, half_a_call, raw_call},
    stack::Stack,
};
use tonic::Code;

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// A message with one byte that makes a text in it none.
fn no_text(message: &impl Message, text: &str) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at] = 0xff;
    bytes
}

#[tokio::test]
async fn a_check_that_cannot_be_read_is_refused() {
    let keygate = Keygate::start(&[]).await;
    let large = check("recurr", "GET", &format!("/{}", "x".repeat(70_000)), &[]).encode_to_vec();
    let odd = no_text(&check("recurr", "GET", "/v1", &[]), "api.example.com");
    for message in [large, odd, vec![0xff; 20]] {
        let answer = raw_call(&keygate, CHECK, message).await.expect("an answer, and no error");
        let answer = CheckResponse::decode(answer).unwrap();
        assert_eq!((answer.refused().0, answer.told("reason").as_deref()), (400, Some("malformed_request")));
    }
    // What never comes whole is nobody's question.
    let keygate = short_of_patience().await;
    assert_eq!(half_a_call(&keygate, CHECK).await.ended().await, Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_question_for_limits_that_cannot_be_read_is_over_the_limit() {
    let keygate = Keygate::start(&[]).await;
    let large = limit("recurr", &[descriptor(&[("tenant", &"x".repeat(70_000))])]).encode_to_vec();
    let odd = no_text(&limit("recurr", &[descriptor(&[("tenant", "acme")])]), "acme");
    for message in [large, odd, vec![0xff; 20]] {
        let answer = raw_call(&keygate, SHOULD_RATE_LIMIT, message).await.expect("an answer, and no error");
        let answer = RateLimitResponse::decode(answer).unwrap();
        assert_eq!(answer.overall_code(), Limited::OverLimit);
    }
    let keygate = short_of_patience().await;
    assert_eq!(half_a_call(&keygate, SHOULD_RATE_LIMIT).await.ended().await, Code::DeadlineExceeded);
}

async fn short_of_patience() -> Keygate {
    let data = support::keygate::DataDir::new();
    let settings = data.path().join("keygate.toml");
    std::fs::write(&settings, "[limits]\narrival_timeout = \"200ms\"\n").unwrap();
    Keygate::try_start(data, &["--config", settings.to_str().unwrap()]).await.unwrap()
}

/// Envoy writes a path into its question twice.
#[tokio::test]
async fn a_long_path_leads_nobody_past_keygate_though_failures_are_let_through() {
    let change = ("failure_mode_allow: false", "failure_mode_allow: true");
    let front = Front::before(Stack::embedded(&SETTINGS).await, &[change]).await;
    let head = format!("GET /v1?{}", "x".repeat(40_000));
    let refused = front.stops("recurr", &head, &[], 400).await;
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    let key = format!("Bearer {}", front.stack.new_key("recurr", "acme", "live").await.1);
    front.passes("recurr", "GET /v1", &[("authorization", &key), ("x-long", &"x".repeat(40_000))]).await;
    assert_eq!(front.envoy.stat("http.public.ext_authz.keygate.failure_mode_allowed").await, 0);
}

#[tokio::test]
async fn a_long_descriptor_leads_nobody_past_a_limit_though_failures_are_let_through() {
    let twice = "- actions:\n\
        \x20                           - request_headers: { header_name: x-tenant, descriptor_key: tenant }\n\
        \x20                           - request_headers: { header_name: x-tenant, descriptor_key: again }";
    let changes = [
        (PART_TWO, ""),
        ("failure_mode_deny: true", "failure_mode_deny: false"),
        ("- actions: [{ remote_address: {} }]", twice),
    ];
    let front = Front::before(Stack::embedded(&SETTINGS).await, &changes).await;
    let key = format!("Bearer {}", front.stack.new_key("recurr", "acme", "live").await.1);
    front.passes("recurr", "GET /v1", &[("authorization", &key), ("x-tenant", "acme")]).await;
    let long = "x".repeat(40_000);
    front.stops("recurr", "GET /v1", &[("authorization", &key), ("x-tenant", &long)], 429).await;
    assert_eq!(front.envoy.stat("cluster.service.ratelimit.keygate.failure_mode_allowed").await, 0);
}

/// Lists in lists, so many.
fn deep(levels: usize) -> Vec<u8> {
    let within = |tag: u8, inner: &[u8]| {
        let mut outer = vec![tag << 3 | 2];
        prost::encode_length_delimiter(inner.len(), &mut outer).unwrap();
        outer.extend(inner);
        outer
    };
    // A `Value` of a list (6) of values (1), in a `Struct` (an entry 1 of a name 1 and a value 2), in a `Metadata` (likewise).
    let value = (0..levels).fold(Vec::new(), |inner, _| within(6, &within(1, &inner)));
    let named = |value: &[u8]| [within(1, b"deep"), within(2, value)].concat();
    within(1, &named(&within(1, &named(&value))))
}

/// A question whose `metadata_context` (11) holds that, and the same with the peer twice, so that it cannot be read straight.
fn with_metadata(key: &str, metadata: &[u8]) -> [Vec<u8>; 2] {
    let question = check("recurr", "GET", "/v1", &[("authorization", &format!("Bearer {key}"))]);
    let mut attributes = question.attributes.unwrap().encode_to_vec();
    attributes.push(11 << 3 | 2);
    prost::encode_length_delimiter(metadata.len(), &mut attributes).unwrap();
    attributes.extend(metadata);
    [attributes.clone(), [&attributes[..], &[1 << 3 | 2, 0]].concat()].map(|attributes| {
        let mut message = vec![1 << 3 | 2];
        prost::encode_length_delimiter(attributes.len(), &mut message).unwrap();
        message.extend(attributes);
        message
    })
}

#[tokio::test]
async fn a_check_without_a_bottom_is_refused_or_not_looked_into() {
    let keygate = Keygate::start(&[]).await;
    let (_, key) = keygate.new_key("recurr", "acme", "live").await;
    let process = keygate.process_id();
    // As Envoy sends it, in one frame.
    let framed = async |message: Vec<u8>| {
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        let (code, answer) = call_in_frames(&keygate, CHECK, &[], &[&[&[0][..], &length, &message].concat()]).await;
        assert_eq!(code, Code::Ok);
        CheckResponse::decode(&answer[5..]).unwrap()
    };
    let asked = async |message: Vec<u8>| {
        let answer = raw_call(&keygate, CHECK, message).await.expect("an answer, and no error");
        CheckResponse::decode(answer).unwrap()
    };
    // What may be there is read either way.
    for message in with_metadata(&key, &deep(20)) {
        asked(message).await.passed();
    }
    for levels in [100, 1_000, 7_000] {
        let [straight, odd] = with_metadata(&key, &deep(levels));
        assert!(odd.len() < 65_536);
        if straight.len() < 16_000 {
            // Nobody looks into it.
            framed(straight).await.passed();
        }
        let refused = asked(odd).await;
        assert_eq!((refused.refused().0, refused.told("reason").as_deref()), (400, Some("malformed_request")));
    }
    let groups = asked(vec![0x0b; 60_000]).await;
    assert_eq!((groups.refused().0, groups.told("reason").as_deref()), (400, Some("malformed_request")));
    let groups = raw_call(&keygate, SHOULD_RATE_LIMIT, vec![0x0b; 60_000]).await.expect("an answer, and no error");
    assert_eq!(RateLimitResponse::decode(groups).unwrap().overall_code(), Limited::OverLimit);
    assert_eq!(keygate.process_id(), process);
    keygate.health().await;
}
