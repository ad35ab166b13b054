//! Embed tokens: JSON Web Tokens (RFC 7519) that keygate signs itself, with Ed25519 (RFC 8037) and a key that only a holder of the
//! server secret can derive. Whoever wants to look into one finds the public keys as a JWK set (RFC 7517).

use super::text::TokenText;
use crate::domain::{
    embed::{EMBED_LEEWAY, EmbedToken},
    id::{AccountId, Environment, KeyId, RealmName, Scope},
    time::Timestamp,
    token::{Token, TokenAlgorithm, TokenFlaw},
};
use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Signs and verifies the embed tokens of one realm.
pub(super) struct EmbedKeys {
    issuer: Arc<str>,
    realm: RealmName,
    signing: SigningKey,
    /// The newest first.
    public: Vec<(String, VerifyingKey)>,
}

impl EmbedKeys {
    /// With what the keys are made from, the newest first; nothing when there is nothing to make them from.
    pub(super) fn new(realm: &RealmName, seeds: &[Zeroizing<[u8; 32]>]) -> Option<Self> {
        let public = seeds.iter().map(|seed| SigningKey::from_bytes(seed).verifying_key());
        Some(Self {
            issuer: Arc::from(format!("keygate:{realm}")),
            realm: realm.clone(),
            signing: SigningKey::from_bytes(seeds.first()?),
            public: public.map(|key| (thumbprint(&key), key)).collect(),
        })
    }

    /// Whether those are the same keys.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.issuer == other.issuer && self.public == other.public
    }

    pub(super) fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The public keys as a JWK set.
    pub(super) fn key_set(&self) -> String {
        let keys = self.public.iter().map(|(id, key)| {
            let x = BASE64URL_NOPAD.encode(key.as_bytes());
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": id, "use": "sig", "alg": TokenAlgorithm::EdDsa.name()})
        });
        json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
    }

    /// The token as a text, signed with the newest key.
    pub(super) fn sign(&self, id: &[u8; 16], embed: &EmbedToken) -> Zeroizing<String> {
        let EmbedToken { token, key, target } = embed;
        let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
        let kid = self.public.first().map_or("", |(id, _)| id);
        let header = json!({"alg": TokenAlgorithm::EdDsa.name(), "typ": "JWT", "kid": kid});
        let mut claims = json!({
            "iss": &*self.issuer,
            "aud": self.realm.as_str(),
            "sub": target.as_str(),
            "jti": BASE64URL_NOPAD.encode(id),
            "iat": seconds(token.begins_at.after(EMBED_LEEWAY)),
            "exp": seconds(token.expires_at),
            "key": key.to_string(),
            "of": token.account.as_str(),
            "env": token.environment.as_str(),
        });
        if token.scoped
            && let Value::Object(claims) = &mut claims
        {
            let scopes: Vec<&str> = token.scopes.iter().map(Scope::as_str).collect();
            claims.insert("scope".to_owned(), scopes.join(" ").into());
        }
        let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.signing.sign(signed.as_bytes());
        Zeroizing::new(format!("{signed}.{}", BASE64URL_NOPAD.encode(&signature.to_bytes())))
    }

    /// What a token says that names this issuer, times not judged.
    pub(super) fn verify(&self, read: &TokenText<'_>) -> Result<EmbedToken, TokenFlaw> {
        if read.algorithm != TokenAlgorithm::EdDsa {
            return Err(TokenFlaw::Algorithm);
        }
        let (_, key) = self.public.iter().find(|(id, _)| *id == read.key_id).ok_or(TokenFlaw::UnknownKey)?;
        let signature = BASE64URL_NOPAD.decode(read.signature.as_bytes()).map_err(|_| TokenFlaw::Malformed)?;
        let signature = Signature::from_slice(&signature).map_err(|_| TokenFlaw::Signature)?;
        key.verify_strict(read.signed, &signature).map_err(|_| TokenFlaw::Signature)?;
        if text(&read.claims, "aud") != Some(self.realm.as_str()) {
            return Err(TokenFlaw::Audience);
        }
        self.claimed(&read.claims).ok_or(TokenFlaw::Claims)
    }

    fn claimed(&self, claims: &Map<String, Value>) -> Option<EmbedToken> {
        let instant = |name| {
            let seconds = claims.get(name).and_then(Value::as_u64)?;
            seconds.checked_mul(1_000_000).map(Timestamp::from_micros)
        };
        let scope = text(claims, "scope");
        let words = scope.into_iter().flat_map(|scope| scope.split(' ')).filter(|word| !word.is_empty());
        let leeway = u64::try_from(EMBED_LEEWAY.as_micros()).ok()?;
        let begins_at = Timestamp::from_micros(instant("iat")?.as_micros().saturating_sub(leeway));
        let expires_at = instant("exp")?;
        let id = text(claims, "jti")?;
        let token = Token {
            issuer: Arc::clone(&self.issuer),
            subject: text(claims, "sub")?.to_owned(),
            account: AccountId::new(text(claims, "of")?).ok()?,
            environment: Environment::new(text(claims, "env")?).ok()?,
            scopes: words.map(Scope::new).collect::<Result<_, _>>().ok()?,
            scoped: scope.is_some(),
            roles: Vec::new(),
            mark: Sha256::digest(id.as_bytes()).into(),
            begins_at,
            expires_at,
            ends_at: expires_at,
        };
        let target = AccountId::new(&token.subject).ok()?;
        Some(EmbedToken { token: Arc::new(token), key: KeyId::parse(text(claims, "key")?).ok()?, target })
    }
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name)?.as_str()
}

/// The thumbprint of the key (RFC 7638): its id.
fn thumbprint(key: &VerifyingKey) -> String {
    let x = BASE64URL_NOPAD.encode(key.as_bytes());
    // The required members in the order of their names, without blanks.
    BASE64URL_NOPAD.encode(&Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::json;

    const ID: [u8; 16] = [5; 16];

    fn keys(seeds: &[u8]) -> EmbedKeys {
        let seeds: Vec<_> = seeds.iter().map(|seed| Zeroizing::new([*seed; 32])).collect();
        EmbedKeys::new(&RealmName::new("recover").unwrap(), &seeds).unwrap()
    }

    fn embed(scopes: Option<&[&str]>) -> EmbedToken {
        let token = Token {
            issuer: Arc::from("keygate:recover"),
            subject: "client-a".to_owned(),
            account: AccountId::new("partner-1").unwrap(),
            environment: Environment::new("live").unwrap(),
            scopes: scopes.unwrap_or_default().iter().map(|scope| Scope::new(scope).unwrap()).collect(),
            scoped: scopes.is_some(),
            roles: Vec::new(),
            mark: Sha256::digest(BASE64URL_NOPAD.encode(&ID).as_bytes()).into(),
            begins_at: Timestamp::from_micros(1_000_000),
            expires_at: Timestamp::from_micros(9_000_000),
            ends_at: Timestamp::from_micros(9_000_000),
        };
        let target = AccountId::new("client-a").unwrap();
        EmbedToken { token: Arc::new(token), key: KeyId::from_bytes([7; 16]), target }
    }

    #[test]
    fn what_was_signed_is_read_again_with_every_version_of_the_key() {
        let (old, new) = (keys(&[1]), keys(&[2, 1]));
        for scopes in [None, Some(&[][..]), Some(&["read", "write"][..])] {
            let embed = embed(scopes);
            for signer in [&old, &new] {
                let text = signer.sign(&ID, &embed);
                assert_eq!(new.verify(&TokenText::read(&text).unwrap()), Ok(embed.clone()));
            }
            let text = new.sign(&ID, &embed);
            assert_eq!(old.verify(&TokenText::read(&text).unwrap()), Err(TokenFlaw::UnknownKey));
        }
    }

    #[test]
    fn a_token_of_another_realm_or_with_a_bit_changed_is_refused() {
        let keys = keys(&[1]);
        let text = keys.sign(&ID, &embed(None));
        let other = EmbedKeys::new(&RealmName::new("other").unwrap(), &[Zeroizing::new([1; 32])]).unwrap();
        assert_eq!(other.verify(&TokenText::read(&text).unwrap()), Err(TokenFlaw::Audience));
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            let verified = TokenText::read(&changed).and_then(|read| keys.verify(&read));
            assert!(verified.is_err(), "a change at {at} goes unnoticed");
        }
    }

    #[test]
    fn the_key_set_holds_every_public_key_and_the_thumbprint_of_the_standard() {
        // RFC 8037, appendix A.3.
        let x = BASE64URL_NOPAD.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let key = VerifyingKey::from_bytes(&x.try_into().unwrap()).unwrap();
        assert_eq!(thumbprint(&key), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let set = json::object(keys(&[2, 1]).key_set().as_bytes()).unwrap();
        assert_eq!(set["keys"].as_array().unwrap().len(), 2);
    }
}
