//! Providers' credentials through a real Envoy: what comes to the service behind, what comes to the client, and what never does.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::{fs, time::Duration};
use support::{
    front::{Front, SETTINGS},
    stack::Stack,
    transit::{KeyService, Mood, TOKEN},
    vault::{VaultFiles, in_file, putting},
};

const OPENAI: &str = "sk-openai-of-project-1-0123456789";
const ANTHROPIC: &str = "sk-anthropic-of-project-1-0123456789";

fn files() -> VaultFiles {
    let shipped = fs::read_to_string(SETTINGS[1]).expect("the settings are shipped");
    VaultFiles::with_settings(&shipped, &[&in_file("k1", true)])
}

fn texts(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// `through_envoy! { async fn name(front, files) { … } }`: over TCP on Redis, and over a Unix socket on the embedded store.
macro_rules! through_envoy {
    ($(async fn $name:ident($front:ident, $files:ident) $body:block)*) => {$(
        mod $name {
            use super::*;

            #[allow(unused_mut, unused_variables, reason = "some bodies restart the server, some read its files")]
            async fn row(mut $front: Front, $files: VaultFiles) {
                $body
                // Of what clients sent, nothing came to the service, and nothing was printed.
                $front.stack.assert_no_secret("what Envoy printed", &$front.envoy.output());
                $front.stack.assert_no_secret("what the service got", &format!("{:?}", $front.upstream.all()));
                for credential in [OPENAI, ANTHROPIC] {
                    assert!(!$front.stack.output().contains(credential) && !$front.envoy.output().contains(credential));
                }
            }

            #[tokio::test]
            async fn central() {
                let files = files();
                let stack = Stack::redis(&texts(&files.arguments())).await;
                row(Front::before(stack, &[]).await, files).await;
            }

            #[tokio::test]
            async fn sidecar() {
                let files = files();
                row(Front::sidecar_with(&texts(&files.arguments())).await, files).await;
            }
        }
    )*};
}

async fn put(front: &Front, account: &str, environment: &str, provider: &str, credential: &str) {
    front.stack.try_put(putting(account, environment, provider, credential)).await.expect("it is deposited");
}

through_envoy! {
    async fn v5_the_service_gets_the_projects_own_credential_in_place_of_the_key(front, files) {
        let (_, live) = front.stack.new_key("recovea", "project-1", "live").await;
        let (_, test) = front.stack.new_key("recovea", "project-1", "test").await;
        let (_, other) = front.stack.new_key("recovea", "project-2", "live").await;
        put(&front, "project-1", "live", "openai", OPENAI).await;
        put(&front, "project-1", "live", "anthropic", ANTHROPIC).await;
        put(&front, "project-2", "live", "openai", "sk-openai-of-project-2-0123456789").await;
        let bearer = |key: &str| format!("Bearer {key}");
        let (mine, theirs, tests) = (bearer(&live), bearer(&other), bearer(&test));
        for (header, credential) in [(&mine, OPENAI), (&theirs, "sk-openai-of-project-2-0123456789"), (&mine, OPENAI)] {
            let answer = front.passes("recovea", "GET /v1/models", &[("authorization", header)]).await;
            let received = front.upstream.last();
            assert_eq!(received.all("authorization"), [format!("Bearer {credential}")]);
            assert_eq!(received.all("x-api-key").len(), 0);
            // The echo behind answers with what it got; of its own, keygate tells the client nothing.
            assert!(answer.headers.iter().all(|(_, value)| !value.contains(credential)), "{answer:?}");
        }
        // The provider that the request names has another header, and the caller's key is taken out all the same; what the
        // client puts there itself never arrives.
        let naming = [("authorization", mine.as_str()), ("x-recovea-provider", "anthropic"), ("x-api-key", "forged")];
        front.passes("recovea", "POST /v1/messages", &naming).await;
        let received = front.upstream.last();
        assert_eq!(received.all("x-api-key"), [ANTHROPIC]);
        assert_eq!(received.all("authorization").len(), 0);

        // Without a credential nothing passes: of another environment, of another provider, of none.
        for (head, headers, status) in [
            ("GET /v1/models", vec![("authorization", tests.as_str())], 403),
            ("GET /v1/models", vec![("authorization", theirs.as_str()), ("x-recovea-provider", "anthropic")], 403),
            ("GET /v1/models", vec![("authorization", mine.as_str()), ("x-recovea-provider", "nobody")], 400),
            ("GET /v1/models", vec![("authorization", mine.as_str()), ("x-recovea-provider", "openai"), ("x-recovea-provider", "anthropic")], 400),
            ("GET /v1/models", vec![("authorization", mine.as_str()), ("x_api_key", "forged")], 400),
            ("GET /v1/models", vec![("x-recovea-provider", "openai")], 401),
        ] {
            let answer = front.stops("recovea", head, &headers, status).await;
            assert!(!format!("{answer:?}").contains("sk-"), "{answer:?}");
        }
    }

    async fn a_key_service_that_fails_stops_requests_and_lets_none_pass_without(front, files) {
        let service = KeyService::start();
        fs::write(files.path("token"), TOKEN).unwrap();
        let (_, key) = front.stack.new_key("recovea", "project-1", "live").await;
        files.settings(&[&service.kek("customer", true)], &["listen", "listen_unix"]);
        front.stack.keygate.restart_in_place().await;
        put(&front, "project-1", "live", "openai", OPENAI).await;
        let header = format!("Bearer {key}");
        let headers = [("authorization", header.as_str())];
        // Envoy finds the server again.
        let mut answer = front.ask("recovea", "GET /v1/models", &headers).await;
        for _ in 0..100 {
            if answer.status == 200 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = front.ask("recovea", "GET /v1/models", &headers).await;
        }
        assert_eq!(answer.status, 200, "{answer:?}");
        service.becomes(Mood::Forbids);
        tokio::time::sleep(Duration::from_millis(150)).await;
        let stopped = front.stops("recovea", "GET /v1/models", &headers, 503).await;
        assert!(stopped.body.contains("unavailable") && !format!("{stopped:?}").contains("sk-"), "{stopped:?}");
    }

    async fn a_listener_that_may_not_release_stops_what_would_need_it(front, files) {
        let (_, key) = front.stack.new_key("recovea", "project-1", "live").await;
        put(&front, "project-1", "live", "openai", OPENAI).await;
        files.settings(&[&in_file("k1", true)], &[]);
        front.stack.keygate.restart_in_place().await;
        let header = format!("Bearer {key}");
        let mut answer = front.ask("recovea", "GET /v1/models", &[("authorization", &header)]).await;
        for _ in 0..100 {
            if answer.status == 500 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = front.ask("recovea", "GET /v1/models", &[("authorization", &header)]).await;
        }
        assert_eq!(answer.status, 500, "{answer:?}");
        assert_eq!(front.upstream.calls(), 0);
        front.stack.wait_for_output("vault.release_on").await;
    }
}
