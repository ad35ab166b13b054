//! The shapes in which one message may come: the usual one, which is served the straight way, and all others, which are not.
//! Nobody but a stopwatch can tell the two apart.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use envoy_types::pb::envoy::service::{auth::v3::CheckResponse, ratelimit::v3::RateLimitResponse};
use keygate::proto::v1::AuthenticateResponse;
use prost::Message;
use support::{
    calls::by_key,
    envoy::{Answer, check, descriptor, limit, value},
    keygate::Keygate,
    raw::call_in_frames,
};
use tonic::Code;

const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Everybody may look, and is counted.
const REALM: &str = r#"
realm = "shop"
[[environments]]
name = "live"
prefix = "shop_live_"
[[credentials]]
header = "X-Key"
[[operations]]
name = "look"
routes = ["GET /look"]
public = true
[[limits]]
name = "looks"
limit = 100
window = "1m"
per = ["address"]
[[limits]]
name = "tenant"
limit = 100
window = "1m"
descriptors = [{ key = "tenant" }]
"#;

/// The message with the five bytes that go before it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// The one message of an answer.
fn read<M: Message + Default>(answer: &[u8]) -> M {
    let (head, message) = answer.split_at(5);
    assert_eq!(head, [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat());
    M::decode(message).unwrap()
}

/// The ways to send one message.
fn shapes(message: &[u8]) -> [Vec<&[u8]>; 6] {
    let (head, rest) = message.split_at(5);
    let (one, other) = message.split_at(30);
    [
        vec![message],
        vec![message, &[]],
        vec![head, rest],
        vec![one, other],
        vec![one, other, &[]],
        vec![message, &[], &[]],
    ]
}

#[tokio::test]
async fn a_message_is_understood_in_whatever_frames_it_comes() {
    let keygate = Keygate::start(&[]).await;
    let message = framed(&by_key("keygate", keygate.operator()).encode_to_vec());
    for frames in shapes(&message) {
        let (code, answer) = call_in_frames(&keygate, AUTHENTICATE, &[], &frames).await;
        assert_eq!(code, Code::Ok, "{} frames", frames.len());
        let answer: AuthenticateResponse = read(&answer);
        assert!(matches!(answer.outcome, Some(keygate::proto::v1::authenticate_response::Outcome::Allowed(_))));
    }
    let named = [("grpc-encoding", "identity")];
    assert_eq!(call_in_frames(&keygate, AUTHENTICATE, &named, &[&message]).await.0, Code::Ok);
}

#[tokio::test]
async fn a_question_of_envoys_is_understood_in_whatever_frames_it_comes() {
    let files = tempfile::tempdir().unwrap();
    let (realm, settings) = (files.path().join("shop.toml"), files.path().join("keygate.toml"));
    std::fs::write(&realm, REALM).unwrap();
    std::fs::write(&settings, "realms = [\"shop.toml\"]\n").unwrap();
    let keygate = Keygate::start(&["--config", settings.to_str().unwrap()]).await;

    let once = check("shop", "GET", "/look", &[]).encode_to_vec();
    // To protobuf this is the same message: a message that stands twice is put together.
    let twice = [&once[..], &[0x0a, 0]].concat();
    let mut left = 100;
    for message in [framed(&once), framed(&twice)] {
        for frames in shapes(&message) {
            let (code, answer) = call_in_frames(&keygate, CHECK, &[], &frames).await;
            assert_eq!(code, Code::Ok, "{} frames", frames.len());
            let answer: CheckResponse = read(&answer);
            left -= 1;
            let told = value(&answer.passed().response_headers_to_add, "x-ratelimit-remaining");
            assert_eq!(told, Some(left.to_string().as_str()), "{} frames", frames.len());
            assert_eq!(answer.told("operation").as_deref(), Some("look"));
        }
    }

    let message = framed(&limit("shop", &[descriptor(&[("tenant", "a-tenant-with-a-long-name")])]).encode_to_vec());
    for (at, frames) in (1..).zip(shapes(&message)) {
        let (code, answer) = call_in_frames(&keygate, SHOULD_RATE_LIMIT, &[], &frames).await;
        assert_eq!(code, Code::Ok, "{} frames", frames.len());
        let answer: RateLimitResponse = read(&answer);
        let told: Vec<_> = answer.statuses.iter().map(|status| status.limit_remaining).collect();
        assert_eq!(told, [100 - at], "{} frames", frames.len());
    }
}

#[tokio::test]
async fn what_is_no_message_gets_the_same_code_in_whatever_frames_it_comes() {
    let keygate = Keygate::start(&[]).await;
    let message = framed(&by_key("keygate", keygate.operator()).encode_to_vec());
    let compressed = [&[1][..], &message[1..]].concat();
    let garbage = framed(&[0xff; 20]);
    let cut = &message[..message.len() - 1];
    let large = framed(&vec![0; 70_000]);
    for (what, bytes, headers, wanted) in [
        ("nothing", &[][..], &[][..], Code::Internal),
        ("compressed, and not said how", &compressed, &[], Code::Internal),
        ("compressed in a way that is not known", &message, &[("grpc-encoding", "gzip")], Code::Unimplemented),
        ("no protobuf", &garbage, &[], Code::Internal),
        ("cut off", cut, &[], Code::Internal),
        ("too large", &large, &[], Code::OutOfRange),
    ] {
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for frames in [&[bytes][..], &[bytes, &[]], &[first, second]] {
            for method in [AUTHENTICATE, CHECK, SHOULD_RATE_LIMIT] {
                let (code, answer) = call_in_frames(&keygate, method, headers, frames).await;
                // Envoy's questions that cannot be read are answered with a denial: the request made them so.
                let denies = method != AUTHENTICATE && ["no protobuf", "too large"].contains(&what);
                let wanted = if denies { Code::Ok } else { wanted };
                assert_eq!((code, answer.is_empty()), (wanted, !denies), "{what} to {method}, {} frames", frames.len());
            }
        }
    }
}
