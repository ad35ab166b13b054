//! One POST of a signed message, as Standard Webhooks have it (<https://www.standardwebhooks.com>).

use crate::{
    app::ports::Undelivered,
    dial::{Bounds, Site, Trust},
    domain::{time::Timestamp, webhook::SigningSecret},
};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use std::time::Duration;

/// Where messages are handed over.
pub(super) struct Door {
    site: Site,
    secret: SigningSecret,
    timeout: Duration,
}

impl Door {
    pub(super) fn open(url: &str, secret: SigningSecret, timeout: Duration) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|_| "it is no address")?;
        let site = Site::open(&uri, Trust::Machine).map_err(|error| error.to_string())?;
        Ok(Self { site, secret, timeout })
    }

    /// Hands a message over. It was taken when a status from 200 to 299 says so; what the answer says beside is not read.
    pub(super) async fn post(&self, id: &str, body: &str, now: Timestamp) -> Result<(), Undelivered> {
        // Seconds that have passed: a time that lies ahead could be refused.
        let second = now.as_micros() / 1_000_000;
        let request = Request::post(self.site.target())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", id)
            .header("webhook-timestamp", second)
            .header("webhook-signature", self.secret.sign(id, second, body))
            .body(Bytes::copy_from_slice(body.as_bytes()))
            .map_err(|error| failed(format!("the message cannot be sent: {error}")))?;
        let bounds = Bounds { time: self.timeout, body_bytes: 0 };
        let status = self.site.send(request, bounds).await.map_err(|error| failed(error.to_string()))?.status;
        match status {
            status if status.is_success() => Ok(()),
            status if status.is_redirection() => {
                Err(failed(format!("it answers {status}: redirects are not followed")))
            }
            status => {
                Err(Undelivered { problem: format!("it answers {status}"), for_good: status == StatusCode::GONE })
            }
        }
    }
}

fn failed(problem: String) -> Undelivered {
    Undelivered { problem, for_good: false }
}
