//! The API of HashiCorp Vault's transit engine: `encrypt` and `decrypt` of a named key, over HTTP. OpenBao has the same.
//!
//! <https://developer.hashicorp.com/vault/api-docs/secret/transit>

use crate::{
    app::ports::{KeyService, KeyServiceAnswer, KeyServiceError},
    dial::{Bounds, EndpointError, Site, Trust},
    domain::seal::DataKey,
};
use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderValue, Request, StatusCode, header};
use serde_json::Value;
use std::{path::PathBuf, time::Duration};
use zeroize::Zeroizing;

/// Bytes of a wrapped data key, at most: what it is stored as.
const WRAPPED_BYTES: usize = 4_096;
/// Bytes of an answer, at most.
const ANSWER_BYTES: usize = 64 * 1_024;
/// Bytes of a token, at most.
const TOKEN_BYTES: u64 = 8_192;

/// Where a key is, and who may use it.
#[derive(Debug, Clone)]
pub struct TransitOptions {
    /// Where the service is: `https`, or `http` on this machine.
    pub url: http::Uri,
    /// Where the engine is mounted.
    pub mount: String,
    /// The key's name there.
    pub key: String,
    /// The file with the token; read at every call, so that whoever renews it need not tell.
    pub token_file: PathBuf,
    /// The authorities whose certificates are trusted; absent: those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// How long one call may take.
    pub timeout: Duration,
}

/// A key of a transit engine.
pub struct Transit {
    site: Site,
    encrypt: String,
    decrypt: String,
    token_file: PathBuf,
    timeout: Duration,
}

impl Transit {
    /// Makes ready what calls need. Asks nobody yet: a service that is away does not keep a server from starting.
    ///
    /// # Errors
    /// When the file with the authorities cannot be read or holds none: says which.
    pub fn new(options: TransitOptions) -> Result<Self, String> {
        let TransitOptions { url, mount, key, token_file, ca_file, timeout } = options;
        let trust = ca_file.as_deref().map_or(Trust::Machine, Trust::File);
        let site = Site::open(&url, trust).map_err(|error| match error {
            EndpointError::NobodyTrusted => "the system trusts no certificates: `ca_file` must name some".to_owned(),
            error => error.to_string(),
        })?;
        let path = |act: &str| format!("/v1/{mount}/{act}/{key}");
        Ok(Self { site, encrypt: path("encrypt"), decrypt: path("decrypt"), token_file, timeout })
    }

    /// Sends fields and gives the one that is wanted of the answer's `data`.
    async fn ask(
        &self,
        path: &str,
        fields: [(&str, Zeroizing<String>); 2],
        wanted: &str,
    ) -> Result<Zeroizing<String>, KeyServiceError> {
        let token = self.token().await?;
        let mut token = HeaderValue::from_str(&token)
            .map_err(|_| KeyServiceError("the token is not legal in a header".to_owned()))?;
        token.set_sensitive(true);
        let request = Request::post(path)
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-vault-token", token)
            .body(Bytes::copy_from_slice(&json(fields)))
            .map_err(|error| KeyServiceError(format!("the call cannot be made: {error}")))?;
        let bounds = Bounds { time: self.timeout, body_bytes: ANSWER_BYTES };
        let answer = self.site.send(request, bounds).await.map_err(|error| KeyServiceError(error.to_string()))?;
        if answer.status != StatusCode::OK {
            return Err(KeyServiceError(format!("it answered {}", answer.status)));
        }
        let odd = || KeyServiceError("it answered something that is no answer of a transit engine".to_owned());
        let mut answer: Value = serde_json::from_slice(&answer.body).map_err(|_| odd())?;
        match answer.get_mut("data").and_then(|data| data.get_mut(wanted)).map(Value::take) {
            Some(Value::String(text)) => Ok(Zeroizing::new(text)),
            _ => Err(odd()),
        }
    }

    async fn token(&self) -> Result<Zeroizing<String>, KeyServiceError> {
        let path = self.token_file.display();
        let unread =
            |cause: std::io::Error| KeyServiceError(format!("the token file `{path}` cannot be read: {cause}"));
        let length = tokio::fs::metadata(&self.token_file).await.map_err(unread)?.len();
        let illegal = || KeyServiceError(format!("the token file `{path}` must hold one line of visible ASCII"));
        if length > TOKEN_BYTES {
            return Err(illegal());
        }
        let text = Zeroizing::new(tokio::fs::read(&self.token_file).await.map_err(unread)?);
        let token = text.trim_ascii();
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return Err(illegal());
        }
        Ok(Zeroizing::new(String::from_utf8_lossy(token).into_owned()))
    }
}

impl KeyService for Transit {
    fn wrap<'a>(&'a self, bound: &'a [u8], key: &'a DataKey) -> KeyServiceAnswer<'a, Vec<u8>> {
        Box::pin(async move {
            let fields = [("plaintext", base64(key.expose())), ("associated_data", base64(bound))];
            let wrapped = self.ask(&self.encrypt, fields, "ciphertext").await?;
            if !(1..=WRAPPED_BYTES).contains(&wrapped.len()) {
                return Err(KeyServiceError("it answered a ciphertext of an odd length".to_owned()));
            }
            Ok(wrapped.as_bytes().to_vec())
        })
    }

    fn open<'a>(&'a self, bound: &'a [u8], wrapped: &'a [u8]) -> KeyServiceAnswer<'a, DataKey> {
        Box::pin(async move {
            let wrapped = Zeroizing::new(String::from_utf8_lossy(wrapped).into_owned());
            let fields = [("ciphertext", wrapped), ("associated_data", base64(bound))];
            let opened = self.ask(&self.decrypt, fields, "plaintext").await?;
            let bytes = BASE64.decode(opened.as_bytes()).map(Zeroizing::new).ok();
            let key = bytes.and_then(|bytes| DataKey::from_slice(&bytes));
            key.ok_or_else(|| KeyServiceError("it answered a plaintext that is no data key".to_owned()))
        })
    }
}

fn base64(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(bytes))
}

fn json(fields: [(&str, Zeroizing<String>); 2]) -> Zeroizing<Vec<u8>> {
    // Written by hand around texts of base 64, which need no escape: a tree of values would leave copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(16_384));
    for (at, (name, text)) in fields.iter().enumerate() {
        body.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(b"\":\"");
        body.extend(text.bytes().filter(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')));
        body.push(b'"');
    }
    body.push(b'}');
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_json_whatever_a_store_held() {
        let fields = [("ciphertext", Zeroizing::new("vault:v1:\"\\\u{7}ä+/=".to_owned())), ("b", base64(b"x"))];
        let sent: Value = serde_json::from_slice(&json(fields)).unwrap();
        assert_eq!(sent, serde_json::json!({ "ciphertext": "vault:v1:+/=", "b": "eA==" }));
    }
}
