//! Asks an address for a key set.

use super::keys::SET_BYTES;
use crate::dial::{Bounds, Site, Trust};
use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long an answer may take, from the first step to the last byte.
const MOST: Duration = Duration::from_secs(5);

/// An address that can be asked.
pub(super) struct Source {
    url: String,
    site: Site,
}

impl Source {
    /// Nothing for an address whose host is reserved for those that never exist (RFC 2606, section 2).
    pub(super) fn open(url: &str) -> Result<Option<Self>, String> {
        let uri: Uri = url.parse().map_err(|_| "it is not an address")?;
        if uri.host().is_some_and(|host| host.ends_with(".invalid")) {
            return Ok(None);
        }
        let site = Site::open(&uri, Trust::Machine).map_err(|error| error.to_string())?;
        Ok(Some(Self { url: url.to_owned(), site }))
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The body of the answer, or what went wrong.
    pub(super) async fn fetch(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        let request = Request::get(self.site.target())
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let bounds = Bounds { time: MOST, body_bytes: SET_BYTES };
        let answer = self.site.send(request, bounds).await.map_err(|error| error.to_string())?;
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            status if status.is_redirection() => Err(format!("it answers {status}, and redirects are not followed")),
            status => Err(format!("it answers {status}")),
        }
    }
}
