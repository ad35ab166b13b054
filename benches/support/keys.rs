//! Makes keys in the bench realm's format, and the requests that present them.

use keygate::{
    domain::key::KeyFormat,
    proto::v1::{AuthenticateRequest, authenticate_request::Credential},
};
use prost::Message;
use std::convert::Infallible;

pub const REALM: &str = "bench";
pub const ENVIRONMENT: &str = "live";
pub const SCOPE: &str = "read-only";
const PREFIX: &str = "kb_live_";
const BODY_LENGTH: usize = 32;

/// One realm, one operation with a scope, one limit for each key and one for each tenant, so large that they never deny.
pub const REALM_FILE: &str = r#"realm = "bench"

[[environments]]
name = "live"
prefix = "kb_live_"
body_length = 32

[[credentials]]
header = "authorization"
scheme = "Bearer"

[[scopes]]
name = "read-only"
default = true

[[operations]]
name = "order.read"
routes = ["GET /v1/orders/{order}"]
scopes = ["read-only"]

[[limits]]
name = "requests"
limit = 1_000_000_000
window = "1m"
per = ["key"]

[[limits]]
name = "visits"
limit = 1_000_000_000
window = "1m"
descriptors = [{ key = "tenant" }]
"#;

/// Numbers that look random and are the same in every run (splitmix64, after Steele, Lea and Flood).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, (self.next() % (at as u64 + 1)) as usize);
        }
    }
}

pub fn format() -> KeyFormat {
    KeyFormat::new(PREFIX, BODY_LENGTH).expect("the format is legal")
}

/// That many different keys.
pub fn make(count: usize) -> Vec<String> {
    let (format, mut numbers) = (format(), Numbers(1));
    let mut key = || {
        let secret = format.generate(|pool| {
            pool.chunks_mut(8).for_each(|chunk| chunk.copy_from_slice(&numbers.next().to_be_bytes()[..chunk.len()]));
            Ok::<_, Infallible>(())
        });
        let Ok(secret) = secret;
        secret.expose().to_owned()
    };
    (0..count).map(|_| key()).collect()
}

/// What a gateway asks about one request: whose key is it, may it do this, and charge the limit.
pub fn request(key: &str, number: usize) -> Vec<u8> {
    let request = AuthenticateRequest {
        realm: REALM.to_owned(),
        credential: Some(Credential::ApiKey(key.to_owned())),
        method: "GET".to_owned(),
        path: format!("/v1/orders/{number:07}"),
        source_address: "203.0.113.7".to_owned(),
        check_rate_limit: true,
        ..Default::default()
    };
    request.encode_to_vec()
}
