//! Hosts of key sets that mean it no good: what they send is bounded in bytes and time, and the keys that are known go on working.

use crate::{
    support::{
        issuer::{Issuer, claims_with},
        key_host::{KeyHost, Mood},
        keygate::Keygate,
        operations::OPERATIONS,
        realms,
    },
    world::{self, attacked},
};
use keygate::proto::v1::{AuthenticateRequest, authenticate_request::Credential, authenticate_response::Outcome};
use serde_json::json;
use std::{fs, time::Duration};
use tokio::time::{Instant, sleep};
use tonic::Code;

/// For so long an issuer is not asked again.
const PAUSE: Duration = Duration::from_secs(5);

/// What they send, by name.
fn moods(issuer: &Issuer) -> Vec<(&'static str, Mood)> {
    let one = issuer.key_set();
    let key = one.trim_start_matches(r#"{"keys":["#).trim_end_matches("]}");
    let keys = |one: &str, count| format!(r#"{{"keys":[{}]}}"#, vec![one; count].join(","));
    vec![
        ("50 MiB", Mood::Good(keys(key, 50 * 1_024 * 1_024 / key.len()))),
        ("100,000 keys", Mood::Good(keys(r#"{"kty":"RSA","kid":"k"}"#, 100_000))),
        ("as many entries as fit", Mood::Good(keys("{}", 80_000))),
        ("a list without a bottom", Mood::Good(format!(r#"{{"keys":{}"#, "[".repeat(250_000)))),
        ("an object without a bottom", Mood::Good(r#"{"keys":"#.repeat(30_000))),
        ("a body without end", Mood::Endless),
        ("a head without end", Mood::EndlessHead),
        ("a byte now and then", Mood::Drip),
    ]
}

fn realm(hosts: &[(&str, Mood, KeyHost)]) -> String {
    let issuers = hosts.iter().enumerate().map(|(at, (.., host))| {
        let url = host.url();
        format!(
            "[[tokens]]\nissuer = \"https://issuer-{at}.test\"\naudiences = [\"the-app\"]\njwks_url = \"{url}\"\n\
             algorithms = [\"ES256\"]\n"
        )
    });
    "realm = \"product\"\n[[environments]]\nname = \"live\"\nprefix = \"prod_live_\"\n\
     [[credentials]]\nheader = \"authorization\"\nscheme = \"Bearer\"\naccepts = [\"token\"]\n\
     [[operations]]\nname = \"all\"\nfallback = true\n"
        .to_owned()
        + &issuers.collect::<String>()
}

/// Whether that token is good; nothing when nobody can tell.
async fn ask(keygate: &Keygate, token: String) -> Option<bool> {
    let credential = Some(Credential::AccessToken(token));
    let request = AuthenticateRequest { realm: "product".to_owned(), credential, ..Default::default() };
    match keygate.try_authenticate(request).await {
        Ok(answer) => Some(matches!(answer.outcome, Some(Outcome::Allowed(_)))),
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable, "{status:?}");
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn key_sets_without_measure() {
    let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::new());
    let mut hosts = Vec::new();
    for (name, mood) in moods(&issuer) {
        hosts.push((name, mood, KeyHost::start(Mood::Good(issuer.key_set())).await));
    }
    let file = folder.path().join("product.toml");
    fs::write(&file, realm(&hosts)).unwrap();
    let (shipped, file) = (realms::shipped().to_str().unwrap(), file.to_str().unwrap());
    let arguments = [&["--realm-file", shipped, "--realm-file", file][..], &OPERATIONS].concat();
    let keygate = world::server_with("", &arguments).await;
    let from = |at: usize| claims_with("ann", json!({ "iss": format!("https://issuer-{at}.test") }));
    let good = |at: usize| issuer.signed("es256", "ES256", &from(at));
    let of_another = |at: usize, round: u32| {
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": format!("unknown-{round}") });
        issuer.pair("es256").sign_as("ES256", &header.to_string(), &from(at).to_string())
    };
    let known = async || keygate.metrics().await.sum("keygate_issuer_keys", &[("realm", "product")]);
    while known().await < 4.0 * hosts.len() as f64 {
        sleep(Duration::from_millis(200)).await;
    }
    for at in 0..hosts.len() {
        assert_eq!(ask(&keygate, good(at)).await, Some(true), "issuer {at}");
    }
    for (_, mood, host) in &hosts {
        host.is_now(mood.clone());
    }
    sleep(PAUSE).await;
    let asked = async || {
        let page = keygate.metrics().await;
        let failed = |at: usize| {
            let issuer = format!("https://issuer-{at}.test");
            page.sum("keygate_issuer_fetches_total", &[("issuer", &issuer), ("result", "failed")])
        };
        (0..hosts.len()).map(failed).collect::<Vec<f64>>()
    };
    let attack = async {
        // Tokens that name keys which nobody has make the server ask; it asks again by itself until it is answered.
        let (began, mut round) = (Instant::now(), 0);
        while asked().await.iter().any(|failed| *failed < 2.0) {
            round += 1;
            for (at, (name, ..)) in hosts.iter().enumerate() {
                let token = of_another(at, round);
                let (other, known) = tokio::join!(ask(&keygate, token), ask(&keygate, good(at)));
                assert!(other != Some(true) && known == Some(true), "{name}: {other:?}, {known:?}");
            }
            assert!(began.elapsed() < world::RECOVERY, "{:?}", asked().await);
        }
    };
    attacked(&keygate, "key sets without measure", attack).await;
    for (at, (name, _, host)) in hosts.iter().enumerate() {
        assert!(host.asked() >= 3, "{name}: asked {} times", host.asked());
        assert_eq!(ask(&keygate, good(at)).await, Some(true), "{name}");
    }
}
