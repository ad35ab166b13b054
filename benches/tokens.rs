//! What a decision on an access token costs, as a multiple of a decision on a key: one that is remembered, and one that is seen
//! for the first time and verified. In the process, on the embedded store, with every limit of the realm charged.

#![allow(clippy::disallowed_methods, reason = "a bench measures real time")]
#![allow(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a bench that cannot measure fails loudly")]
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a bench that cannot measure fails loudly"
)]

#[path = "support/median.rs"]
mod median;

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use data_encoding::BASE64URL_NOPAD;
use keygate::{
    app::{
        authenticate::{AuthenticateRequest, Presented, Verdict},
        house::{App, House},
        keys::{CreateKey, Expiry},
        manager::{KeyManager, Shown},
        ports::{Clock, Entropy, EntropyError},
    },
    config::{self, RealmFiles, Settings},
    domain::{
        id::AccountId,
        key::{SecretRing, ServerSecret},
        request::CanonicalRequest,
        secret::SecretRef,
        time::{Ticks, Timestamp},
    },
    store::{Backend, CacheSettings, StoreOptions, Where},
    tokens::Issuers,
};
use median::median;
use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 7;
const TURNS: usize = 2_000;

const REALM: &str = r#"
realm = "bench"
[[environments]]
name = "live"
prefix = "bench_"
[[credentials]]
header = "authorization"
scheme = "Bearer"
accepts = ["key", "token"]
[[operations]]
name = "all"
fallback = true
[[limits]]
name = "requests"
limit = 1_000_000_000
window = "1m"
per = ["account"]
[[tokens]]
issuer = "https://issuer.test"
audiences = ["bench"]
jwks_file = "jwks.json"
algorithms = ["ES256", "RS256", "EdDSA"]
"#;

struct RealClock(Instant);

impl Clock for RealClock {
    fn now(&self) -> Timestamp {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
        Timestamp::from_micros(u64::try_from(now.as_micros()).expect("less than centuries"))
    }

    fn ticks(&self) -> Ticks {
        Ticks::from_micros(u64::try_from(self.0.elapsed().as_micros()).expect("less than centuries"))
    }

    fn observe(&self, _: Timestamp) {}
}

struct Random;

impl Entropy for Random {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(buffer).map_err(|error| EntropyError(error.to_string()))
    }
}

struct Signers {
    es256: EcdsaKeyPair,
    rs256: RsaKeyPair,
    eddsa: Ed25519KeyPair,
}

impl Signers {
    fn key_set(&self) -> String {
        let encode = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let point = &self.es256.public_key().as_ref()[1..];
        let (x, y) = (encode(&point[..32]), encode(&point[32..]));
        let public = self.rs256.public_key();
        let n = encode(public.modulus().big_endian_without_leading_zero());
        let e = encode(public.exponent().big_endian_without_leading_zero());
        let ed = encode(self.eddsa.public_key().as_ref());
        format!(
            r#"{{"keys":[{{"kid":"ES256","kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}},
                {{"kid":"RS256","kty":"RSA","n":"{n}","e":"{e}"}},{{"kid":"EdDSA","kty":"OKP","crv":"Ed25519","x":"{ed}"}}]}}"#
        )
    }

    fn token(&self, algorithm: &str, number: usize) -> String {
        let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT","kid":"{algorithm}"}}"#);
        let claims = format!(
            r#"{{"iss":"https://issuer.test","aud":"bench","sub":"did:privy:cm3np4u9j001rc8b73seqmqqk","jti":"{number}","exp":4102444800}}"#
        );
        let signed =
            format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(claims.as_bytes()));
        let (random, bytes) = (SystemRandom::new(), signed.as_bytes());
        let signature = match algorithm {
            "ES256" => self.es256.sign(&random, bytes).expect("it signs").as_ref().to_vec(),
            "EdDSA" => self.eddsa.sign(bytes).as_ref().to_vec(),
            _ => {
                let mut signature = vec![0; self.rs256.public_modulus_len()];
                self.rs256.sign(&RSA_PKCS1_SHA256, &random, bytes, &mut signature).expect("it signs");
                signature
            }
        };
        format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}

fn request(presented: Presented<'_>) -> AuthenticateRequest<'_> {
    let who = AuthenticateRequest::who(presented, CanonicalRequest::default());
    AuthenticateRequest { cost: 1, check_rate_limit: true, ..who }
}

fn main() {
    let folder = tempfile::TempDir::with_prefix("keygate-bench-").expect("a temporary directory can be made");
    let signers = Signers {
        es256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"),
        rs256: RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        eddsa: Ed25519KeyPair::generate().expect("a key"),
    };
    let file = folder.path().join("bench.toml");
    fs::write(&file, REALM).expect("the realm can be written");
    fs::write(folder.path().join("jwks.json"), signers.key_set()).expect("the keys can be written");
    let realms = config::load(&Settings { realms: RealmFiles::Paths(vec![file]), ..Settings::default() });
    let realms = realms.expect("the realm is legal");
    let ring = SecretRing::new(vec![ServerSecret::new(1, [7; 32].into())]).expect("one version is a ring");
    let clock: Arc<dyn Clock> = Arc::new(RealClock(Instant::now()));
    let issuers = Arc::new(Issuers::open(&realms, &ring, &clock).expect("the key set is one"));
    let house = House::new(&realms, &ring, Arc::clone(&clock), Arc::new(Random)).with_tokens(issuers);
    let cache = CacheSettings { miss_lifetime: Duration::from_secs(1), ..CacheSettings::default() };
    let options = StoreOptions { place: Where::Directory { path: folder.path().to_owned(), counters: 100_000 }, cache };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let store = Backend::open(&options, &ring, clock).await.expect("the store opens");
        let app = App::new(Arc::new(house), store);
        let operator = app.new_operator_secret().expect("there are random bytes");
        app.make_operator(&operator, false).await.expect("the key can be made");
        let bearer = format!("Bearer {}", operator.expose());
        let manager = app
            .manager(Shown::in_headers(vec![("authorization", bearer.as_str())]))
            .await
            .expect("the operator is known");
        let guard = app.house.realm("bench").expect("it is served");
        let create = CreateKey {
            account: AccountId::new("acme").expect("a legal id"),
            environment: 0,
            name: "bench".to_owned(),
            scopes: Vec::new(),
            metadata: std::collections::BTreeMap::new(),
            expiry: Expiry::Default,
            not_before: None,
            networks: Vec::new(),
            member: None,
            repeatable: None,
        };
        let permit = manager.permit_keys::<KeyManager>(guard).expect("an operator may");
        let key = app.create_key(permit, &create).await.expect("it is made").secret.expect("it is shown once");
        let decide = async |presented: Presented<'_>| {
            let request = request(presented);
            let decision = app.authenticate(guard, &request).await.expect("it is decided");
            assert!(matches!(decision.verdict, Verdict::Allowed { .. } | Verdict::Bearer(_)));
        };

        let mut key_rounds = Vec::new();
        for _ in 0..ROUNDS {
            let began = Instant::now();
            for _ in 0..TURNS {
                decide(Presented::Key(SecretRef::new(key.expose()))).await;
            }
            key_rounds.push(began.elapsed().as_nanos() as f64 / TURNS as f64);
        }
        let reference = median(key_rounds);
        println!("medians of {ROUNDS} rounds of {TURNS} decisions");
        let line = |what: &str, nanos: f64| println!("  {what:<44} {nanos:>9.0} ns {:>7.1}", nanos / reference);
        line("a key that is remembered", reference);
        for algorithm in ["ES256", "RS256", "EdDSA"] {
            let (mut first, mut again) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                let tokens: Vec<String> =
                    (0..TURNS).map(|turn| signers.token(algorithm, round * TURNS + turn)).collect();
                for rounds in [&mut first, &mut again] {
                    let began = Instant::now();
                    for token in &tokens {
                        decide(Presented::Token(SecretRef::new(token))).await;
                    }
                    rounds.push(began.elapsed().as_nanos() as f64 / TURNS as f64);
                }
            }
            line(&format!("a token that is remembered, {algorithm}"), median(again));
            line(&format!("a token that is verified, {algorithm}"), median(first));
        }
    });
}
