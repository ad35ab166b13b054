//! What the claims of a token say, in the words of the realm.

use crate::domain::{
    id::{AccountId, Scope},
    realm::Realm,
    time::Timestamp,
    token::{Token, TokenFlaw, TokenRules},
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Bytes of a subject, and of a role, at most.
const NAME_BYTES: usize = 256;
/// Roles of a token, at most; and scopes.
const LISTED: usize = 32;

/// Judges everything but the times.
pub(super) fn token(rules: &TokenRules, realm: &Realm, claims: &Map<String, Value>) -> Result<Token, TokenFlaw> {
    let audience = list(claims.get("aud").ok_or(TokenFlaw::Audience)?, false).ok_or(TokenFlaw::Audience)?;
    if !audience.iter().any(|named| rules.audiences.iter().any(|ours| ours == named)) {
        return Err(TokenFlaw::Audience);
    }
    let subject = claims.get("sub").and_then(Value::as_str).filter(|text| is_name(text)).ok_or(TokenFlaw::Claims)?;
    let account = claims.get(&rules.account_claim).and_then(Value::as_str).ok_or(TokenFlaw::Claims)?;
    let account = AccountId::new(account).map_err(|_| TokenFlaw::Claims)?;
    let expires_at = instant(claims.get("exp").ok_or(TokenFlaw::Claims)?)?;
    let begins = ["nbf", "iat"].into_iter().filter_map(|name| claims.get(name)).map(instant);
    let begins_at = begins.collect::<Result<Vec<_>, _>>()?.into_iter().max().unwrap_or_default();
    let leeway = u64::try_from(rules.leeway.as_micros()).unwrap_or_default();
    let scopes = match &rules.scopes_claim {
        None => realm.scopes.defaults().to_vec(),
        Some(name) => {
            let named =
                claims.get(name).map_or(Some(Vec::new()), |value| list(value, true)).ok_or(TokenFlaw::Claims)?;
            // Issuers have scopes of their own beside ours.
            let known = named.into_iter().filter_map(|scope| Scope::new(scope).ok());
            known.filter(|scope| realm.scopes.knows(scope)).take(LISTED).collect()
        }
    };
    let roles = rules.roles_claim.as_ref().and_then(|name| claims.get(name));
    let roles = roles.map_or(Some(Vec::new()), |value| list(value, false)).ok_or(TokenFlaw::Claims)?;
    Ok(Token {
        issuer: Arc::clone(&rules.issuer),
        subject: subject.to_owned(),
        account,
        environment: rules.environment.clone(),
        scopes,
        scoped: rules.scopes_claim.is_some(),
        roles: roles.into_iter().filter(|role| is_name(role)).take(LISTED).map(str::to_owned).collect(),
        mark: mark(&rules.issuer, subject),
        begins_at: Timestamp::from_micros(begins_at.as_micros().saturating_sub(leeway)),
        expires_at,
        ends_at: expires_at.after(rules.leeway),
    })
}

/// A text, or a list of them; with `words`, a text is a list of words between blanks (RFC 8693, section 4.2).
fn list(value: &Value, words: bool) -> Option<Vec<&str>> {
    match value {
        Value::String(text) if words => Some(text.split(' ').filter(|word| !word.is_empty()).collect()),
        Value::String(text) => Some(vec![text]),
        Value::Array(items) => items.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

/// Seconds since 1970-01-01, whole or with a fraction (RFC 7519, section 2).
fn instant(value: &Value) -> Result<Timestamp, TokenFlaw> {
    let last = Timestamp::MAX.as_micros() / 1_000_000;
    if let Some(seconds) = value.as_u64() {
        return Ok(Timestamp::from_micros(seconds.min(last).saturating_mul(1_000_000)));
    }
    let seconds = value.as_f64().filter(|seconds| seconds.is_finite() && *seconds >= 0.0).ok_or(TokenFlaw::Claims)?;
    // In range: not negative, and cut at the last instant.
    let whole = seconds.min(last as f64);
    Ok(Timestamp::from_micros((whole * 1_000_000.0) as u64))
}

fn is_name(text: &str) -> bool {
    (1..=NAME_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// Each with its length before it, so that no two pairs are one.
fn mark(issuer: &str, subject: &str) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for text in [issuer, subject] {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().into()
}
