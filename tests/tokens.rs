//! Access tokens of third parties, as attackers write them, and as issuers do.

#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use keygate::proto::v1::{AccountStatus, AuthenticateRequest, DenyReason, authenticate_request::Credential};
use serde_json::{Value, json};
use std::{fs, path::PathBuf};
use support::{
    calls::{Answered, assert_invalid, by_bearer, by_headers, by_key, charged, now, texts},
    issuer::{AUDIENCE, ISSUER, Issuer, Pair, claims, claims_with, compact, encoded, hs256},
    stack::Stack,
};
use tempfile::TempDir;

/// A realm that takes keys and tokens alike, and its own issuer's.
const REALM: &str = r#"
realm = "product"
[[environments]]
name = "live"
prefix = "prod_live_"
[[environments]]
name = "test"
prefix = "prod_test_"
[[credentials]]
header = "authorization"
scheme = "Bearer"
accepts = ["key", "token"]
[[scopes]]
name = "read"
default = true
[[scopes]]
name = "write"
implies = ["read"]
[[operations]]
name = "write"
routes = ["POST /{*rest}"]
scopes = ["write"]
[[operations]]
name = "all"
account = { query = "account" }
fallback = true
[access]
sub_accounts = true
[[limits]]
name = "per-key"
limit = 3
window = "1h"
per = ["key"]
[[tokens]]
issuer = "https://issuer.test"
audiences = ["other-app", "the-app"]
jwks_file = "jwks.json"
algorithms = ["ES256", "ES384", "RS256", "PS384", "EdDSA"]
leeway = "10s"
environment = "live"
scopes_claim = "scope"
roles_claim = "roles"
[[tokens]]
issuer = "https://second.test"
audiences = ["the-app"]
jwks_file = "second.json"
algorithms = ["ES256"]
account_claim = "https://second.test/account"
environment = "test"
"#;

/// The realm's files, and the two issuers.
struct Product {
    _folder: TempDir,
    file: PathBuf,
    issuer: Issuer,
    second: Issuer,
}

impl Product {
    fn new() -> Self {
        let (folder, issuer, second) = (tempfile::tempdir().unwrap(), Issuer::new(), Issuer::new());
        let file = folder.path().join("product.toml");
        fs::write(&file, REALM).unwrap();
        fs::write(folder.path().join("jwks.json"), issuer.key_set()).unwrap();
        fs::write(folder.path().join("second.json"), second.key_set()).unwrap();
        Self { _folder: folder, file, issuer, second }
    }

    fn arguments(&self) -> [&str; 4] {
        ["--realm-file", self.file.to_str().unwrap(), "--log-level", "debug"]
    }
}

/// A test on both stores, each with a product of its own.
macro_rules! with_tokens {
    ($(async fn $name:ident($stack:ident, $product:ident) $body:block)*) => {$(
        mod $name {
            #[allow(unused_imports, reason = "what the body uses stands in the file")]
            use super::*;

            async fn row($stack: Stack, $product: Product) $body

            #[tokio::test]
            async fn embedded() {
                let product = Product::new();
                row(Stack::embedded(&product.arguments()).await, product).await;
            }

            #[tokio::test]
            async fn redis() {
                let product = Product::new();
                row(Stack::redis(&product.arguments()).await, product).await;
            }
        }
    )*};
}

fn by_token(realm: &str, token: &str) -> AuthenticateRequest {
    let credential = Some(Credential::AccessToken(token.to_owned()));
    AuthenticateRequest { realm: realm.to_owned(), credential, ..Default::default() }
}

/// The header of a good token, with more in it.
fn header_with(changes: Value) -> String {
    let mut header = json!({ "alg": "ES256", "typ": "JWT", "kid": "es256" });
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value.clone(),
        }
    }
    header.to_string()
}

with_tokens! {
    async fn a_good_token_tells_account_subject_issuer_and_expiry(stack, product) {
        let claims = claims_with("ann", json!({ "scope": "read foreign", "roles": ["admin", "owner"], "exp": now() + 60 }));
        for (key, algorithm) in
            [("es256", "ES256"), ("es384", "ES384"), ("rsa", "RS256"), ("rsa", "PS384"), ("ed25519", "EdDSA")]
        {
            let token = product.issuer.signed(key, algorithm, &claims);
            stack.remember(&token);
            for request in [by_token("product", &token), by_bearer("product", &token), by_token("product", &token)] {
                let allowed = stack.authenticate(request).await.allowed();
                assert_eq!((allowed.account_id.as_str(), allowed.target_account_id.as_str()), ("ann", "ann"));
                assert_eq!((allowed.key_id.as_str(), allowed.hint.as_str(), allowed.environment.as_str()), ("", "", "live"));
                assert_eq!(allowed.scopes, ["read"]);
                let told = allowed.token.expect("the token is told");
                assert_eq!((told.issuer.as_str(), told.subject.as_str()), (ISSUER, "ann"));
                assert_eq!(told.expires_at.map(|at| at.seconds), claims["exp"].as_i64());
                assert_eq!(told.roles, ["admin", "owner"]);
            }
        }
    }

    async fn what_attackers_write_is_refused_and_all_of_it_looks_alike(stack, product) {
        let (issuer, good) = (&product.issuer, product.issuer.token("ann"));
        let set: Value = serde_json::from_str(&issuer.key_set()).unwrap();
        let public = |name: &str| set["keys"].as_array().unwrap().iter().find(|key| key["kid"] == name).unwrap().clone();
        let plain = claims("ann").to_string();
        let es256 = |header: String, claims: &str| issuer.pair("es256").sign_as("ES256", &header, claims);
        let attacker = Issuer::new();
        let own_key = attacker.pair("es256").public("es256");
        let [head, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
        let changed = |text: &str| text.replacen("ann", "bob", 1);
        let (point, modulus) = (public("es256")["x"].to_string(), public("rsa")["n"].as_str().unwrap().to_owned());
        let flipped = if signature.starts_with('A') { signature.replacen('A', "B", 1) } else { format!("A{}", &signature[1..]) };

        let mut wrong: Vec<(&str, String)> = vec![
            ("no algorithm", compact(&header_with(json!({ "alg": "none" })), &plain, |_| Vec::new())),
            ("no algorithm, in capitals", compact(&header_with(json!({ "alg": "NONE" })), &plain, |_| Vec::new())),
            ("no algorithm, and a signature", es256(header_with(json!({ "alg": "None" })), &plain)),
            ("no algorithm at all", es256(header_with(json!({ "alg": null })), &plain)),
            ("the public key as a shared secret", hs256(point.as_bytes(), &header_with(json!({ "alg": "HS256" })), &plain)),
            (
                "the RSA key as a shared secret",
                hs256(modulus.as_bytes(), &json!({ "alg": "HS256", "kid": "rsa" }).to_string(), &plain),
            ),
            ("the key set as a shared secret", hs256(issuer.key_set().as_bytes(), &header_with(json!({ "alg": "HS256" })), &plain)),
            ("an algorithm that is not on the list", issuer.signed("rsa", "RS512", &claims("ann"))),
            ("another family's key", es256(header_with(json!({ "kid": "rsa" })), &plain)),
            ("another algorithm than the key's", issuer.signed("es256", "EdDSA", &claims("ann"))),
            ("the wrong curve", issuer.signed("es384", "ES256", &claims("ann"))),
            ("the wrong curve under the right name", issuer.pair("es384").sign_as("ES384", &header_with(json!({})), &plain)),
            ("somebody else's key under the name", attacker.token("ann")),
            ("a key brought along", attacker.pair("es256").sign_as("ES256", &header_with(json!({ "jwk": own_key })), &plain)),
            ("a key brought along, and signed well", es256(header_with(json!({ "jwk": public("es256") })), &plain)),
            ("an address of keys", es256(header_with(json!({ "jku": "http://127.0.0.1:1/keys" })), &plain)),
            ("an address of certificates", es256(header_with(json!({ "x5u": "http://127.0.0.1:1/" })), &plain)),
            ("certificates", es256(header_with(json!({ "x5c": ["MIIB"] })), &plain)),
            ("an extension", es256(header_with(json!({ "crit": ["exp"] })), &plain)),
            ("an unencoded payload", es256(header_with(json!({ "crit": ["b64"], "b64": false })), &plain)),
            ("compression", es256(header_with(json!({ "zip": "DEF" })), &plain)),
            ("a nested token", es256(header_with(json!({ "cty": "JWT" })), &plain)),
            ("another kind of token", es256(header_with(json!({ "typ": "logout+jwt" })), &plain)),
            ("no key named", es256(header_with(json!({ "kid": null })), &plain)),
            ("an unknown key", es256(header_with(json!({ "kid": "es257" })), &plain)),
            ("a path as the key's name", es256(header_with(json!({ "kid": "../../jwks.json" })), &plain)),
            ("a statement as the key's name", es256(header_with(json!({ "kid": "' OR 1=1 --" })), &plain)),
            ("the key's name as a list", es256(header_with(json!({ "kid": ["es256"] })), &plain)),
            ("the key's name in capitals", es256(header_with(json!({ "kid": "ES256" })), &plain)),
            ("an algorithm twice", es256(r#"{"alg":"none","alg":"ES256","kid":"es256"}"#.to_owned(), &plain)),
            ("a claim twice", es256(header_with(json!({})), &plain.replacen('{', r#"{"sub":"bob","#, 1))),
            ("a claim twice in disguise", es256(header_with(json!({})), &plain.replacen('{', r#"{"\u0073ub":"bob","#, 1))),
            ("claims that are a list", es256(header_with(json!({})), "[]")),
            ("other claims under the signature", format!("{head}.{}.{signature}", encoded(changed(&plain)))),
            ("another header over the signature", format!("{}.{body}.{signature}", encoded(header_with(json!({ "typ": "at+jwt" }))))),
            ("no signature", format!("{head}.{body}.")),
            ("no signature and no dot", format!("{head}.{body}")),
            ("half a signature", format!("{head}.{body}.{}", &signature[..signature.len() / 2])),
            ("a changed signature", format!("{head}.{body}.{flipped}")),
            ("a signature of zeros", format!("{head}.{body}.{}", encoded([0; 64]))),
            ("padding", format!("{good}==")),
            ("a fourth part", format!("{good}.")),
            ("five parts", format!("{head}.{body}.{body}.{body}.{signature}")),
            ("the standard alphabet", format!("{head}.{body}.{}", signature.replace(['-', '_'], "+/"))),
            ("the JSON form", json!({ "payload": body, "protected": head, "signature": signature }).to_string()),
            ("another issuer's token", product.second.token("ann")),
            ("nothing of the sort", "a.b.c".to_owned()),
        ];
        if !signature.contains(['-', '_']) {
            wrong.retain(|(what, _)| *what != "the standard alphabet");
        }
        for (what, changes) in [
            ("no issuer", json!({ "iss": null })),
            ("another issuer", json!({ "iss": "https://issuer.test/" })),
            ("an issuer in capitals", json!({ "iss": "https://ISSUER.test" })),
            ("the other issuer's name", json!({ "iss": "https://second.test" })),
            ("no audience", json!({ "aud": null })),
            ("another audience", json!({ "aud": "the-ap" })),
            ("other audiences", json!({ "aud": ["a", "b"] })),
            ("an audience that is none", json!({ "aud": [{ "the-app": 1 }] })),
            ("no subject", json!({ "sub": null })),
            ("a subject that is a number", json!({ "sub": 7 })),
            ("an account that is none", json!({ "sub": "ann bob" })),
            ("no expiry", json!({ "exp": null })),
            ("an expiry in words", json!({ "exp": (now() + 60).to_string() })),
            ("an expiry before all times", json!({ "exp": -1 })),
            ("not yet", json!({ "nbf": now() + 60 })),
            ("issued in the future", json!({ "iat": now() + 60 })),
            ("a beginning in words", json!({ "nbf": "0" })),
            ("scopes that are none", json!({ "scope": 1 })),
        ] {
            wrong.push((what, issuer.signed("es256", "ES256", &claims_with("ann", changes))));
        }
        let expired = stack.authenticate(by_token("product", &issuer.signed("es256", "ES256", &claims_with("ann", json!({ "exp": now() - 11 }))))).await;
        let expired = expired.denied_for(DenyReason::ExpiredToken);
        assert_eq!((expired.account_id.as_str(), expired.token.clone().unwrap().subject.as_str()), ("ann", "ann"));
        let seen = |denied: &keygate::proto::v1::Denied| (denied.http_status, denied.headers.clone(), denied.body.clone());
        for (what, token) in &wrong {
            let denied = stack.authenticate(by_token("product", token)).await.denied();
            assert_eq!(denied.reason(), DenyReason::InvalidToken, "{what}: {denied:?}");
            assert_eq!(seen(&denied), seen(&expired), "{what}");
            let unsaid = denied.token.is_none() || *what == "not yet" || *what == "issued in the future";
            assert!(unsaid, "{what}: nobody vouches for what it says");
        }
        // And whoever presents a wrong key hears just that.
        let unknown = stack.authenticate(by_bearer("product", &support::calls::well_formed("prod_live_", "Unknown0Unknown0Unknown012"))).await;
        assert_eq!(seen(&unknown.denied_for(DenyReason::UnknownKey)), seen(&expired));
        stack.authenticate(by_token("product", &good)).await.allowed();
    }

    async fn a_token_is_bounded_and_an_odd_one_is_told_to_whoever_asks(stack, product) {
        let long = claims_with("ann", json!({ "filler": "x".repeat(7_000) }));
        let long = product.issuer.signed("es256", "ES256", &long);
        assert!(long.len() > 8_192);
        let status = stack.try_authenticate(by_token("product", &long)).await.unwrap_err();
        assert_invalid(&status, &["access_token"]);
        stack.authenticate(by_bearer("product", &long)).await.denied_for(DenyReason::InvalidToken);
        stack.authenticate(by_token("product", "")).await.denied_for(DenyReason::MissingCredential);
        // Every deny reason names a step for whoever asks for the steps.
        let asked = AuthenticateRequest { explain: true, ..by_token("product", "a.b.c") };
        let answer = stack.authenticate(asked).await;
        assert!(answer.explanation.iter().any(|step| step.stage == "token"), "{answer:?}");
    }

    async fn the_times_of_a_token_are_taken_with_the_leeway_and_no_more(stack, product) {
        for (changes, good) in [
            (json!({ "exp": now() - 5 }), true),
            (json!({ "exp": now() - 11 }), false),
            (json!({ "nbf": now() + 5 }), true),
            (json!({ "nbf": now() + 20 }), false),
            (json!({ "iat": null, "nbf": null }), true),
            (json!({ "exp": (now() + 60) as f64 + 0.5 }), true),
            (json!({ "exp": u64::MAX }), true),
        ] {
            let token = product.issuer.signed("es256", "ES256", &claims_with("ann", changes.clone()));
            let answer = stack.authenticate(by_token("product", &token)).await;
            if good { drop(answer.allowed()) } else { drop(answer.denied()) }
        }
        // A token that was found good is remembered, and its end comes all the same.
        let brief = product.issuer.signed("es256", "ES256", &claims_with("ann", json!({ "exp": now() - 8 })));
        stack.authenticate(by_token("product", &brief)).await.allowed();
        tokio::time::sleep(std::time::Duration::from_millis(3_100)).await;
        stack.authenticate(by_token("product", &brief)).await.denied_for(DenyReason::ExpiredToken);
        let soon = product.issuer.signed("es256", "ES256", &claims_with("ann", json!({ "exp": now() + 1 })));
        stack.authenticate(by_token("product", &soon)).await.allowed();
    }

    async fn each_issuer_has_its_own_keys_claims_and_environment(stack, product) {
        let changes = json!({ "iss": "https://second.test", "https://second.test/account": "team-7", "aud": ["x", AUDIENCE] });
        let second = product.second.signed("es256", "ES256", &claims_with("auth0|5f7c8ec7", changes.clone()));
        let allowed = stack.authenticate(by_token("product", &second)).await.allowed();
        assert_eq!((allowed.account_id.as_str(), allowed.environment.as_str()), ("team-7", "test"));
        assert_eq!(allowed.token.unwrap().subject, "auth0|5f7c8ec7");
        // It says nothing of scopes, so its tokens have the realm's defaults.
        assert_eq!(allowed.scopes, ["read"]);
        let foreign = product.issuer.signed("es256", "ES256", &claims_with("ann", changes));
        stack.authenticate(by_token("product", &foreign)).await.denied_for(DenyReason::InvalidToken);
        let pinned = AuthenticateRequest { environment: "live".to_owned(), ..by_token("product", &second) };
        stack.authenticate(pinned).await.denied_for(DenyReason::WrongEnvironment);
    }

    async fn the_account_of_a_token_is_judged_as_a_keys_is(stack, product) {
        let token = product.issuer.signed("es256", "ES256", &claims_with("ann", json!({ "scope": "write" })));
        let ask = |path: &str| charged(by_token("product", &token), "GET", path, 0);
        // Nobody made the account yet.
        stack.authenticate(ask("/x")).await.allowed();
        stack.authenticate(ask("/x?account=child")).await.denied_for(DenyReason::UnknownAccount);
        stack.new_account("product", "ann", "").await;
        stack.new_account("product", "child", "ann").await;
        let allowed = stack.authenticate(ask("/x?account=child")).await.allowed();
        assert_eq!((allowed.account_id.as_str(), allowed.target_account_id.as_str()), ("ann", "child"));
        stack.authenticate(ask("/x?account=stranger")).await.denied_for(DenyReason::UnknownAccount);
        for (status, reason) in [
            (AccountStatus::Suspended, DenyReason::SuspendedAccount),
            (AccountStatus::Deactivated, DenyReason::DeactivatedAccount),
        ] {
            for _ in 0..3 {
                stack.set_status("product", "ann", status).await;
                let denied = stack.authenticate(ask("/x")).await.denied_for(reason);
                assert_eq!((denied.http_status, denied.account_id.as_str()), (403, "ann"));
                stack.set_status("product", "ann", AccountStatus::Active).await;
                stack.authenticate(ask("/x")).await.allowed();
            }
        }
        // Scopes.
        let reader = product.issuer.signed("es256", "ES256", &claims_with("ann", json!({ "scope": ["read"] })));
        let write = charged(by_token("product", &reader), "POST", "/x", 0);
        stack.authenticate(write).await.denied_for(DenyReason::InsufficientScope);
        stack.authenticate(charged(by_token("product", &token), "POST", "/x", 0)).await.allowed();
        let needed = AuthenticateRequest { required_scopes: texts(&["write"]), ..by_token("product", &reader) };
        stack.authenticate(needed).await.denied_for(DenyReason::InsufficientScope);
    }

    async fn a_limit_per_key_counts_a_subject_of_an_account_and_not_its_tokens(stack, product) {
        let token = |account: &str, id: u32| {
            product.issuer.signed("es256", "ES256", &claims_with(account, json!({ "jti": id.to_string(), "scope": "read" })))
        };
        for id in 0..3 {
            stack.authenticate(charged(by_token("product", &token("ann", id)), "GET", "/x", 1)).await.allowed();
        }
        let denied = stack.authenticate(charged(by_token("product", &token("ann", 3)), "GET", "/x", 1)).await;
        assert_eq!(denied.denied_for(DenyReason::RateLimited).account_id, "ann");
        stack.authenticate(charged(by_token("product", &token("bob", 0)), "GET", "/x", 1)).await.allowed();
        let key = support::calls::key_for("ann", "live");
        let made = stack.create("product", key).await;
        stack.authenticate(charged(by_key("product", &made.secret), "GET", "/x", 3)).await.allowed();
    }

    async fn keys_and_tokens_live_side_by_side_where_both_are_taken(stack, product) {
        let (_, key) = stack.new_key("product", "ann", "live").await;
        let token = product.issuer.token("ann");
        stack.authenticate(by_bearer("product", &key)).await.allowed();
        stack.authenticate(by_bearer("product", &token)).await.allowed();
        let both = [("authorization", format!("Bearer {token}")), ("authorization", format!("Bearer {key}"))];
        let both: Vec<(&str, &str)> = both.iter().map(|(name, value)| (*name, value.as_str())).collect();
        stack.authenticate(by_headers("product", &both)).await.denied_for(DenyReason::AmbiguousCredential);
        // What is given as a key is no token, and the reverse.
        stack.authenticate(by_key("product", &key)).await.allowed();
        stack.authenticate(by_token("product", &key)).await.denied_for(DenyReason::InvalidToken);
        let status = stack.try_authenticate(by_key("product", &token)).await;
        assert!(status.is_ok_and(|answer| answer.denied().reason() == DenyReason::MalformedKey));
    }
}

#[tokio::test]
async fn a_bad_key_set_in_a_file_is_told_at_the_start() {
    let pair = |key: &Pair, name: &str| key.public(name);
    let issuer = Issuer::new();
    let (one, rsa) = (pair(issuer.pair("es256"), "a"), pair(issuer.pair("rsa"), "b"));
    let many: Vec<Value> = (0..65).map(|n| pair(issuer.pair("es256"), &n.to_string())).collect();
    let with = |key: &Value, name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        json!({ "keys": [key] }).to_string()
    };
    for (text, problem) in [
        (None, "cannot be read"),
        (Some(String::new()), "not a JSON object"),
        (Some("<html></html>".to_owned()), "not a JSON object"),
        (Some(r#"{"keys":[],"keys":[]}"#.to_owned()), "stands once"),
        (Some("{}".to_owned()), "no list `keys`"),
        (Some(r#"{"keys":[]}"#.to_owned()), "none of its keys"),
        (Some(r#"{"keys":[1]}"#.to_owned()), "is no object"),
        (Some(json!({ "keys": [one, one] }).to_string()), "two of its keys are `a`"),
        (Some(json!({ "keys": many }).to_string()), "holds 65 keys"),
        (Some(with(&one, "d", json!("secret"))), "is not public"),
        (Some(json!({ "keys": [{ "kty": "oct", "kid": "a", "k": "c2VjcmV0" }] }).to_string()), "is not public"),
        (Some(with(&one, "kid", json!(null))), "none of its keys"),
        (Some(with(&one, "use", json!("enc"))), "none of its keys"),
        (Some(with(&one, "alg", json!("HS256"))), "none of its keys"),
        (Some(with(&one, "crv", json!("P-384"))), "none of its keys"),
        (Some(with(&one, "crv", json!("secp256k1"))), "none of its keys"),
        (Some(with(&rsa, "n", json!("AQAB"))), "none of its keys"),
        (Some(" ".repeat(262_145)), "larger than 262144 bytes"),
    ] {
        let product = Product::new();
        let keys = product.file.with_file_name("jwks.json");
        match &text {
            Some(text) => fs::write(&keys, text).unwrap(),
            None => fs::remove_file(&keys).unwrap(),
        }
        let data = support::keygate::DataDir::new();
        let started = support::keygate::Keygate::try_start(data, &product.arguments()).await;
        let ended = started.err().expect("it does not start");
        assert!(ended.output.contains(problem) && ended.output.contains("jwks.json"), "{problem}: {ended:?}");
    }
}

/// The examples of the standards that say what these signatures are: the tokens are expired or of another shape, so what is
/// shown is that their signatures are read as the standards have it, and one changed character is too many.
#[tokio::test]
async fn the_examples_of_the_standards_are_verified_as_they_say() {
    // RFC 7515, appendix A.2 (RS256), A.3 (ES256); RFC 8037, appendix A.4 (Ed25519): the keys, without their private parts.
    // The claims of the first two are those of RFC 7519, section 3.1. Their headers name no key, and that alone is a reason to
    // refuse them: so the keys and the signing input go straight to the library, as the room for tokens hands them over.
    use jsonwebtoken::{Algorithm, DecodingKey, crypto::verify};
    let claims = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rs = DecodingKey::from_rsa_components(
        "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ",
        "AQAB",
    );
    let rs_signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    let es = DecodingKey::from_ec_components(
        "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    );
    let ed = DecodingKey::from_ed_components("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    for (key, algorithm, signed, signature) in [
        (rs.unwrap(), Algorithm::RS256, format!("eyJhbGciOiJSUzI1NiJ9.{claims}"), rs_signature),
        (
            es.unwrap(),
            Algorithm::ES256,
            format!("eyJhbGciOiJFUzI1NiJ9.{claims}"),
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
        (
            ed.unwrap(),
            Algorithm::EdDSA,
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc".to_owned(),
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        ),
    ] {
        assert!(verify(signature, signed.as_bytes(), &key, algorithm).unwrap());
        assert!(!verify(signature, signed.to_lowercase().as_bytes(), &key, algorithm).unwrap());
    }
    // The same tokens whole are refused by keygate: no `kid`, and an unsecured one (RFC 7519, section 6.1) first of all.
    let product = Product::new();
    let stack = Stack::embedded(&product.arguments()).await;
    for token in [
        format!("eyJhbGciOiJub25lIn0.{claims}."),
        format!("eyJhbGciOiJSUzI1NiJ9.{claims}.{rs_signature}"),
        format!(
            "eyJhbGciOiJFUzI1NiJ9.{claims}.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
        ),
        // RFC 7515, appendix A.1: HS256.
        format!("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.{claims}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        // RFC 7515, appendix A.5 and A.6: an extension, and the JSON form.
        "{\"payload\":\"\"}".to_owned(),
    ] {
        stack.authenticate(by_token("product", &token)).await.denied_for(DenyReason::InvalidToken);
    }
}
