//! Messages to `ext_authz`, as bytes: every one is answered, and what is let through carries keygate's own identity.
//! A header value that holds `$KEY` gets a key that works in its place.

#![no_main]

use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, check_response::HttpResponse};
use keygate::domain::realm::Identity;
use keygate_fuzz::Envoy;
use libfuzzer_sys::fuzz_target;
use prost::Message;
use std::sync::LazyLock;

static ENVOY: LazyLock<Envoy> = LazyLock::new(Envoy::new);

fn with_key(text: &[u8]) -> Option<Vec<u8>> {
    let at = text.windows(4).position(|four| four == b"$KEY")?;
    Some([&text[..at], ENVOY.key.as_bytes(), &text[at + 4..]].concat())
}

fuzz_target!(|data: &[u8]| {
    let Ok(mut message) = CheckRequest::decode(data) else { return };
    let http = message.attributes.as_mut().and_then(|it| it.request.as_mut()).and_then(|it| it.http.as_mut());
    if let Some(http) = http {
        for header in http.header_map.iter_mut().flat_map(|map| &mut map.headers) {
            if let Some(value) = with_key(&header.raw_value) {
                header.raw_value = value;
            }
        }
        for value in http.headers.values_mut() {
            if let Some(text) = with_key(value.as_bytes()).and_then(|text| String::from_utf8(text).ok()) {
                *value = text;
            }
        }
    }
    let answer =
        ENVOY.run(ENVOY.check.answer(&tonic::Request::new(message))).expect("the embedded store always answers");
    let code = answer.status.expect("an answer has a status").code;
    match answer.http_response.expect("an answer says what to do") {
        HttpResponse::OkResponse(ok) => {
            assert_eq!(code, 0);
            let set: Vec<&str> =
                ok.headers.iter().filter_map(|it| it.header.as_ref()).map(|it| it.key.as_str()).collect();
            for name in Identity::ALL.map(Identity::default_header) {
                let removed = ok.headers_to_remove.iter().any(|other| other == name);
                assert!(set.contains(&name) != removed, "{name} is neither set nor taken out, or both");
            }
        }
        HttpResponse::DeniedResponse(no) => {
            assert_ne!(code, 0);
            assert!((400..600).contains(&no.status.expect("a denial has a status").code) && !no.body.is_empty());
        }
        HttpResponse::ErrorResponse(_) => panic!("keygate never answers so"),
    }
});
