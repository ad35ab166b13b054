//! A token's text taken apart: RFC 7515, section 7.1, and no other form.

use super::json;
use crate::domain::token::{TOKEN_BYTES, TokenAlgorithm, TokenFlaw};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};

/// Bytes of a `kid`, at most.
const KEY_ID_BYTES: usize = 256;
/// What a header may hold. Whatever else stands there would have to be understood, or names a key that the token brings along.
const KNOWN: [&str; 4] = ["alg", "kid", "typ", "cty"];
/// What the header of a signed token says of itself without asking for anything (RFC 7515, sections 4.1.7 and 4.1.8).
const HARMLESS: [&str; 2] = ["x5t", "x5t#S256"];
/// What the header may say that it is: a JWT, or an access token by RFC 9068.
const TYPES: [&str; 4] = ["jwt", "at+jwt", "application/at+jwt", "application/jwt"];

/// A token of which nothing is verified.
pub(super) struct TokenText<'t> {
    pub(super) algorithm: TokenAlgorithm,
    pub(super) key_id: String,
    pub(super) claims: Map<String, Value>,
    /// What the signature is over.
    pub(super) signed: &'t [u8],
    /// The signature, in base 64.
    pub(super) signature: &'t str,
}

impl<'t> TokenText<'t> {
    pub(super) fn read(text: &'t str) -> Result<Self, TokenFlaw> {
        if text.len() > TOKEN_BYTES {
            return Err(TokenFlaw::TooLong);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenFlaw::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenFlaw::Malformed)?;
        if claims.contains('.') {
            return Err(TokenFlaw::Malformed);
        }
        let part = |part: &str| {
            let bytes = BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_| TokenFlaw::Malformed)?;
            json::object(&bytes).ok_or(TokenFlaw::Malformed)
        };
        let header = part(header)?;
        let claims = part(claims)?;
        let known = |name: &String| KNOWN.contains(&name.as_str()) || HARMLESS.contains(&name.as_str());
        if !header.keys().all(known) {
            return Err(TokenFlaw::Header);
        }
        let word = |name: &str| header.get(name).map(|value| value.as_str().ok_or(TokenFlaw::Header)).transpose();
        let is_token = |kind: &str| TYPES.iter().any(|known| known.eq_ignore_ascii_case(kind));
        if !word("typ")?.is_none_or(is_token) || word("cty")?.is_some() {
            return Err(TokenFlaw::Header);
        }
        let algorithm = word("alg")?.and_then(TokenAlgorithm::from_name).ok_or(TokenFlaw::Algorithm)?;
        let key_id = word("kid")?.filter(|id| (1..=KEY_ID_BYTES).contains(&id.len())).ok_or(TokenFlaw::UnknownKey)?;
        // The library decodes it once more; here it only has to be what it must be.
        BASE64URL_NOPAD.decode(signature.as_bytes()).map_err(|_| TokenFlaw::Malformed)?;
        let key_id = key_id.to_owned();
        Ok(Self { algorithm, key_id, claims, signed: signed.as_bytes(), signature })
    }

    /// Who it says issued it.
    pub(super) fn issuer(&self) -> Option<&str> {
        self.claims.get("iss")?.as_str()
    }
}
