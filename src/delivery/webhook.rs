//! Hands a code to a service that sends it on: one HTTP POST, signed as Standard Webhooks have it
//! (<https://www.standardwebhooks.com>), so that the service knows who asks and that it is not an old request.

use crate::{
    app::ports::{DeliveryError, Parcel},
    domain::{secret::Secret, time::Timestamp},
};
use bytes::Bytes;
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use sha2::Sha256;
use std::{fmt::Display, time::Duration};
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// How long a service may take, all in all.
const PATIENCE: Duration = Duration::from_secs(3);

/// A service that takes codes.
pub(super) struct Webhook {
    /// As a `host` header has it.
    authority: String,
    /// As it is connected to, with a port.
    address: String,
    path: String,
    secret: Option<Secret>,
}

impl Webhook {
    /// Reads `http://host[:port][/path]`.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let url: http::Uri = url.parse().ok()?;
        let authority = url.authority()?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let path = url.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { authority: authority.to_string(), address, path, secret: None })
    }

    pub(super) fn signed_with(self, secret: Secret) -> Self {
        Self { secret: Some(secret), ..self }
    }

    /// Posts it, and waits until it was taken: any status from 200 to 299.
    pub(super) async fn deliver(&self, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
        match tokio::time::timeout(PATIENCE, self.post(parcel)).await {
            Ok(answer) => answer,
            Err(_) => Err(DeliveryError(format!("the webhook did not answer within {} s", PATIENCE.as_secs()))),
        }
    }

    async fn post(&self, parcel: &Parcel<'_>) -> Result<(), DeliveryError> {
        let stream = TcpStream::connect(&self.address).await.map_err(failed)?;
        let (mut sender, connection) =
            http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await.map_err(failed)?;
        let body = Zeroizing::new(body(parcel));
        let seconds = (parcel.now.as_micros() / 1_000_000).to_string();
        let request = Request::post(&self.path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .header("webhook-id", &parcel.id)
            .header("webhook-timestamp", &seconds)
            .header("webhook-signature", self.signature(&parcel.id, &seconds, &body))
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .map_err(failed)?;
        let answered = async {
            let answer = sender.send_request(request).await.map_err(failed)?;
            let status = answer.status();
            if status.is_success() {
                Ok(())
            } else {
                Err(DeliveryError(format!("the webhook answered with the status {}", status.as_u16())))
            }
        };
        let mut answered = std::pin::pin!(answered);
        tokio::select! {
            answer = &mut answered => answer,
            // The connection may end with the answer: then the answer is there.
            _ = connection => answered.await,
        }
    }

    fn signature(&self, id: &str, seconds: &str, body: &str) -> String {
        let secret = self.secret.as_ref().map_or("", Secret::expose);
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
        for part in [id, ".", seconds, ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()))
    }
}

fn body(parcel: &Parcel<'_>) -> String {
    let seconds = |at: Timestamp| at.as_micros() / 1_000_000;
    serde_json::json!({
        "type": "onboarding.code",
        "realm": parcel.realm.as_str(),
        "address": parcel.address,
        "name": parcel.name,
        "code": parcel.code.expose(),
        "expires_at": seconds(parcel.expires_at),
    })
    .to_string()
}

fn failed(error: impl Display) -> DeliveryError {
    DeliveryError(format!("the webhook cannot be asked: {error}"))
}
