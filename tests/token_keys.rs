//! Key sets that are fetched: what becomes of tokens while the host of the keys is down, slow, odd, or has new keys.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "waiting for another process takes a real clock")]

mod support;

use keygate::proto::v1::{AuthenticateRequest, AuthenticateResponse, DenyReason, authenticate_request::Credential};
use std::{
    fs,
    time::{Duration, Instant},
};
use support::{
    calls::{Answered, key_for},
    issuer::Issuer,
    key_host::{KeyHost, Mood},
    stack::Stack,
};
use tempfile::TempDir;
use tonic::{Code, Status};

fn realm(url: &str) -> String {
    format!(
        r#"
realm = "product"
[[environments]]
name = "live"
prefix = "prod_live_"
[[credentials]]
header = "authorization"
scheme = "Bearer"
accepts = ["key", "token"]
[[operations]]
name = "all"
fallback = true
[[tokens]]
issuer = "https://issuer.test"
audiences = ["the-app"]
jwks_url = "{url}"
algorithms = ["ES256"]
keep = "1m"
"#
    )
}

struct Setting {
    _folder: TempDir,
    host: KeyHost,
    issuer: Issuer,
    stack: Stack,
}

impl Setting {
    async fn with(mood: impl FnOnce(&Issuer) -> Mood) -> Self {
        let (folder, issuer) = (tempfile::tempdir().unwrap(), Issuer::new());
        let host = KeyHost::start(mood(&issuer)).await;
        let file = folder.path().join("product.toml");
        fs::write(&file, realm(&host.url())).unwrap();
        let stack = Stack::embedded(&["--realm-file", file.to_str().unwrap()]).await;
        Self { _folder: folder, host, issuer, stack }
    }

    async fn ask(&self, token: &str) -> Result<AuthenticateResponse, Status> {
        let credential = Some(Credential::AccessToken(token.to_owned()));
        let realm = "product".to_owned();
        self.stack.try_authenticate(AuthenticateRequest { realm, credential, ..Default::default() }).await
    }

    /// Asks again until it is answered, within a generous time.
    async fn ask_until_answered(&self, token: &str) -> AuthenticateResponse {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.ask(token).await {
                Ok(answer) => return answer,
                Err(status) => {
                    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
                    assert!(Instant::now() < deadline, "{status:?}:\n{}", self.stack.output());
                }
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn keys_are_fetched_and_asked_for_seldom() {
    let setting = Setting::with(|issuer| Mood::Good(issuer.key_set())).await;
    for account in ["ann", "bob", "cyd"] {
        setting.ask(&setting.issuer.token(account)).await.unwrap().allowed();
    }
    assert_eq!(setting.host.asked(), 1);
    // Tokens that name keys which nobody has make no storm.
    let stranger = Issuer::new();
    for n in 0..50 {
        let token = stranger.pair("es256").sign_as(
            "ES256",
            &format!(r#"{{"alg":"ES256","kid":"unknown-{n}"}}"#),
            &support::issuer::claims("ann").to_string(),
        );
        setting.ask(&token).await.unwrap().denied_for(DenyReason::InvalidToken);
    }
    let asked = setting.host.asked();
    assert!(asked <= 4, "asked {asked} times");
    setting.ask(&setting.issuer.token("ann")).await.unwrap().allowed();
}

#[tokio::test]
async fn a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_dies() {
    let setting = Setting::with(|issuer| Mood::Good(issuer.key_set())).await;
    let old = setting.issuer.token("ann");
    setting.ask(&old).await.unwrap().allowed();
    let next = Issuer::new();
    let rolled = next.key_set().replace("\"es256\"", "\"es256-next\"");
    setting.host.is_now(Mood::Good(rolled));
    let token = next.pair("es256").sign_as(
        "ES256",
        r#"{"alg":"ES256","kid":"es256-next"}"#,
        &support::issuer::claims("ann").to_string(),
    );
    // The first that names it may come too soon after the last time that the issuer was asked.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = setting.ask_until_answered(&token).await;
        if matches!(answer.outcome, Some(keygate::proto::v1::authenticate_response::Outcome::Allowed(_))) {
            break;
        }
        assert!(Instant::now() < deadline, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    // The key that signed the old one is gone from the set: that it was found good before does not help it.
    setting.ask_until_answered(&old).await.denied_for(DenyReason::InvalidToken);
}

#[tokio::test]
async fn without_keys_tokens_are_not_judged_and_keys_work_all_the_same() {
    for mood in [
        |_: &Issuer| Mood::Down,
        |_: &Issuer| Mood::Silent,
        |_: &Issuer| Mood::Status("500 Internal Server Error"),
        |_: &Issuer| Mood::Rubbish,
        |_: &Issuer| Mood::Huge,
        |_: &Issuer| Mood::Endless,
        |issuer: &Issuer| Mood::Redirect(issuer.key_set()),
        |issuer: &Issuer| Mood::Good(issuer.key_set().replace("\"kid\"", "\"kidd\"")),
    ] {
        let setting = Setting::with(mood).await;
        let token = setting.issuer.token("ann");
        let status = setting.ask(&token).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(!status.message().contains("127.0.0.1"), "callers need not know where: {status:?}");
        // What needs no key to be refused is refused.
        setting.ask("a.b.c").await.unwrap().denied_for(DenyReason::InvalidToken);
        let made = setting.stack.create("product", key_for("ann", "live")).await;
        setting.stack.authenticate(support::calls::by_key("product", &made.secret)).await.allowed();
        // And then it is good.
        setting.host.is_now(Mood::Good(setting.issuer.key_set()));
        setting.ask_until_answered(&token).await.allowed();
    }
}

#[tokio::test]
async fn the_last_good_keys_hold_for_the_stated_time_and_then_nobody_can_tell() {
    let setting = Setting::with(|issuer| Mood::Good(issuer.key_set())).await;
    setting.ask(&setting.issuer.token("ann")).await.unwrap().allowed();
    setting.host.is_now(Mood::Down);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        setting.ask(&setting.issuer.token("ann")).await.unwrap().allowed();
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // A minute after the last good answer.
    let token = setting.issuer.token("bob");
    let deadline = began + Duration::from_secs(90);
    let status = loop {
        match setting.ask(&token).await {
            Err(status) => break status,
            Ok(answer) => drop(answer.allowed()),
        }
        assert!(Instant::now() < deadline, "tokens are still judged by keys that are too old");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(began.elapsed() > Duration::from_secs(50), "given up too early");
}
