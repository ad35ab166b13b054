//! The shapes in which one message may come: the usual one, which is served the straight way, and all others, which are not.
//! Nobody but a stopwatch can tell the two apart.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::AuthenticateResponse;
use prost::Message;
use support::{calls::by_key, keygate::Keygate, raw::call_in_frames};
use tonic::Code;

const AUTHENTICATE: &str = "/keygate.v1.Authorization/Authenticate";

/// The message with the five bytes that go before it.
fn framed(message: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

/// The one message of an answer.
fn read(answer: &[u8]) -> AuthenticateResponse {
    let (head, message) = answer.split_at(5);
    assert_eq!(head, [&[0][..], &u32::try_from(message.len()).unwrap().to_be_bytes()].concat());
    AuthenticateResponse::decode(message).unwrap()
}

#[tokio::test]
async fn a_message_is_understood_in_whatever_frames_it_comes() {
    let keygate = Keygate::start(&[]).await;
    let message = framed(&by_key("keygate", keygate.operator()).encode_to_vec());
    let (head, rest) = message.split_at(5);
    let (one, other) = message.split_at(30);
    let shapes: [&[&[u8]]; 6] =
        [&[&message], &[&message, &[]], &[head, rest], &[one, other], &[one, other, &[]], &[&message, &[], &[]]];
    for frames in shapes {
        let (code, answer) = call_in_frames(&keygate, AUTHENTICATE, &[], frames).await;
        assert_eq!(code, Code::Ok, "{} frames", frames.len());
        assert!(matches!(read(&answer).outcome, Some(keygate::proto::v1::authenticate_response::Outcome::Allowed(_))));
    }
    let named = [("grpc-encoding", "identity")];
    assert_eq!(call_in_frames(&keygate, AUTHENTICATE, &named, &[&message]).await.0, Code::Ok);
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
            let (code, answer) = call_in_frames(&keygate, AUTHENTICATE, headers, frames).await;
            assert_eq!((code, answer.len()), (wanted, 0), "{what}, {} frames", frames.len());
        }
    }
}
