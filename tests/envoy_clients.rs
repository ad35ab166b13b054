//! Clients that know nothing of keygate: the stock OpenAI SDK, and gRPC.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use serde_json::{Value, json};
use support::{
    calls::{by_key, charged, well_formed},
    front::Front,
    python::python,
    raw::raw_on,
};
use tonic::{Code, Request, transport::Channel};

/// What comes of one question by the SDK.
fn ask(front: &Front, key: &str) -> Value {
    let mut command = python("openai", "ask.py");
    command.arg(format!("http://127.0.0.1:{}/v1", front.envoy.port())).arg("recovea.localhost");
    let output = command.env("OPENAI_API_KEY", key).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A channel through Envoy to that host, over HTTP/2.
async fn channel(front: &Front, host: &str) -> Channel {
    let endpoint = Channel::from_shared(format!("http://127.0.0.1:{}", front.envoy.port())).unwrap();
    endpoint.origin(format!("http://{host}").parse().unwrap()).connect().await.unwrap()
}

const METHOD: &str = "/example.v1.Things/Make";

fn call(key: &str) -> Request<Vec<u8>> {
    let mut request = Request::new(b"some bytes".to_vec());
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request.metadata_mut().insert("x-auth-account", "forged".parse().unwrap());
    request
}

behind_envoy! {
    async fn v10_the_stock_openai_sdk_raises_its_own_exceptions(front) {
        let (_, key) = front.stack.new_key("recovea", "project", "live").await;
        assert_eq!(ask(&front, &key), json!({ "content": "hello" }));

        let unknown = well_formed("rcv_live_", "Unknown0Unknown0Unknown012");
        for bad in [unknown.as_str(), "sk-nonsense"] {
            let told = ask(&front, bad);
            assert_eq!((&told["exception"], &told["status"]), (&json!("AuthenticationError"), &json!(401)), "{told}");
            assert_eq!((&told["code"], &told["type"]), (&json!("invalid_api_key"), &json!("invalid_request_error")), "{told}");
            assert!(told["body"]["message"].as_str().unwrap().starts_with("Incorrect Recovea API key provided"), "{told}");
            assert_eq!(told["body"]["param"], Value::Null);
        }

        // One was charged above; the rest of the minute's thousand in one step.
        front.stack.authenticate(charged(by_key("recovea", &key), "POST", "/v1/chat/completions", 999)).await;
        let told = ask(&front, &key);
        assert_eq!((&told["exception"], &told["status"]), (&json!("RateLimitError"), &json!(429)), "{told}");
        assert_eq!((&told["code"], &told["type"]), (&json!("rate_limit_exceeded"), &json!("requests")), "{told}");
        assert!(told["retry_after"].as_str().unwrap().parse::<u32>().unwrap() <= 61, "{told}");
        assert_eq!(front.upstream.calls(), 1);
    }

    async fn a_grpc_call_passes_over_http_2_and_a_denied_one_has_a_grpc_status(front) {
        let (_, key) = front.stack.new_key("recurr", "acme", "live").await;
        let channel = channel(&front, "recurr.localhost").await;
        let answer = raw_on(channel.clone(), METHOD, call(&key)).await.unwrap();
        assert_eq!(&answer.get_ref()[..], b"some bytes");
        assert_eq!(answer.metadata().get("x-ratelimit-remaining").unwrap(), "999");
        let received = front.upstream.last();
        assert_eq!((received.version.as_str(), received.path.as_str()), ("HTTP/2.0", METHOD));
        assert_eq!(received.header("x-auth-account"), Some("acme"));
        assert_eq!(received.header("authorization"), None);

        let unknown = well_formed("rk_live_", "Unknown0Unknown0Unknown012");
        let status = raw_on(channel.clone(), METHOD, call(&unknown)).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        let reader = front.stack.create("recurr", support::calls::key_for("acme", "live")).await.secret;
        let status = raw_on(channel.clone(), METHOD, call(&reader)).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
        front.stack.authenticate(charged(by_key("recurr", &key), "POST", METHOD, 999)).await;
        let status = raw_on(channel.clone(), METHOD, call(&key)).await.unwrap_err();
        // Envoy has no other code for 429.
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(status.metadata().get("retry-after").is_some(), "{status:?}");
        assert_eq!(front.upstream.calls(), 1);
    }

    async fn every_status_of_a_denial_has_its_grpc_status(front) {
        // An escape that is none: 404 in the words of one realm, 400 in those of the other. The third host is nobody's.
        for (host, code, words) in [
            ("recover.localhost", Code::Unimplemented, "not_found"),
            ("recurr.localhost", Code::Internal, "bad_request"),
            ("nobody.localhost", Code::Unimplemented, ""),
        ] {
            let channel = channel(&front, host).await;
            let status = raw_on(channel, "/example.v1.Things/%ff", call("nonsense")).await.unwrap_err();
            assert!(status.code() == code && status.message().contains(words), "{host}: {status:?}");
        }
        let channel = channel(&front, "recurr.localhost").await;
        front.stack.keygate.kill();
        let status = raw_on(channel, METHOD, call("nonsense")).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert_eq!(front.upstream.calls(), 0);
    }
}
